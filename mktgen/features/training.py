"""Examples for learning: features at past cuts and what happened after them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl

from mktgen.features.customer import customer_features
from mktgen.features.state import State, empty_state, fold
from mktgen.settings import FeatureSettings

LABEL_DAYS = (7, 28)
LABELS = tuple(f"purchased_{days}d" for days in LABEL_DAYS)
SPEND = "spend_28d_minor"  # a label too, of an amount


def weekly_cuts(end: date, count: int, first_day: date) -> list[date]:
    """The last `count` cuts, a week apart, whose 28-day labels end on or before `end`; at least 28 days of history each."""
    latest = end - timedelta(days=max(LABEL_DAYS))
    cuts = [latest - timedelta(weeks=back) for back in range(count)]
    return sorted(cut for cut in cuts if cut >= first_day + timedelta(days=28))


def states_at(lines: pl.DataFrame, cuts: list[date], settings: FeatureSettings) -> Iterator[tuple[date, State]]:
    """The state just before each cut, one pass over the lines (contracts.ORDER_LINES)."""
    state, since = empty_state(), date.min
    for cut in sorted(cuts):
        between = lines.filter((pl.col("business_date") >= since) & (pl.col("business_date") < cut))
        state = fold(state, between, cut - timedelta(days=1), settings)
        since = cut
        yield cut, state


def labels(lines: pl.DataFrame, cut: date) -> pl.DataFrame:
    """customer_id, purchased_7d, purchased_28d, spend_28d_minor for customers with an order in [cut, cut + 28 d).

    Others have none of it. Spend is the net value of all lines.
    """
    window = lines.filter(pl.col("business_date").is_between(cut, cut + timedelta(days=27)))
    week = pl.col("business_date") < cut + timedelta(days=7)
    return (
        window.group_by("customer_id")
        .agg(purchased_7d=week.any(), purchased_28d=pl.lit(True).first(), spend_28d_minor=pl.col("net_minor").sum())
        .sort("customer_id")
    )


def training_examples(lines: pl.DataFrame, cuts: list[date], settings: FeatureSettings) -> pl.DataFrame:
    """contracts.CUSTOMER_FEATURES at each cut, plus `cut` and the labels; active customers only.

    `lines` must reach 28 days past the last cut. A purchase is any order line, fuel included.
    """
    parts = []
    for cut, state in states_at(lines, cuts, settings):
        features = customer_features(state, cut).filter(pl.col("recency_days") <= settings.active_days)
        after = labels(lines, cut)
        joined = features.join(after, on="customer_id", how="left").with_columns(
            pl.lit(cut).alias("cut"),
            pl.col("purchased_7d", "purchased_28d").fill_null(False),
            pl.col("spend_28d_minor").fill_null(0),
        )
        parts.append(joined)
    return pl.concat(parts).sort("cut", "customer_id")
