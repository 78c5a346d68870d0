"""From a trained network and a History to rankings, probabilities and vectors, in batches of customers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from mktgen.errors import PermanentError
from mktgen.models._attributes import Attributes
from mktgen.models._batch import Batch, Columns, Scene, collate
from mktgen.models._events import Ints, day_number, encode_events
from mktgen.models._heads import Extras
from mktgen.models._item_facts import CutFacts, VocabularyFacts, plans, scaled
from mktgen.models._network import Architecture, BehaviourNetwork, expected_spend
from mktgen.models._normalise import FEATURES, Normalisation
from mktgen.models._processes import reproducible
from mktgen.models._redemption import MailingScale
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._softmax import Pairs
from mktgen.models._states import States, windows
from mktgen.models._topk import stream_top
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import History, Mailings

_BATCH: Final = 64  # customers scored at once
_RANKING: Final[dict[str, Any]] = {
    "customer_id": pl.String,
    "item_id": pl.String,
    "seen": pl.Boolean,
    "rank": pl.Int32,
    "score": pl.Float64,
}


@dataclass(frozen=True)
class Scorer:
    """A trained network with all it needs to score. base_rates: purchase within 7 and 28 days among the examples.

    spend_unit: minor units that the network counts spend in.
    """

    network: BehaviourNetwork
    shape: Architecture
    vocabulary: Vocabulary
    attributes: Attributes
    normalisation: Normalisation
    base_rates: tuple[float, float]
    spend_unit: float
    events: int
    memory: int
    threads: int
    mailings: MailingScale | None = None

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """See Model.rank. Customers without events get the popular items of the last 28 days.

        Every item of the catalogue has a score: what the model has no token for, for want of lines, competes by category,
        attributes and popularity, down to items that were never sold.
        """
        found = _Found()
        if k < 1:
            return found.frame([])
        catalogue = self._catalogue(history)
        scene = self._scene(history, customers)
        popular = _popular(catalogue["item_id"], history, k)
        with reproducible(self.threads), torch.inference_mode():
            table, offset = self._output_layer(catalogue, history)
            place = _positions(scene.log.item_ids, catalogue["item_id"])
            for chosen, batch in self._batches(_states_alone(scene)):
                state = self.network.states(batch)
                copy, bounds = self.network.copy(state, batch).double().numpy(), batch.candidate_state.numpy()
                codes = self._codes(scene, chosen)
                known = _known(codes, place)
                values, places = stream_top(self.network.queries(state, batch), table, offset, known, k)
                for row, customer in enumerate(chosen):
                    if codes[row].size == 0:
                        found.add(customer, False, *popular)
                        continue
                    # Candidates are the codes of the customer's last `memory` events; older ones are seen but not proposed.
                    own = np.unique(codes[row][-self.memory :])
                    low, high = np.searchsorted(bounds, [row, row + 1])
                    ids = scene.log.item_ids.gather(own).to_numpy().astype(object)
                    found.add(customer, True, *_top(ids, copy[low:high], k))
                    allowed = torch.isfinite(values[row]).numpy()
                    items = catalogue["item_id"].gather(places[row].numpy()[allowed]).to_numpy().astype(object)
                    found.add(customer, False, items, values[row].double().numpy()[allowed])
        return found.frame(scene.log.customers)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        """See Model.probabilities. Who has neither events nor features gets the base rates."""
        scene = self._scene(history, customers)
        values = np.zeros((len(scene.log.customers), 2))
        with reproducible(self.threads), torch.inference_mode():
            for chosen, batch in self._batches(_states_alone(scene)):
                state = self.network.states(batch)
                values[chosen] = self.network.purchases(state, batch).double().sigmoid().numpy()
        unknown = (scene.states.example < 0) & (np.diff(scene.log.first) == 0)
        values[unknown] = self.base_rates
        # A purchase within 7 days is one within 28; the two heads may cross by a hair.
        month = np.maximum(values[:, 0], values[:, 1])
        columns = {"customer_id": scene.log.customers, "p_purchase_7d": values[:, 0], "p_purchase_28d": month}
        return pl.DataFrame(columns, schema_overrides={"customer_id": pl.String})

    def spend(self, history: History, customers: list[str]) -> pl.DataFrame:
        """See Model.spend. Who has neither events nor features gets the mean spend times the base rate."""
        scene = self._scene(history, customers)
        values = np.zeros(len(scene.log.customers))
        with reproducible(self.threads), torch.inference_mode():
            for chosen, batch in self._batches(_states_alone(scene)):
                values[chosen] = expected_spend(self.network.spends(self.network.states(batch), batch)).double().numpy()
        unknown = (scene.states.example < 0) & (np.diff(scene.log.first) == 0)
        values[unknown] = self.base_rates[1]
        columns = {"customer_id": scene.log.customers, "spend_28d_minor": values * self.spend_unit}
        return pl.DataFrame(columns, schema_overrides={"customer_id": pl.String})

    def categories(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """See NeuralModel.categories. Who has no events gets what is common."""
        scene = self._scene(history, customers)
        scene = replace(scene, extras=replace(scene.extras, week="all"))
        names = self.vocabulary.categories["category"]
        best = min(k, names.len())
        places = np.zeros((len(scene.log.customers), best), dtype=np.int64)
        chances = np.zeros(places.shape)
        with reproducible(self.threads), torch.inference_mode():
            for chosen, batch in self._batches(_states_alone(scene)):
                p = self.network.categories(self.network.states(batch), batch).double().sigmoid().numpy()
                # Names are sorted, so a stable sort breaks ties by name.
                places[chosen] = np.argsort(-p, axis=1, kind="stable")[:, :best]
                chances[chosen] = np.take_along_axis(p, places[chosen], axis=1)
        customer = pl.Series("customer_id", scene.log.customers, dtype=pl.String)
        owner = np.repeat(np.arange(customer.len(), dtype=np.int64), best)
        columns = [customer.gather(owner), names.gather(places.ravel()), pl.Series("p_7d", chances.ravel())]
        return pl.DataFrame(columns)

    def redemptions(self, history: History, mailings: Mailings) -> pl.DataFrame:
        """See NeuralModel.redemptions."""
        if self.mailings is None:
            raise PermanentError("this model learned from no mailings: train it with TrainingSet.mailings")
        rows = mailings.rows
        scene = self._scene(history, rows["customer_id"].to_list())
        place, categories = scene.log.find(rows["customer_id"].to_list()), history.items.select("item_id", "category")
        mailed = self.mailings.encode(mailings, place, self.vocabulary, categories, labelled=False)
        scene = replace(scene, extras=replace(scene.extras, mailed=mailed))
        values = np.zeros(rows.height)
        with reproducible(self.threads), torch.inference_mode():
            for _, batch in self._batches(_states_alone(scene)):
                p = self.network.redemptions(self.network.states(batch), batch).double().sigmoid()
                values[batch.extras.mailed.row.numpy()] = p.numpy()
        return rows.select("customer_id", "campaign_id").with_columns(pl.Series("p_redeem", values, dtype=pl.Float64))

    def vectors(self, history: History, customers: list[str]) -> pl.DataFrame:
        """See VectorModel.vectors: the state of the sequence before the cut, `width` numbers."""
        scene = self._scene(history, customers)
        values = np.zeros((len(scene.log.customers), self.shape.width), dtype=np.float32)
        with reproducible(self.threads), torch.inference_mode():
            for chosen, batch in self._batches(_states_alone(scene)):
                values[chosen] = self.network.states(batch).float().numpy()
        names = pl.Series("customer_id", scene.log.customers, dtype=pl.String)
        return pl.DataFrame([names, pl.Series("vector", values.tolist(), dtype=pl.List(pl.Float32))])

    def _batches(self, scene: Scene) -> Iterator[tuple[Ints, Batch]]:
        """Customers by the length of their windows, longest first."""
        order = np.argsort(scene.windows.start - scene.windows.stop, kind="stable")
        for low in range(0, order.size, _BATCH):
            chosen = order[low : low + _BATCH].astype(np.int64)
            yield chosen, collate(scene, chosen)

    def _catalogue(self, history: History) -> pl.DataFrame:
        """item_id, category of the vocabulary, of history.items, and of the merchandise of history.item_attributes; by item_id.

        Token 0 stands for all that is not in the vocabulary. History.items is of the past alone, while item attributes have
        no dates: that the catalogue lists an item counts as known at every cut, as its attributes do. No sale
        on or after the cut is looked at.
        """
        sold = history.items.select("item_id", "category")
        listed = history.item_attributes.filter(pl.col("merchandise").fill_null(True)).select("item_id", "category")
        every = pl.concat([self.vocabulary.items, sold, listed])
        # As with the attributes, what was learned of an item stands.
        return (
            every.group_by("item_id", maintain_order=True).agg(pl.col("category").drop_nulls().first()).sort("item_id")
        )

    def _output_layer(self, catalogue: pl.DataFrame, history: History) -> tuple[torch.Tensor, torch.Tensor]:
        """[items, Q] and [items]: what `heads` computes for the vocabulary, and the same for the other items."""
        facts = _facts(history, catalogue["item_id"])
        known = self.attributes.of_items(catalogue["item_id"], history.item_attributes)
        columns = Columns(
            token=torch.from_numpy(self.vocabulary.item_tokens(catalogue["item_id"])),
            category=torch.from_numpy(self.vocabulary.category_tokens(catalogue["category"])),
            popularity=torch.from_numpy(scaled(facts.lines)),
            plan=torch.from_numpy(facts.plan),
            log_weight=torch.zeros(catalogue.height),
            facts=known.take(np.arange(1, catalogue.height + 1, dtype=np.int64)),
        )
        table, offset = self.network.output_layer(columns)
        return table, offset[0]

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
        goods, code_good, people = self.attributes.of_log(log, self.vocabulary, history)
        days = np.full(len(asked), day_number(history.cut), dtype=np.int64)
        states = States(owner, days, stop, stop, np.where(known, owner, -1))
        return Scene(
            log=log,
            states=states,
            windows=windows(log, states, self.events),
            moments=np.array([day_number(history.cut)], dtype=np.int64),
            facts=_facts(history, log.item_ids),
            vocabulary_facts=VocabularyFacts.of_all(_facts(history, self.vocabulary.items["item_id"])),
            item_category=self.vocabulary.item_category,
            features=self.normalisation.apply(found),
            labels=np.zeros((len(asked), 2), dtype=np.float32),
            spend=np.zeros(0, dtype=np.float32),
            memory=self.memory,
            sampler=None,
            extras=Extras.none(self.vocabulary.categories.height),
            goods=goods,
            code_good=code_good,
            people=people,
        )

    def _codes(self, scene: Scene, chosen: Ints) -> list[Ints]:
        first = scene.log.first
        return [scene.log.code[first[customer] : first[customer + 1]] for customer in chosen]


@dataclass
class _Found:
    """Ranked items of customers, collected in any order."""

    customers: list[int] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)
    ids: list[NDArray[np.object_]] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, customer: int, seen: bool, ids: NDArray[np.object_], scores: NDArray[np.float64]) -> None:
        """Items of one customer, best first."""
        self.customers.append(int(customer))
        self.seen.append(seen)
        self.ids.append(ids)
        self.scores.append(scores)

    def frame(self, names: list[str]) -> pl.DataFrame:
        """Sorted as Model.rank promises; `names` are in order."""
        if not self.customers:
            return pl.DataFrame(schema=_RANKING)
        order = sorted(range(len(self.customers)), key=lambda i: (self.customers[i], not self.seen[i]))
        sizes = [self.ids[i].size for i in order]
        columns: dict[str, Any] = {
            "customer_id": np.repeat(np.array([names[self.customers[i]] for i in order], dtype=object), sizes).tolist(),
            "item_id": np.concatenate([self.ids[i] for i in order]).tolist(),
            "seen": np.repeat(np.array([self.seen[i] for i in order]), sizes),
            "rank": np.concatenate([np.arange(1, size + 1) for size in sizes]),
            "score": np.concatenate([self.scores[i] for i in order]),
        }
        return pl.DataFrame(columns, schema=_RANKING)


def _states_alone(scene: Scene) -> Scene:
    """Batches without the output layer's columns, which each would hold of the whole vocabulary."""
    return replace(scene, sampler=CatalogueSampler.nothing())


def _positions(ids: pl.Series, catalogue: pl.Series) -> Ints:
    """Place in the catalogue of each item of the log, -1 for one that is not in it."""
    places = pl.DataFrame({"item_id": catalogue, "_place": np.arange(catalogue.len(), dtype=np.int64)})
    found = pl.DataFrame({"item_id": ids}).join(places, on="item_id", how="left", maintain_order="left")["_place"]
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _known(codes: list[Ints], place: Ints) -> Pairs:
    """(row, place in the catalogue) of what each customer bought before."""
    rows = np.repeat(np.arange(len(codes), dtype=np.int64), [c.size for c in codes])
    items = place[np.concatenate(codes)] if rows.size else rows
    return Pairs(torch.from_numpy(rows[items >= 0]), torch.from_numpy(items[items >= 0]))


def _facts(history: History, ids: pl.Series) -> CutFacts:
    """Of one moment, the cut."""
    lines = history.items.select("item_id", "lines_28d")
    joined = pl.DataFrame({"item_id": ids}).join(lines, on="item_id", how="left", maintain_order="left")
    known = joined["lines_28d"].fill_null(0.0).to_numpy().astype(np.float32)[None, :]
    return CutFacts(known, plans(history.promotions, ids, np.array([day_number(history.cut)], dtype=np.int64)))


def _popular(ids: pl.Series, history: History, k: int) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """The k of `ids` that sold best lately, ties by item_id; those that never sold come last."""
    lines = history.items.select("item_id", "lines_28d")
    known = ids.to_frame().join(lines, on="item_id", how="left").with_columns(pl.col("lines_28d").fill_null(0.0))
    ordered = known.sort(["lines_28d", "item_id"], descending=[True, False]).head(k)
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
