"""Linear and boosted baselines of the customer tasks on mktgen's customer features. One thread, fixed seeds, no tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.complete_journey.customers_task import FEATURES, matrix
from benchmarks.complete_journey.intervals import Bools, Floats
from mktgen.strategy.mailings import MAILINGS

BOOSTING: Final[dict[str, Any]] = {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 15, "random_state": 0}
MAILING_FEATURES: Final = tuple(name for name, dtype in MAILINGS.items() if dtype in (pl.Float64, pl.Int64))

Predict = Callable[[pl.DataFrame], Floats]


def logistic(train: pl.DataFrame, label: Bools, names: tuple[str, ...] = FEATURES) -> Predict:
    with threadpool_limits(limits=1):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        model.fit(matrix(train, names), label)
    return lambda frame: np.asarray(model.predict_proba(matrix(frame, names))[:, 1], dtype=np.float64)


def boosted(train: pl.DataFrame, label: Bools, names: tuple[str, ...] = FEATURES) -> Predict:
    with threadpool_limits(limits=1):
        model = HistGradientBoostingClassifier(early_stopping=False, **BOOSTING).fit(matrix(train, names), label)
    return lambda frame: np.asarray(model.predict_proba(matrix(frame, names))[:, 1], dtype=np.float64)


def boosted_amount(train: pl.DataFrame, target: Floats, loss: str) -> Predict:
    """loss: "poisson" for the mean, "absolute_error" for the median."""
    with threadpool_limits(limits=1):
        model = HistGradientBoostingRegressor(loss=loss, early_stopping=False, **BOOSTING).fit(matrix(train), target)
    return lambda frame: np.maximum(np.asarray(model.predict(matrix(frame)), dtype=np.float64), 0.0)


def recent_amount(frame: pl.DataFrame) -> Floats:
    """A third of the net value of the last 84 days, in dollars."""
    return (frame["net_minor_84d"] + frame["other_minor_84d"]).to_numpy() / 300.0


def with_types(mailed: pl.DataFrame, kinds: list[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Mailings with length and type of the campaign as numbers, and the names of all their features."""
    length = (pl.col("ended_on") - pl.col("started_on")).dt.total_days().cast(pl.Float64).alias("window_days")
    types = [(pl.col("campaign_type") == kind).cast(pl.Float64).alias(f"type={kind}") for kind in kinds]
    names = (*MAILING_FEATURES, "window_days", *(f"type={kind}" for kind in kinds))
    return mailed.with_columns(length, *types), names


def type_rate(train: pl.DataFrame) -> Predict:
    """Share that redeemed, by campaign type; of all mailings where the type is new."""
    rates = train.group_by("campaign_type").agg(pl.col("redeemed").mean().alias("rate"))
    overall = float(np.mean(train["redeemed"].to_numpy()))

    def predict(frame: pl.DataFrame) -> Floats:
        joined = frame.select("campaign_type").join(rates, on="campaign_type", how="left", maintain_order="left")
        return joined["rate"].fill_null(overall).to_numpy()

    return predict
