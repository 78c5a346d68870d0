"""Item-neighbourhood collaborative filtering: items bought by the same customers.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from scipy import sparse

from mktgen.models import _files
from mktgen.models._interactions import Floats, Interactions, encode, popularity, rank_dense, top_items
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.models.popularity import universe
from mktgen.settings import ModelSettings

NEIGHBOURS = 50
HALF_LIFE_DAYS = 56.0
MIN_CUSTOMERS = 5  # a cosine over fewer customers is noise
_POPULARITY_WEIGHT = 1e-6  # orders items without any neighbour in the basket
_BLOCK = 1024


class ItemKnn(Model):
    """score(c, i) = sum over j in {i} and the 50 nearest items of i: cos(i, j) * w(c, j).

    w(c, j) = log(1 + decayed purchases of j by c), half-life 56 days; the cosine is over customers' columns of whether
    they ever bought the item. An item is its own nearest neighbour (cosine 1), because groceries are bought again.
    Fails for items with few customers: below 5 they only score through the customer's own purchases.
    """

    kind: ClassVar[str] = "item_knn"
    effort = 25.0
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking"})

    def __init__(self, items: list[str] | None = None, similarity: sparse.csr_matrix | None = None) -> None:
        self._items = items or []
        self._similarity = similarity

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        known = encode(data.events, data.cut)
        bought = (known.seen > 0).astype(np.float32)
        enough = np.flatnonzero(np.asarray(bought.sum(axis=0)).ravel() >= MIN_CUSTOMERS)
        self._items = [known.items[index] for index in enough]
        self._similarity = _nearest(sparse.csc_matrix(bought[:, enough]), session)
        parameters: dict[str, float | int | str | bool] = {
            "neighbours": NEIGHBOURS,
            "half_life_days": HALF_LIFE_DAYS,
            "min_customers": MIN_CUSTOMERS,
        }
        metrics = {"items": float(enough.size), "similarities": float(self._similarity.nnz)}
        return FitReport(parameters=parameters, metrics=metrics)

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, sorted({*universe(history), *self._items}))
        weights = known.decayed(HALF_LIFE_DAYS).log1p()
        spread = self._spread(known)
        popular = popularity(history.items, known.items)
        fill = _POPULARITY_WEIGHT * popular / max(1.0, float(popular.max(initial=0.0)))

        def score(low: int, high: int) -> Floats:
            block: Floats = (weights[low:high] + weights[low:high] @ spread).toarray() + fill
            return block

        return rank_dense(known, score, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        raise TypeError(f"{self.kind} only ranks items; it gives no purchase probabilities")

    def _spread(self, known: Interactions) -> sparse.csr_matrix:
        """[items known now, items known now]: row j gives what a purchase of j adds to the other items."""
        if self._similarity is None:
            raise RuntimeError("item_knn: fit or load the model before ranking")
        place = {item: index for index, item in enumerate(known.items)}
        position = np.array([place[item] for item in self._items], dtype=np.int64)
        pairs = sparse.coo_matrix(self._similarity)
        size = len(known.items)
        values = pairs.data.astype(np.float64)
        return sparse.csr_matrix((values, (position[pairs.col], position[pairs.row])), shape=(size, size))

    def save(self, directory: Path) -> None:
        if self._similarity is None:
            raise RuntimeError("item_knn: fit the model before saving it")
        _files.write_meta(directory, self.kind, {"items": self._items, "neighbours": NEIGHBOURS})
        arrays = {name: getattr(self._similarity, name) for name in ("data", "indices", "indptr")}
        _files.write_arrays(directory / "similarity.safetensors", arrays)

    @classmethod
    def load(cls, directory: Path) -> Self:
        items: list[str] = _files.read_meta(directory, cls.kind)["items"]
        arrays = _files.read_arrays(directory / "similarity.safetensors")
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        return cls(items, sparse.csr_matrix(parts, shape=(len(items), len(items))))


def _nearest(bought: sparse.csc_matrix, session: Session) -> sparse.csr_matrix:
    """Row i: cosine of item i with its nearest items, itself left out; ties by item order."""
    count = bought.shape[1]
    norm = np.sqrt(np.asarray(bought.sum(axis=0)).ravel())
    indptr, indices, data = [0], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for low in range(0, count, _BLOCK):
        high = min(low + _BLOCK, count)
        together = (bought[:, low:high].T @ bought).toarray()
        cosine = together / (norm[low:high, None] * norm[None, :])
        cosine[np.arange(high - low), np.arange(low, high)] = 0.0
        for row in cosine:
            best = top_items(row, NEIGHBOURS)
            best = np.sort(best[row[best] > 0])
            indices.append(best.astype(np.int32))
            data.append(row[best].astype(np.float32))
            indptr.append(indptr[-1] + best.size)
        session.progress(f"item_knn: neighbours of {high} of {count} items")
    parts = (np.concatenate(data), np.concatenate(indices), np.array(indptr, dtype=np.int32))
    return sparse.csr_matrix(parts, shape=(count, count))
