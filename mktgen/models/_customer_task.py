"""The customer task of the classical kinds: features of contracts.CUSTOMER_FEATURES to purchase in 7 and 28 days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen import contracts
from mktgen.errors import PermanentError
from mktgen.models._interactions import Floats
from mktgen.models.base import History, TrainingSet

HORIZONS: Final = (7, 28)
FEATURES: Final = tuple(name for name, dtype in contracts.CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64)


def feature_matrix(frame: pl.DataFrame, features: tuple[str, ...]) -> Floats:
    """[rows, features]; null and NaN become 0, which for counts and shares means nothing was seen."""
    return frame.select(pl.col(features).fill_null(0.0).fill_nan(0.0)).to_numpy().astype(np.float64)


def labelled(data: TrainingSet) -> pl.DataFrame:
    """The examples whose 28-day labels end on or before the cut, sorted.

    Raises PermanentError where there are none.
    """
    usable = data.examples.filter(pl.col("cut") <= data.cut - timedelta(days=28)).sort("cut", "customer_id")
    if usable.is_empty():
        raise PermanentError(f"no training example has a 28-day label that ends by {data.cut}; train on a later day")
    return usable


def target(examples: pl.DataFrame, horizon: int) -> NDArray[np.bool_]:
    return examples[f"purchased_{horizon}d"].to_numpy().astype(np.bool_)


def known_customers(history: History, customers: list[str]) -> pl.DataFrame:
    """contracts.CUSTOMER_FEATURES of the customers, sorted. Raises PermanentError naming customers that have none."""
    wanted = pl.DataFrame({"customer_id": sorted(set(customers))}, schema={"customer_id": pl.String})
    missing = wanted.join(history.features, on="customer_id", how="anti")["customer_id"].to_list()
    if missing:
        raise PermanentError(
            f"{len(missing)} customers have no features on {history.cut}, e.g. {missing[:3]}; "
            "run extract_features for this day or leave them out"
        )
    return wanted.join(history.features, on="customer_id", maintain_order="left")


def spend_frame(frame: pl.DataFrame, spend: Floats) -> pl.DataFrame:
    """Model.spend's answer for the rows of `known_customers`."""
    return frame.select("customer_id").with_columns(pl.Series("spend_28d_minor", spend, dtype=pl.Float64))


def probability_frame(
    history: History, customers: list[str], features: tuple[str, ...], predict: Callable[[int, Floats], Floats]
) -> pl.DataFrame:
    """customer_id, p_purchase_7d, p_purchase_28d, sorted.

    `predict(horizon, [rows, features])` gives probabilities. A purchase within 7 days is one within 28, so the longer
    horizon is raised to the shorter one's where two separate regressions cross.
    Raises PermanentError naming customers that have no features.
    """
    frame = known_customers(history, customers)
    values = feature_matrix(frame, features)
    week, month = predict(7, values), predict(28, values)
    return frame.select("customer_id").with_columns(
        pl.Series("p_purchase_7d", week, dtype=pl.Float64),
        pl.Series("p_purchase_28d", np.maximum(week, month), dtype=pl.Float64),
    )
