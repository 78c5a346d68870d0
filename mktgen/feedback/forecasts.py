"""Earlier forecasts against what came: demand by category, and customers who were said to be at risk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import CHURN_OUTCOMES, DEMAND_OUTCOMES
from mktgen.feedback.intervals import clustered_share

HORIZONS: Final = (7, 28)
FOLLOWED_DAYS: Final = 28  # forecasts that matured in so many days are reported together
_CHURN_DAYS: Final = 28


def demand_outcomes(
    forecasts: Mapping[date, pl.DataFrame], category_days: pl.DataFrame, partition: date
) -> pl.DataFrame:
    """contracts.DEMAND_OUTCOMES of the forecasts that matured in the FOLLOWED_DAYS up to `partition`.

    forecasts: partition -> contracts.DEMAND_FORECAST. category_days: contracts.CATEGORY_DAYS up to `partition`. A category
    that was not sold at all sold 0; one that was not known when the forecast was made counts in the sum (`all`) only.
    """
    parts = [DEMAND_OUTCOMES.empty()]
    for made_on, table in sorted(forecasts.items()):
        for horizon in HORIZONS:
            ends = made_on + timedelta(days=horizon)
            if not partition - timedelta(days=FOLLOWED_DAYS) < ends <= partition:
                continue
            window = pl.col("business_date").is_between(made_on + timedelta(days=1), ends)
            sold = category_days.filter(window).group_by("category").agg(pl.col("units").sum().alias("actual_units"))
            total = pl.DataFrame({"category": [""], "actual_units": [sold["actual_units"].sum()]}, schema=sold.schema)
            mine = table.filter(pl.col("horizon_days") == horizon)
            joined = mine.join(pl.concat([sold, total]), on="category", how="left").with_columns(
                pl.col("actual_units").fill_null(0), pl.lit(made_on).alias("forecast_on")
            )
            parts.append(joined.select(list(DEMAND_OUTCOMES.columns)))
    return DEMAND_OUTCOMES.check(pl.concat(parts)).sort(DEMAND_OUTCOMES.key)


def churn_outcomes(warnings: Mapping[date, pl.DataFrame], customer_days: pl.DataFrame, partition: date) -> pl.DataFrame:
    """contracts.CHURN_OUTCOMES of the warnings that matured in the FOLLOWED_DAYS up to `partition`.

    warnings: partition -> contracts.CHURN_WARNINGS. customer_days: contracts.CUSTOMER_DAYS, which reach back far enough.
    """
    parts = [CHURN_OUTCOMES.empty()]
    for made_on, table in sorted(warnings.items()):
        ends = made_on + timedelta(days=_CHURN_DAYS)
        if not partition - timedelta(days=FOLLOWED_DAYS) < ends <= partition:
            continue
        came = customer_days.filter(pl.col("business_date").is_between(made_on + timedelta(days=1), ends))
        spent = came.group_by("customer_id").agg(pl.col("net_minor").sum())
        joined = table.join(spent, on="customer_id", how="left").with_columns(
            pl.lit(made_on).alias("warned_on"), pl.col("net_minor").is_null().alias("churned"),
            pl.col("net_minor").fill_null(0),
        )  # fmt: skip
        parts.append(joined.select(list(CHURN_OUTCOMES.columns)))
    return CHURN_OUTCOMES.check(pl.concat(parts)).sort(CHURN_OUTCOMES.key)


def forecast_metrics(demand: pl.DataFrame, churn: pl.DataFrame) -> dict[str, float]:
    """What the feedback report says of forecasts; nothing where none has matured.

    demand_<h>d_: forecasts (days on which one was made), wape (sum of absolute errors of categories / units sold) beside
    naive_wape, bias ((said - sold) / sold), coverage_80 and coverage_95 (share of categories inside the interval),
    total_ape (mean absolute error of the sum of all categories, as a share). churn_warnings_: matured,
    predicted (mean p), churned (share, 95% clustered by customer).
    """
    metrics: dict[str, float] = {}
    for horizon in HORIZONS:
        mine = demand.filter(pl.col("horizon_days") == horizon)
        rows, totals = mine.filter(pl.col("level") == "category"), mine.filter(pl.col("level") == "all")
        sold = float(rows["actual_units"].sum())
        if sold <= 0:
            continue
        found = {
            "forecasts": float(rows["forecast_on"].n_unique()),
            "wape": float((rows["units"] - rows["actual_units"]).abs().sum()) / sold,
            "naive_wape": float((rows["naive_units"] - rows["actual_units"]).abs().sum()) / sold,
            "bias": float((rows["units"] - rows["actual_units"]).sum()) / sold,
            "total_ape": float(
                ((totals["units"] - totals["actual_units"]).abs() / totals["actual_units"]).to_numpy().mean()
            ),
            **_coverage(rows),
        }
        metrics |= {f"demand_{horizon}d_{name}": value for name, value in found.items()}
    if churn.height:
        share = clustered_share(churn.select("customer_id", pl.col("churned").alias("hit")))
        metrics |= {
            "churn_warnings_matured": float(churn.height),
            "churn_warnings_predicted": float(churn["p_churn_28d"].to_numpy().mean()),
            "churn_warnings_churned": share.value,
            "churn_warnings_churned_low": share.low,
            "churn_warnings_churned_high": share.high,
        }
    return metrics


def _coverage(rows: pl.DataFrame) -> dict[str, float]:
    known = rows.filter(pl.col("low_80").is_not_null())
    if not known.height:
        return {}
    return {
        f"coverage_{level}": float(
            known.select(pl.col("actual_units").is_between(f"low_{level}", f"high_{level}").mean()).item()
        )
        for level in (80, 95)
    }
