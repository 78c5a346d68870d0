"""Estimators against values by hand, and the properties that hold in any log."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.evaluation.off_policy import estimators
from mktgen.evaluation.off_policy.estimate import ESTIMATORS
from mktgen.evaluation.off_policy.estimators import Terms
from mktgen.evaluation.off_policy.intervals import totals
from mktgen.evaluation.off_policy.logged import Logged
from tests.support.bandit_world import draw, make_world

# Two decisions among two actions; weights 2 and 0.5, so by hand: see the test below.
HAND = Logged(
    action=np.array([0, 1]),
    reward=np.array([1.0, 3.0]),
    propensity=np.array([0.25, 0.8]),
    policy=np.array([[0.5, 0.5], [0.6, 0.4]]),
    q_hat=np.array([[0.5, 1.0], [2.0, 2.0]]),
)
LOGS = st.builds(lambda seed, rows: random_log(seed, rows), st.integers(0, 10**6), st.integers(2, 40))


def random_log(seed: int, rows: int, actions: int = 3) -> Logged:
    rng = np.random.default_rng(seed)
    return Logged(
        action=rng.integers(0, actions, rows),
        reward=rng.normal(1, 2, rows),
        propensity=rng.uniform(0.05, 1, rows),
        policy=rng.dirichlet(np.ones(actions), rows),
        q_hat=rng.normal(1, 1, (rows, actions)),
        cluster=rng.integers(0, max(2, rows // 2), rows),
    )


def reordered(log: Logged, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Logged:
    assert log.q_hat is not None
    assert log.cluster is not None
    return Logged(
        log.action[order],
        log.reward[order],
        log.propensity[order],
        log.policy[order],
        log.q_hat[order],
        log.cluster[order],
    )


@pytest.mark.parametrize(
    ("estimator", "value"),
    [
        (estimators.ips, (2 * 1 + 0.5 * 3) / 2),
        (estimators.snips, (2 * 1 + 0.5 * 3) / 2.5),
        (estimators.dm, (0.75 + 2.0) / 2),
        (estimators.dr, ((0.75 + 2 * 0.5) + (2.0 + 0.5 * 1.0)) / 2),
        (estimators.sndr, (0.75 + 2.0) / 2 + (2 * 0.5 + 0.5 * 1.0) / 2.5),
        (lambda log: estimators.clipped_ips(log, 1.0), (1 * 1 + 0.5 * 3) / 2),
        (lambda log: estimators.switch_dr(log, 1.0), (0.75 + (2.0 + 0.5 * 1.0)) / 2),
        (lambda log: estimators.dros(log, 2.0), ((0.75 + 4 / 6 * 0.5) + (2.0 + 1 / 2.25 * 1.0)) / 2),
    ],
)
def test_values_by_hand(estimator: Callable[[Logged], Terms], value: float) -> None:
    assert estimator(HAND).value == pytest.approx(value)


def test_cut_weights_are_told_and_get_marked_as_biased() -> None:
    assert estimators.clipped_ips(HAND, 1.0).cut == 0.5
    assert estimators.clipped_ips(HAND, 1.0).biased
    assert not estimators.clipped_ips(HAND, 2.0).biased
    assert estimators.switch_dr(HAND, math.inf).value == estimators.dr(HAND).value
    assert estimators.dros(HAND, math.inf).value == estimators.dr(HAND).value
    assert estimators.dros(HAND, 0.0).value == estimators.dm(HAND).value
    assert estimators.dm(HAND).biased


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 50))
@settings(deadline=None, max_examples=50)
def test_the_logging_policy_itself_has_the_mean_reward(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet(np.ones(4), rows)
    action = np.array([rng.choice(4, p=p) for p in logging])
    log = Logged(action, rng.normal(5, 3, rows), logging, logging)
    for estimator in (estimators.ips, estimators.snips, estimators.calibrated_dr):
        assert estimator(log).value == pytest.approx(log.reward.mean(), rel=1e-9)


@given(log=LOGS, shift=st.floats(-1e3, 1e3))
@settings(deadline=None, max_examples=50)
def test_a_constant_added_to_all_rewards_is_added_to_self_normalised_values(log: Logged, shift: float) -> None:
    moved = replace(log, reward=log.reward + shift)
    assert estimators.snips(moved).value == pytest.approx(estimators.snips(log).value + shift, abs=1e-6)
    bounds = log.reward.min() - 1e-9, log.reward.max() + 1e-9
    assert bounds[0] <= estimators.snips(log).value <= bounds[1]


def test_calibrated_dr_moves_with_a_constant_too() -> None:
    log = draw(make_world(), 500, seed=3).log
    moved = replace(log, reward=log.reward + 100.0)
    assert estimators.calibrated_dr(moved).value == pytest.approx(estimators.calibrated_dr(log).value + 100, abs=1e-6)


@pytest.mark.parametrize("name", ["dr", "sndr", "calibrated_dr"])
def test_with_perfect_expected_rewards_nothing_is_left_to_chance(name: str) -> None:
    world = make_world()
    drawn = draw(world, 300, seed=1)
    table = world.rewards[drawn.segment]
    sure = replace(drawn.log, reward=drawn.log.at_action(table), q_hat=table)
    terms = ESTIMATORS[name](sure)
    assert terms.value == pytest.approx(sure.expected(table).mean(), abs=1e-12)
    assert terms.influence == pytest.approx(sure.expected(table) - sure.expected(table).mean(), abs=1e-9)


@given(log=LOGS, seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_row_order_does_not_change_a_single_bit(log: Logged, seed: int) -> None:
    other = reordered(log, np.random.default_rng(seed).permutation(log.rows))
    for name, estimator in ESTIMATORS.items():
        here, there = estimator(log), estimator(other)
        assert here.value == there.value, name
        assert np.array_equal(totals(here.influence, log.groups), totals(there.influence, other.groups)), name


@given(log=LOGS, seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_names_of_actions_do_not_matter(log: Logged, seed: int) -> None:
    assert log.q_hat is not None
    renamed = np.random.default_rng(seed).permutation(log.actions)  # new name -> old name
    new = np.argsort(renamed)
    other = replace(log, action=new[log.action], policy=log.policy[:, renamed], q_hat=log.q_hat[:, renamed])
    assert np.array_equal(log.weight, other.weight)
    for name, estimator in ESTIMATORS.items():
        assert estimator(other).value == pytest.approx(estimator(log).value, rel=1e-6, abs=1e-9), name


@given(log=LOGS)
@settings(deadline=None, max_examples=50)
def test_influences_have_mean_zero(log: Logged) -> None:
    for name, estimator in ESTIMATORS.items():
        terms = estimator(log)
        size = max(1.0, float(np.abs(terms.influence).max()))
        assert abs(float(terms.influence.mean())) < 1e-9 * size, name


def test_the_calibrated_variance_is_least() -> None:
    drawn = draw(make_world(seed=4), 2_000, seed=5)
    poor = np.random.default_rng(0).normal(size=drawn.log.policy.shape)  # a model that knows nothing
    for q_hat in (poor, poor + 3 * make_world(seed=4).rewards[drawn.segment]):
        log = replace(drawn.log, q_hat=q_hat)
        spread = {
            name: float(ESTIMATORS[name](log).influence.std())
            for name in ("ips", "snips", "dr", "sndr", "calibrated_dr")
        }
        # in the sample SNIPS is divided by a mean weight that is 1 only up to chance
        assert spread["calibrated_dr"] <= min(spread.values()) * 1.02, spread


def test_a_policy_that_takes_nothing_of_the_log_has_no_ratio_but_a_value_of_zero() -> None:
    log = Logged(np.array([0, 0]), np.array([1.0, 2.0]), np.array([0.5, 0.5]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert estimators.ips(log).value == 0.0
    assert estimators.snips(log).value == 0.0
