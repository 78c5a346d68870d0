"""The state of customers and items after a day: a fold over order lines, so that a new day costs a day.

Only integers and dates are kept, so sums don't depend on order: fold(fold(s, a), b) == fold(s, a + b), byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import (
    CATEGORY_DAYS,
    CUSTOMER_CATEGORIES,
    CUSTOMER_DAYS,
    CUSTOMER_STATE,
    ITEM_DAYS,
    ITEM_STATE,
    SEQUENCES,
    contract,
)
from mktgen.settings import FeatureSettings

_CUSTOMER_SUMS: Final = (
    "orders", "lines", "net_minor", "other_minor", "loyalty_disc_minor", "coupon_disc_minor", "gross_minor", "promo_lines",
)  # fmt: skip
_ITEM_SUMS: Final = ("lines", "net_minor", "promo_lines")
_PROMOTED: Final = pl.col("on_display") | pl.col("on_mailer")


@dataclass(frozen=True)
class State:
    """Artefacts of the same names (see contracts). Everything in them lies on or before the last folded day."""

    customer_state: pl.DataFrame
    customer_days: pl.DataFrame
    customer_categories: pl.DataFrame
    item_state: pl.DataFrame
    item_days: pl.DataFrame
    category_days: pl.DataFrame
    sequences: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


def empty_state() -> State:
    return State(*(contract(item.name).empty() for item in fields(State)))


def fold(state: State, lines: pl.DataFrame, last_day: date, settings: FeatureSettings) -> State:
    """The state after `lines` (contracts.ORDER_LINES, all later than the state, up to `last_day`)."""
    goods = lines.filter("merchandise")
    item_days = _item_days(goods)
    items_since = last_day - timedelta(days=settings.item_window_days - 1)
    demand_since = last_day - timedelta(days=settings.demand_days - 1)
    return replace(
        fold_customers(state, lines, last_day, settings),
        item_state=_fold_items(state.item_state, goods, item_days),
        item_days=_window(state.item_days, item_days, items_since, ITEM_DAYS.key),
        category_days=_window(state.category_days, _category_days(goods), demand_since, CATEGORY_DAYS.key),
    )


def fold_customers(state: State, lines: pl.DataFrame, last_day: date, settings: FeatureSettings) -> State:
    """`fold` of what is known of customers; the tables of items and categories stay as they are in `state`."""
    days = _customer_days(lines)
    goods = lines.filter("merchandise")
    since = last_day - timedelta(days=settings.window_days - 1)
    return replace(
        state,
        customer_state=CUSTOMER_STATE.check(_fold_customers(state.customer_state, days)),
        customer_days=_window(state.customer_days, days, since, CUSTOMER_DAYS.key),
        customer_categories=_fold_categories(state.customer_categories, goods),
        sequences=_fold_sequences(state.sequences, history_events(goods), settings.sequence_events),
    )


def history_events(lines: pl.DataFrame) -> pl.DataFrame:
    """Merchandise lines (contracts.ORDER_LINES) as events (contracts.SEQUENCES), oldest first within a customer."""
    events = lines.filter("merchandise").select(
        "customer_id", "event_time", "business_date", "order_id", "item_id", "category", "net_minor",
        _PROMOTED.alias("on_promotion"),
    )  # fmt: skip
    return SEQUENCES.check(events).sort("customer_id", "event_time", "order_id", "item_id")


def _customer_days(lines: pl.DataFrame) -> pl.DataFrame:
    goods = pl.col("merchandise")
    days = lines.group_by("customer_id", "business_date").agg(
        orders=pl.col("order_id").n_unique().cast(pl.Int64),
        lines=goods.sum().cast(pl.Int64),
        items=pl.col("item_id").filter(goods).n_unique().cast(pl.Int64),
        categories=pl.col("category").filter(goods).n_unique().cast(pl.Int64),
        net_minor=pl.col("net_minor").filter(goods).sum(),
        other_minor=pl.col("net_minor").filter(~goods).sum(),
        loyalty_disc_minor=pl.col("loyalty_disc_minor").filter(goods).sum(),
        coupon_disc_minor=pl.col("coupon_disc_minor").filter(goods).sum(),
        gross_minor=pl.col("gross_minor").filter(goods).sum(),
        promo_lines=(_PROMOTED & goods).sum().cast(pl.Int64),
    )
    return CUSTOMER_DAYS.check(days).sort(CUSTOMER_DAYS.key)


def _fold_customers(state: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    last = state.select("customer_id", pl.col("last_day").alias("_before"))
    dated = days.join(last, on="customer_id", how="left").sort("customer_id", "business_date")
    previous = pl.col("business_date").shift(1).over("customer_id").fill_null(pl.col("_before"))
    gap = (pl.col("business_date") - previous).dt.total_days().fill_null(0)
    new = dated.with_columns(_gap=gap).group_by("customer_id").agg(
        pl.col("business_date").min().alias("first_day"),
        pl.col("business_date").max().alias("last_day"),
        pl.len().cast(pl.Int64).alias("days"),
        *(pl.col(name).sum() for name in _CUSTOMER_SUMS),
        pl.col("_gap").sum().alias("gap_days_sum"),
        (pl.col("_gap") ** 2).sum().cast(pl.Int64).alias("gap_days_sq_sum"),
    )  # fmt: skip
    sums = [name for name in CUSTOMER_STATE.columns if name not in ("customer_id", "first_day", "last_day")]
    merged = pl.concat([state, new.select(list(CUSTOMER_STATE.columns))]).group_by("customer_id").agg(
        pl.col("first_day").min(), pl.col("last_day").max(), *(pl.col(name).sum() for name in sums)
    )  # fmt: skip
    return merged.select(list(CUSTOMER_STATE.columns)).sort("customer_id")


def _window(kept: pl.DataFrame, new: pl.DataFrame, since: date, key: tuple[str, ...]) -> pl.DataFrame:
    return pl.concat([kept, new]).filter(pl.col("business_date") >= since).sort(key)


def _fold_categories(state: pl.DataFrame, goods: pl.DataFrame) -> pl.DataFrame:
    new = goods.group_by("customer_id", "category").agg(
        first_day=pl.col("business_date").min(),
        last_day=pl.col("business_date").max(),
        days=pl.col("business_date").n_unique().cast(pl.Int64),
        lines=pl.len().cast(pl.Int64),
        net_minor=pl.col("net_minor").sum(),
    )
    merged = pl.concat([state, new]).group_by("customer_id", "category").agg(
        pl.col("first_day").min(), pl.col("last_day").max(), pl.col("days", "lines", "net_minor").sum()
    )  # fmt: skip
    return CUSTOMER_CATEGORIES.check(merged).sort(CUSTOMER_CATEGORIES.key)


def _item_days(goods: pl.DataFrame) -> pl.DataFrame:
    days = goods.group_by("item_id", "business_date").agg(
        lines=pl.len().cast(pl.Int64),
        customers=pl.col("customer_id").n_unique().cast(pl.Int64),
        net_minor=pl.col("net_minor").sum(),
        promo_lines=_PROMOTED.sum().cast(pl.Int64),
    )
    return ITEM_DAYS.check(days).sort(ITEM_DAYS.key)


def _category_days(goods: pl.DataFrame) -> pl.DataFrame:
    counted = pl.col("units").is_not_null()
    days = goods.group_by("category", "business_date").agg(
        units=pl.col("units").sum().cast(pl.Int64),
        lines=counted.sum().cast(pl.Int64),
        uncounted_lines=(~counted).sum().cast(pl.Int64),
    )
    return CATEGORY_DAYS.check(days).sort(CATEGORY_DAYS.key)


def _fold_items(state: pl.DataFrame, goods: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    categories = goods.group_by("item_id").agg(pl.col("category").min())
    new = days.group_by("item_id").agg(
        pl.col("business_date").min().alias("first_day"),
        pl.col("business_date").max().alias("last_day"),
        *(pl.col(name).sum() for name in _ITEM_SUMS),
    )
    new = new.join(categories, on="item_id").select(list(ITEM_STATE.columns))
    merged = pl.concat([state, new]).group_by("item_id").agg(
        pl.col("category").min(), pl.col("first_day").min(), pl.col("last_day").max(), *(pl.col(n).sum() for n in _ITEM_SUMS)
    )  # fmt: skip
    return ITEM_STATE.check(merged).sort(ITEM_STATE.key)


def _fold_sequences(state: pl.DataFrame, events: pl.DataFrame, keep: int) -> pl.DataFrame:
    every = pl.concat([state, events]).sort("customer_id", "event_time", "order_id", "item_id")
    return every.filter(pl.int_range(pl.len()).reverse().over("customer_id") < keep)
