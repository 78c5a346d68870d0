"""Items to recommend: the model's ranking, merchandise only, seen and unseen apart, each with a reason in words."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from mktgen.contracts import RECOMMENDATIONS
from mktgen.settings import StrategySettings

PER_MESSAGE: Final = 2  # recommendations kept per kind (seen, unseen), as a multiple of the items of a message
UNSEEN_PER_CATEGORY: Final = 2  # new items of one category; seen items follow the customer's own habits


def recommend(
    item_scores: pl.DataFrame,
    items: pl.DataFrame,
    item_features: pl.DataFrame,
    customer_categories: pl.DataFrame,
    settings: StrategySettings,
    history: pl.DataFrame | None = None,
    partition: date | None = None,
) -> pl.DataFrame:
    """contracts.RECOMMENDATIONS: per customer the best seen and the best unseen items, ranked apart.

    item_scores: contracts.ITEM_SCORES. customer_categories: contracts.CUSTOMER_CATEGORIES. history and partition:
    contracts.SEQUENCES and the day; with both the reason of a seen item counts its own purchases, without them those
    of its category.
    """
    goods = items.filter(pl.col("merchandise")).select("item_id", "category")
    ranked = item_scores.join(goods, on="item_id").sort("customer_id", "seen", "rank", "item_id")
    in_category = pl.int_range(pl.len()).over("customer_id", "seen", "category")
    ranked = ranked.filter(pl.col("seen") | (in_category < UNSEEN_PER_CATEGORY))
    place = pl.int_range(1, pl.len() + 1).over("customer_id", "seen").cast(pl.Int32)
    kept = ranked.with_columns(place.alias("rank")).filter(pl.col("rank") <= PER_MESSAGE * settings.items_per_message)
    kept = kept.join(_purchases(history), on=["customer_id", "item_id"], how="left")
    own = customer_categories.select(
        "customer_id", "category", pl.col("lines").alias("category_lines"), pl.col("last_day").alias("category_last")
    )
    kept = kept.join(own, on=["customer_id", "category"], how="left")
    kept = kept.join(item_features.select("item_id", "customers_28d"), on="item_id", how="left")
    kept = kept.with_columns(_reason(partition).alias("reason"))
    return RECOMMENDATIONS.check(kept.select(list(RECOMMENDATIONS.columns)).sort("customer_id", "seen", "rank"))


def _purchases(history: pl.DataFrame | None) -> pl.DataFrame:
    if history is None:
        return pl.DataFrame(
            schema={"customer_id": pl.String, "item_id": pl.String, "times": pl.UInt32, "item_last": pl.Date}
        )
    return history.group_by("customer_id", "item_id").agg(
        pl.len().alias("times"), pl.col("business_date").max().alias("item_last")
    )


def _reason(partition: date | None) -> pl.Expr:
    """Only what the given frames say; an item without any known fact is said to be the model's choice."""
    times = pl.when(pl.col("times") == 1).then(pl.lit("once")).otherwise(pl.format("{} times", "times"))
    item_age = (pl.lit(partition, dtype=pl.Date) - pl.col("item_last")).dt.total_days()
    own_item = pl.format("bought {}, last {} days ago", times, item_age)
    own_category = pl.format("buys {}: {} lines, last on {}", "category", "category_lines", "category_last")
    # Unseen: not among the events kept of this customer; what was bought before those is forgotten, so "new" is not said.
    new_in_own = pl.format("not bought lately by this customer, who buys {}: {} lines", "category", "category_lines")
    popular = pl.format("others buy {}: {} purchases of this item in 28 days", "category", _whole("customers_28d"))
    return (
        pl.when(pl.col("seen") & item_age.is_not_null())
        .then(own_item)
        .when(pl.col("seen") & pl.col("category_lines").is_not_null())
        .then(own_category)
        .when(pl.col("category_lines").is_not_null())
        .then(new_in_own)
        .when(pl.col("customers_28d") > 0)
        .then(popular)
        .otherwise(pl.format("chosen by the model in {}", "category"))
    )


def _whole(name: str) -> pl.Expr:
    return pl.col(name).round(0).cast(pl.Int64)
