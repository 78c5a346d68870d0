"""The prover's own reading of the send ledger, the outbox and the contact records: raw objects to what they say.

Nothing is shared with the code that writes them; a fault there must show here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote


@dataclass
class CustomerDay:
    """One customer's day in the ledger. go: attempts that were allowed; failed: numbers of those that sent nothing."""

    customer_id: str
    day: date
    claim: dict[str, Any] | None = None
    attempts: dict[int, dict[str, Any]] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    settled: dict[str, Any] | None = None

    @property
    def status(self) -> str:
        """sent | refused as settled; open: an attempt whose end is not known; none: nothing was begun."""
        if self.settled is not None:
            return str(self.settled.get("status"))
        return "open" if self.last is not None and self.last.get("go") and self.number not in self.failed else "none"

    @property
    def contacted(self) -> bool:
        """The customer was contacted, or may have been."""
        return self.status in ("sent", "open")

    @property
    def number(self) -> int:
        return max(self.attempts, default=-1)

    @property
    def last(self) -> dict[str, Any] | None:
        return self.attempts.get(self.number)

    @property
    def campaign_id(self) -> str:
        return str((self.claim or {}).get("campaign_id", ""))

    @property
    def seen(self) -> dict[str, str]:
        return dict((self.last or {}).get("seen", {}))

    @property
    def send_at(self) -> datetime | None:
        """When the verdict says to send; None: it says nothing that can be read."""
        return moment((self.last or {}).get("send_at", ""))


def customer_days(ledger: Mapping[str, bytes]) -> dict[tuple[str, date], CustomerDay]:
    """Every customer's day that has an object in the ledger. Raises ValueError naming a key that is no ledger entry."""
    found: dict[tuple[str, date], CustomerDay] = {}
    for key, raw in sorted(ledger.items()):
        try:
            _, customer, day_, name = key.split("/")
            who, day = unquote(customer.removeprefix("customer=")), date.fromisoformat(day_.removeprefix("day="))
            entry = found.setdefault((who, day), CustomerDay(who, day))
            _read(entry, name.removesuffix(".json"), json.loads(raw))
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{key} is not a ledger entry ({error})") from None
    return found


def _read(entry: CustomerDay, name: str, body: dict[str, Any]) -> None:
    kind, _, number = name.partition("-")
    if name == "claim":
        entry.claim = body
    elif name == "settled":
        entry.settled = body
    elif kind == "attempt":
        entry.attempts[int(number)] = body
    elif kind == "failed":
        entry.failed.add(int(number))
    else:
        raise ValueError(f"unknown name {name}")


@dataclass(frozen=True)
class Said:
    """One contact record: consent (about a purpose), suppression or time zone, and from when on."""

    key: str
    kind: str
    about: str
    value: str
    at: datetime


def records_of(records: Mapping[str, bytes]) -> dict[str, list[Said]]:
    """By customer, in order of time. Raises ValueError naming a record that can't be read."""
    found: dict[str, list[Said]] = {}
    for key, raw in sorted(records.items()):
        try:
            body = json.loads(raw)
            said = Said(key, body["kind"], body["about"], body["value"], datetime.fromisoformat(body["at"]))
            found.setdefault(str(body["customer_id"]), []).append(said)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{key} is not a contact record ({error})") from None
    stops = ("withdrawn", "suppressed")
    return {who: sorted(said, key=lambda s: (s.at, s.value in stops, s.value)) for who, said in found.items()}


def contact_identity(customer_id: str, campaign_id: str, channel: str, day: date) -> str:
    """What a contact's send_id must be."""
    return hash_of(json.dumps([customer_id, campaign_id, channel, day.isoformat()]).encode())[:32]


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None
