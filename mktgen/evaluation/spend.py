"""Figures of expected spend over 28 days, in major units of money (a mean of cents says little to a reader)."""

from __future__ import annotations

import numpy as np
import polars as pl

from mktgen.errors import PermanentError

_UNIT = 100.0


def summary(estimates: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, float]:
    """spend_28d.mae, .rmse, .r2 and .bias (mean of estimate minus outcome). Both: customer_id, spend_28d_minor.

    MAE asks for the median and RMSE for the mean of what a customer may spend: a model of one is worse at the other. R2 is
    1 - mean squared error / variance of the outcomes, 0 where these don't vary. Raises PermanentError where an outcome has
    no estimate.
    """
    joined = outcomes.select("customer_id", pl.col("spend_28d_minor").alias("real")).join(
        estimates.select("customer_id", pl.col("spend_28d_minor").alias("estimate")), on="customer_id", how="left"
    )
    if joined["estimate"].null_count():
        missing = joined.filter(pl.col("estimate").is_null())["customer_id"].head(3).to_list()
        raise PermanentError(f"spend: customers without an estimate, e.g. {missing}; score everyone who is evaluated")
    error = (joined["estimate"] - joined["real"]).to_numpy() / _UNIT
    variance = float(np.var(joined["real"].to_numpy() / _UNIT)) if joined.height else 0.0
    if not joined.height:
        return {}
    return {
        "spend_28d.mae": float(np.abs(error).mean()),
        "spend_28d.rmse": float(np.sqrt(np.square(error).mean())),
        "spend_28d.r2": 1.0 - float(np.square(error).mean()) / variance if variance > 0 else 0.0,
        "spend_28d.bias": float(error.mean()),
    }
