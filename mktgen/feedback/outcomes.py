"""What customers did on one day."""

from __future__ import annotations

from datetime import date

import polars as pl

from mktgen.contracts import OUTCOMES


def collect_outcomes(order_lines: pl.DataFrame, responses: pl.DataFrame, partition: date) -> pl.DataFrame:
    """One row per customer who bought or redeemed on the day: contracts.OUTCOMES, sorted by customer.

    order_lines: contracts.ORDER_LINES, responses: contracts.RESPONSES; rows of other days are left out, so a late row
    counts for the day on which it happened once that day is collected again. orders: all baskets. net_minor and
    item_ids: merchandise only. redeemed_offers: distinct.
    """
    lines = order_lines.filter(pl.col("business_date") == partition)
    goods = pl.col("merchandise")
    bought = lines.group_by("customer_id").agg(
        pl.col("order_id").n_unique().cast(pl.Int64).alias("orders"),
        pl.col("net_minor").filter(goods).sum().alias("net_minor"),
        pl.col("item_id").filter(goods).unique().sort().alias("item_ids"),
    )
    redeemed = (
        responses.filter((pl.col("responded_on") == partition) & (pl.col("response_type") == "redeem"))
        .group_by("customer_id")
        .agg(pl.col("offer_id").unique().sort().alias("redeemed_offers"))
    )
    nothing = pl.lit([], dtype=pl.List(pl.String))
    frame = bought.join(redeemed, on="customer_id", how="full", coalesce=True).with_columns(
        pl.lit(partition).alias("business_date"),
        pl.col("orders", "net_minor").fill_null(0),
        pl.col("item_ids", "redeemed_offers").fill_null(nothing),
    )
    return OUTCOMES.check(frame.sort("customer_id"))
