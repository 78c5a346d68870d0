"""What is tracked of a trained model, and what tracking answers. Plain values: nothing here knows MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl

from mktgen.documents import Interval, ModelEntry

RunStatus = Literal["FINISHED", "KILLED", "FAILED"]


@dataclass(frozen=True)
class Input:
    """A dataset a model saw: its manifest's URI and SHA-256 (hex), and whether for `training` or `evaluation`."""

    name: str
    uri: str
    sha256: str
    context: str
    rows: int


@dataclass(frozen=True)
class ModelRun:
    """All that is logged of one trained model.

    `directory`: the saved model on this machine. `artefact_run`: the derivation id of the `models` artefact, which
    with kind and partition identifies the run. `comparison`: kind -> metrics of all kinds on the same cut.
    `reliability`: evaluation.classification.churn_reliability's table, where the model has the customer task.
    `caveat`: what the card says that the figures are; `judged`: what they were found on.
    `loader`: module with `_load_pyfunc`. `packages`: distributions needed to load it beside the common ones (torch
    for the neural kinds).
    """

    entry: ModelEntry
    tasks: frozenset[str]
    description: str
    directory: Path
    artefact_run: str
    training_partition: date
    evaluation_from: date
    evaluation_to: date
    inputs: Sequence[Input]
    comparison: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reliability: pl.DataFrame | None = None
    loader: str = "mktgen.models.serving"
    packages: tuple[str, ...] = ()
    git_commit: str | None = None
    notice: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    caveat: str = "Predictions only: nothing here says what a contact or a coupon would change."
    judged: str = "the same for all kinds; ranked anew each week"

    @property
    def identity(self) -> dict[str, str]:
        return identity(self.artefact_run, self.entry.kind, self.training_partition)


@dataclass(frozen=True)
class PlainRun:
    """A run without a model: a search, one of its trials, a comparison of kinds.

    identity: tags by which it is found again. metrics: name, value, step. files: name -> text. note: Markdown, shown first.
    """

    name: str
    identity: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    metrics: Sequence[tuple[str, float, int]] = ()
    inputs: Sequence[Input] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    status: RunStatus = "FINISHED"


@dataclass(frozen=True)
class Logged:
    """Where a model is in MLflow. `created`: False where it had been logged before. `versions`: task -> version."""

    run_id: str
    model_uri: str
    versions: dict[str, str]
    created: bool


@dataclass(frozen=True)
class Roles:
    """Who has which alias in one registered model from `partition` on. days: alias -> training day of the version."""

    task: str
    kind: str
    partition: date
    days: Mapping[str, date]
    reason: str
    rule: str


@dataclass(frozen=True)
class AliasMove:
    """What a promotion did to one registered model. `moved`: False where a newer partition had been promoted."""

    task: str
    name: str
    moved: bool
    aliases: dict[str, str]
    reason: str


def bounded(name: str, value: Interval) -> list[tuple[str, float, int]]:
    """A figure and its bounds as PlainRun.metrics; bounds are named alike wherever a figure stands."""
    return [(name, value.value, 0), (f"{name}_low", value.low, 0), (f"{name}_high", value.high, 0)]


def identity(artefact_run: str, kind: str, partition: date) -> dict[str, str]:
    return {
        "mktgen.artefact_run": artefact_run,
        "mktgen.kind": kind,
        "mktgen.training_partition": partition.isoformat(),
    }
