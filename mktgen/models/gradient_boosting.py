"""Gradient boosting of histogram trees: the same two tasks and features as the logistic regression, not linear."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mktgen.errors import PermanentError
from mktgen.models import _candidates, _files, _skops
from mktgen.models._customer_task import (
    FEATURES,
    HORIZONS,
    feature_matrix,
    known_customers,
    labelled,
    probability_frame,
    spend_frame,
    target,
)
from mktgen.models._interactions import Floats, rank_pairs
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.settings import BoostingSettings, ModelSettings

_NAMES = ("next_item", "spend_28d", *(f"purchase_{h}d" for h in HORIZONS))
_SPEND_UNIT = 100.0  # spend is learned in major units


class GradientBoosting(Model):
    """LightGBM-style boosting (Ke et al., NeurIPS 2017) by scikit-learn, without early stopping or subsampling."""

    kind: ClassVar[str] = "gradient_boosting"
    effort = 20.0
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking", "customer", "spend"})

    def __init__(self, models: dict[str, Any] | None = None) -> None:
        self._models: dict[str, Any] = models or {}

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        examples = labelled(data)
        values = feature_matrix(examples, FEATURES)
        recipe = settings.gradient_boosting
        customer, ranking = _parameters(recipe.customer), _parameters(recipe.ranking)
        fitted = {f"purchase_{h}d": _boost(values, target(examples, h), customer, session.seed) for h in HORIZONS}
        fitted["spend_28d"] = _boost_spend(values, examples["spend_28d_minor"].to_numpy(), customer, session.seed)
        session.progress(f"gradient_boosting: {examples.height} customer examples done")
        pairs, bought = _candidates.training_rows(data, session.seed)
        fitted["next_item"] = _boost(pairs, bought, ranking, session.seed)
        session.progress(f"gradient_boosting: {bought.size} candidate pairs done")
        self._models = fitted
        parameters: dict[str, float | int | str | bool] = {
            **{f"customer.{name}": value for name, value in customer.items()},
            **{f"ranking.{name}": value for name, value in ranking.items()},
            "train_cuts_ranking": _candidates.TRAIN_CUTS,
            "popular_candidates": _candidates.POPULAR,
            "negative_share": _candidates.NEGATIVE_SHARE,
        }
        return FitReport(
            parameters=parameters, metrics={"examples": float(examples.height), "pairs": float(bought.size)}
        )

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        made = _candidates.candidates(history.events, history.items, history.cut, customers)
        return rank_pairs(made.frame(self._positive("next_item", made.values)), k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        return probability_frame(
            history, customers, FEATURES, lambda h, values: self._positive(f"purchase_{h}d", values)
        )

    def spend(self, history: History, customers: list[str]) -> pl.DataFrame:
        frame = known_customers(history, customers)
        if frame.is_empty():  # scikit-learn refuses to predict for nobody
            return spend_frame(frame, np.zeros(0))
        with threadpool_limits(limits=1):
            expected = self._models["spend_28d"].predict(feature_matrix(frame, FEATURES)) * _SPEND_UNIT
        return spend_frame(frame, expected)

    def _positive(self, name: str, values: Floats) -> Floats:
        if not values.shape[0]:
            return np.zeros(0)
        with threadpool_limits(limits=1):
            result: Floats = self._models[name].predict_proba(values)[:, 1]
        return result

    def save(self, directory: Path) -> None:
        _files.write_meta(directory, self.kind, {"customer_features": FEATURES, "pair_features": _candidates.FEATURES})
        for name in _NAMES:
            _skops.dump(self._models[name], directory / f"{name}.skops")

    @classmethod
    def load(cls, directory: Path) -> Self:
        body = _files.read_meta(directory, cls.kind)
        if tuple(body["customer_features"]) != FEATURES or tuple(body["pair_features"]) != _candidates.FEATURES:
            raise PermanentError(f"{directory}: trained on other features than this version computes; train it again")
        return cls({name: _skops.load(directory / f"{name}.skops") for name in _NAMES})


def _parameters(recipe: BoostingSettings) -> dict[str, float | int]:
    """scikit-learn's names."""
    return {"max_iter": recipe.iterations, "learning_rate": recipe.learning_rate, "max_leaf_nodes": recipe.leaves}


def _boost(
    values: Floats, labels: NDArray[np.bool_], parameters: dict[str, float | int], seed: int
) -> HistGradientBoostingClassifier:
    if labels.all() or not labels.any():
        raise PermanentError(f"gradient boosting: all {labels.size} labels are equal; widen the training period")
    model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **parameters)
    # One thread: OpenMP's waiting threads make boosting ten times slower where the cores are shared with other work.
    with threadpool_limits(limits=1):
        return model.fit(values, labels)


def _boost_spend(
    values: Floats, spend_minor: NDArray[np.int64], parameters: dict[str, float | int], seed: int
) -> HistGradientBoostingRegressor:
    """The mean, by Poisson deviance: never negative, and right in total however the spread grows with the mean."""
    model = HistGradientBoostingRegressor(loss="poisson", early_stopping=False, random_state=seed, **parameters)
    with threadpool_limits(limits=1):
        return model.fit(values, np.maximum(spend_minor, 0) / _SPEND_UNIT)
