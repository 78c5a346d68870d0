"""Expected rewards: learnt from other customers only, whatever the order of rows, and better than a mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.estimators import dr, ips
from mktgen.evaluation.off_policy.kernel_ridge import fit_kernel_ridge
from mktgen.evaluation.off_policy.logged import Logged
from mktgen.evaluation.off_policy.reward_model import FAMILIES, Predict, Rows, _out_of_fold, cross_fitted
from tests.support.bandit_world import draw, make_world

WORLD = make_world()
DRAWN = draw(WORLD, 200, seed=2, waves=2)


def test_it_learns_rewards_and_makes_dr_less_noisy() -> None:
    q_hat = cross_fitted(DRAWN.log, DRAWN.context, seed=0)
    truth = WORLD.rewards[DRAWN.segment]
    assert q_hat.shape == DRAWN.log.policy.shape
    assert np.square(q_hat - truth).mean() < np.square(DRAWN.log.reward.mean() - truth).mean() / 2
    log = replace(DRAWN.log, q_hat=q_hat)
    assert dr(log).influence.std() < ips(log).influence.std()


@pytest.mark.parametrize("fit", FAMILIES)
def test_a_customer_has_no_part_in_what_a_family_expects_of_it(fit: Callable[[Rows], Predict]) -> None:
    """Its rewards are falsified: its own fold's models never saw them, those of the others did."""
    log = DRAWN.log
    own = log.groups == log.groups[0]
    rows = Rows(DRAWN.context, log.action, log.reward, log.actions, 0)
    falsified = replace(rows, reward=np.where(own, 1 - log.reward, log.reward))
    fold = log.groups % 5
    before, after = (_out_of_fold(fit, each, fold) for each in (rows, falsified))
    assert np.array_equal(after[own], before[own])
    assert not np.array_equal(after[fold != fold[own][0]], before[fold != fold[own][0]])


def test_a_customer_has_a_share_in_the_common_weights_alone() -> None:
    """One of 200 customers: with the weights of the combination its own figures may move a little, as the others' do."""
    log = DRAWN.log
    assert log.cluster is not None
    own = log.cluster == log.cluster[0]
    falsified = replace(log, reward=np.where(own, 1 - log.reward, log.reward))
    before, after = (cross_fitted(each, DRAWN.context, seed=0) for each in (log, falsified))
    moved = np.abs(after - before)
    assert moved[own].max() < 10 / log.clusters  # the rewards are 0 and 1
    assert moved[~own].max() > 1e-6


def test_row_order_does_not_change_a_single_bit() -> None:
    log, order = DRAWN.log, np.random.default_rng(1).permutation(DRAWN.log.rows)
    assert log.cluster is not None
    other = Logged(
        log.action[order], log.reward[order], log.propensity[order], log.policy[order], cluster=log.cluster[order]
    )
    here, there = cross_fitted(log, DRAWN.context, seed=3), cross_fitted(other, DRAWN.context[order], seed=3)
    assert np.array_equal(here[order], there)


def test_money_is_learnt_too_and_an_action_never_taken_has_a_figure() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(300, 2))
    action = rng.integers(0, 2, 300)  # of three
    reward = 100 + 50 * context[:, 0] * action + rng.normal(size=300)
    log = Logged(action, reward, np.full(300, 0.5), np.tile([0.5, 0.5, 0.0], (300, 1)))
    q_hat = cross_fitted(log, context, seed=0)
    assert np.isfinite(q_hat).all()
    assert np.corrcoef(log.at_action(q_hat), reward)[0, 1] > 0.9
    assert q_hat.min() >= reward.min() - 1e-6


@pytest.mark.parametrize("reward", [np.full(40, 2.0), np.zeros(40)])
def test_rewards_that_are_all_equal_are_expected(reward: np.ndarray) -> None:
    log = Logged(np.arange(40) % 2, reward, np.full(40, 0.5), np.full((40, 2), 0.5))
    assert cross_fitted(log, np.arange(40.0)[:, None], seed=0) == pytest.approx(np.tile(reward[:, None], 2), abs=1e-9)


def test_what_can_not_be_learnt_from_is_refused() -> None:
    log = Logged(np.array([0, 1]), np.array([0.0, 1.0]), np.full(2, 0.5), np.full((2, 2), 0.5))
    with pytest.raises(PermanentError, match="finite"):
        cross_fitted(log, np.array([[np.nan], [1.0]]), seed=0)
    with pytest.raises(PermanentError, match="finite"):
        cross_fitted(log, np.ones((3, 1)), seed=0)
    with pytest.raises(PermanentError, match="the log has one"):
        cross_fitted(replace(log, cluster=np.array(["a", "a"])), np.ones((2, 1)), seed=0)


def test_landmarks_of_many_rows_do_what_all_rows_would() -> None:
    rng = np.random.default_rng(4)
    context, action = rng.normal(size=(1_500, 2)), rng.integers(0, 3, 1_500)
    truth = np.column_stack([np.sin(context[:, 0]), context[:, 1], context[:, 0] * context[:, 1]])
    reward = truth[np.arange(1_500), action] + rng.normal(0, 0.2, 1_500)
    predict = fit_kernel_ridge(context[:1_200], action[:1_200], reward[:1_200], 3, seed=0)
    assert np.square(predict(context[1_200:]) - truth[1_200:]).mean() < 0.05
