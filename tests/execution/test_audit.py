"""The audit trail's chain: whatever single thing is done to it, the auditor names the entry."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.execution import audit, auditor
from mktgen.execution.audit import BrokenTrail, Entry, Event
from mktgen.execution.auditor import Anchor, Evidence
from mktgen.store import ObjectStore
from tests.execution.conftest import DAY

AT = datetime(2017, 10, 4, 9, tzinfo=UTC)
WORDS = st.text(max_size=20)
EVENTS = st.builds(
    Event, st.sampled_from(["published", "approved", "rejected", "begun", "dispatched", "refused"]), WORDS, WORDS,
    st.dictionaries(WORDS, WORDS, max_size=3), WORDS,
)  # fmt: skip
TRAILS = st.lists(EVENTS, min_size=1, max_size=6)
TIMED = ("seq", "partition", "at", "what", "who", "strategy_run", "note", "previous", "hash")


def chain(events: list[Event], day: date = DAY) -> list[Entry]:
    trail: list[Entry] = []
    for number, event in enumerate(events):
        trail.append(audit.follow(trail, day, event, AT + timedelta(minutes=number)))
    return trail


def wrong(objects: dict[str, bytes], head: str, entries: list[Entry]) -> list[str]:
    """What the auditor says, where everything that entries tell of is as they say and the head is known elsewhere."""
    found = {folder: digest for entry in entries for folder, digest in entry.digests.items()}
    answers = [folder for entry in entries for folder in entry.digests if entry.what in ("approved", "rejected")]
    return auditor.audit(Evidence(DAY, objects, [Anchor("the proof", head)], found, answers)).wrong


def stored(trail: list[Entry]) -> dict[str, bytes]:
    return {entry.key: entry.to_bytes() for entry in trail}


def consistent(events: list[Event]) -> bool:
    """No two entries give one folder different digests: of an artefact, that would be a change in itself."""
    pairs = {(folder, digest) for event in events for folder, digest in event.digests.items()}
    return len({folder for folder, _ in pairs}) == len(pairs)


@given(TRAILS.filter(consistent))
def test_an_honest_trail_holds(events: list[Event]) -> None:
    trail = chain(events)
    assert wrong(stored(trail), trail[-1].hash, trail) == []


@given(TRAILS.filter(consistent), st.data())
def test_any_single_change_of_an_entry_is_found(events: list[Event], data: st.DataObject) -> None:
    trail = chain(events)
    place = data.draw(st.integers(0, len(trail) - 1))
    name = data.draw(st.sampled_from([*TIMED, "digests"]))
    body = asdict(trail[place])
    value = data.draw(st.dictionaries(WORDS, WORDS, max_size=3) if name == "digests" else WORDS)
    if body[name] == value:
        return
    objects = stored(trail)
    forged = {**body, name: value}
    objects[trail[place].key] = _bytes(forged)
    assert wrong(objects, trail[-1].hash, trail), "a plain edit"
    rehashed = {key: kept for key, kept in forged.items() if key != "hash"}
    objects[trail[place].key] = _bytes({**rehashed, "hash": auditor.content_hash(_bytes(forged))})
    if name != "hash":
        assert wrong(objects, trail[-1].hash, trail), "an edit by somebody who knows how the hash is made"


@given(TRAILS.filter(consistent), st.data())
def test_any_bytes_in_place_of_an_entry_s_are_found(events: list[Event], data: st.DataObject) -> None:
    trail = chain(events)
    entry = data.draw(st.sampled_from(trail))
    raw = entry.to_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    objects = stored(trail) | {entry.key: raw[:place] + bytes([value]) + raw[place + 1 :]}
    found = wrong(objects, trail[-1].hash, trail)
    assert any(f"entry {entry.seq}" in words or entry.key in words for words in found)


@given(TRAILS.filter(consistent), st.data())
def test_any_removal_is_found_at_the_end_too(events: list[Event], data: st.DataObject) -> None:
    trail = chain(events)
    gone = data.draw(st.sampled_from(trail))
    objects = stored(trail)
    del objects[gone.key]
    found = wrong(objects, trail[-1].hash, trail)
    assert any(str(gone.seq) in words or "removed at its end" in words for words in found)
    renumbered = [entry for entry in trail if entry is not gone]
    closed_up = {f"audit/day={DAY}/{number:04d}.json": entry.to_bytes() for number, entry in enumerate(renumbered, 1)}
    assert wrong(closed_up, trail[-1].hash, trail)


@given(TRAILS.filter(consistent).filter(lambda events: len(events) > 1), st.data())
def test_any_exchange_of_two_entries_is_found(events: list[Event], data: st.DataObject) -> None:
    trail = chain(events)
    one, other = data.draw(st.permutations(range(len(trail))))[:2]
    objects = stored(trail)
    objects[trail[one].key], objects[trail[other].key] = objects[trail[other].key], objects[trail[one].key]
    assert wrong(objects, trail[-1].hash, trail)


@given(TRAILS.filter(consistent), EVENTS, st.data())
def test_any_entry_that_is_put_in_or_beside_is_found(events: list[Event], event: Event, data: st.DataObject) -> None:
    trail = chain(events)
    place = data.draw(st.integers(0, len(trail)))
    intruder = audit.follow(trail[:place], DAY, event, AT)
    shifted = [*trail[:place], intruder, *trail[place:]]
    moved = {f"audit/day={DAY}/{number:04d}.json": entry.to_bytes() for number, entry in enumerate(shifted, 1)}
    beside = {**stored(trail), f"audit/day={DAY}/{intruder.seq:04d}-fork.json": intruder.to_bytes()}
    if place < len(trail):  # at the end it is an entry like any other
        assert wrong(moved, trail[-1].hash, trail)
    assert wrong(beside, trail[-1].hash, trail)


@given(TRAILS.filter(consistent))
def test_a_trail_written_anew_or_taken_from_another_day_is_found(events: list[Event]) -> None:
    trail, other = chain(events), chain([Event("published", "x", "y", {}), *events])
    assert wrong(stored(other), trail[-1].hash, trail)
    yesterday = chain(events, DAY - timedelta(days=1))
    moved = {f"audit/day={DAY}/{entry.seq:04d}.json": entry.to_bytes() for entry in yesterday}
    assert any("it was moved" in words for words in wrong(moved, yesterday[-1].hash, trail))


def test_an_event_is_told_once_and_what_holds_now_again(object_store: ObjectStore) -> None:
    one, other = (Event("published", "step publish", run, {}) for run in ("r1", "r2"))
    said = Event("approved", "ana", "r1", {"approval": "ab"})
    for event in (one, one, said, other, said, one):
        audit.append(object_store, DAY, event, AT)
    trail = audit.verified(object_store, DAY)
    assert [(entry.seq, entry.what, entry.strategy_run) for entry in trail] == [
        (1, "published", "r1"), (2, "approved", "r1"), (3, "published", "r2"), (4, "published", "r1"),
    ]  # fmt: skip
    assert trail[0].at == "2017-10-04T09:00:00+00:00"


def test_two_writers_that_meet_get_two_numbers(object_store: ObjectStore) -> None:
    """The second looked before the first had written: its number is taken, so it looks again."""
    late = Event("refused", "bo", "", {}, "late")

    class Slow:
        """The real store, in which somebody else's entry comes between our look and our put."""

        met = False

        def keys(self, prefix: str) -> list[str]:
            return object_store.keys(prefix)

        def get(self, key: str) -> bytes | None:
            return object_store.get(key)

        def put_once(self, key: str, body: bytes) -> bool:
            if not self.met:
                self.met = True
                audit.append(object_store, DAY, Event("published", "ana", "r1", {}), AT)
            return object_store.put_once(key, body)

    assert audit.append(Slow(), DAY, late, AT).seq == 2
    assert [entry.who for entry in audit.verified(object_store, DAY)] == ["ana", "bo"]


@pytest.mark.parametrize(
    ("number", "change", "says"),
    [
        (1, lambda body: body | {"who": "bo"}, "changed at entry 1"),
        (2, lambda body: body | {"partition": "2017-10-02"}, "changed at entry 2"),
        (2, lambda body: [body], "no entry of an audit trail"),
    ],
)
def test_nothing_goes_by_a_trail_that_was_changed(
    object_store: ObjectStore, number: int, change: Any, says: str
) -> None:
    for who in ("ana", "bo", "cy"):
        audit.append(object_store, DAY, Event("refused", who, "", {}), AT)
    key = f"audit/day={DAY}/{number:04d}.json"
    object_store.put(key, json.dumps(change(json.loads(object_store.get(key) or b""))).encode())
    with pytest.raises(BrokenTrail, match=says):
        audit.verified(object_store, DAY)


def test_nothing_goes_by_a_trail_with_a_gap(object_store: ObjectStore) -> None:
    for who in ("ana", "bo", "cy"):
        audit.append(object_store, DAY, Event("refused", who, "", {}), AT)
    object_store.delete(f"audit/day={DAY}/0002.json")
    with pytest.raises(BrokenTrail, match="before entry 3"):
        audit.verified(object_store, DAY)


def _bytes(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
