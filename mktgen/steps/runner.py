"""Run one step of the loop: find its inputs, know its derivation, compute or reuse, store, report.

A step is complete when its record `_steps/<step>/dt=<day>/run=<derivation>.json` exists; it lists what was written.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Final, Literal, TypeVar

import polars as pl

from mktgen import config
from mktgen.contracts import contract
from mktgen.documents import Document
from mktgen.errors import MissingArtefact, MktgenError, PermanentError
from mktgen.parts import Parts, blocks
from mktgen.settings import Settings
from mktgen.settings.base import Section
from mktgen.sources import open_source
from mktgen.sources.base import Source
from mktgen.store import Manifest, ObjectStore, Parent, Provenance, S3Location, Store

D = TypeVar("D", bound=Document)
Recompute = Literal["changed", "day", "all"]
_KEPT_TABLES: Final = 8


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Platform:
    """The parts a run works with: settings, places, the store, the source."""

    settings: Settings
    environment: config.Environment
    clock: Callable[[], datetime] = _now  # looked at only where a message leaves at once
    _kept: OrderedDict[str, pl.DataFrame] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @classmethod
    def from_environment(cls) -> Platform:
        environment = config.environment()
        return cls(config.settings(environment.overlays), environment)

    @cached_property
    def objects(self) -> ObjectStore:
        where = self.environment
        return ObjectStore(S3Location(where.s3_endpoint, where.s3_bucket, where.s3_prefix, where.s3_region))

    @cached_property
    def store(self) -> Store:
        return Store(self.objects)

    def read(self, manifest: Manifest) -> pl.DataFrame:
        """One table. The last few are kept: a catalogue or a week's promotions serve many days of an onboarding."""
        key = f"{manifest.folder} {manifest.digest}"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        frame = self.store.read_table(manifest)
        with self._lock:
            self._kept[key] = frame
            while len(self._kept) > _KEPT_TABLES:
                self._kept.popitem(last=False)
        return frame

    @cached_property
    def source(self) -> Source:
        return open_source(self.settings.source, self.environment.pseudonym_key, self.objects)


@dataclass(frozen=True)
class Read:
    """An input: an artefact over days. `written_by` is named to the person when a required day is missing.

    manifests: these, whatever is current; for what went by a version that may have been made anew since.
    """

    artefact: str
    days: tuple[date, ...]
    required: bool = True
    written_by: str = ""
    manifests: tuple[Manifest, ...] | None = None


@dataclass
class Outcome:
    """What a step's body gives. `stop`: the outputs are stored, then this error is raised (a failed gate).

    parts: tables that the body gave frame by frame (Run.parts).
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    parts: list[Parts] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stop: PermanentError | None = None


@dataclass(frozen=True)
class Run:
    """One execution of a step: its day, its inputs, its derivation."""

    day: date
    run_id: str
    platform: Platform
    inputs: dict[str, list[Manifest]]
    scratch: Path | None = None  # a folder that lives as long as the step's body and the storing of its outputs

    @property
    def settings(self) -> Settings:
        return self.platform.settings

    def has(self, artefact: str) -> bool:
        return bool(self.inputs.get(artefact))

    def table(self, artefact: str) -> pl.DataFrame:
        """All rows of an input over its days; empty where an optional input is not there."""
        manifests = self.inputs[artefact]
        if len(manifests) == 1:
            return self.platform.read(manifests[0])
        return self.platform.store.read_table(manifests) if manifests else contract(artefact).empty()

    def blocks(self, artefacts: tuple[str, ...], by: str, size: int) -> Iterator[dict[str, pl.DataFrame]]:
        """Rows of several inputs for `size` values of `by` at a time, in order: see parts.blocks.

        An optional input that is not there has no rows in any block.
        """
        store = self.platform.store
        return blocks({name: store.stream_table(self.inputs[name], name) for name in artefacts}, by, size)

    def parts(self, artefact: str) -> Parts:
        """An output to be given frame by frame; full parts wait on disk (TMPDIR) until the step is complete."""
        if self.scratch is None:
            raise RuntimeError(f"{artefact}: parts are written by a step's body, while it runs")
        return Parts(artefact, self.scratch / artefact)

    def tables_by_day(self, artefact: str) -> dict[date, pl.DataFrame]:
        return {date.fromisoformat(m.partition): self.platform.store.read_table(m) for m in self.inputs[artefact]}

    def document(self, artefact: str, kind: type[D]) -> D:
        return self.platform.store.read_document(self.inputs[artefact][-1], kind)

    def files(self, artefact: str, prefix: str = "") -> dict[str, bytes]:
        return self.platform.store.read_files(self.inputs[artefact][-1], prefix)

    def uri(self, artefact: str) -> str:
        return self.platform.objects.uri(self.inputs[artefact][-1].folder)


@dataclass(frozen=True)
class Step:
    """One row of the table in pipeline.py. `code`: packages that determine the bytes. `sections`: settings it depends on.

    `at`: the partition it works on (training steps work on the training day that serves a day). `identity`: what else
    determines the bytes (a source's version). `after`: idempotent effects outside the store (MLflow), run every time.
    """

    name: str
    dag: Literal["onboarding", "loop", "execution", "feedback"]
    doc: str
    body: Callable[[Run], Outcome]
    reads: Callable[[date, Platform], list[Read]]
    writes: tuple[str, ...]
    code: tuple[str, ...]
    sections: tuple[str, ...] = ()
    at: Callable[[date, Platform], date] | None = None
    identity: Callable[[date, Platform], str] | None = None
    after: Callable[[Run, dict[str, Manifest]], list[str]] | None = None


@dataclass(frozen=True)
class StepResult:
    step: str
    partition: date
    run_id: str
    reused: bool
    artefacts: dict[str, str]
    rows: dict[str, int]
    digests: dict[str, str]
    seconds: float
    notes: list[str]


@dataclass(frozen=True)
class Record:
    """Proof that a derivation of a step is complete: artefacts written, notes, and the error it stopped with, if any."""

    artefacts: list[str]
    notes: list[str]
    stop: str
    error: str


def execute(step: Step, day: date, platform: Platform, recompute: Recompute = "changed") -> StepResult:
    """Run a step for a day, or find that the same derivation was stored before.

    `recompute`: "changed" reuses equal derivations; "day" computes again what belongs to the day; "all" training too. What
    is computed again must give the same bytes (else NonDeterminism). Raises MissingArtefact naming day and step to run,
    and whatever the step's body raises; an outcome with `stop` is stored, then raised, also when it is reused.
    """
    started = time.monotonic()
    at = step.at(day, platform) if step.at else day
    inputs = resolve(step.name, at, step.reads(at, platform), platform)
    source = _provenance(step, at, platform, inputs)
    run = Run(at, source.run, platform, inputs)
    again = recompute == "all" or (recompute == "day" and step.at is None)
    record = None if again else _record(step, at, source.run, platform)
    reused = record is not None
    if record is None:
        record = _compute(step, run, source)
    written = _point(step, record, platform, at, source.run)
    if record.stop:
        raise _error(record.error, record.stop)
    notes = list(record.notes)
    if step.after is not None:
        notes += step.after(run, written)
    return StepResult(
        step=step.name,
        partition=at,
        run_id=source.run,
        reused=reused,
        artefacts={name: platform.objects.uri(manifest.folder) for name, manifest in written.items()},
        rows={name: manifest.rows for name, manifest in written.items()},
        digests={name: manifest.digest for name, manifest in written.items()},
        seconds=round(time.monotonic() - started, 3),
        notes=notes,
    )


def resolve(name: str, day: date, reads: list[Read], platform: Platform) -> dict[str, list[Manifest]]:
    """What is stored of the inputs. Raises MissingArtefact naming the days that are missing, and the step to run."""
    inputs: dict[str, list[Manifest]] = {}
    for read in reads:
        if read.manifests is not None:
            inputs[read.artefact] = list(read.manifests)
            continue
        found = platform.store.currents(read.artefact, read.days)
        if read.required and len(found) < len(read.days):
            have = {manifest.partition for manifest in found}
            missing = [d for d in read.days if d.isoformat() not in have]
            span = f"{missing[0]}" if len(missing) == 1 else f"{len(missing)} days from {missing[0]} to {missing[-1]}"
            raise MissingArtefact(
                f"{name} of {day} needs {read.artefact} of {span}, which has not been written. "
                f"Run {read.written_by or 'the step that writes it'} for it first."
            )
        inputs[read.artefact] = found
    return inputs


def _provenance(step: Step, day: date, platform: Platform, inputs: dict[str, list[Manifest]]) -> Provenance:
    settings = platform.settings
    sections: list[Section] = [getattr(settings, name) for name in step.sections]
    code, version = config.code_version(step.code), config.config_version(tuple(sections))
    parents = tuple(manifest.as_parent() for name in sorted(inputs) for manifest in inputs[name])
    identity = step.identity(day, platform) if step.identity else ""
    content = [[parent.artefact, parent.partition, parent.digest] for parent in parents]
    body = json.dumps([step.name, day.isoformat(), code, version, settings.seed, identity, content])
    run = hashlib.sha256(body.encode()).hexdigest()[:16]
    info = {"git_commit": config.git_commit(), "source": identity}
    return Provenance(step.name, run, code, version, settings.seed, parents, info)


def _compute(step: Step, run: Run, source: Provenance) -> Record:
    with tempfile.TemporaryDirectory(prefix="mktgen-parts-") as scratch:
        outcome = step.body(replace(run, scratch=Path(scratch)))
        written = _store(step, run, outcome, source)
    stop = outcome.stop
    record = Record(sorted(written), outcome.notes, str(stop) if stop else "", type(stop).__name__ if stop else "")
    run.platform.objects.put_once(
        _record_key(step, run.day, source.run), json.dumps(record.__dict__, indent=1).encode()
    )
    return record


def _store(step: Step, run: Run, outcome: Outcome, source: Provenance) -> dict[str, Manifest]:
    store = run.platform.store
    names = {*outcome.tables, *outcome.documents, *outcome.files, *(table.artefact for table in outcome.parts)}
    unknown = names - set(step.writes)
    unknown -= {name for name in unknown if name.startswith("raw_") and "raw_*" in step.writes}
    if unknown:
        raise RuntimeError(f"{step.name} wrote {sorted(unknown)}, which its row in pipeline.py does not list")
    written: dict[str, Manifest] = {}
    for name, frame in sorted(outcome.tables.items()):
        written[name] = store.write_table(name, run.day, frame, source, point=False)
    for table in outcome.parts:
        written[table.artefact] = store.write_parts(table, run.day, source, point=False)
    for name, document in sorted(outcome.documents.items()):
        written[name] = store.write_document(name, run.day, document, source, point=False)
    for name, files in sorted(outcome.files.items()):
        written[name] = store.write_files(name, run.day, files, source, point=False)
    return written


def _record_key(step: Step, day: date, run: str) -> str:
    return f"_steps/{step.name}/dt={day.isoformat()}/run={run}.json"


def _record(step: Step, day: date, run: str, platform: Platform) -> Record | None:
    raw = platform.objects.get(_record_key(step, day, run))
    return None if raw is None else Record(**json.loads(raw))


def _point(step: Step, record: Record, platform: Platform, day: date, run: str) -> dict[str, Manifest]:
    """Let readers take the outputs of this derivation, and no output that only another derivation of the day had."""
    store, written = platform.store, {}
    for name in record.artefacts:
        manifest = store.manifest_of_run(name, day, run)
        if manifest is None:
            raise MissingArtefact(f"{name} of {day} run {run} is recorded as written but its manifest is gone")
        store.point(manifest)
        written[name] = manifest
    for key in platform.objects.keys(f"_steps/{step.name}/dt={day.isoformat()}/"):
        if not key.endswith(f"run={run}.json"):
            other = Record(**json.loads(platform.objects.get(key) or b"{}"))
            for name in set(other.artefacts) - set(record.artefacts):
                store.withdraw(name, day)
    return written


def _error(name: str, message: str) -> PermanentError:
    kinds = {kind.__name__: kind for kind in _all_errors(MktgenError)}
    kind = kinds.get(name, PermanentError)
    return kind(message) if issubclass(kind, PermanentError) else PermanentError(message)


def _all_errors(kind: type[MktgenError]) -> list[type[MktgenError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_errors(child))]


__all__ = ["Outcome", "Parent", "Platform", "Read", "Recompute", "Run", "Step", "StepResult", "execute", "resolve"]
