"""Intervals over cuts: exact where they can be, and as wide as the households say in a world whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mktgen.evaluation.classification import auc
from mktgen.evaluation.rolling import Cut, Rows, over_cuts

Floats = NDArray[np.float64]


def mean_cut(names: list[str], values: Floats) -> Cut:
    def statistic(rows: Rows) -> float:
        if not rows.size:
            raise ValueError("nobody")
        return float(values[rows].mean())

    return Cut(names, statistic)


def test_each_cut_counts_the_same_however_many_households_it_has() -> None:
    cuts = [mean_cut(["a", "b"], np.array([1.0, 3.0])), mean_cut(["a"], np.array([10.0]))]
    assert over_cuts(cuts, resamples=20, seed=1).value == pytest.approx(6.0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.integers(2, 5))
def test_the_same_cut_again_tells_nothing_new(values: list[float], times: int) -> None:
    cut = mean_cut([f"h{index}" for index in range(len(values))], np.array(values))
    once, again = (over_cuts([cut] * number, resamples=30, seed=3) for number in (1, times))
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # A household's taste is the same at three cuts. Rows drawn one by one would hold the truth in some 70 of 100 worlds.
    rng, held, worlds, households = np.random.default_rng(11), 0, 200, 50
    names = [f"h{index}" for index in range(households)]
    for world in range(worlds):
        taste = rng.normal(0.3, 1.0, households)
        cuts = [mean_cut(names, taste + rng.normal(0, 0.2, households)) for _ in range(3)]
        found = over_cuts(cuts, resamples=150, seed=world)
        held += found.low <= 0.3 <= found.high
    assert 0.88 * worlds <= held <= 0.99 * worlds


def test_resamples_without_both_classes_are_drawn_again_and_given_up_where_that_never_helps() -> None:
    label = np.array([True, False, False, False, False, False])
    score = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    rare = Cut([f"h{index}" for index in range(6)], lambda rows: auc(label[rows], score[rows]))
    assert over_cuts([rare], resamples=40, seed=1).low == 1.0
    never = Cut(["a", "b"], lambda rows: auc(np.array([True, True])[rows], np.array([0.1, 0.2])[rows]))
    with pytest.raises(ValueError, match="too few households"):
        over_cuts([never], resamples=5, seed=1)
    with pytest.raises(ValueError, match="at least one cut"):
        over_cuts([], resamples=5, seed=1)
