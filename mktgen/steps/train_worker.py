"""The process that learns: `torchrun -m mktgen.steps.train_worker --job DIR --kinds A B` (workers.py starts it).

Kinds that are done leave their files on S3; neural kinds leave checkpoints there. A killed training goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from mktgen import models
from mktgen.contracts import SAMPLE_SCORES
from mktgen.documents import ModelEntry
from mktgen.models.base import History, Model, Session, TrainingSet
from mktgen.settings import ModelSettings
from mktgen.steps.runner import Platform
from mktgen.steps.training import JOB_TABLES, SAMPLE, speed_key
from mktgen.steps.workers import die_with_parent
from mktgen.steps.worlds import AROUND, TABLES, scored
from mktgen.store import ObjectStore


class S3Checkpoints:
    """The newest state of one training under a prefix: files first, then the pointer that names them."""

    def __init__(self, objects: ObjectStore, prefix: str, writes: bool) -> None:
        self._objects, self._prefix, self._writes = objects, prefix, writes

    def load(self) -> dict[str, bytes] | None:
        pointer = self._objects.get(f"{self._prefix}/_latest.json")
        if pointer is None:
            return None
        files: dict[str, bytes] = {}
        for name, key in json.loads(pointer).items():
            body = self._objects.get(key)
            if body is None or hashlib.sha256(body).hexdigest() not in key:
                return None
            files[name] = body
        return files

    def save(self, files: dict[str, bytes]) -> None:
        if not self._writes:
            return
        before = self._objects.get(f"{self._prefix}/_latest.json")
        keys = {name: f"{self._prefix}/{hashlib.sha256(body).hexdigest()}-{name}" for name, body in files.items()}
        for name, body in files.items():
            self._objects.put(keys[name], body)
        self._objects.put(f"{self._prefix}/_latest.json", json.dumps(keys).encode())
        for old in set(json.loads(before).values() if before else []) - set(keys.values()):
            self._objects.delete(old)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", required=True)
    arguments = parser.parse_args()
    job: Path = arguments.job
    die_with_parent()
    body = json.loads((job / "job.json").read_text())
    settings = ModelSettings.model_validate(body["models"])
    frames: dict[str, Any] = {name: pl.read_parquet(job / f"{name}.parquet") for name in (*JOB_TABLES, *AROUND)}
    data = TrainingSet(date.fromisoformat(body["cut"]), **frames)
    objects, first = Platform.from_environment().objects, int(os.environ.get("RANK", "0")) == 0
    for kind in arguments.kinds:
        prefix = f"{body['checkpoints']}{kind}"
        if first and not _fetch(objects, prefix, job, kind):
            _learn(kind, data, settings, body["seed"], objects, prefix, job)
        elif not first:
            _follow(kind, data, settings, body["seed"], objects, prefix)


def _say(kind: str) -> Callable[[str], None]:
    return lambda line: print(f"[{kind}] {line}", flush=True)


def _learn(
    kind: str, data: TrainingSet, settings: ModelSettings, seed: int, objects: ObjectStore, prefix: str, job: Path
) -> None:
    started, say = time.monotonic(), _say(kind)
    say("learning")
    model = models.model_class(kind)()
    report = model.fit(data, settings, Session(seed, S3Checkpoints(objects, prefix, writes=True), say))
    place = job / "models" / kind
    place.mkdir(parents=True, exist_ok=True)
    model.save(place)
    files = {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    entry = ModelEntry(
        kind=kind,
        directory=kind,
        metrics={},
        parameters=report.parameters,
        curves=report.curves,
        untrained=model.untrained,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    for name, content in files.items():
        objects.put(f"{prefix}/done/{name}", content)
    seconds = time.monotonic() - started
    scores = _score_sample(model, data, job)
    objects.put(f"{prefix}/scores.parquet", scores)
    _write(job / "scores" / f"{kind}.parquet", scores)
    speeds = {"seconds": [seconds], **report.speeds}
    objects.put(speed_key(prefix.split("/")[1], kind), json.dumps(speeds).encode())
    objects.put(f"{prefix}/done.json", entry.to_bytes())
    _write_entry(job, kind, entry.to_bytes())
    say(f"done in {seconds:.1f} s")


def _score_sample(model: Model, data: TrainingSet, job: Path) -> bytes:
    """contracts.SAMPLE_SCORES of the model as it is in memory: the stored one must say the same of the same customers."""
    tables = {name: pl.read_parquet(job / f"{SAMPLE}{name}.parquet") for name in TABLES}
    customers = json.loads((job / "job.json").read_text())["customers"]
    known = {name: getattr(data, name) for name in AROUND}
    scores = scored(model, History(data.cut, **tables, **known), customers).with_columns(
        pl.lit(model.kind).alias("kind")
    )
    body = io.BytesIO()
    scores.select(list(SAMPLE_SCORES.columns)).write_parquet(body)
    return body.getvalue()


def _follow(
    kind: str, data: TrainingSet, settings: ModelSettings, seed: int, objects: ObjectStore, prefix: str
) -> None:
    """Other ranks take part in kinds that train together, and have nothing to do for the rest."""
    kind_class = models.model_class(kind)
    if kind_class.distributed and objects.get(f"{prefix}/done.json") is None:
        kind_class().fit(data, settings, Session(seed, S3Checkpoints(objects, prefix, writes=False), lambda line: None))


def _fetch(objects: ObjectStore, prefix: str, job: Path, kind: str) -> bool:
    """Take a kind that an earlier, killed run had finished."""
    entry, scores = objects.get(f"{prefix}/done.json"), objects.get(f"{prefix}/scores.parquet")
    if entry is None or scores is None:
        return False
    for name in ModelEntry.model_validate_json(entry).files:
        content = objects.get(f"{prefix}/done/{name}")
        if content is None:
            return False
        _write(job / "models" / kind / name, content)
    _write(job / "scores" / f"{kind}.parquet", scores)
    _write_entry(job, kind, entry)
    _say(kind)("found, finished by an earlier run")
    return True


def _write_entry(job: Path, kind: str, entry: bytes) -> None:
    _write(job / "entries" / f"{kind}.json", entry)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()
