"""The send ledger: what makes a second send impossible, whatever is rerun, killed or run twice at once.

    ledger/customer=<id>/day=<partition>/claim.json       whose day it is: one send per customer and partition
                                         attempt-<n>.json  the verdict on attempt n: go, or refused
                                         failed-<n>.json   attempt n certainly sent nothing, n + 1 may follow
                                         settled.json      sent or refused; final

Every object is written once, by a conditional put, and never changed. docs/decisions/0003-exactly-once.md has the
argument.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote, unquote

_PREFIX: Final = "ledger"
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
class Claim:
    """Who owns a customer's day: the first send that was put. `ours`: this call put it."""

    send_id: str
    decision_id: str
    campaign_id: str
    offer_id: str
    channel: str
    ours: bool


@dataclass(frozen=True)
class Attempt:
    """The verdict on one attempt. `go` False is a refusal, and final."""

    number: int
    go: bool
    detail: str
    ours: bool  # this call wrote it


@dataclass(frozen=True)
class Settlement:
    """How a customer's day ended. `ours`: this call wrote it."""

    status: Literal["sent", "refused"]
    detail: str
    ours: bool = False


def send_id(customer_id: str, campaign_id: str, channel: str, partition: date) -> str:
    """Identity of a contact. It leaves the decision out: new decisions for the same day give the same send."""
    parts = json.dumps([customer_id, campaign_id, channel, partition.isoformat()])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class Ledger:
    """States of a send: claimed -> attempting -> sent | refused, or failed -> attempting again."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def claim(self, send: Send) -> Claim:
        """Take the customer's day, or learn whose it is. The answer never changes afterwards."""
        body = {name: value for name, value in asdict(send).items() if name not in ("customer_id", "sent_for")}
        key = self._key(send, "claim")
        if self._objects.put_once(key, _encode(body)):
            return Claim(**body, ours=True)
        return Claim(**self._read(key), ours=False)

    def settlement(self, send: Send) -> Settlement | None:
        """How the customer's day ended; None: not yet."""
        raw = self._objects.get(self._key(send, "settled"))
        return None if raw is None else Settlement(**json.loads(raw))

    def contacts(self, send: Send, days: int) -> list[date]:
        """Other days within `days` of this one, before or after, on which the customer was or may be contacted.

        A claim that isn't settled counts: when two days' dispatches meet, each sees the other's claim and both may
        refuse. Too few contacts, never too many.
        """
        prefix = f"{_PREFIX}/customer={quote(send.customer_id, safe='')}/"
        claimed = [_day(key) for key in self._objects.keys(prefix) if key.endswith("/claim.json")]
        near = [day for day in claimed if day != send.sent_for and abs(day - send.sent_for) < timedelta(days=days)]
        return [day for day in near if not self._refused(send.customer_id, day)]

    def attempt(self, send: Send, refusal: str | None) -> Attempt:
        """Open the next attempt, with `refusal` as the reason not to send; the first verdict written is the one.

        Attempts that are known to have failed are over, and after MAX_ATTEMPTS of them the verdict is a refusal. An
        attempt that has not failed is returned as it was written, with `ours` False.
        """
        for number in range(MAX_ATTEMPTS + 1):
            reason = f"put off {number} times by the channel" if number == MAX_ATTEMPTS else refusal
            key = self._key(send, f"attempt-{number}")
            body = {"go": reason is None, "detail": reason or ""}
            if self._objects.put_once(key, _encode(body)):
                return Attempt(number, reason is None, reason or "", ours=True)
            if self._objects.get(self._key(send, f"failed-{number}")) is None:
                break
        verdict = self._read(key)
        return Attempt(number, bool(verdict["go"]), str(verdict["detail"]), ours=False)

    def fail(self, send: Send, attempt: Attempt, detail: str) -> None:
        """Note that an attempt of ours certainly sent nothing."""
        self._objects.put_once(self._key(send, f"failed-{attempt.number}"), _encode({"detail": detail}))

    def settle(self, send: Send, status: Literal["sent", "refused"], detail: str) -> Settlement:
        """End the day of a customer. A settlement that exists stays, and is returned."""
        body = {"status": status, "detail": detail}
        if self._objects.put_once(self._key(send, "settled"), _encode(body)):
            return Settlement(status, detail, ours=True)
        return Settlement(**self._read(self._key(send, "settled")))

    def _refused(self, customer_id: str, day: date) -> bool:
        raw = self._objects.get(f"{_folder(customer_id, day)}/settled.json")
        return raw is not None and json.loads(raw)["status"] == "refused"

    def _key(self, send: Send, name: str) -> str:
        return f"{_folder(send.customer_id, send.sent_for)}/{name}.json"

    def _read(self, key: str) -> dict[str, Any]:
        raw = self._objects.get(key)
        if raw is None:
            raise RuntimeError(f"{key} exists for a conditional put but can't be read: the store is not consistent")
        return dict(json.loads(raw))


def _folder(customer_id: str, day: date) -> str:
    return f"{_PREFIX}/customer={quote(customer_id, safe='')}/day={day.isoformat()}"


def _day(key: str) -> date:
    return date.fromisoformat(unquote(key.split("/")[-2]).removeprefix("day="))


def _encode(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, sort_keys=True) + "\n").encode()
