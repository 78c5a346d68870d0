"""Popularity: everybody is shown what most customers bought in the last 28 days."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from mktgen.models import _files
from mktgen.models._interactions import encode, popularity, rank_dense
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.settings import ModelSettings


class Popularity(Model):
    """Score = customer-days of purchase in the 28 days before the cut. Nothing is learnt."""

    kind: ClassVar[str] = "popularity"
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking"})
    untrained: ClassVar[bool] = True

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        return FitReport(parameters={"window_days": 28}, metrics={"items": float(data.items.height)})

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, universe(history))
        scores = popularity(history.items, known.items)
        return rank_dense(known, lambda low, high: np.tile(scores, (high - low, 1)), k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        raise TypeError(f"{self.kind} only ranks items; it gives no purchase probabilities")

    def save(self, directory: Path) -> None:
        _files.write_meta(directory, self.kind, {"window_days": 28})

    @classmethod
    def load(cls, directory: Path) -> Self:
        _files.read_meta(directory, cls.kind)
        return cls()


def universe(history: History) -> list[str]:
    """Every item that is known at the cut: the catalogue of sold items and whatever the customers bought."""
    before = history.events.filter(pl.col("business_date") < history.cut)["item_id"]
    return sorted(set(history.items["item_id"].to_list()) | set(before.unique().to_list()))
