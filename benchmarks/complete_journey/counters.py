"""Rankings that are counted and not learnt, beyond the kinds of mktgen.models: the bar of the items benchmark.

Each takes the events before a cut and gives mktgen.models.base.Model.rank's frame. Only catalogue items are ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl
from scipy import sparse

from mktgen.models._interactions import Floats, Interactions, Ints, encode, popularity, rank_dense
from mktgen.models.base import History

HALF_LIFE_DAYS: Final = 56.0
NEIGHBOURS: Final = 300
OWN_SHARE: Final = 0.7
LAST_BASKETS: Final = 5
BASKET_DECAY: Final = 0.6
_TIES: Final = 1e-9  # popularity decides between equal scores, and between items without any

Counter = Callable[[History, list[str], Sequence[str], int], pl.DataFrame]


def popular(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """Customer-days of purchase in the last 28 days."""
    asked = encode(history.events, history.cut, customers, catalogue)
    return _rank(asked, sparse.csr_matrix(asked.seen.shape), history, k)


def frequency(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """P-TopFreq: how often the customer bought the item."""
    asked = encode(history.events, history.cut, customers, catalogue)
    return _rank(asked, asked.seen, history, k)


def recent_frequency(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """P-TopFreq with a half-life of 56 days."""
    asked = encode(history.events, history.cut, customers, catalogue)
    return _rank(asked, asked.decayed(HALF_LIFE_DAYS), history, k)


def user_knn(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """Mean of the decayed counts of the 300 households with the most similar ones (cosine), whoever they are."""
    return _neighbours(history, customers, catalogue, k, own_share=0.0)


def tifu(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """0.7 own decayed counts + 0.3 of the neighbours' mean (after Hu et al., SIGIR 2020, without its group decay)."""
    return _neighbours(history, customers, catalogue, k, own_share=OWN_SHARE)


def transitions(history: History, customers: list[str], catalogue: Sequence[str], k: int) -> pl.DataFrame:
    """Untrained transition counter: what comes in the basket after one with j, over the last 5 baskets, decay 0.6.

    score(c, i) = sum over p < 5 of 0.6^p * mean over j in c's basket p from the end of n(j -> i) / n(j), with
    n(j -> i) = baskets with j whose customer's next basket holds i, n(j) = baskets with j that have a next one.
    """
    known = _everybody(history, customers, catalogue)
    baskets, before, lately = _baskets(history.events.filter(pl.col("business_date") < history.cut), known)
    counts = (baskets[before].T @ baskets[before + 1]).tocsr()
    leaving = np.maximum(np.asarray(baskets[before].sum(axis=0)).ravel(), 1.0)
    scores = lately @ sparse.diags(1.0 / leaving) @ counts
    return _rank_rows(known, scores, history, customers, catalogue, k)


def _baskets(events: pl.DataFrame, known: Interactions) -> tuple[sparse.csr_matrix, Ints, sparse.csr_matrix]:
    """Baskets x items (0 or 1, a customer's baskets in order of time), those with a next one, customers' last items."""
    orders = events.group_by("customer_id", "order_id").agg(pl.col("event_time").min())
    orders = orders.sort("customer_id", "event_time", "order_id").with_row_index("basket")
    orders = orders.with_columns(pl.int_range(pl.len()).reverse().over("customer_id").alias("from_end"))
    orders = orders.join(_places("customer", known.customers), on="customer_id", maintain_order="left")
    pairs = events.select("customer_id", "order_id", "item_id").unique().sort("customer_id", "order_id", "item_id")
    pairs = pairs.join(orders, on=["customer_id", "order_id"]).join(_places("item", known.items), on="item_id")
    shape = (orders.height, len(known.items))
    indices = (pairs["basket"].to_numpy(), pairs["item"].to_numpy())
    baskets = sparse.csr_matrix((np.ones(pairs.height), indices), shape=shape)
    last = orders.filter(pl.col("from_end") < LAST_BASKETS)
    size = np.maximum(np.asarray(baskets.sum(axis=1)).ravel(), 1.0)
    weight = np.power(BASKET_DECAY, last["from_end"].to_numpy()) / size[last["basket"].to_numpy()]
    place = (last["customer"].to_numpy(), last["basket"].to_numpy())
    pick = sparse.csr_matrix((weight, place), shape=(len(known.customers), orders.height))
    before = orders.filter(pl.col("from_end") > 0)["basket"].to_numpy().astype(np.int64)
    return baskets, before, (pick @ baskets).tocsr()


def _places(name: str, ids: list[str]) -> pl.DataFrame:
    """`<name>_id` and `<name>`, its position in `ids`."""
    return pl.DataFrame({f"{name}_id": ids}, schema={f"{name}_id": pl.String}).with_row_index(name)


def _neighbours(
    history: History, customers: list[str], catalogue: Sequence[str], k: int, own_share: float
) -> pl.DataFrame:
    known = _everybody(history, customers, catalogue)
    counts = known.decayed(HALF_LIFE_DAYS)
    length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    unit = (sparse.diags(1.0 / np.maximum(length, 1e-12)) @ counts).tocsr()
    similarity = (unit @ unit.T).toarray()
    np.fill_diagonal(similarity, -1.0)
    size = len(known.customers)
    number = min(NEIGHBOURS, size - 1)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :number]
    share = np.full(nearest.size, 1.0 / max(number, 1))
    mean = sparse.csr_matrix((share, (np.repeat(np.arange(size), number), nearest.ravel())), shape=(size, size))
    scores = own_share * counts + (1.0 - own_share) * (mean @ counts)
    return _rank_rows(known, scores, history, customers, catalogue, k)


def _everybody(history: History, customers: list[str], catalogue: Sequence[str]) -> Interactions:
    """Interactions of all households that are known, the asked ones among them."""
    return encode(history.events, history.cut, sorted({*history.events["customer_id"], *customers}), catalogue)


def _rank_rows(
    known: Interactions,
    scores: sparse.csr_matrix,
    history: History,
    customers: list[str],
    catalogue: Sequence[str],
    k: int,
) -> pl.DataFrame:
    asked = encode(history.events, history.cut, customers, catalogue)
    rows = np.searchsorted(np.array(known.customers), np.array(asked.customers))
    return _rank(asked, scores.tocsr()[rows], history, k)


def _rank(asked: Interactions, scores: sparse.csr_matrix, history: History, k: int) -> pl.DataFrame:
    popular_last = popularity(history.items, asked.items)
    ties = _TIES * popular_last / max(1.0, float(popular_last.max(initial=0.0)))

    def block(low: int, high: int) -> Floats:
        dense: Floats = scores[low:high].toarray() + ties
        return dense

    return rank_dense(asked, block, k)


COUNTERS: Final[dict[str, Counter]] = {
    "popularity 28 d": popular,
    "P-TopFreq": frequency,
    "P-TopFreq half-life 56 d": recent_frequency,
    "user-kNN 300": user_knn,
    "TIFU-like": tifu,
    "transition counter": transitions,
}
