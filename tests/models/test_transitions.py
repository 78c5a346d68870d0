"""The transition counter: by hand, against a slow count, and on plain item sequences."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen.models._transitions import DECAY, LAST_BASKETS, Ints, count_transitions, recent_weights
from mktgen.models.base import TrainingSet
from mktgen.models.transition_counter import TransitionCounter
from mktgen.settings import ModelSettings
from tests.models.test_classical import CUT, events, history, order
from tests.support.shop import make_shop
from tests.support.training import session

ITEMS = 5
baskets = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4), max_size=8)  # of one sequence


def flat(sequences: list[list[list[int]]]) -> tuple[Ints, Ints, Ints]:
    rows = [(s, b, i) for s, sequence in enumerate(sequences) for b, basket in enumerate(sequence) for i in basket]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


@settings(deadline=None)
@given(st.lists(baskets, min_size=1, max_size=5))
def test_counts_and_weights_agree_with_loops(sequences: list[list[list[int]]]) -> None:
    pairs: Counter[tuple[int, int]] = Counter()
    weights: defaultdict[tuple[int, int], float] = defaultdict(float)
    for number, sequence in enumerate(sequences):
        for before, after in itertools.pairwise(sequence):
            pairs.update((i, j) for i in set(before) for j in set(after))
        for age, basket in enumerate(reversed(sequence[-LAST_BASKETS:])):
            for item in set(basket):
                weights[number, item] += DECAY**age
    counts = count_transitions(*flat(sequences), ITEMS).toarray()
    assert {(i, j): int(counts[i, j]) for i, j in zip(*np.nonzero(counts), strict=True)} == dict(pairs)
    given_weights = recent_weights(*flat(sequences), (len(sequences), ITEMS)).toarray()
    expected = np.zeros((len(sequences), ITEMS))
    for place, value in weights.items():
        expected[place] = value
    np.testing.assert_allclose(given_weights, expected)


def test_a_plain_item_sequence_is_one_of_baskets_of_one() -> None:
    item = np.array([0, 1, 0, 1, 2], dtype=np.int64)
    sequence, step = np.zeros(5, dtype=np.int64), np.arange(5, dtype=np.int64)
    assert count_transitions(sequence, step, item, 3).toarray().tolist() == [[0, 2, 0], [1, 0, 1], [0, 0, 0]]
    weights = recent_weights(sequence, step, item, (1, 3)).toarray()[0]
    assert weights == pytest.approx([0.6**2 + 0.6**4, 0.6 + 0.6**3, 1.0])


def test_a_customer_is_shown_what_followed_on_his_last_baskets() -> None:
    rows = [(f"c{n}", "pasta", 20) for n in range(3)] + [(f"c{n}", "sauce", 10) for n in range(3)]
    rows += [(f"d{n}", "pasta", 20) for n in range(2)] + [(f"d{n}", "soap", 10) for n in range(2)]
    rows += [("e", "pasta", 20), ("e", "once", 10), ("u", "pasta", 5)]
    known = history(rows)
    model = TransitionCounter()
    report = model.fit(TrainingSet(CUT, known.events, pl.DataFrame(), known.items), ModelSettings(), session())
    assert (report.metrics["pairs_seen"], report.metrics["pairs_kept"]) == (3.0, 2.0)
    ranked = model.rank(known, ["u"], 9)
    assert order(ranked, "u", seen=False)[:2] == ["sauce", "soap"]
    scores = dict(ranked.select("item_id", "score").iter_rows())
    assert scores["sauce"] == pytest.approx(3.0, abs=1e-5)
    assert scores["soap"] == pytest.approx(2.0, abs=1e-5)
    assert 0 < scores["once"] < 1e-5


def test_items_of_one_order_do_not_follow_on_each_other() -> None:
    frame = events([(customer, item, 3) for customer in ("u", "v") for item in ("a", "b")])
    one_order = frame.with_columns(order_id=pl.concat_str(pl.lit("o"), "customer_id"))
    known = history([("u", "a", 3)])
    model = TransitionCounter()
    report = model.fit(TrainingSet(CUT, one_order, pl.DataFrame(), known.items), ModelSettings(), session())
    assert report.metrics["pairs_seen"] == 0.0


def test_it_is_untrained_so_the_seed_and_the_order_of_rows_are_irrelevant() -> None:
    shop = make_shop(customers=30, items=30)
    data, known, customers = shop.training_set(CUT), shop.history(CUT), shop.active(CUT)
    shuffled = TrainingSet(CUT, data.events.sample(fraction=1.0, shuffle=True, seed=3), data.examples, data.items)
    first, second = TransitionCounter(), TransitionCounter()
    first.fit(data, ModelSettings(), session(seed=1))
    second.fit(shuffled, ModelSettings(), session(seed=2))
    assert TransitionCounter.untrained
    assert_frame_equal(first.rank(known, customers, 5), second.rank(known, customers, 5), check_exact=True)


def test_customers_without_events_and_items_unknown_to_it_are_ranked_by_popularity() -> None:
    known = history([("u", "a", 9), ("v", "a", 8), ("w", "b", 7)])
    model = TransitionCounter()
    empty = TrainingSet(date(2017, 1, 1), known.events, pl.DataFrame(), known.items)
    model.fit(empty, ModelSettings(), session())
    assert order(model.rank(known, ["nobody"], 5), "nobody", seen=False) == ["a", "b"]
