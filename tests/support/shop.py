"""A small seeded shop whose customers have habits: the input of model and evaluation tests.

Each customer visits at an own rate and buys mostly from a personal list of items, some items being popular with
everybody; one customer in eight stops coming halfway. Features are computed here from the events, independently of
mktgen.features, so that tests of the models don't depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl

from mktgen import contracts
from mktgen.models.base import History, TrainingSet

SORT = ["customer_id", "event_time", "order_id", "item_id"]
START = date(2017, 1, 1)


def events_on(rows: list[tuple[str, date, str]]) -> pl.DataFrame:
    """(customer, business day, item) as contracts.SEQUENCES, an order each."""
    made = []
    for index, (customer, day, item) in enumerate(rows):
        moment = datetime(day.year, day.month, day.day, 15, tzinfo=UTC)
        made.append((customer, moment, day, f"o{index:04d}", item, f"CAT {item}", 100, False))
    return pl.DataFrame(made, schema=contracts.SEQUENCES.columns, orient="row").sort(SORT)


@dataclass(frozen=True)
class Shop:
    """All merchandise events of the shop (contracts.SEQUENCES, sorted), also those after any cut."""

    events: pl.DataFrame

    def before(self, cut: date) -> pl.DataFrame:
        return self.events.filter(pl.col("business_date") < cut)

    def after(self, cut: date, days: int) -> pl.DataFrame:
        """What was bought in the `days` days from the cut on."""
        return self.events.filter(pl.col("business_date").is_between(cut, cut + timedelta(days=days), closed="left"))

    def active(self, cut: date, days: int = 84) -> list[str]:
        recent = self.before(cut).filter(pl.col("business_date") >= cut - timedelta(days=days))
        return recent["customer_id"].unique().sort().to_list()

    def training_set(self, cut: date, cuts: int = 6) -> TrainingSet:
        """`cuts` weekly cuts whose 28-day labels end on or before `cut`."""
        weeks = sorted(cut - timedelta(days=28 + 7 * index) for index in range(cuts))
        examples = pl.concat([self.examples(week) for week in weeks])
        items = item_features(self.before(cut), cut)
        return TrainingSet(cut, self.before(cut), examples, items, **attributes(self.events))

    def history(self, cut: date, events: int = 512) -> History:
        kept = self.before(cut).group_by("customer_id", maintain_order=True).tail(events).sort(SORT)
        features = customer_features(self.before(cut), cut)
        return History(cut, kept, features, item_features(self.before(cut), cut), **attributes(self.events))

    def examples(self, cut: date) -> pl.DataFrame:
        frame = customer_features(self.before(cut), cut).filter(pl.col("customer_id").is_in(self.active(cut)))
        for days in (7, 28):
            bought = self.after(cut, days)["customer_id"].unique()
            frame = frame.with_columns(pl.col("customer_id").is_in(bought.to_list()).alias(f"purchased_{days}d"))
        spent = self.after(cut, 28).group_by("customer_id").agg(spend_28d_minor=pl.col("net_minor").sum())
        frame = frame.join(spent, on="customer_id", how="left").with_columns(pl.col("spend_28d_minor").fill_null(0))
        return frame.sort("customer_id").with_columns(pl.lit(cut).alias("cut"))

    def truth(self, cut: date, days: int = 7) -> pl.DataFrame:
        """customer_id, item_id bought in the days after the cut, sorted."""
        pairs = self.after(cut, days).select("customer_id", "item_id").unique()
        return pairs.sort("customer_id", "item_id")


def make_shop(customers: int = 60, items: int = 80, days: int = 210, seed: int = 7) -> Shop:
    """`customers` customers over `days` days from 2017-01-01; the same arguments give the same events."""
    rng = np.random.default_rng(seed)
    popular = rng.permutation(items)[: max(4, items // 10)]
    rows: list[tuple[str, datetime, date, str, str, str, int, bool]] = []
    order = 0
    for customer in range(customers):
        rate = rng.uniform(0.08, 0.5)
        habits = rng.permutation(items)[:8]
        taste = rng.dirichlet(np.ones(8))
        stops = days // 2 if customer % 8 == 7 else days
        for day in np.flatnonzero(rng.random(stops) < rate):
            order += 1
            basket = set(rng.choice(habits, size=3, p=taste)) | {rng.choice(popular)}
            if rng.random() < 0.3:
                basket.add(int(rng.integers(items)))
            local = START + timedelta(days=int(day))
            moment = datetime.combine(local, time(14, int(rng.integers(60))), UTC)
            for item in sorted(basket):
                price = 100 + 7 * int(item)
                on_promotion = bool(rng.random() < 0.2)
                key = (f"c{customer:04d}", moment, local, f"o{order:06d}", f"i{item:04d}", f"CAT {item % 7}")
                rows.append((*key, price, on_promotion))
    frame = pl.DataFrame(rows, schema=contracts.SEQUENCES.columns, orient="row")
    return Shop(frame.sort(SORT))


def _window(days: int, what: pl.Expr) -> pl.Expr:
    return what.filter(pl.col("age") <= days)


def customer_features(events: pl.DataFrame, cut: date) -> pl.DataFrame:
    """contracts.CUSTOMER_FEATURES as of `cut`, from merchandise events alone (no discounts: their shares are 0)."""
    aged = events.filter(pl.col("business_date") < cut).with_columns(
        (pl.lit(cut) - pl.col("business_date")).dt.total_days().alias("age")
    )
    orders, net, lines = pl.col("order_id"), pl.col("net_minor"), pl.len()
    days = pl.col("business_date").unique().sort()
    gaps = days.diff().dt.total_days()
    frame = aged.group_by("customer_id").agg(
        pl.col("age").min().alias("recency_days"),
        pl.col("age").max().alias("tenure_days"),
        *[_window(n, orders).n_unique().alias(f"orders_{n}d") for n in (7, 28, 84)],
        _window(56, orders).n_unique().alias("orders_56d"),
        orders.n_unique().alias("orders_all"),
        _window(84, (pl.col("age") - 1) // 7).n_unique().alias("active_weeks_12"),
        *[_window(n, net).sum().alias(f"net_minor_{n}d") for n in (7, 28, 84)],
        net.sum().alias("net_minor_all"),
        pl.lit(0.0).alias("other_minor_84d"),
        *[(pl.col("age") <= n).sum().alias(f"lines_{n}d") for n in (28, 84)],
        lines.alias("lines_all"),
        _window(84, pl.col("on_promotion")).sum().alias("promo_lines"),
        gaps.mean().alias("gap_days_mean"),
        gaps.std().alias("gap_days_sd"),
        pl.col("category").n_unique().alias("categories_all"),
        pl.col("category")
        .value_counts()
        .struct.field("count")
        .sort()
        .entropy(normalize=True)
        .alias("category_entropy"),
        pl.col("category").mode().sort().first().alias("top_category"),
        pl.col("category").value_counts().struct.field("count").max().alias("top_lines"),
    )
    orders_84 = pl.col("orders_84d").clip(1)
    frame = frame.with_columns(
        (pl.col("lines_84d") / orders_84).alias("lines_per_order_84d"),
        (pl.col("net_minor_84d") / orders_84).alias("net_minor_per_order_84d"),
        pl.lit(0.0).alias("discount_share_84d"),
        pl.lit(0.0).alias("coupon_share_84d"),
        (pl.col("promo_lines") / pl.col("lines_84d").clip(1)).alias("promo_share_84d"),
        ((pl.col("orders_28d") + 1) / (pl.col("orders_56d") - pl.col("orders_28d") + 1)).alias("trend_28d"),
        pl.col("gap_days_mean").fill_null(84.0),
        pl.col("gap_days_sd").fill_null(0.0),
        (pl.col("top_lines") / pl.col("lines_all")).alias("top_category_share"),
    ).with_columns((pl.col("recency_days") / pl.col("gap_days_mean").clip(1.0)).alias("recency_over_gap"))
    columns = [pl.col(name).cast(dtype) for name, dtype in contracts.CUSTOMER_FEATURES.columns.items()]
    return contracts.CUSTOMER_FEATURES.check(frame.select(columns).sort("customer_id"))


def item_features(events: pl.DataFrame, cut: date) -> pl.DataFrame:
    """contracts.ITEM_FEATURES as of `cut`."""
    aged = events.filter(pl.col("business_date") < cut).with_columns(
        (pl.lit(cut) - pl.col("business_date")).dt.total_days().alias("age")
    )
    frame = aged.group_by("item_id").agg(
        pl.col("category").first(),
        pl.col("age").min().alias("recency_days"),
        pl.col("age").max().alias("age_days"),
        (pl.col("age") <= 28).sum().alias("lines_28d"),
        _window(28, pl.struct("customer_id", "business_date")).n_unique().alias("customers_28d"),
        pl.len().alias("lines_all"),
        pl.col("net_minor").mean().alias("price_minor"),
        pl.col("on_promotion").mean().alias("promo_share"),
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in contracts.ITEM_FEATURES.columns.items()]
    return contracts.ITEM_FEATURES.check(frame.select(columns).sort("item_id"))


def attributes(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """item_attributes of all items, and customer_attributes of three customers in four; some fields are missing."""
    items = events.group_by("item_id").agg(pl.col("category").first()).sort("item_id").with_row_index("n")
    none, place = pl.lit(None, pl.String), pl.col("n")
    goods = items.with_columns(
        pl.format("DEP {}", place % 3).alias("department"),
        pl.format("TYPE {}/SORT {}", place % 5, place % 11).alias("item_type"),
        pl.when(place % 4 > 0).then(pl.format("brand {}", place % 2)).alias("brand"),
        none.alias("manufacturer_id"), none.alias("package_size"), pl.lit(True).alias("merchandise"),
    )  # fmt: skip
    people = events.select(pl.col("customer_id").unique().sort()).with_row_index("n").filter(place % 4 > 0)
    fields = {name: none for name in contracts.CUSTOMERS.columns if name not in ("customer_id", "age", "income")}
    told = people.with_columns(
        age=pl.format("age {}", place % 3), income=pl.when(place % 2 > 0).then(pl.lit("high")), **fields
    )
    return {
        "item_attributes": contracts.ITEMS.check(goods.select(list(contracts.ITEMS.columns))),
        "customer_attributes": contracts.CUSTOMERS.check(told.select(list(contracts.CUSTOMERS.columns))),
    }


def order_lines(events: pl.DataFrame) -> pl.DataFrame:
    """contracts.ORDER_LINES of the events, without discounts, bought at one store."""
    lines = events.select(
        "order_id", "item_id", "customer_id", pl.lit("1").alias("store_id"), "event_time", "business_date", "category",
        pl.lit(True).alias("merchandise"), pl.lit(1, pl.Int32).alias("units"),
        *(pl.col("net_minor").alias(name) for name in ("net_minor", "gross_minor", "paid_minor")),
        *(pl.lit(0, pl.Int64).alias(name) for name in ("loyalty_disc_minor", "coupon_disc_minor", "match_disc_minor")),
        pl.col("on_promotion").alias("on_display"), pl.lit(False).alias("on_mailer"),
        (pl.col("event_time") + timedelta(days=1)).alias("ingested_at"),
    )  # fmt: skip
    return contracts.ORDER_LINES.check(lines)
