"""RATE: values known by integration, invariances, and the coverage of its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.evaluation.uplift.curves import Order, gain_curve
from mktgen.evaluation.uplift.rate import _rate, rate, rate_difference, targeting_operator
from mktgen.evaluation.uplift.scores import doubly_robust

# A few scores with priorities on a coarse grid, so that ties are common.
ROWS = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=12)


def value(scores: np.ndarray, priority: np.ndarray, kind: str, weight: np.ndarray | None = None) -> float:
    weight = np.ones(len(scores)) if weight is None else weight
    return _rate(gain_curve(scores, Order.by(priority), weight), kind)  # type: ignore[arg-type]


def test_uniform_effects_in_the_right_order_have_the_values_of_the_integrals() -> None:
    # tau ~ U(0, 1), S = tau: TOC(u) = (1 - u) / 2.
    tau = (np.arange(20_000) + 0.5) / 20_000
    assert value(tau, tau, "autoc") == pytest.approx(1 / 4, abs=1e-3)
    assert value(tau, tau, "qini") == pytest.approx(1 / 12, abs=1e-4)
    assert value(tau, -tau, "qini") == pytest.approx(-1 / 12, abs=1e-4)


def test_two_groups_by_hand() -> None:
    scores, priority = np.array([3.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    # The first half has mean 2, all have mean 1: TOC is 1 on (0, 1/2], then 1 / u - 1.
    assert value(scores, priority, "autoc") == pytest.approx(0.5 + (np.log(2) - 0.5))
    assert value(scores, priority, "qini") == pytest.approx(0.125 + (0.5 - 0.375))
    found = targeting_operator(scores, priority, [0.25, 0.5, 1.0], resamples=3, seed=1)
    assert [interval.value for interval in found] == pytest.approx([1.0, 1.0, 0.0])


@given(ROWS)
def test_an_order_that_knows_nothing_has_none(rows: list[tuple[int, int, int]]) -> None:
    scores = np.array([row[0] for row in rows], dtype=float)
    for kind in ("autoc", "qini"):
        assert value(scores, np.zeros(len(rows)), kind) == pytest.approx(0, abs=1e-9)


@given(ROWS, st.integers(0, 2**32 - 1), st.floats(-5, 5))
def test_order_of_rows_and_a_shift_of_all_effects_change_nothing(
    rows: list[tuple[int, int, int]], seed: int, shift: float
) -> None:
    scores, priority, weight = (np.array([row[k] for row in rows], dtype=float) for k in range(3))
    mixed = np.random.default_rng(seed).permutation(len(rows))
    for kind in ("autoc", "qini"):
        plain = value(scores, priority, kind, weight)
        assert value(scores[mixed], priority[mixed], kind, weight[mixed]) == pytest.approx(plain, abs=1e-9)
        assert value(scores + shift, 3 * priority + 1, kind, weight) == pytest.approx(plain, abs=1e-8)
        repeated = np.repeat(np.arange(len(rows)), weight.astype(int))  # a weight is a count
        assert value(scores[repeated], priority[repeated], kind) == pytest.approx(plain, abs=1e-9)


def test_intervals_hold_the_truth_and_a_useless_priority_is_seldom_praised() -> None:
    covered = praised = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        signal, noise = rng.uniform(size=(2, 250))
        scores = signal + rng.normal(size=250)
        found = rate(scores, signal, "qini", resamples=120, seed=seed)
        covered += found.low <= 1 / 12 <= found.high
        praised += rate(scores, noise, "qini", resamples=120, seed=seed).low > 0
    assert covered >= 51
    assert praised <= 6


def test_a_customer_with_many_rows_counts_once() -> None:
    rng = np.random.default_rng(5)
    scores, priority = rng.normal(size=(2, 200))
    narrow = rate(np.tile(scores, 5), np.tile(priority, 5), "qini", resamples=300, seed=1)
    honest = rate(
        np.tile(scores, 5), np.tile(priority, 5), "qini", resamples=300, seed=1, clusters=np.tile(np.arange(200), 5)
    )
    assert honest.high - honest.low > 1.8 * (narrow.high - narrow.low)


def test_a_better_priority_is_better_on_the_same_draws() -> None:
    rng = np.random.default_rng(2)
    signal = rng.uniform(size=3000)
    scores = signal + 0.5 * rng.normal(size=3000)
    worse = signal + 2 * rng.normal(size=3000)
    assert rate_difference(scores, signal, worse, "autoc", resamples=200, seed=1).low > 0
    same = rate_difference(scores, signal, 2 * signal, "autoc", resamples=20, seed=1)
    assert (same.low, same.value, same.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_doubly_robust_scores_are_unbiased_whatever_the_predictions() -> None:
    rng = np.random.default_rng(3)
    size = 40_000
    chance = rng.uniform(0.1, 0.9, size)
    treated = rng.random(size) < chance
    outcome = 5 + treated * 2.0 + rng.normal(size=size)
    for guess in (None, np.full(size, 5.0), np.full(size, -3.0)):
        found = doubly_robust(outcome, treated, chance, guess, guess)
        assert found.mean() == pytest.approx(2.0, abs=5 * found.std() / np.sqrt(size))
    assert doubly_robust(outcome, treated, chance, np.full(size, 7.0), np.full(size, 5.0)).std() < 3


@pytest.mark.parametrize(
    ("scores", "priority"),
    [([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([1.0], [np.inf]), ([], [])],
    ids=["lengths", "score", "priority", "empty"],
)
def test_wrong_input_is_refused(scores: list[float], priority: list[float]) -> None:
    with pytest.raises(ValueError, match="give"):
        rate(np.array(scores), np.array(priority), "autoc", resamples=2, seed=0)


def test_shares_and_propensities_must_make_sense() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        targeting_operator(np.ones(2), np.ones(2), [0.0], resamples=2, seed=0)
    with pytest.raises(ValueError, match="inside"):
        doubly_robust(np.ones(2), np.array([True, False]), np.array([1.0, 0.5]))
