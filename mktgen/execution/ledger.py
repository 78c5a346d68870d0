"""The send ledger: what makes a second send impossible, whatever is rerun, killed or run twice at once.

    ledger/customer=<id>/day=<partition>/claim.json       whose day it is: one send per customer and partition
                                         attempt-<n>.json  the verdict on attempt n, by what was seen: go, or refused
                                         failed-<n>.json   attempt n certainly sent nothing, n + 1 may follow
                                         settled.json      sent or refused; final
    ledger_days/day=<partition>.json                       whose day it is among strategies: one a day is ever sent

Every object is written once, by a conditional put, and never changed. docs/decisions/0003-exactly-once.md has the
argument.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote, unquote

_PREFIX: Final = "ledger"
_DAYS: Final = "ledger_days"
MAX_ATTEMPTS: Final = 3


class ObjectStore(Protocol):
    """Objects with conditional puts; listing must see what was put before (S3 and SeaweedFS do)."""

    def put_once(self, key: str, body: bytes) -> bool: ...

    def get(self, key: str) -> bytes | None: ...

    def keys(self, prefix: str) -> list[str]: ...


@dataclass(frozen=True)
class Send:
    """One intended contact."""

    send_id: str
    decision_id: str
    customer_id: str
    campaign_id: str
    offer_id: str
    channel: str
    sent_for: date


@dataclass(frozen=True)
class Release:
    """What a day is dispatched by: runs of the artefacts `published` and `strategy`."""

    published_run: str
    strategy_run: str


@dataclass(frozen=True)
class Entry:
    """An object of the ledger as it was written or read."""

    key: str
    sha256: str


@dataclass(frozen=True)
class Claim:
    """Who owns a customer's day: the first send that was put. `ours`: this call put it."""

    send_id: str
    decision_id: str
    campaign_id: str
    offer_id: str
    channel: str
    ours: bool
    entry: Entry


@dataclass(frozen=True)
class Attempt:
    """The verdict on one attempt. `go` False is a refusal, and final.

    rule: the one that refused. send_at: when to send (ISO, UTC), or when a refusal was judged by the clock. seen: records
    and claims that the verdict rests on.
    """

    number: int
    go: bool
    rule: str
    detail: str
    send_at: str
    seen: dict[str, str]
    ours: bool  # this call wrote it
    entry: Entry


@dataclass(frozen=True)
class Settlement:
    """How a customer's day ended. rule: why it was refused. attempt: whose end it is. `ours`: this call wrote it."""

    status: Literal["sent", "refused"]
    detail: str
    rule: str
    attempt: int
    ours: bool
    entry: Entry


@dataclass(frozen=True)
class Contact:
    """Another day of a customer that a claim holds, and that did not end refused."""

    day: date
    campaign_id: str
    claim: Entry


@dataclass(frozen=True)
class Verdict:
    """What an attempt is to begin with. rule: the one that refuses, "" where none does; detail: its words."""

    rule: str
    detail: str
    send_at: str
    seen: dict[str, str]


PUT_OFF: Final = "put_off"  # the refusal after MAX_ATTEMPTS


def send_id(customer_id: str, campaign_id: str, channel: str, partition: date) -> str:
    """Identity of a contact. It leaves the decision out: new decisions for the same day give the same send."""
    parts = json.dumps([customer_id, campaign_id, channel, partition.isoformat()])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class Ledger:
    """States of a send: claimed -> attempting -> sent | refused, or failed -> attempting again."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def begin(self, day: date, release: Release) -> Release:
        """Take a day for a strategy, or learn which one has it. Two of a day would spend its budget twice."""
        key = _day_key(day)
        self._objects.put_once(key, _encode(asdict(release)))
        return Release(**json.loads(self._read(key)))

    def begun(self, day: date) -> Release | None:
        """What a dispatch of the day was begun with; None: none was."""
        raw = self._objects.get(_day_key(day))
        return None if raw is None else Release(**json.loads(raw))

    def claim(self, send: Send) -> Claim:
        """Take the customer's day, or learn whose it is. The answer never changes afterwards."""
        body = {name: value for name, value in asdict(send).items() if name not in ("customer_id", "sent_for")}
        kept, ours, entry = self._put(self._key(send, "claim"), body)
        return Claim(**kept, ours=ours, entry=entry)

    def settlement(self, send: Send) -> Settlement | None:
        """How the customer's day ended; None: not yet."""
        key = self._key(send, "settled")
        raw = self._objects.get(key)
        return None if raw is None else _settlement(json.loads(raw), False, _entry(key, raw))

    def verdict(self, send: Send, number: int) -> Attempt | None:
        """An attempt as it was written; None: there is no such attempt."""
        key = self._key(send, f"attempt-{number}")
        raw = self._objects.get(key)
        return None if raw is None else _attempt(number, json.loads(raw), False, _entry(key, raw))

    def contacts(self, send: Send, days: int) -> list[Contact]:
        """Other days within `days` of this one, before or after, on which the customer was or may be contacted.

        A claim that isn't settled counts: when two days' dispatches meet, each sees the other's claim and both may
        refuse. Too few contacts, never too many.
        """
        prefix = f"{_PREFIX}/customer={quote(send.customer_id, safe='')}/"
        claimed = [key for key in self._objects.keys(prefix) if key.endswith("/claim.json")]
        near = [key for key in claimed if 0 < abs((_day(key) - send.sent_for).days) < days]
        return [self._contact(key) for key in sorted(near) if not self._refused(send.customer_id, _day(key))]

    def attempt(self, send: Send, verdict: Verdict) -> Attempt:
        """Open the next attempt with this verdict; the first verdict written is the one.

        Attempts that are known to have failed are over, and after MAX_ATTEMPTS of them the verdict is a refusal. An
        attempt that has not failed is returned as it was written, with `ours` False.
        """
        for number in range(MAX_ATTEMPTS + 1):
            wished = verdict
            if number == MAX_ATTEMPTS:
                wished = Verdict(PUT_OFF, f"put off {number} times by the channel", "", verdict.seen)
            key = self._key(send, f"attempt-{number}")
            body = {"go": not wished.rule, **asdict(wished)}
            raw = _encode(body)
            if self._objects.put_once(key, raw):
                return _attempt(number, body, True, _entry(key, raw))
            if self._objects.get(self._key(send, f"failed-{number}")) is None:
                break
        kept = self._read(key)
        return _attempt(number, json.loads(kept), False, _entry(key, kept))

    def fail(self, send: Send, attempt: Attempt, detail: str) -> None:
        """Note that an attempt of ours certainly sent nothing."""
        self._objects.put_once(self._key(send, f"failed-{attempt.number}"), _encode({"detail": detail}))

    def settle(
        self, send: Send, attempt: Attempt, status: Literal["sent", "refused"], detail: str, rule: str = ""
    ) -> Settlement:
        """End the day of a customer. A settlement that exists stays, and is returned."""
        body = {"status": status, "detail": detail, "rule": rule, "attempt": attempt.number}
        return _settlement(*self._put(self._key(send, "settled"), body))

    def _contact(self, key: str) -> Contact:
        raw = self._read(key)
        return Contact(_day(key), str(json.loads(raw)["campaign_id"]), _entry(key, raw))

    def _refused(self, customer_id: str, day: date) -> bool:
        raw = self._objects.get(f"{_folder(customer_id, day)}/settled.json")
        return raw is not None and json.loads(raw)["status"] == "refused"

    def _key(self, send: Send, name: str) -> str:
        return f"{_folder(send.customer_id, send.sent_for)}/{name}.json"

    def _put(self, key: str, body: dict[str, Any]) -> tuple[dict[str, Any], bool, Entry]:
        """What the key holds from now on, and whether this call wrote it."""
        raw = _encode(body)
        if self._objects.put_once(key, raw):
            return body, True, _entry(key, raw)
        kept = self._read(key)
        return dict(json.loads(kept)), False, _entry(key, kept)

    def _read(self, key: str) -> bytes:
        raw = self._objects.get(key)
        if raw is None:
            raise RuntimeError(f"{key} exists for a conditional put but can't be read: the store is not consistent")
        return raw


def _attempt(number: int, body: dict[str, Any], ours: bool, entry: Entry) -> Attempt:
    known = {"rule": "", "send_at": "", "seen": {}, **body}
    return Attempt(number=number, ours=ours, entry=entry, **known)


def _settlement(body: dict[str, Any], ours: bool, entry: Entry) -> Settlement:
    known = {"rule": "", "attempt": 0, **body}
    return Settlement(ours=ours, entry=entry, **known)


def _entry(key: str, raw: bytes) -> Entry:
    return Entry(key, hashlib.sha256(raw).hexdigest())


def _day_key(day: date) -> str:
    return f"{_DAYS}/day={day.isoformat()}.json"


def _folder(customer_id: str, day: date) -> str:
    return f"{_PREFIX}/customer={quote(customer_id, safe='')}/day={day.isoformat()}"


def _day(key: str) -> date:
    return date.fromisoformat(unquote(key.split("/")[-2]).removeprefix("day="))


def _encode(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, sort_keys=True) + "\n").encode()
