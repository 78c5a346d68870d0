"""Logistic regression: purchase and churn from customer features, next items from re-ranked candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl

from mktgen.models import _candidates, _files
from mktgen.models._customer_task import FEATURES, HORIZONS, feature_matrix, labelled, probability_frame, target
from mktgen.models._interactions import rank_pairs
from mktgen.models._logistic import Logistic
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.settings import ModelSettings

_C = 1.0


class LogisticRegression(Model):
    """Two regressions on customer features (7 and 28 days) and one on candidate features (bought within 7 days)."""

    kind: ClassVar[str] = "logistic_regression"
    effort = 10.0
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking", "customer"})

    def __init__(self, regressions: dict[str, Logistic] | None = None) -> None:
        self._regressions = regressions or {}

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        examples = labelled(data)
        values = feature_matrix(examples, FEATURES)
        fitted = {f"purchase_{h}d": Logistic.fit(FEATURES, values, target(examples, h), _C) for h in HORIZONS}
        session.progress(f"logistic_regression: {examples.height} customer examples done")
        pairs, bought = _candidates.training_rows(data, session.seed)
        fitted["next_item"] = Logistic.fit(_candidates.FEATURES, pairs, bought, _C)
        session.progress(f"logistic_regression: {bought.size} candidate pairs done")
        self._regressions = fitted
        parameters: dict[str, float | int | str | bool] = {
            "C": _C,
            "train_cuts_ranking": _candidates.TRAIN_CUTS,
            "popular_candidates": _candidates.POPULAR,
            "negative_share": _candidates.NEGATIVE_SHARE,
        }
        return FitReport(
            parameters=parameters, metrics={"examples": float(examples.height), "pairs": float(bought.size)}
        )

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        made = _candidates.candidates(history.events, history.items, history.cut, customers)
        return rank_pairs(made.frame(self._regressions["next_item"].probability(made.values)), k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        return probability_frame(
            history, customers, FEATURES, lambda h, values: self._regressions[f"purchase_{h}d"].probability(values)
        )

    def save(self, directory: Path) -> None:
        body: dict[str, Any] = {name: model.to_json() for name, model in self._regressions.items()}
        _files.write_meta(directory, self.kind, {"regressions": body})

    @classmethod
    def load(cls, directory: Path) -> Self:
        body = _files.read_meta(directory, cls.kind)["regressions"]
        return cls({name: Logistic.from_json(value) for name, value in body.items()})
