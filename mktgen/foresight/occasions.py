"""Groups of a customer's past order lines that may be a reason: an item's purchases, a basket, a week, long ago.

A group is some rows of columns customer_id, occasion, kind, order_id, item_id; `occasion` names it within its customer.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

COLUMNS: Final = ("customer_id", "occasion", "kind", "order_id", "item_id")
WEEKS: Final = 12  # weeks that are looked at one by one; what lies before them is one group
FAVOURITES: Final = 2  # often bought items that may speak for another one


def visit_occasions(lines: pl.DataFrame, cut: date, recent_baskets: int) -> pl.DataFrame:
    """Baskets, weeks and the time before: for scores about visiting at all. lines: contracts.ORDER_LINES before `cut`.

    Weeks are counted back from `cut`; one with a single basket is that basket's group, where it is among the last.
    """
    week = (pl.lit(cut) - pl.col("business_date")).dt.total_days().sub(1) // 7
    dated = lines.with_columns(week.alias("_week"))
    baskets = _baskets(dated, recent_baskets)
    several = pl.col("order_id").n_unique().over("customer_id", "_week") > 1
    is_alone = pl.col("order_id").is_in(baskets["order_id"].unique().to_list()) & ~several
    weeks = dated.filter((pl.col("_week") < WEEKS) & ~is_alone).select(
        "customer_id",
        occasion=pl.format("week:{}", "_week"),
        kind=pl.lit("week"),
        order_id="order_id",
        item_id="item_id",
    )
    earlier = dated.filter(pl.col("_week") >= WEEKS).select(
        "customer_id", occasion=pl.lit("earlier"), kind=pl.lit("earlier"), order_id="order_id", item_id="item_id"
    )
    return pl.concat([baskets, weeks, earlier]).sort(COLUMNS)


def item_occasions(lines: pl.DataFrame, targets: pl.DataFrame, recent_baskets: int) -> pl.DataFrame:
    """For scores of items. lines: contracts.ORDER_LINES; targets: customer_id, item_id, category.

    The target's own purchases, the others in its category, the customer's most bought other items, and the last baskets.
    """
    goods = lines.filter("merchandise")
    own = goods.join(targets.select("customer_id", "item_id"), on=["customer_id", "item_id"], how="semi")
    wanted = targets.select("customer_id", "category", pl.col("item_id").alias("_target"))
    related = goods.join(wanted, on=["customer_id", "category"]).filter(pl.col("item_id") != pl.col("_target"))
    counts = goods.join(own, on=["customer_id", "item_id"], how="anti").group_by("customer_id", "item_id").len()
    ordered = counts.sort(["customer_id", "len", "item_id"], descending=[False, True, False])
    favourites = ordered.group_by("customer_id", maintain_order=True).head(FAVOURITES)
    of_favourites = goods.join(favourites, on=["customer_id", "item_id"], how="semi")
    items = pl.concat([own, of_favourites]).select(
        "customer_id",
        occasion=pl.format("item:{}", "item_id"),
        kind=pl.lit("item"),
        order_id="order_id",
        item_id="item_id",
    )
    category = related.select(
        "customer_id",
        occasion=pl.format("category:{}", "_target"),
        kind=pl.lit("category"),
        order_id="order_id",
        item_id="item_id",
    )
    return pl.concat([items, category, _baskets(goods, recent_baskets)]).sort(COLUMNS)


def _baskets(lines: pl.DataFrame, count: int) -> pl.DataFrame:
    """The last `count` baskets of each customer, all lines of each."""
    orders = lines.group_by("customer_id", "order_id").agg(pl.col("event_time").max())
    newest = orders.sort(["customer_id", "event_time", "order_id"], descending=[False, True, True])
    kept = newest.group_by("customer_id", maintain_order=True).head(count)
    return lines.join(kept, on=["customer_id", "order_id"], how="semi").select(
        "customer_id", occasion=pl.format("basket:{}", "order_id"), kind=pl.lit("basket"), order_id="order_id",
        item_id="item_id",
    )  # fmt: skip
