"""What customers let us do, beside the contact vault: consent by purpose, suppression, time zone.

    _contact/customer=<id>/consent/<at>-<hash>.json      given or withdrawn, for a purpose
                           suppression/<at>-<hash>.json  suppressed or lifted, with a reason
                           time_zone/<at>-<hash>.json    an IANA time zone

Records are only ever added, by a conditional put, and never changed; the latest holds. Execution alone reads them, customer
by customer at dispatch: they may change after the decision.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from mktgen.errors import PermanentError
from mktgen.execution.ledger import ObjectStore

CONTACT: Final = "_contact"
Kind = Literal["consent", "suppression", "time_zone"]
_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "consent": ("given", "withdrawn"), "suppression": ("lifted", "suppressed"),
}  # fmt: skip
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_]{2,39}")


@dataclass(frozen=True)
class Record:
    """One thing that is known of a customer. `about`: the purpose of a consent, "" for the others; `note`: why, or by whom."""

    kind: Kind
    customer_id: str
    about: str
    value: str  # given | withdrawn; suppressed | lifted; a time zone
    at: datetime  # from when on
    note: str = ""

    def check(self) -> None:
        """Raise PermanentError where the record says nothing that a rule could go by."""
        if not self.customer_id.strip():
            raise PermanentError("a record needs a customer id")
        if self.at.tzinfo is None:
            raise PermanentError(f"{self.at} has no time zone: write e.g. 2017-10-03T09:00:00+00:00")
        if self.kind == "time_zone":
            try:
                ZoneInfo(self.value)
            except (KeyError, ValueError, OSError):
                raise PermanentError(
                    f"{self.value!r} is not a time zone; use an IANA name such as America/New_York"
                ) from None
        elif self.value not in _VALUES[self.kind]:
            raise PermanentError(f"{self.kind} is {' or '.join(_VALUES[self.kind])}, not {self.value!r}")
        if self.kind == "consent" and not _PURPOSE.fullmatch(self.about):
            raise PermanentError(f"purpose {self.about!r}: use small letters and underscores, e.g. marketing_email")
        if self.kind != "consent" and self.about:
            raise PermanentError(f"a {self.kind} has no purpose, but {self.about!r} was given")
        if self.value == "suppressed" and not self.note.strip():
            raise PermanentError("a suppression needs its reason in a word, e.g. complaint")


@dataclass(frozen=True)
class Page:
    """All records of a customer, the latest last; of two at one time the stricter is last. seen: key -> sha256."""

    records: tuple[Record, ...]
    seen: dict[str, str]


class ContactBook:
    """Add records, and read those of a customer."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def add(self, record: Record) -> bool:
        """False: the same record was there. Raises PermanentError for a record that says nothing."""
        record.check()
        body = _encode(record)
        moment = record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        name = f"{record.kind}/{moment}-{hashlib.sha256(body).hexdigest()[:16]}.json"
        return self._objects.put_once(folder(record.customer_id) + name, body)

    def page(self, customer_id: str) -> Page:
        """What is known of a customer now. Raises PermanentError where a record can't be read: nobody guesses a consent."""
        seen, found = {}, []
        for key in self._objects.keys(folder(customer_id)):
            raw = self._objects.get(key)
            if raw is None:
                raise PermanentError(f"{key} was listed and can't be read: put the record back; nothing is guessed")
            seen[key] = hashlib.sha256(raw).hexdigest()
            found.append(_decode(key, raw, customer_id))
        found.sort(key=lambda record: (record.at, record.value in ("withdrawn", "suppressed"), record.value))
        return Page(tuple(found), seen)


def folder(customer_id: str) -> str:
    return f"{CONTACT}/customer={quote(customer_id, safe='')}/"


def _encode(record: Record) -> bytes:
    body = {**record.__dict__, "at": record.at.astimezone(UTC).isoformat()}
    return (json.dumps(body, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _decode(key: str, raw: bytes, customer_id: str) -> Record:
    try:
        body = json.loads(raw)
        record = Record(**{**body, "at": datetime.fromisoformat(body["at"])})
        record.check()
    except (ValueError, TypeError, KeyError, PermanentError) as error:
        raise PermanentError(f"{key} is not a contact record ({error}); correct it, nothing is guessed") from None
    if record.customer_id != customer_id:
        raise PermanentError(f"{key} speaks of customer {record.customer_id}: move it to that customer's folder")
    return record
