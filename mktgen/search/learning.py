"""One model learns at one fold and is judged there: in a process of its own, and once.

A process of its own, because what a search tries may run out of memory: that ends one trial and not the search. Once,
because what was judged is kept on S3 under a digest of all that decides it (code, settings, seed, the days' content).
A killed search or a comparison of the same models finds it there; so nothing else has to be remembered of a search.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from mktgen import config, models
from mktgen.errors import TransientError
from mktgen.models.base import History, Session, TrainingSet
from mktgen.search.folds import JUDGED_DAYS, Past
from mktgen.search.measures import HOUSEHOLDS
from mktgen.settings import ModelSettings, Settings
from mktgen.steps.judging import Answers, Judgement, answers, judgement_at
from mktgen.steps.runner import Platform
from mktgen.steps.train_worker import S3Checkpoints
from mktgen.steps.workers import die_with_parent
from mktgen.steps.worlds import training_tables
from mktgen.store import ObjectStore, S3Location

PREFIX: Final = "_search"
_CODE: Final = (
    "search.learning",
    "search.folds",
    "steps.worlds",
    "steps.judging",
    "models",
    "features",
    "evaluation",
)
_CENTS: Final = 100.0


class TrialFailed(Exception):
    """A model could not be trained or judged with these settings; the message says why."""


@dataclass(frozen=True)
class Learned:
    """A model at one fold. households: measures.HOUSEHOLDS of everyone it was judged on. seconds: fit and judging."""

    metrics: dict[str, float]
    households: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class _Job:
    kind: str
    settings: ModelSettings
    seed: int
    cut: date
    tables: Path
    place: S3Location
    checkpoints: str
    label: str


class Learning:
    """Trains and judges models at the cuts of one past. Made by `learning`."""

    def __init__(self, platform: Platform, past: Past, room: Path, say: Callable[[str], None]) -> None:
        self.platform, self.past, self.say = platform, past, say
        self._room = room
        self._pool: ProcessPoolExecutor | None = None

    def learn(self, kind: str, settings: ModelSettings, cut: date, label: str) -> Learned:
        """What a kind with these settings is worth at a cut; found where it was judged before.

        Raises TrialFailed where it can't be trained or judged, TransientError where S3 is away.
        """
        whole = self.platform.settings.model_copy(update={"models": settings})
        key, objects = self._key(kind, whole, cut), self.platform.objects
        kept = _kept(objects, key)
        if kept is not None:
            return kept
        checkpoints = f"_checkpoints/search-{key}/"
        tables = self._tables(whole, cut)
        job = _Job(kind, settings, whole.seed, cut, tables, objects.location, checkpoints, label)
        learned = self._run(job)
        _keep(objects, key, learned)
        for name in objects.keys(checkpoints):
            objects.delete(name)
        return learned

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _key(self, kind: str, settings: Settings, cut: date) -> str:
        sections = config.config_version((settings.models, settings.features))
        data = self.past.digest(cut + timedelta(days=JUDGED_DAYS))
        facts = [kind, cut.isoformat(), sections, settings.seed, data, config.code_version(_CODE)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]

    def _tables(self, settings: Settings, cut: date) -> Path:
        """The fold's tables as files, made when first asked for: the folds together would not fit in memory."""
        place = self._room / f"{cut}-{settings.models.train_cuts}"
        if not place.exists():
            lines = self.past.until(cut + timedelta(days=JUDGED_DAYS))
            at = judgement_at(lines, cut, settings, self.past.around)
            parts = {
                "training": training_tables(lines, cut, self.past.first_day, settings) | self.past.around.before(cut),
                "history": _frames(at.history),
                "judgement": _frames(at),
            }
            for part, frames in parts.items():
                (place / part).mkdir(parents=True)
                for name, frame in frames.items():
                    frame.write_parquet(place / part / f"{name}.parquet")
        return place

    def _run(self, job: _Job) -> Learned:
        if self._pool is None:
            # Spawned: a forked process would inherit locks of threads that it doesn't have.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_enter)
        try:
            learned = self._pool.submit(_learn, job).result()
        except BrokenProcessPool:
            self.close()
            raise TrialFailed("the training process was ended from outside (out of memory?)") from None
        self.say(f"{job.label} {learned.seconds:.1f} s")
        return learned


@contextmanager
def learning(platform: Platform, past: Past, say: Callable[[str], None]) -> Iterator[Learning]:
    """A place to learn in while the block runs; the process and the files end with it."""
    with tempfile.TemporaryDirectory(prefix="mktgen-search-") as room:
        made = Learning(platform, past, Path(room), say)
        try:
            yield made
        finally:
            made.close()


def _enter() -> None:
    """The process that learns begins: before torch is loaded."""
    die_with_parent()
    os.environ.update(
        {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    )  # as in steps.training: spinning threads starve others


def _learn(job: _Job) -> Learned:
    """Runs in the process that learns."""
    started = time.monotonic()
    objects = ObjectStore(job.place)
    model = models.model_class(job.kind)()
    data = TrainingSet(job.cut, **_read(job.tables / "training"))
    session = Session(
        job.seed,
        S3Checkpoints(objects, f"{job.checkpoints}{job.kind}", writes=True),
        lambda line: print(f"{job.label} {line}", flush=True),
    )
    try:
        report = model.fit(data, job.settings, session)
        at = _judgement(job)
        said = answers(model, at)
    except TransientError:
        raise
    except Exception as error:  # whatever a setting does to a training is the trial's result
        raise TrialFailed(f"{type(error).__name__}: {error}") from None
    metrics = said.metrics | {f"training.{name}": value for name, value in report.metrics.items()}
    return Learned(metrics, _households(said, at), round(time.monotonic() - started, 3))


def _judgement(job: _Job) -> Judgement:
    history = History(job.cut, **_read(job.tables / "history"))
    frames = _read(job.tables / "judgement")
    active: list[str] = frames["outcomes"]["customer_id"].to_list()
    return Judgement(history=history, customers=active, **frames)


def _frames(holder: History | Judgement) -> dict[str, pl.DataFrame]:
    return {name: value for name, value in vars(holder).items() if isinstance(value, pl.DataFrame)}


def _read(folder: Path) -> dict[str, Any]:
    return {path.stem: pl.read_parquet(path) for path in sorted(folder.iterdir())}


def _households(said: Answers, at: Judgement) -> pl.DataFrame:
    """measures.HOUSEHOLDS of the customers that were judged, sorted."""
    made = at.outcomes.select("customer_id")
    if said.ranked is not None:
        made = made.join(said.ranked.select("customer_id", "ndcg_at_10"), on="customer_id", how="left")
    if said.chances is not None:
        chances = at.outcomes.select("customer_id", "purchased_28d").join(said.chances, on="customer_id")
        made = made.join(chances.select("customer_id", "purchased_28d", "p_purchase_28d"), on="customer_id", how="left")
    if said.amounts is not None:
        real = at.outcomes.select("customer_id", pl.col("spend_28d_minor").alias("real"))
        error = ((pl.col("spend_28d_minor") - pl.col("real")).abs() / _CENTS).alias("spend_error")
        errors = said.amounts.join(real, on="customer_id").select("customer_id", error)
        made = made.join(errors, on="customer_id", how="left")
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in HOUSEHOLDS.items() if name not in made.columns]
    return made.with_columns(missing).select(list(HOUSEHOLDS)).sort("customer_id")


# -- what was judged is kept ----------------------------------------------------------------------------------------
def _keep(objects: ObjectStore, key: str, learned: Learned) -> None:
    body = io.BytesIO()
    learned.households.write_parquet(body)
    objects.put(f"{PREFIX}/judged/{key}/households.parquet", body.getvalue())
    facts = {"metrics": learned.metrics, "seconds": learned.seconds}
    # Last: where it is, the table is.
    objects.put(f"{PREFIX}/judged/{key}/result.json", json.dumps(facts, sort_keys=True).encode())


def _kept(objects: ObjectStore, key: str) -> Learned | None:
    facts = objects.get(f"{PREFIX}/judged/{key}/result.json")
    table = objects.get(f"{PREFIX}/judged/{key}/households.parquet") if facts else None
    if facts is None or table is None:
        return None
    return Learned(households=pl.read_parquet(io.BytesIO(table)), **json.loads(facts))
