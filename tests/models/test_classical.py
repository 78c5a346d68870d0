"""What the classical kinds compute, on cases small enough to check by hand, and their invariants."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import sparse
from sklearn.preprocessing import FunctionTransformer

from mktgen import contracts
from mktgen.errors import CorruptArtefact, PermanentError
from mktgen.models import _candidates, _skops, model_class
from mktgen.models._interactions import encode, rank_dense, top_items
from mktgen.models._logistic import Logistic
from mktgen.models.base import History, TrainingSet
from mktgen.models.item_knn import ItemKnn
from mktgen.models.logistic_regression import LogisticRegression
from mktgen.models.matrix_factorisation import MatrixFactorisation
from mktgen.models.personal_frequency import PersonalFrequency
from mktgen.models.popularity import Popularity
from mktgen.settings import ModelSettings
from tests.support.shop import Shop, events_on, item_features, make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)


def events(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """(customer, item, days before the cut) as contracts.SEQUENCES."""
    return events_on([(customer, CUT - timedelta(days=age), item) for customer, item, age in rows])


def history(rows: list[tuple[str, str, int]]) -> History:
    frame = events(rows)
    return History(CUT, frame, contracts.CUSTOMER_FEATURES.empty(), item_features(frame, CUT))


def order(ranked: pl.DataFrame, customer: str, seen: bool) -> list[str]:
    return ranked.filter(customer_id=customer, seen=seen)["item_id"].to_list()


def test_popularity_counts_customer_days_of_four_weeks() -> None:
    rows = [("u", "a", 1), ("v", "a", 2), ("v", "b", 3), ("w", "b", 4), ("w", "b", 5), ("w", "c", 40), ("w", "c", 41)]
    ranked = Popularity().rank(history(rows), ["u", "v", "w"], 5)
    assert order(ranked, "u", seen=False) == ["b", "c"]
    assert dict(ranked.filter(customer_id="w").select("item_id", "score").iter_rows()) == {"a": 2.0, "b": 3.0, "c": 0.0}


def test_personal_frequency_decays_by_half_in_56_days() -> None:
    rows = [
        ("u", "old", 57),
        ("u", "old", 57),
        ("u", "old", 57),
        ("u", "new", 1),
        ("u", "twice", 29),
        ("u", "twice", 29),
    ]
    ranked = PersonalFrequency().rank(history([*rows, ("v", "other", 3)]), ["u"], 9)
    assert order(ranked, "u", seen=True) == ["old", "twice", "new"]
    scores = dict(ranked.select("item_id", "score").iter_rows())
    assert scores["old"] / scores["new"] == pytest.approx(1.5, rel=1e-5)
    assert order(ranked, "u", seen=False) == ["other"]
    assert 0 < scores["other"] < 1e-5


def test_item_knn_recommends_what_is_bought_together() -> None:
    rows = [(f"c{index}", item, 3) for index in range(6) for item in ("pasta", "sauce")]
    rows += [(f"d{index}", item, 3) for index in range(6) for item in ("soap", "towel")]
    known = history([*rows, ("u", "pasta", 2), ("v", "soap", 2)])
    model = ItemKnn()
    model.fit(TrainingSet(CUT, known.events, pl.DataFrame(), known.items), ModelSettings(), session())
    ranked = model.rank(known, ["u", "v"], 1)
    assert order(ranked, "u", seen=False) == ["sauce"]
    assert order(ranked, "v", seen=False) == ["towel"]
    assert model._similarity is not None
    cosine = sparse.csr_matrix(model._similarity).toarray()
    assert cosine == pytest.approx(cosine.T, abs=1e-6)
    assert cosine[0, 1] == pytest.approx(6 / np.sqrt(7 * 6))  # pasta has 7 customers, sauce 6, both 6


def test_matrix_factorisation_learns_the_shops_habits() -> None:
    shop = make_shop(customers=60, items=40)
    data = shop.training_set(CUT)
    model = MatrixFactorisation()
    losses = model.fit(data, ModelSettings(), session()).curves["train.loss"]
    assert losses == sorted(losses, reverse=True)
    truth = set(shop.truth(CUT, 14).iter_rows())
    ranked = model.rank(shop.history(CUT), shop.active(CUT), 3).filter("seen")
    hit = np.mean([(customer, item) in truth for customer, item, *_ in ranked.iter_rows()])
    base = len(truth) / (len({customer for customer, _ in truth}) * 40)
    assert hit > 1.5 * base


def test_learnt_kinds_find_the_customers_who_left() -> None:
    shop = make_shop(customers=80, items=40)
    model = LogisticRegression()
    model.fit(shop.training_set(CUT), ModelSettings(), session())  # one customer in eight stopped in April
    known = shop.history(CUT)
    left = [f"c{index:04d}" for index in range(80) if index % 8 == 7]
    given = model.probabilities(known, known.features["customer_id"].to_list())
    gone = given.filter(pl.col("customer_id").is_in(left))["p_purchase_28d"].mean()
    stayed = given.filter(~pl.col("customer_id").is_in(left))["p_purchase_28d"].mean()
    assert isinstance(gone, float)
    assert isinstance(stayed, float)
    assert gone < 0.5 < stayed


def test_customers_without_features_and_unripe_labels_are_named() -> None:
    shop = make_shop(customers=10, items=20)
    model = PersonalFrequency()
    data = shop.training_set(CUT)
    model.fit(data, ModelSettings(), session())
    with pytest.raises(PermanentError, match="nobody"):
        model.probabilities(shop.history(CUT), ["nobody"])
    unripe = TrainingSet(CUT, data.events, shop.examples(CUT - timedelta(days=7)), data.items)
    with pytest.raises(PermanentError, match="28-day label"):
        model.fit(unripe, ModelSettings(), session())


@pytest.mark.parametrize("kind", ["personal_frequency", "logistic_regression", "gradient_boosting"])
def test_examples_whose_labels_end_after_the_cut_are_not_learnt_from(kind: str) -> None:
    shop = make_shop(customers=20, items=20)
    data, known = shop.training_set(CUT), shop.history(CUT)
    unripe = replace(data, examples=pl.concat([data.examples, shop.examples(CUT - timedelta(days=7))]))
    first, second = model_class(kind)(), model_class(kind)()
    first.fit(data, ModelSettings(threads=1), session())
    second.fit(unripe, ModelSettings(threads=1), session())
    customers = shop.active(CUT)
    assert_frame_equal(first.probabilities(known, customers), second.probabilities(known, customers), check_exact=True)


def test_labels_of_one_class_are_refused() -> None:
    with pytest.raises(PermanentError, match="labels are equal"):
        Logistic.fit(("x",), np.ones((3, 1)), np.ones(3, dtype=bool), 1.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), max_size=20), st.integers(0, 25))
def test_top_items_is_a_stable_sort(scores: list[float], k: int) -> None:
    expected = sorted((i for i in range(len(scores)) if np.isfinite(scores[i])), key=lambda i: (-scores[i], i))[:k]
    assert top_items(np.array(scores, dtype=np.float64), k).tolist() == expected


def test_ranking_in_blocks_equals_ranking_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_shop(customers=20, items=30)
    known = encode(shop.before(CUT), CUT)
    scores = np.random.default_rng(1).integers(0, 4, (20, 30)).astype(np.float64)
    whole = rank_dense(known, lambda low, high: scores[low:high], 4)
    monkeypatch.setattr("mktgen.models._interactions._BLOCK", 7)
    assert_frame_equal(whole, rank_dense(known, lambda low, high: scores[low:high], 4), check_exact=True)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 60))
def test_candidate_features_know_nothing_after_the_cut(offset: int) -> None:
    shop: Shop = make_shop(customers=12, items=20, days=120)
    cut = date(2017, 2, 1) + timedelta(days=offset)
    items = item_features(shop.before(cut), cut)
    customers = shop.active(cut)
    early = _candidates.candidates(shop.before(cut), items, cut, customers)
    late = _candidates.candidates(shop.events, items, cut, customers)
    assert (early.customers, early.items) == (late.customers, late.items)
    np.testing.assert_array_equal(early.values, late.values)


def test_candidate_features_by_hand() -> None:
    rows = [("u", "a", 7), ("u", "a", 14), ("u", "a", 21), ("u", "b", 7), ("v", "c", 3)]
    made = _candidates.candidates(events(rows), item_features(events(rows), CUT), CUT, ["u"])
    table = pl.DataFrame(made.values, schema=list(_candidates.FEATURES))
    a, b, c = (table.row(index, named=True) for index in range(3))
    assert a["count_7"] == pytest.approx(0.5 + 0.25 + 0.125)
    assert (a["purchases"], a["days_since"], a["gap_ratio"], a["bought_again"]) == (3.0, 7.0, 1.0, 1.0)
    assert (b["purchases"], b["gap_ratio"], b["bought_again"], b["never_bought"]) == (1.0, 0.0, 0.0, 0.0)
    assert (c["never_bought"], c["days_since"], c["popularity_28"]) == (1.0, _candidates.NEVER_DAYS, 1.0)
    assert (a["visits_28"], a["days_since_visit"]) == (3.0, 7.0)
    assert a["share_of_customer"] + b["share_of_customer"] == pytest.approx(1.0)
    assert made.seen.tolist() == [True, True, False]


def test_training_rows_are_labelled_by_the_week_after_their_cut() -> None:
    shop = make_shop(customers=12, items=20)
    data = shop.training_set(CUT)
    values, labels = _candidates.training_rows(data, seed=1)
    again, same = _candidates.training_rows(data, seed=1)
    np.testing.assert_array_equal(values, again)
    np.testing.assert_array_equal(labels, same)
    # Every item that was bought in a training week by an active customer is a candidate here: the shop is small.
    weeks = [CUT - timedelta(days=7 * week) for week in range(1, _candidates.TRAIN_CUTS + 1)]
    bought = sum(
        shop.truth(cut)
        .filter(pl.col("customer_id").is_in(shop.active(cut)))
        .join(shop.before(cut).select("item_id").unique(), on="item_id", how="semi")
        .height
        for cut in weeks
    )
    assert int(labels.sum()) == bought


def test_an_archive_with_an_untrusted_type_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps(FunctionTransformer(func=_skops.dump)))
    with pytest.raises(CorruptArtefact, match="not trusted"):
        _skops.load(path)
    with pytest.raises(CorruptArtefact, match="missing"):
        _skops.load(tmp_path / "absent.skops")
