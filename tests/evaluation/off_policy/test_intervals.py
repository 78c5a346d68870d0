"""Bounds by hand, by clusters, and of few or skewed data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from mktgen.evaluation.off_policy.estimators import dr, ips, snips
from mktgen.evaluation.off_policy.intervals import bootstrap, empirical_bernstein, normal, totals
from mktgen.evaluation.off_policy.logged import Logged
from tests.support.bandit_world import draw, make_world


def test_rows_as_clusters_are_the_textbook_interval_of_a_mean() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    bounds = normal(4.0, values - 4.0, np.arange(4), 0.05)
    se = values.std(ddof=1) / 2
    assert bounds.se == pytest.approx(se)
    assert bounds.low == pytest.approx(4.0 - student.ppf(0.975, 3) * se)
    assert bounds.high == pytest.approx(4.0 + student.ppf(0.975, 3) * se)


def test_a_customer_seen_twice_is_not_two_customers() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    once = normal(4.0, values - 4.0, np.arange(4), 0.05)
    twice = normal(4.0, np.repeat(values, 2) - 4.0, np.repeat(np.arange(4), 2), 0.05)
    assert twice.se == pytest.approx(once.se)
    assert normal(4.0, np.repeat(values, 2) - 4.0, np.arange(8), 0.05).se < once.se  # type: ignore[operator]


def test_totals_by_cluster_are_sorted_sums() -> None:
    assert totals(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2, 0, 2, 1])) == pytest.approx([2.0, 4.0, 4.0])


def test_one_cluster_has_no_bounds() -> None:
    for bounds in (
        normal(1.0, np.array([0.5, -0.5]), np.zeros(2, dtype=np.int64), 0.05),
        bootstrap(1.0, np.array([0.0]), np.zeros(1, dtype=np.int64), 0.05, resamples=200, seed=0),
    ):
        assert bounds.se is None
        assert bounds.low is None
        assert "one cluster" in bounds.method


def test_rewards_that_are_all_equal_have_a_zero_width() -> None:
    log = Logged(np.zeros(5, dtype=np.int64), np.full(5, 2.0), np.ones(5), np.ones((5, 1)))
    for make in (normal, lambda *a: bootstrap(*a, resamples=200, seed=0)):
        bounds = make(2.0, ips(log).influence, log.groups, 0.05)
        assert (bounds.se, bounds.low, bounds.high) == (0.0, 2.0, 2.0)


def test_the_bootstrap_is_the_same_for_a_seed_and_leans_to_the_long_tail() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    groups = np.arange(60)
    influence = values - values.mean()
    one = bootstrap(1.0, influence, groups, 0.05, resamples=1000, seed=7)
    assert one == bootstrap(1.0, influence[::-1], groups, 0.05, resamples=1000, seed=7)
    assert one.high is not None
    assert one.low is not None
    assert one.high - 1.0 > 1.0 - one.low
    plain = normal(1.0, influence, groups, 0.05)
    assert one.se == plain.se


def test_bernstein_bounds_hold_more_than_the_normal_ones_and_shrink() -> None:
    world, widths = make_world(), []
    heaviest = float((world.policy / world.logging).max())
    for customers in (200, 5_000):
        log = draw(world, customers, seed=2).log
        bounds = empirical_bernstein(log, ips(log), 0.05, modelled=False, reward_range=(0, 1), max_weight=heaviest)
        plain = normal(ips(log).value, ips(log).influence, log.groups, 0.05)
        assert bounds.low is not None
        assert bounds.high is not None
        assert plain.low is not None
        assert bounds.low < plain.low
        widths.append(bounds.high - bounds.low)
    assert widths[1] < widths[0] / 3


def test_bernstein_refuses_what_its_proof_does_not_cover() -> None:
    log = draw(make_world(), 100, seed=1).log
    heaviest = float(log.weight.max())
    with pytest.raises(ValueError, match="plain means"):
        empirical_bernstein(log, snips(log), 0.05, modelled=False, reward_range=(0, 1), max_weight=heaviest)
    with pytest.raises(ValueError, match="reward leaves"):
        empirical_bernstein(log, ips(log), 0.05, modelled=False, reward_range=(0, 0.5), max_weight=heaviest)
    with pytest.raises(ValueError, match="exceeds the stated maximum"):
        empirical_bernstein(log, ips(log), 0.05, modelled=False, reward_range=(0, 1), max_weight=heaviest / 2)
    wild = Logged(log.action, log.reward, log.propensity, log.policy, q_hat=np.full(log.policy.shape, 9.0))
    with pytest.raises(ValueError, match="q_hat leaves"):
        empirical_bernstein(wild, dr(wild), 0.05, modelled=True, reward_range=(0, 1), max_weight=heaviest)
