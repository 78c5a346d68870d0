"""The audit trail of a day's strategy: who did what to what, in a chain of hashes that is only ever added to.

    audit/day=<partition>/0001.json, 0002.json, ...

Every entry holds the hash of the one before it, and its own over all the rest of it. A number is taken by a conditional
put: of two writers that meet one gets it and the other the next, so the chain can't fork. docs/decisions/0022 has the
argument; execution/auditor.py checks a trail without this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from mktgen.errors import NotAllowed
from mktgen.execution.ledger import ObjectStore

What = Literal["published", "approved", "rejected", "begun", "dispatched", "refused"]
START: Final = "0" * 64  # what the first entry follows
# Of the others only the latest counts: a strategy may be published again, and refused again, after something else was.
_ONCE: Final = frozenset({"approved", "rejected", "begun", "dispatched"})


class BrokenTrail(NotAllowed):
    """An audit trail that can't be read, or whose entries do not follow one another."""


@dataclass(frozen=True)
class Event:
    """What happened. strategy_run: of the strategy that it happened to, "" where that can't be said. digests: of content,
    by the folder of an artefact, and `shown` (SHA-256 of the text that was put before a person)."""

    what: What
    who: str
    strategy_run: str
    digests: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """An event in its place. seq: from 1. at: ISO, UTC. previous, hash: hexadecimal SHA-256."""

    seq: int
    partition: str
    at: str
    what: What
    who: str
    strategy_run: str
    digests: Mapping[str, str]
    note: str
    previous: str
    hash: str

    @property
    def key(self) -> str:
        """Where it is stored."""
        return f"audit/day={self.partition}/{self.seq:04d}.json"

    @property
    def event(self) -> Event:
        return Event(self.what, self.who, self.strategy_run, self.digests, self.note)

    def to_bytes(self) -> bytes:
        return _canonical(asdict(self))


def read(objects: ObjectStore, day: date) -> tuple[Entry, ...]:
    """The trail as it is stored, in order; empty where nothing happened yet. Raises BrokenTrail for what is no entry."""
    found = []
    for key in objects.keys(f"audit/day={day.isoformat()}/"):
        try:
            found.append(Entry(**json.loads(objects.get(key) or b"")))
        except (ValueError, TypeError) as error:
            raise BrokenTrail(f"{key} is no entry of an audit trail ({error}). {_ADVICE}") from None
    return tuple(found)


def append(objects: ObjectStore, day: date, event: Event, at: datetime) -> Entry:
    """The entry of an event, put at the end of the trail unless it is there. at: now, with an offset."""
    while True:
        trail = read(objects, day)
        known = _known(trail, event)
        if known is not None:
            return known
        entry = follow(trail, day, event, at)
        if objects.put_once(entry.key, entry.to_bytes()):
            return entry


def follow(trail: Sequence[Entry], day: date, event: Event, at: datetime) -> Entry:
    """The entry that puts an event at the end of a trail."""
    body: dict[str, Any] = {
        "seq": trail[-1].seq + 1 if trail else 1,
        "partition": day.isoformat(),
        "at": at.astimezone(UTC).isoformat(),
        **asdict(event),
        "previous": head(trail),
    }
    return Entry(**body, hash=_hash(body))


def head(trail: Sequence[Entry]) -> str:
    """The hash that stands for a whole trail."""
    return trail[-1].hash if trail else START


def verified(objects: ObjectStore, day: date) -> tuple[Entry, ...]:
    """The trail, every entry with its hash and after the one before. Raises BrokenTrail naming the first that is not."""
    trail, before = read(objects, day), START
    for number, entry in enumerate(trail, start=1):
        body = {name: value for name, value in asdict(entry).items() if name != "hash"}
        if _hash(body) != entry.hash or entry.partition != day.isoformat():
            raise BrokenTrail(f"the audit trail of {day} was changed at entry {number}. {_ADVICE}")
        if entry.seq != number or entry.previous != before:
            raise BrokenTrail(f"the audit trail of {day} has a gap or a stranger before entry {entry.seq}. {_ADVICE}")
        before = entry.hash
    return trail


def _known(trail: Sequence[Entry], event: Event) -> Entry | None:
    same_kind = [entry for entry in trail if entry.what == event.what]
    looked_at = same_kind if event.what in _ONCE else same_kind[-1:]
    return next((entry for entry in looked_at if entry.event == event), None)


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()


def _canonical(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


_ADVICE: Final = "Run `python -m mktgen audit DAY` to see what is wrong; nothing of that day is sent meanwhile."
