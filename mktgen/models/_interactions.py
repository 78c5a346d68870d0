"""Customer-item interactions as arrays, and the ranking frame every ranking kind returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 256  # customers scored at once: 256 x 60 000 items in float64 are 120 MB
_RANK_SCHEMA: dict[str, Any] = {
    "customer_id": pl.String,
    "item_id": pl.String,
    "seen": pl.Boolean,
    "rank": pl.Int32,
    "score": pl.Float64,
}


@dataclass(frozen=True)
class Interactions:
    """Purchases before a cut, one entry per event: indices into sorted ids, and age in days (1 = the day before)."""

    customers: list[str]
    items: list[str]
    customer: Ints
    item: Ints
    age: Ints

    @cached_property
    def seen(self) -> sparse.csr_matrix:
        """customers x items, number of purchases."""
        return self.matrix(np.ones(self.customer.size))

    def matrix(self, weights: Floats) -> sparse.csr_matrix:
        """customers x items, sum of `weights` (one per event)."""
        shape = (len(self.customers), len(self.items))
        return sparse.csr_matrix((weights, (self.customer, self.item)), shape=shape)

    def decayed(self, half_life_days: float) -> sparse.csr_matrix:
        """customers x items, sum of 0.5 ** (age / half life)."""
        return self.matrix(np.power(0.5, self.age / half_life_days))


def encode(
    events: pl.DataFrame, cut: date, customers: Sequence[str] | None = None, items: Sequence[str] | None = None
) -> Interactions:
    """Encode events before `cut`; later ones, and those of ids that are not asked for, are left out."""
    known = events.filter(pl.col("business_date") < cut)
    customer_ids = sorted(set(customers)) if customers is not None else known["customer_id"].unique().sort().to_list()
    item_ids = sorted(set(items)) if items is not None else known["item_id"].unique().sort().to_list()
    coded = (
        known.select("customer_id", "item_id", (pl.lit(cut) - pl.col("business_date")).dt.total_days().alias("age"))
        .join(_index("customer_id", customer_ids, "customer"), on="customer_id", maintain_order="left")
        .join(_index("item_id", item_ids, "item"), on="item_id", maintain_order="left")
    )
    customer, item, age = (coded[name].to_numpy().astype(np.int64) for name in ("customer", "item", "age"))
    return Interactions(customer_ids, item_ids, customer, item, age)


def _index(name: str, ids: list[str], alias: str) -> pl.DataFrame:
    schema = {name: pl.String(), alias: pl.Int64()}
    return pl.DataFrame({name: ids, alias: np.arange(len(ids), dtype=np.int64)}, schema=schema)


def popularity(items: pl.DataFrame, ids: Sequence[str]) -> Floats:
    """Customer-days of purchase in the 28 days before the cut, per id; 0 where the item is unknown."""
    counts = dict(items.select("item_id", "customers_28d").iter_rows())
    return np.array([counts.get(item, 0.0) for item in ids], dtype=np.float64)


def top_items(scores: Floats, k: int) -> Ints:
    """Indices of the best k finite scores, best first; ties by index (which is the order of the ids)."""
    # Finite ones first: numpy's partition is ten times slower where most values are one and the same.
    finite = np.flatnonzero(np.isfinite(scores))
    keep = min(k, finite.size)
    if keep == 0:
        return np.empty(0, dtype=np.int64)
    values = scores[finite]
    at_least = np.flatnonzero(values >= np.partition(values, finite.size - keep)[finite.size - keep])
    order = np.argsort(-values[at_least], kind="stable")
    return finite[at_least[order][:keep]]


def rank_dense(known: Interactions, score: Callable[[int, int], Floats], k: int) -> pl.DataFrame:
    """Rank items for all customers of `known`.

    `score(low, high)` gives [high - low, items] for that range of customers; -inf keeps an item out.
    """
    parts: list[pl.DataFrame] = []
    for low in range(0, len(known.customers), _BLOCK):
        high = min(low + _BLOCK, len(known.customers))
        block = score(low, high)
        bought = known.seen[low:high].toarray() > 0
        for row in range(high - low):
            for seen in (True, False):
                best = top_items(np.where(bought[row] == seen, block[row], -np.inf), k)
                parts.append(_rows(known, low + row, best, seen, block[row][best]))
    return pl.concat(parts) if parts else pl.DataFrame(schema=_RANK_SCHEMA)


def _rows(known: Interactions, customer: int, best: Ints, seen: bool, scores: Floats) -> pl.DataFrame:
    columns = {
        "customer_id": [known.customers[customer]] * best.size,
        "item_id": [known.items[index] for index in best],
        "seen": [seen] * best.size,
        "rank": np.arange(1, best.size + 1, dtype=np.int32),
        "score": scores,
    }
    return pl.DataFrame(columns, schema=_RANK_SCHEMA)


def rank_pairs(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """The same frame from scored pairs (customer_id, item_id, seen, score)."""
    ordered = pairs.sort(["customer_id", "seen", "score", "item_id"], descending=[False, True, True, False])
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("customer_id", "seen").alias("rank")
    return ordered.with_columns(rank).filter(pl.col("rank") <= k).select(list(_RANK_SCHEMA))
