"""The honesty gates on models: honest kinds pass in every random shop; what peeks, wavers or is served otherwise fails."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest

from mktgen import features, models
from mktgen.documents import Gate
from mktgen.features.state import State
from mktgen.models.base import FitReport, History, Model, Session, TrainingSet
from mktgen.models.popularity import Popularity
from mktgen.settings import FeatureSettings, LstmSettings, ModelSettings, Settings, TransformerSettings
from mktgen.steps import honesty
from mktgen.steps.worlds import sample_customers, scored, training_tables
from tests.support.shop import START, around, make_shop, order_lines
from tests.support.training import session

CUT = date(2017, 6, 4)
NETWORK: dict[str, Any] = {"width": 16, "events": 32, "epochs": 1, "batch_customers": 16, "min_item_lines": 3}
SETTINGS = Settings(
    features=FeatureSettings(sequence_events=64),
    models=ModelSettings(
        threads=1,
        train_cuts=3,
        gate_customers=20,
        transformer=TransformerSettings(**NETWORK),
        lstm=LstmSettings(**NETWORK),
    ),
)
ALL = {"point_in_time", "row_order", "training_serving_skew"}


@dataclass(frozen=True)
class Shop:
    """Lines of a small random shop that go on for eight weeks after the cut, and what models learn from them."""

    lines: pl.DataFrame
    training: TrainingSet
    customers: list[str]


@lru_cache(maxsize=4)
def shop(seed: int) -> Shop:
    lines = order_lines(make_shop(customers=30, items=30, seed=seed).events)
    tables = training_tables(lines, CUT, START, SETTINGS)
    training = TrainingSet(CUT, **tables, **around(lines).before(CUT))
    return Shop(lines, training, sample_customers(lines, CUT, SETTINGS))


@lru_cache(maxsize=1)
def honest_worlds(seed: int) -> honesty.Worlds:
    return worlds(seed)


def worlds(seed: int, **ways: Callable[..., State]) -> honesty.Worlds:
    among = honesty.worlds(shop(seed).lines, shop(seed).customers, CUT, START, SETTINGS, **ways)
    return among.told(around(shop(seed).lines), SETTINGS.seed)


def gates(model: Model, among: honesty.Worlds, stored: Model | None = None) -> dict[str, Gate]:
    """As the steps do: scored while in memory, then judged as stored and loaded."""
    memory = scored(model, among.one_pass, among.customers)
    validated = scored(stored or model, among.one_pass, among.customers)
    found = honesty.gates_of(stored or model, among, honesty.Known(memory, validated, validated))
    return {gate.name: gate for gate in found}


def failed(found: dict[str, Gate]) -> set[str]:
    return {name for name, gate in found.items() if gate.passed is False}


@pytest.mark.parametrize("kind", models.kinds())
def test_every_kind_passes_after_it_was_stored(kind: str, tmp_path: Path) -> None:
    model = models.model_class(kind)()
    model.fit(shop(0).training, SETTINGS.models, session())
    model.save(tmp_path)
    found = gates(model, honest_worlds(0), type(model).load(tmp_path))
    assert {name: gate.passed for name, gate in found.items()} == dict.fromkeys(ALL, True)
    assert all(gate.value == 0.0 for gate in found.values())
    assert "scores with it, also left among the events: 20 customers the same" in found["point_in_time"].detail


def test_honest_kinds_raise_no_alarm_in_random_shops() -> None:
    alarms = 0
    for seed in range(1, 6):
        among = worlds(seed)
        for kind in ("popularity", "personal_frequency", "transition_counter", "logistic_regression"):
            model = models.model_class(kind)()
            model.fit(shop(seed).training, SETTINGS.models, session())
            alarms += len(failed(gates(model, among)))
    assert alarms == 0  # of 60: equality is exact, so there is no chance in it


class Changed(Popularity):
    """A model of this file; its ranking is popularity's with other scores."""

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        ranked = super().rank(history, customers, k)
        return self.changed(ranked, history).sort("customer_id", "seen", "rank", descending=[False, True, False])

    @abstractmethod
    def changed(self, ranked: pl.DataFrame, history: History) -> pl.DataFrame: ...

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        return FitReport()

    @classmethod
    def load(cls, directory: Path) -> Self:
        return cls()


class Peeking(Changed):
    """It adds to an item's score what the customer will buy of it, where it is shown that."""

    def changed(self, ranked: pl.DataFrame, history: History) -> pl.DataFrame:
        bought = history.events.filter(pl.col("business_date") >= history.cut)
        counts = bought.group_by("customer_id", "item_id").agg(pl.len().alias("later"))
        joined = ranked.join(counts, on=["customer_id", "item_id"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("score") + pl.col("later").fill_null(0) * 1e-9).drop("later")


class Wavering(Changed):
    """It never says the same twice."""

    calls = 0

    def changed(self, ranked: pl.DataFrame, history: History) -> pl.DataFrame:
        self.calls += 1
        return ranked.with_columns(pl.col("score") + self.calls)


class Forgetful(Changed):
    """What it learnt is not stored."""

    def __init__(self, learnt: float = 0.0) -> None:
        self.learnt = learnt

    def changed(self, ranked: pl.DataFrame, history: History) -> pl.DataFrame:
        return ranked.with_columns(pl.col("score") + self.learnt)


class OrderBound(Changed):
    """Its scores follow the places of the customer's events in the sequence."""

    def changed(self, ranked: pl.DataFrame, history: History) -> pl.DataFrame:
        places = history.events.with_columns(pl.int_range(pl.len()).over("customer_id").alias("place"))
        last = places.group_by("customer_id", "item_id").agg(pl.col("place").max())
        joined = ranked.join(last, on=["customer_id", "item_id"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("score") + pl.col("place").fill_null(-1)).drop("place")


def test_a_model_that_peeks_at_the_future_is_caught() -> None:
    found = gates(Peeking(), honest_worlds(0))
    assert failed(found) == {"point_in_time"}
    assert "scores with it, also left among the events" in found["point_in_time"].detail
    assert "customers differ, e.g. " in found["point_in_time"].detail


def test_a_model_that_wavers_is_caught() -> None:
    assert failed(gates(Wavering(), honest_worlds(0))) == ALL


def test_a_model_that_is_stored_otherwise_than_it_was_is_caught() -> None:
    found = gates(Forgetful(0.01), honest_worlds(0), Forgetful())
    assert failed(found) == {"training_serving_skew"}
    assert "in memory against stored" in found["training_serving_skew"].detail
    assert not failed(gates(Forgetful(0.01), honest_worlds(0)))


def as_they_came(state: State, lines: pl.DataFrame, day: date, settings: FeatureSettings) -> State:
    """An unstable sort: events of one moment stay in the order of the rows."""
    folded = features.fold(state, lines, day, settings)
    came = lines.select("order_id", "item_id").with_row_index("row")
    unstable = folded.sequences.join(came, on=["order_id", "item_id"], how="left").sort(
        "customer_id", "event_time", "row"
    )
    return replace(folded, sequences=unstable.drop("row"))


def test_an_unstable_sort_is_caught_in_tables_and_scores() -> None:
    among = worlds(0, in_one_pass=as_they_came)
    found = gates(OrderBound(), among)["row_order"]
    assert found.passed is False
    assert "tables from rows in another order" in found.detail
    assert "scores from them" in found.detail
    assert gates(OrderBound(), honest_worlds(0))["row_order"].passed


def test_a_past_that_is_cut_at_the_wrong_day_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(state: State, lines: pl.DataFrame, day: date, settings: FeatureSettings) -> State:
        return features.fold(state, whole[0], day, settings)

    # The way that validation takes filters by date before it folds; this one forgets it.
    whole: list[pl.DataFrame] = []
    taken = honesty.history_at

    def unfiltered(lines: pl.DataFrame, cut: date, settings: FeatureSettings, fold: Any) -> History:
        whole[:] = [lines]
        return taken(lines, cut, settings, careless)

    monkeypatch.setattr(honesty, "history_at", unfiltered)
    found = gates(Popularity(), worlds(0))["point_in_time"]
    assert found.passed is False
    assert "tables with another future" in found.detail


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_serving_way_that_drops_events_is_caught(share: float) -> None:
    def leaky(state: State, lines: pl.DataFrame, day: date, settings: FeatureSettings) -> State:
        kept = np.random.default_rng(day.toordinal()).random(lines.height) >= share
        return features.fold(state, lines.filter(kept), day, settings)

    found = gates(Popularity(), worlds(0, daily=leaky))
    assert failed(found) == {"training_serving_skew"}
    assert "one pass against day by day" in found["training_serving_skew"].detail


def test_a_serving_way_with_shorter_sequences_is_caught() -> None:
    def short(state: State, lines: pl.DataFrame, day: date, settings: FeatureSettings) -> State:
        return features.fold(state, lines, day, settings.model_copy(update={"sequence_events": 16}))

    assert failed(gates(Popularity(), worlds(0, daily=short))) == {"training_serving_skew"}


def test_without_a_future_there_is_nothing_to_corrupt() -> None:
    lines = shop(0).lines.filter(pl.col("business_date") < CUT)
    among = honesty.worlds(lines, shop(0).customers, CUT, START, SETTINGS)
    assert gates(Popularity(), among)["point_in_time"].passed is None


def test_the_sample_is_active_and_has_the_heaviest_buyers() -> None:
    lines, customers = shop(0).lines, shop(0).customers
    before = lines.filter(pl.col("business_date") < CUT)
    heaviest = before.group_by("customer_id").len().sort("len", "customer_id", descending=[True, False])["customer_id"]
    assert customers == sorted(set(customers)) == sample_customers(lines.reverse(), CUT, SETTINGS)
    assert len(customers) == SETTINGS.models.gate_customers
    assert set(heaviest[:5]) <= set(customers)
    stopped = {f"c{number:04d}" for number in range(30) if number % 8 == 7}  # in April: not active in June by a week
    assert before.filter(pl.col("customer_id").is_in(stopped))["business_date"].max() < date(2017, 4, 17)  # type: ignore[operator]
