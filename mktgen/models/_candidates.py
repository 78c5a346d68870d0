"""Candidates for pointwise re-ranking: a customer's own past items and the most popular items, with features."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.models._interactions import Floats, Interactions, Ints, encode, popularity
from mktgen.models.base import TrainingSet

POPULAR: Final = 200  # popular items offered to everybody
HISTORY: Final = 512  # events of a customer that are looked at, in training as in scoring
HALF_LIVES: Final = (7.0, 28.0, 84.0)
NEVER_DAYS: Final = 400.0  # "days since" of something that never happened
TRAIN_CUTS: Final = 4
NEGATIVE_SHARE: Final = 0.2
FEATURES: Final = (
    "count_7",
    "count_28",
    "count_84",
    "purchases",
    "days_since",
    "gap_ratio",  # days since the last purchase / mean gap between purchases; 0 below two purchases
    "bought_again",  # at least two purchases
    "never_bought",
    "popularity_28",
    "visits_28",
    "visits_84",
    "days_since_visit",
    "category_28",  # decayed purchases in the item's category
    "share_of_customer",  # the item's share of the customer's decayed purchases
)


@dataclass(frozen=True)
class Candidates:
    """One row per candidate pair: customer index, item index and features [rows, len(FEATURES)]."""

    customers: list[str]
    items: list[str]
    customer: Ints
    item: Ints
    seen: NDArray[np.bool_]
    values: Floats

    def frame(self, score: Floats) -> pl.DataFrame:
        """customer_id, item_id, seen, score."""
        names = pl.Series("item_id", self.items, dtype=pl.String)
        people = pl.Series("customer_id", self.customers, dtype=pl.String)
        columns = [people.gather(self.customer), names.gather(self.item), pl.Series("seen", self.seen)]
        return pl.DataFrame([*columns, pl.Series("score", score, dtype=pl.Float64)])


def candidates(events: pl.DataFrame, items: pl.DataFrame, cut: date, customers: list[str]) -> Candidates:
    """Candidates at `cut`; `items` needs item_id, category and customers_28d as of the cut."""
    recent = events.filter(pl.col("business_date") < cut).group_by("customer_id", maintain_order=True).tail(HISTORY)
    catalogue = sorted(set(items["item_id"].to_list()) | set(recent["item_id"].unique().to_list()))
    known = encode(recent, cut, customers, catalogue)
    popular = popularity(items, known.items)
    pair_customer, pair_item, seen = _pairs(known, popular)
    category = _category_index(recent, items, known.items)
    columns = [
        *_own(known, pair_customer, pair_item),
        popular[pair_item],
        *(column[pair_customer] for column in _visits(known)),
        _category_count(known, category)[pair_customer, category[pair_item]],
    ]
    values = np.column_stack(columns)
    total = np.bincount(known.customer, np.power(0.5, known.age / 28.0), len(known.customers))
    share = values[:, 1] / np.maximum(total[pair_customer], 1e-9)
    return Candidates(known.customers, known.items, pair_customer, pair_item, seen, np.column_stack([values, share]))


def _pairs(known: Interactions, popular: Floats) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Own and popular pairs, sorted by customer and item."""
    width = len(known.items)
    own = np.unique(known.customer * width + known.item)
    best = np.argsort(-popular, kind="stable")[:POPULAR]
    offered = (np.arange(len(known.customers), dtype=np.int64)[:, None] * width + best[None, :]).ravel()
    every = np.union1d(own, offered)
    return every // width, every % width, np.isin(every, own, assume_unique=True)


def _own(known: Interactions, customer: Ints, item: Ints) -> list[Floats]:
    """The features of the customer's own purchases of the item, aligned with the candidate pairs."""
    width = len(known.items)
    place = np.searchsorted(customer * width + item, known.customer * width + known.item)
    size = customer.size
    counts = [np.bincount(place, np.power(0.5, known.age / half), size) for half in HALF_LIVES]
    purchases = np.bincount(place, minlength=size).astype(np.float64)
    last: Floats = np.full(size, NEVER_DAYS)
    first: Floats = np.zeros(size)
    np.minimum.at(last, place, known.age.astype(np.float64))
    np.maximum.at(first, place, known.age.astype(np.float64))
    last = np.minimum(last, NEVER_DAYS)
    again = (purchases >= 2) & (first > last)
    mean_gap = np.where(again, (first - last) / np.maximum(purchases - 1, 1), 1.0)
    ratio = np.where(again, np.minimum(last / mean_gap, 20.0), 0.0)
    return [*counts, purchases, last, ratio, again.astype(np.float64), (purchases == 0).astype(np.float64)]


def _visits(known: Interactions) -> list[Floats]:
    """Per customer: visit days in 28 and 84 days, days since the last visit."""
    size = len(known.customers)
    days = np.unique(known.customer * 100_000 + known.age)
    customer, age = days // 100_000, days % 100_000
    last = np.full(size, NEVER_DAYS)
    np.minimum.at(last, customer, age.astype(np.float64))
    windows = [np.bincount(customer[age <= n], minlength=size).astype(np.float64) for n in (28, 84)]
    return [*windows, last]


def _category_index(events: pl.DataFrame, items: pl.DataFrame, ids: list[str]) -> Ints:
    """Category number of every item; items outside the catalogue take the category of their last event,
    and those without one are of a category of their own."""
    of = dict(events.select("item_id", "category").iter_rows()) | dict(items.select("item_id", "category").iter_rows())
    names = {name: index for index, name in enumerate(sorted({name or "" for name in of.values()}))}
    return np.array([names[of[item] or ""] for item in ids], dtype=np.int64)


def _category_count(known: Interactions, category: Ints) -> Floats:
    """[customers, categories] decayed purchases, half-life 28 days."""
    width = int(category.max(initial=0)) + 1
    place = known.customer * width + category[known.item]
    weights: Floats = np.power(0.5, known.age / 28.0)
    flat = np.bincount(place, weights, len(known.customers) * width)
    return np.asarray(flat, dtype=np.float64).reshape(len(known.customers), width)


def training_rows(data: TrainingSet, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Features and next-7-day labels at the last weekly cuts whose labels end on or before the training cut.

    All bought candidates are kept and a seeded fifth of the others, which raises the level of the probabilities and
    leaves their order alone.
    """
    rng = np.random.default_rng(seed)
    values, labels = [], []
    for week in range(TRAIN_CUTS, 0, -1):
        cut = data.cut - timedelta(days=7 * week)
        before = data.events.filter(pl.col("business_date") < cut)
        active = before.filter(pl.col("business_date") >= cut - timedelta(days=84))["customer_id"].unique()
        if active.is_empty():
            continue
        made = candidates(before, _items_at(before, cut), cut, active.sort().to_list())
        bought = _bought(data.events, made, cut)
        keep = bought | (rng.random(bought.size) < NEGATIVE_SHARE)
        values.append(made.values[keep])
        labels.append(bought[keep])
    if not values:
        return np.empty((0, len(FEATURES))), np.empty(0, dtype=np.bool_)
    return np.concatenate(values), np.concatenate(labels)


def _items_at(before: pl.DataFrame, cut: date) -> pl.DataFrame:
    """item_id, category, customers_28d as of the cut, counted from the events."""
    recent = pl.col("business_date") >= cut - timedelta(days=28)
    visit = pl.struct("customer_id", "business_date")
    frame = before.group_by("item_id").agg(
        pl.col("category").last(), visit.filter(recent).n_unique().cast(pl.Float64).alias("customers_28d")
    )
    return frame.sort("item_id")


def _bought(events: pl.DataFrame, made: Candidates, cut: date) -> NDArray[np.bool_]:
    week = events.filter(pl.col("business_date").is_between(cut, cut + timedelta(days=7), closed="left"))
    # Shifted by a week the label window lies before the cut that `encode` takes.
    after = encode(week, cut + timedelta(days=7), made.customers, made.items)
    width = len(made.items)
    return np.isin(made.customer * width + made.item, after.customer * width + after.item)
