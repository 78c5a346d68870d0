"""A check of a day's audit trail that shares no code with what writes it (execution/audit.py).

From the stored bytes alone: every entry is canonical, has its hash and number and follows the one before; and everything
that kept a hash of the trail elsewhere (answers, the proof of the dispatch, MLflow) finds it here, so that entries which
were cut off at the end are missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

_FIELDS: Final = {"seq", "partition", "at", "what", "who", "strategy_run", "digests", "note", "previous", "hash"}
_FIRST: Final = "0" * 64


@dataclass(frozen=True)
class Anchor:
    """A hash of the trail that was kept elsewhere. where: in words."""

    where: str
    hash: str


@dataclass(frozen=True)
class Evidence:
    """What is stored of a day. objects: key -> bytes below audit/day=<day>/. found: folder of an artefact -> digest of its
    content as it is now, "" where its files are gone or do not match. answers: folders of the day's answers."""

    day: date
    objects: Mapping[str, bytes]
    anchors: Sequence[Anchor]
    found: Mapping[str, str]
    answers: Sequence[str]


@dataclass(frozen=True)
class Audit:
    """entries: those that can be read, in order. wrong: in words, each naming its entry."""

    entries: list[dict[str, Any]]
    wrong: list[str]


def audit(evidence: Evidence) -> Audit:
    """Every check; the trail holds if nothing is wrong."""
    entries, wrong, hashes = [], [], {_FIRST}
    before, due = _FIRST, 1
    for key in sorted(evidence.objects):
        raw = evidence.objects[key]
        number = _number(key, evidence.day)
        body = _body(raw)
        if number is None or body is None:
            wrong.append(f"{key} is no entry of this trail: it was put there, or changed")
            continue
        name = _named(number, body)
        if number != due:
            wrong.append(f"entry {due} is missing: after entry {due - 1} comes {name}")
        wrong += [f"{name} {words}" for words in _faults(raw, body, number, before, evidence.day)]
        entries.append(body)
        before, due = str(body["hash"]), number + 1
        hashes.add(before)
    for anchor in evidence.anchors:
        if anchor.hash not in hashes:
            wrong.append(
                f"{anchor.where} names an entry with hash {anchor.hash[:12] or 'unknown'}, and the trail has none: entries "
                f"were removed at its end (it ends with entry {due - 1}) or written anew"
            )
    wrong += _artefacts(entries, evidence)
    return Audit(entries, wrong)


def _number(key: str, day: date) -> int | None:
    name = key.removeprefix(f"audit/day={day.isoformat()}/").removesuffix(".json")
    return int(name) if len(name) >= 4 and name.isascii() and name.isdigit() and f"{int(name):04d}" == name else None


def _body(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) and set(body) == _FIELDS and isinstance(body["digests"], dict) else None


def _faults(raw: bytes, body: Mapping[str, Any], number: int, before: str, day: date) -> Iterator[str]:
    if _text(body) != raw or content_hash(raw) != body["hash"]:
        yield "was changed: its content does not give its hash"
    if body["seq"] != number or body["partition"] != day.isoformat():
        yield f"says it is entry {body['seq']} of {body['partition']}: it was moved"
    if body["previous"] != before:
        yield "does not follow the entry before it: one was removed, put in, exchanged or changed"


def content_hash(raw: bytes) -> str:
    """The hash that an entry's content gives; "" of what is no entry."""
    body = _body(raw)
    if body is None:
        return ""
    return hashlib.sha256(_text({name: value for name, value in body.items() if name != "hash"})).hexdigest()


def _text(body: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(',', ':'))}\n".encode()


def _artefacts(entries: Sequence[Mapping[str, Any]], evidence: Evidence) -> Iterator[str]:
    """What was approved and sent is what is stored now, and every answer that is stored stands in the trail."""
    for entry in entries:
        if entry["what"] not in ("approved", "rejected", "dispatched"):
            continue
        for folder, digest in sorted(entry["digests"].items()):
            if folder != "shown" and evidence.found.get(folder) != digest:
                state = "was changed since" if evidence.found.get(folder) else "is gone, or its files do not match it"
                yield f"{_named(entry['seq'], entry)}: {folder} {state}"
    told = {folder for entry in entries if entry["what"] in ("approved", "rejected") for folder in entry["digests"]}
    for folder in evidence.answers:
        if folder not in told:
            yield f"{folder} is an answer that no entry tells of"


def _named(number: object, body: Mapping[str, Any]) -> str:
    return f"entry {number} ({body['what']} by {body['who']})"


def _printable(text: object) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def render(day: date, audited: Audit) -> str:
    """What `python -m mktgen audit` prints."""
    lines = [f"Audit trail of {day}: {len(audited.entries)} entries"]
    for entry in audited.entries:
        about = f", strategy run {entry['strategy_run']}" if entry["strategy_run"] else ""
        lines.append(f"  {entry['seq']:>3}  {entry['at']}  {entry['what']} by {entry['who']}{about}")
        lines += [f"       {_printable(entry['note'])}"] if entry["note"] else []
        lines.append(f"       {str(entry['hash'])[:16]} after {str(entry['previous'])[:16]}")
    lines += [f"  WRONG: {words}" for words in audited.wrong]
    return "\n".join([*lines, f"  DOES NOT HOLD: {len(audited.wrong)} faults" if audited.wrong else "  holds"])
