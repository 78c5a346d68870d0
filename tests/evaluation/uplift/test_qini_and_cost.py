"""Qini, uplift@k and cost curves against figures counted by hand, and what they say of worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from mktgen.evaluation.uplift.cost import cost_curve_areas
from mktgen.evaluation.uplift.curves import Order
from mktgen.evaluation.uplift.qini import qini, qini_curve, uplift_at

OUTCOME = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
TREATED = np.array([True, False, True, False, True, False])
PRIORITY = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


def test_the_curve_is_that_counted_by_hand() -> None:
    curve = qini_curve(OUTCOME, TREATED, Order.by(PRIORITY), np.ones(6))
    # After 1: nobody untreated yet. After 2: 1 - 0. After 3: 2 - 0. After 4: 2 - 1 * 2/2. After 5: 2 - 1 * 3/2. After 6: 2 - 2.
    assert (6 * curve.gain).tolist() == pytest.approx([0, 0, 1, 2, 1, 0.5, 0])
    found = qini(OUTCOME, TREATED, PRIORITY, resamples=5, seed=1)
    assert found.value == pytest.approx((0 + 1 + 2 + 1 + 0.5) / 36)


def test_uplift_among_the_first_is_a_difference_of_means() -> None:
    found = uplift_at(OUTCOME, TREATED, PRIORITY, 0.6, resamples=5, seed=1)  # ceil(3.6): the first four
    assert found.value == pytest.approx(1.0 - 0.5)
    assert uplift_at(OUTCOME, TREATED, PRIORITY, 1.0, resamples=5, seed=1).value == pytest.approx(2 / 3 - 2 / 3)


def test_equal_priorities_are_a_straight_line() -> None:
    assert qini(OUTCOME, TREATED, np.zeros(6), resamples=5, seed=1).value == pytest.approx(0)


def test_the_known_order_beats_chance_and_chance_beats_nobody() -> None:
    rng = np.random.default_rng(1)
    signal, treated = rng.uniform(size=6000), rng.random(6000) < 0.4
    outcome = (rng.random(6000) < 0.1 + 0.3 * signal * treated).astype(float)
    assert qini(outcome, treated, signal, resamples=200, seed=1).low > 0
    useless = qini(outcome, treated, rng.uniform(size=6000), resamples=200, seed=1)
    assert useless.low < 0 < useless.high
    top = uplift_at(outcome, treated, signal, 0.1, resamples=200, seed=1)
    assert top.low <= 0.285 <= top.high


def test_the_area_under_a_cost_curve_by_hand() -> None:
    gains, costs, priority = np.array([3.0, 1.0]), np.array([1.0, 3.0]), np.array([2.0, 1.0])
    found = cost_curve_areas(gains, costs, priority, resamples=50, seed=1)
    # C: 0, 1, 4; G: 0, 3, 4; trapezoids 1.5 + 10.5 over 16.
    assert found.aucc is not None
    assert found.aucc.value == pytest.approx(12 / 16)
    assert found.advantage.value == pytest.approx(12 / 16 * 2 - 1)


def test_with_equal_costs_only_the_order_of_gains_counts() -> None:
    rng = np.random.default_rng(4)
    gains = rng.uniform(size=500)
    best = cost_curve_areas(gains, np.full(500, 2.0), gains, resamples=50, seed=1)
    chance = cost_curve_areas(gains, np.full(500, 2.0), np.zeros(500), resamples=50, seed=1)
    assert best.aucc is not None
    assert chance.aucc is not None
    assert best.aucc.low > chance.aucc.high
    assert chance.aucc.value == pytest.approx(0.5)
    assert chance.advantage.value == pytest.approx(0)


def test_no_share_is_claimed_of_a_gain_that_may_be_none() -> None:
    rng = np.random.default_rng(4)
    found = cost_curve_areas(rng.normal(size=200), np.ones(200), rng.normal(size=200), resamples=100, seed=1)
    assert found.aucc is None
    assert found.advantage.low < found.advantage.high


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        qini(OUTCOME, np.ones(6, dtype=bool), PRIORITY, resamples=2, seed=0)
    with pytest.raises(ValueError, match="finite"):
        qini(OUTCOME[:3], TREATED, PRIORITY, resamples=2, seed=0)
    with pytest.raises(ValueError, match="share"):
        uplift_at(OUTCOME, TREATED, PRIORITY, 1.5, resamples=2, seed=0)
    with pytest.raises(ValueError, match="positive one"):
        cost_curve_areas(np.ones(2), np.zeros(2), np.ones(2), resamples=2, seed=0)
    with pytest.raises(ValueError, match="finite"):
        cost_curve_areas(np.ones(2), np.ones(3), np.ones(2), resamples=2, seed=0)
