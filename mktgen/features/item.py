"""Item features at a cut: how much, how lately, at what price, how often on promotion."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen.contracts import ITEM_FEATURES
from mktgen.features.state import State


def item_features(state: State, cut: date) -> pl.DataFrame:
    """One row per item ever sold (contracts.ITEM_FEATURES), from a state that ends before `cut`."""
    recent = (
        state.item_days.filter(pl.col("business_date") >= cut - timedelta(days=28))
        .group_by("item_id")
        .agg(lines_28d=pl.col("lines").sum(), customers_28d=pl.col("customers").sum())
    )
    days = {"recency_days": "last_day", "age_days": "first_day"}
    features = state.item_state.join(recent, on="item_id", how="left").select(
        "item_id",
        "category",
        *((pl.lit(cut) - pl.col(day)).dt.total_days().cast(pl.Float64).alias(name) for name, day in days.items()),
        lines_28d=pl.col("lines_28d").fill_null(0).cast(pl.Float64),
        customers_28d=pl.col("customers_28d").fill_null(0).cast(pl.Float64),
        lines_all=pl.col("lines").cast(pl.Float64),
        price_minor=pl.col("net_minor") / pl.col("lines"),
        promo_share=pl.col("promo_lines") / pl.col("lines"),
    )
    return ITEM_FEATURES.check(features).sort("item_id")
