"""A shop whose truth is known: each customer buys items of one kind, mostly new ones, and kinds differ by text alone.

All items are of one category and of one price, so an item that was never sold can be ranked by its attributes alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np
import polars as pl

from mktgen import contracts
from mktgen.models.base import History, TrainingSet
from tests.support.shop import SORT, START, Shop

KINDS: Final = ("CHOCOLATE BARS", "FROZEN PIZZA", "SHAVING CREAM", "GARDEN SEEDS")
RESPELT: Final = ("CHOCOLATES BAR", "PIZZA-FROZEN", "SHAVE CREAMS", "SEEDS 4 GARDENS")
AGES: Final = ("19-24", "25-34", "35-44", "45-54")
NEWS: Final = 12  # new items of each kind and spelling


@dataclass(frozen=True)
class TasteShop:
    """kind_of: item_id or customer_id -> number of its kind. new, respelt: items that were never sold."""

    shop: Shop
    kind_of: dict[str, int]
    item_attributes: pl.DataFrame
    customer_attributes: pl.DataFrame
    new: list[str]
    respelt: list[str]

    def training_set(self, cut: date) -> TrainingSet:
        sold = self.item_attributes.filter(~pl.col("item_id").is_in([*self.new, *self.respelt]))
        data = self.shop.training_set(cut)
        return replace(data, item_attributes=sold, customer_attributes=self.customer_attributes)

    def history(self, cut: date) -> History:
        """With the new items, as common and as popular as the most popular of the others."""
        history = self.shop.history(cut)
        best = history.items.select(pl.col("lines_28d").max(), pl.col("lines_all").max())
        fresh = history.items.head(1).drop("item_id", "lines_28d", "lines_all").join(best, how="cross")
        fresh = pl.DataFrame({"item_id": [*self.new, *self.respelt]}).join(fresh, how="cross")
        items = pl.concat([history.items, fresh.select(history.items.columns)]).sort("item_id")
        return replace(
            history, items=items, item_attributes=self.item_attributes, customer_attributes=self.customer_attributes
        )


def make_taste_shop(customers: int = 120, items: int = 120, days: int = 154, seed: int = 3) -> TasteShop:
    """Customers come every third day and buy three items of their kind; age tells the kind of nine in ten of them."""
    rng = np.random.default_rng(seed)
    ids = [f"i{number:04d}" for number in range(items)]
    kind_of = {name: number % len(KINDS) for number, name in enumerate(ids)}
    people = [f"c{number:04d}" for number in range(customers)]
    rows, order = [], 0
    for number, person in enumerate(people):
        kind_of[person] = number % len(KINDS)
        own = [name for name in ids if kind_of[name] == kind_of[person]]
        for day in np.flatnonzero(rng.random(days) < 0.3):
            order += 1
            local = START + timedelta(days=int(day))
            moment = datetime.combine(local, time(14), UTC)
            for name in sorted(set(rng.choice(own, 3))):
                rows.append((person, moment, local, f"o{order:06d}", name, "ALL", 200, False))
    frame = pl.DataFrame(rows, schema=contracts.SEQUENCES.columns, orient="row").sort(SORT)
    new = [f"new {kind} {number:02d}" for kind in range(len(KINDS)) for number in range(NEWS)]
    respelt = [name.replace("new", "respelt") for name in new]
    kind_of |= {name: int(name.split()[1]) for name in (*new, *respelt)}
    texts = {name: (RESPELT if name in respelt else KINDS)[kind_of[name]] for name in (*ids, *new, *respelt)}
    return TasteShop(
        Shop(frame), kind_of, _items(texts), _customers(people, kind_of, rng), sorted(new), sorted(respelt)
    )


def _items(texts: dict[str, str]) -> pl.DataFrame:
    rest = dict.fromkeys(("brand", "manufacturer_id", "package_size"), pl.lit(None, pl.String))
    frame = pl.DataFrame({"item_id": list(texts), "item_type": list(texts.values())})
    frame = frame.with_columns(department=pl.lit("D"), category=pl.lit("ALL"), merchandise=pl.lit(True), **rest)
    return contracts.ITEMS.check(frame.select(list(contracts.ITEMS.columns)).sort("item_id"))


def _customers(people: list[str], kind_of: dict[str, int], rng: np.random.Generator) -> pl.DataFrame:
    told = [name for name in people if rng.random() < 0.9]
    columns = {name: [None] * len(told) for name in contracts.CUSTOMERS.columns}
    known = {**columns, "customer_id": told, "age": [AGES[kind_of[name]] for name in told]}
    return contracts.CUSTOMERS.check(pl.DataFrame(known, schema=contracts.CUSTOMERS.columns))
