"""From a trained network and a History to rankings, probabilities and vectors, in batches of customers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from mktgen.models._batch import Batch, Scene, collate
from mktgen.models._events import Floats, Ints, day_number, encode_events
from mktgen.models._network import Architecture, BehaviourNetwork
from mktgen.models._normalise import FEATURES, Normalisation
from mktgen.models._processes import reproducible
from mktgen.models._states import States, Windows
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import History

_BATCH: Final = 64  # customers scored at once: 64 x 100 000 items in float32 are 26 MB
_RANKING: Final[dict[str, Any]] = {
    "customer_id": pl.String,
    "item_id": pl.String,
    "seen": pl.Boolean,
    "rank": pl.Int32,
    "score": pl.Float64,
}


@dataclass(frozen=True)
class Scorer:
    """A trained network with all it needs to score. base_rates: purchase within 7 and 28 days among the examples."""

    network: BehaviourNetwork
    shape: Architecture
    vocabulary: Vocabulary
    normalisation: Normalisation
    base_rates: tuple[float, float]
    events: int
    memory: int
    threads: int

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """See Model.rank. Customers without events get the popular items of the last 28 days."""
        scene = self._scene(history, customers)
        popular = _popular(history.items, k)
        parts: list[pl.DataFrame] = []
        for chosen, batch in self._batches(scene):
            outputs = self.network(batch)
            generate = outputs.generate.double().numpy()
            copy, bounds = outputs.copy.double().numpy(), batch.candidate_state.numpy()
            codes = self._codes(scene, chosen)
            for row, customer in enumerate(chosen):
                name = scene.log.customers[customer]
                low, high = np.searchsorted(bounds, [row, row + 1])
                if codes[row].size == 0:
                    parts.append(_frame(name, False, *popular))
                    continue
                # Candidates are the codes of the customer's last `memory` events; older ones are seen but not proposed.
                own = np.unique(codes[row][-self.memory :])
                ids = scene.log.item_ids.gather(own).to_numpy().astype(object)
                parts.append(_frame(name, True, *_top(ids, copy[low:high], k)))
                fresh = np.ones(self.vocabulary.size, dtype=bool)
                known = scene.log.code_item[np.unique(codes[row])]
                fresh[known[known > 0] - 1] = False
                parts.append(_frame(name, False, *_top(self._item_ids(fresh), generate[row, fresh], k)))
        return pl.concat([pl.DataFrame(schema=_RANKING), *parts])

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        """See Model.probabilities. Who has neither events nor features gets the base rates."""
        scene = self._scene(history, customers)
        parts = [np.zeros((0, 2))]
        for _, batch in self._batches(scene):
            parts.append(self.network(batch).purchase.double().sigmoid().numpy())
        values = np.concatenate(parts)
        unknown = (scene.states.example < 0) & (np.diff(scene.log.first) == 0)
        values[unknown] = self.base_rates
        # A purchase within 7 days is one within 28; the two heads may cross by a hair.
        month = np.maximum(values[:, 0], values[:, 1])
        columns = {"customer_id": scene.log.customers, "p_purchase_7d": values[:, 0], "p_purchase_28d": month}
        return pl.DataFrame(columns, schema_overrides={"customer_id": pl.String})

    def vectors(self, history: History, customers: list[str]) -> pl.DataFrame:
        """See VectorModel.vectors: the state of the sequence before the cut, `width` numbers."""
        scene = self._scene(history, customers)
        rows: list[list[float]] = []
        for _, batch in self._batches(scene):
            rows.extend(self.network.states(batch).float().tolist())
        schema: dict[str, Any] = {"customer_id": pl.String, "vector": pl.List(pl.Float32)}
        return pl.DataFrame({"customer_id": scene.log.customers, "vector": rows}, schema=schema)

    def _batches(self, scene: Scene) -> Iterator[tuple[Ints, Batch]]:
        with reproducible(self.threads), torch.inference_mode():
            for low in range(0, scene.windows.count, _BATCH):
                chosen = np.arange(low, min(low + _BATCH, scene.windows.count), dtype=np.int64)
                yield chosen, collate(scene, chosen)

    def _scene(self, history: History, customers: list[str]) -> Scene:
        """One state per customer, at the cut; customer i of the log is state i and window i."""
        asked = sorted(set(customers))
        log = encode_events(history.events, self.vocabulary, history.cut, asked)
        owner = np.arange(len(asked), dtype=np.int64)
        stop = log.first[1:]
        found = pl.DataFrame({"customer_id": asked}, schema={"customer_id": pl.String}).join(
            history.features.select("customer_id", *FEATURES).with_row_index("_row"),
            on="customer_id",
            how="left",
            maintain_order="left",
        )
        known = found["_row"].is_not_null().to_numpy()
        lines = history.items.select("item_id", "lines_28d")
        return Scene(
            log=log,
            states=States(
                owner,
                np.full(len(asked), day_number(history.cut), dtype=np.int64),
                stop,
                stop,
                np.where(known, owner, -1),
            ),
            windows=Windows(np.maximum(log.first[:-1], stop - self.events), stop, owner, owner + 1),
            moments=np.array([day_number(history.cut)], dtype=np.int64),
            popularity=_lookup(lines, log.item_ids),
            vocabulary_popularity=_lookup(lines, self.vocabulary.items["item_id"]),
            item_category=self.vocabulary.item_category,
            features=self.normalisation.apply(found),
            labels=np.zeros((len(asked), 2), dtype=np.float32),
            memory=self.memory,
        )

    def _codes(self, scene: Scene, chosen: Ints) -> list[Ints]:
        first = scene.log.first
        return [scene.log.code[first[customer] : first[customer + 1]] for customer in chosen]

    def _item_ids(self, chosen: NDArray[np.bool_]) -> NDArray[np.object_]:
        ids: NDArray[np.object_] = self.vocabulary.item_ids[chosen]
        return ids


def _lookup(lines: pl.DataFrame, ids: pl.Series) -> Floats:
    """[1, ids] lines of the last 28 days."""
    joined = pl.DataFrame({"item_id": ids}).join(lines, on="item_id", how="left", maintain_order="left")
    return joined["lines_28d"].fill_null(0.0).to_numpy().astype(np.float32)[None, :]


def _popular(items: pl.DataFrame, k: int) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    ordered = items.sort(["lines_28d", "item_id"], descending=[True, False]).head(k)
    return ordered["item_id"].to_numpy().astype(object), np.log(ordered["lines_28d"].to_numpy() + 0.5)


def _top(
    ids: NDArray[np.object_], scores: NDArray[np.float64], k: int
) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """The k best, ties by position: `ids` are sorted."""
    if scores.size > k:
        bar = np.partition(scores, scores.size - k)[scores.size - k]
        kept = np.flatnonzero(scores >= bar)
    else:
        kept = np.arange(scores.size)
    order = kept[np.argsort(-scores[kept], kind="stable")][:k]
    return ids[order], scores[order]


def _frame(customer: str, seen: bool, ids: NDArray[np.object_], scores: NDArray[np.float64]) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "customer_id": [customer] * ids.size,
        "item_id": ids.tolist(),
        "seen": [seen] * ids.size,
        "rank": np.arange(1, ids.size + 1),
        "score": scores,
    }
    return pl.DataFrame(columns, schema=_RANKING)
