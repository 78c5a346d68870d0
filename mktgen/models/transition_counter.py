"""The untrained transition counter: what customers bought in the basket after one with these items, counted.

The line that a trained ranking has to beat before it is worth anything: on some public sets it beats published networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import polars as pl
from scipy import sparse

from mktgen.models import _files
from mktgen.models._interactions import Floats, encode, popularity, rank_dense
from mktgen.models._transitions import DECAY, LAST_BASKETS, Ints, count_transitions, recent_weights
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.models.popularity import universe
from mktgen.settings import ModelSettings

MIN_COUNT: Final = 2  # most pairs occur once: an eighth of the file, and no worse a line
_POPULARITY_WEIGHT: Final = 1e-6  # below any transition: it orders items that nothing led to


class TransitionCounter(Model):
    """score = sum over the last 5 baskets of 0.6 ** age * (times that the item followed on the basket's items).

    Counted over all pairs of consecutive baskets of the training customers; an item follows on itself too. Nothing is
    fitted. Popular items follow on everything, so it is a weak line where customers repeat their own baskets.
    """

    kind: ClassVar[str] = "transition_counter"
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking"})
    untrained: ClassVar[bool] = True

    def __init__(self, items: list[str] | None = None, counts: sparse.csr_matrix | None = None) -> None:
        self._items = items or []
        self._counts = counts

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        before = data.events.filter(pl.col("business_date") < data.cut)
        self._items = before["item_id"].unique().sort().to_list()
        customers = before["customer_id"].unique().sort().to_list()
        counts = count_transitions(*_coded(before, customers, self._items), len(self._items))
        pairs = counts.nnz
        counts.data[counts.data < MIN_COUNT] = 0
        counts.eliminate_zeros()
        counts.sort_indices()
        self._counts = counts
        parameters: dict[str, float | int | str | bool] = {
            "last_baskets": LAST_BASKETS,
            "decay": DECAY,
            "min_count": MIN_COUNT,
        }
        return FitReport(parameters=parameters, metrics={"pairs_seen": float(pairs), "pairs_kept": float(counts.nnz)})

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, sorted({*universe(history), *self._items}))
        before = history.events.filter(pl.col("business_date") < history.cut)
        shape = (len(known.customers), len(known.items))
        weights = recent_weights(*_coded(before, known.customers, known.items), shape)
        follows = self._placed(known.items)
        popular = popularity(history.items, known.items)
        fill = _POPULARITY_WEIGHT * popular / max(1.0, float(popular.max(initial=0.0)))

        def score(low: int, high: int) -> Floats:
            block: Floats = (weights[low:high] @ follows).toarray() + fill
            return block

        return rank_dense(known, score, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        raise TypeError(f"{self.kind} only ranks items; it gives no purchase probabilities")

    def _placed(self, items: list[str]) -> sparse.csr_matrix:
        """The counts over `items`, which hold the learnt ones and others."""
        if self._counts is None:
            raise RuntimeError("transition_counter: fit or load the model before ranking")
        position = np.searchsorted(np.array(items, dtype=object), np.array(self._items, dtype=object))
        pairs = sparse.coo_matrix(self._counts)
        cells = (pairs.data.astype(np.float64), (position[pairs.row], position[pairs.col]))
        return sparse.csr_matrix(cells, shape=(len(items), len(items)))

    def save(self, directory: Path) -> None:
        if self._counts is None:
            raise RuntimeError("transition_counter: fit the model before saving it")
        _files.write_meta(directory, self.kind, {"items": self._items, "min_count": MIN_COUNT})
        arrays = {name: getattr(self._counts, name).astype(np.int32) for name in ("data", "indices", "indptr")}
        _files.write_arrays(directory / "counts.safetensors", arrays)

    @classmethod
    def load(cls, directory: Path) -> Self:
        items: list[str] = _files.read_meta(directory, cls.kind)["items"]
        arrays: dict[str, Any] = _files.read_arrays(directory / "counts.safetensors")
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        return cls(items, sparse.csr_matrix(parts, shape=(len(items), len(items))))


def _coded(events: pl.DataFrame, customers: Sequence[str], items: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Customer, order and item numbers of the events, oldest first within a customer; unknown ids are left out."""
    ordered = events.sort("customer_id", "event_time", "order_id", "item_id")
    coded = ordered.select(
        pl.col("customer_id").replace_strict(customers, range(len(customers)), default=None, return_dtype=pl.Int64),
        pl.col("order_id").rank("dense").cast(pl.Int64),
        pl.col("item_id").replace_strict(items, range(len(items)), default=None, return_dtype=pl.Int64),
    ).drop_nulls()
    customer, order, item = (coded[name].to_numpy() for name in ("customer_id", "order_id", "item_id"))
    return customer, order, item
