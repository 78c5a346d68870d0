"""The Complete Journey benchmarks measure what they say: metrics, intervals and the counted rankings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from benchmarks.complete_journey import counters
from benchmarks.complete_journey.calibration import groups
from benchmarks.complete_journey.categories_task import CategoryWeek, own_frequency
from benchmarks.complete_journey.intervals import Households
from benchmarks.complete_journey.items_task import RANKED, Week, evaluate
from benchmarks.complete_journey.product import Retrain, trained
from mktgen import contracts
from mktgen.evaluation import classification, ranking
from mktgen.models.base import History, TrainingSet
from mktgen.settings import ModelSettings
from tests.support.shop import make_shop

CUT = date(2017, 6, 1)
PAIR = ["customer_id", "item_id"]


def week_of(seed: int) -> tuple[Week, list[str]]:
    shop = make_shop(customers=20, items=40, days=170, seed=seed)
    truth = shop.truth(CUT).filter(pl.col("customer_id").is_in(shop.active(CUT)))
    before = shop.before(CUT).select(PAIR).unique()
    items = sorted(before["item_id"].unique())
    truth = truth.filter(pl.col("item_id").is_in(items))
    return Week(shop.history(CUT), truth["customer_id"].unique().sort().to_list(), truth, before), items


@pytest.mark.parametrize("name", sorted(counters.COUNTERS))
def test_metrics_are_the_products_where_both_have_them(name: str) -> None:
    week, items = week_of(3)
    ranked = counters.COUNTERS[name](week.history, week.customers, items, RANKED)
    mine = evaluate(week, ranked, items)
    theirs = ranking.per_customer(ranked, week.truth, week.before)
    shared = [column for column in theirs.columns if "hit_rate" not in column]
    assert_frame_equal(mine.select(shared), theirs.select(shared))
    assert (mine["ndcg_at_20"].drop_nulls().to_numpy() <= 1 + 1e-12).all()


@pytest.mark.parametrize("name", sorted(counters.COUNTERS))
def test_rankings_do_not_see_the_week(name: str) -> None:
    """Events from the cut on, put into the history, change nothing."""
    week, items = week_of(5)
    shop = make_shop(customers=20, items=40, days=170, seed=5)
    leaking = replace(week.history, events=shop.events)
    counter = counters.COUNTERS[name]
    honest = replace(week.history, events=shop.before(CUT))
    assert_frame_equal(counter(leaking, week.customers, items, 20), counter(honest, week.customers, items, 20))


def test_items_outside_the_catalogue_take_no_place() -> None:
    week, items = week_of(7)
    ranked = counters.recent_frequency(week.history, week.customers, items, RANKED)
    best = ranked.filter(pl.col("seen") & (pl.col("rank") == 1))["item_id"].unique().to_list()
    fewer = [item for item in items if item not in best]
    smaller = replace(week, truth=week.truth.filter(pl.col("item_id").is_in(fewer)))
    smaller = replace(smaller, customers=smaller.truth["customer_id"].unique().sort().to_list())
    asked = counters.recent_frequency(week.history, smaller.customers, fewer, RANKED)
    of_all = ranked.filter(pl.col("customer_id").is_in(smaller.customers))
    assert_frame_equal(evaluate(smaller, of_all, fewer), evaluate(smaller, asked, fewer))


def test_a_customer_without_a_ranking_is_an_error() -> None:
    week, items = week_of(7)
    ranked = counters.popular(week.history, week.customers[1:], items, RANKED)
    with pytest.raises(ValueError, match="1 customers of 2017-06-01 have no ranking"):
        evaluate(week, ranked, items)


def test_transitions_follow_the_next_basket() -> None:
    """a then b twice, a then c once; who bought a last gets b before c, and a itself not at all."""
    history = [("u", "ab"), ("v", "ab"), ("w", "ac"), ("x", "a")]
    rows = [
        (customer, datetime(2017, 5, 1 + place, 12, tzinfo=UTC), date(2017, 5, 1 + place), f"{customer}{place}", item)
        for customer, items in history
        for place, item in enumerate(items)
    ]
    events = pl.DataFrame([(*row, "CAT", 100, False) for row in rows], schema=contracts.SEQUENCES.columns, orient="row")
    known = History(CUT, events, contracts.CUSTOMER_FEATURES.empty(), contracts.ITEM_FEATURES.empty())
    ranked = counters.transitions(known, ["x"], ["a", "b", "c"], 3)
    scores = dict(ranked.select("item_id", "score").iter_rows())
    assert scores == pytest.approx({"a": 0.0, "b": 2 / 3, "c": 1 / 3})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])), min_size=4, max_size=40))
def test_auc_is_the_products(rows: list[tuple[bool, float]]) -> None:
    label = np.array([True, False, *(hit for hit, _ in rows)])
    score = np.array([0.5, 0.5, *(value for _, value in rows)])
    households = Households(pl.Series([f"h{n}" for n in range(label.size)]), 20, 1)
    estimate = households.auc(label, score)
    assert estimate.value == pytest.approx(classification.auc(label, score))
    same = households.auc_difference(label, score, score * 0.5)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_intervals_cover_the_mean_of_correlated_rows() -> None:
    """Households with four equal rows: the interval must be as wide as without the copies, and cover at its level."""
    rng = np.random.default_rng(0)
    covered, trials = 0, 200
    for trial in range(trials):
        values = np.repeat(rng.normal(size=60), 4)
        names = pl.Series(np.repeat([f"h{n}" for n in range(60)], 4))
        estimate = Households(names, 200, trial).mean(values)
        covered += estimate.low <= 0.0 <= estimate.high
    assert 0.88 <= covered / trials <= 0.99


def test_rows_without_a_value_are_left_out() -> None:
    households = Households(pl.Series(["a", "b", "c", "d"]), 50, 1)
    assert households.mean(np.array([1.0, float("nan"), 1.0, 1.0])).value == 1.0
    with pytest.raises(ValueError, match="no rows"):
        Households(pl.Series([], dtype=pl.String), 50, 1)


def test_groups_of_true_probabilities_lie_on_the_diagonal() -> None:
    rng = np.random.default_rng(2)
    chance = rng.random(20_000)
    predicted, observed = groups((rng.random(chance.size) < chance).astype(np.float64), chance)
    assert np.abs(predicted - observed).max() < 0.05
    assert (np.diff(predicted) > 0).all()


@pytest.mark.parametrize(("retrain", "trainings"), [("each-cut", 3), ("once", 1)])
def test_a_product_model_is_trained_before_what_it_scores(retrain: Retrain, trainings: int) -> None:
    shop, asked = make_shop(customers=20, items=40, days=170, seed=3), list[date]()

    def data(cut: date) -> TrainingSet:
        asked.append(cut)
        return shop.training_set(cut, cuts=3)

    cuts = (date(2017, 5, 4), date(2017, 5, 18), CUT)
    rows = list(trained("personal_frequency", cuts, 0, retrain, data, ModelSettings()))
    assert [cut for cut, _, _ in rows] == list(cuts)
    assert asked == list(cuts[:trainings])
    week, items = week_of(3)
    ranked = rows[-1][1].rank(week.history, week.customers, RANKED)
    counted = counters.recent_frequency(week.history, week.customers, items, RANKED)
    repeats = ["repeat.ndcg_at_10", "repeat.recall_at_10"]
    assert_frame_equal(evaluate(week, ranked, items).select(repeats), evaluate(week, counted, items).select(repeats))


def test_own_category_frequency_is_the_decayed_count_and_then_popularity() -> None:
    shop = make_shop(customers=20, items=40, days=170, seed=3)
    names = sorted(shop.events["category"].unique())
    truth = shop.after(CUT, 7).select("customer_id", "category").unique()
    week = CategoryWeek(replace(shop.history(CUT), events=shop.events), shop.active(CUT), truth, truth.clear())
    scores = own_frequency(week, names)
    assert scores.height == len(week.customers) * len(names)
    for customer, category, score in scores.gather_every(11).iter_rows():
        own = shop.before(CUT).filter(customer_id=customer, category=category)
        age = (pl.Series([CUT]).to_physical()[0] - own["business_date"].to_physical()).to_numpy()
        assert score == pytest.approx((0.5 ** (age / 56.0)).sum(), abs=1e-5)
