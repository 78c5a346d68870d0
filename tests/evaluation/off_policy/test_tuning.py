"""Dials set by the log: nothing is cut where it costs nothing, much where weights are heavy and the model is good."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mktgen.evaluation.off_policy.estimators import Terms, dr
from mktgen.evaluation.off_policy.logged import Logged
from mktgen.evaluation.off_policy.tuning import (
    Method,
    least_mse,
    slope,
    tuned_clipped_ips,
    tuned_dros,
    tuned_switch_dr,
)
from tests.support.bandit_world import World, draw, make_world

METHODS: tuple[Method, ...] = ("slope", "mse")


def value_with(value: float, spread: float, dial: float, rows: int = 100) -> Terms:
    """Terms of a stated mean and spread."""
    values = value + spread * np.tile([-1.0, 1.0], rows // 2)
    return Terms(values, np.zeros(rows), np.ones(rows), dial=dial)


def test_slope_stops_at_the_first_that_disagrees() -> None:
    groups = np.arange(100)
    agreeing = [value_with(1.0, 1.0, 2.0), value_with(1.05, 2.0, 5.0), value_with(1.0, 4.0, math.inf)]
    assert slope(agreeing, groups) == 0
    biased = [value_with(9.0, 1.0, 2.0), value_with(1.05, 2.0, 5.0), value_with(1.0, 4.0, math.inf)]
    assert slope(biased, groups) == 1


def test_least_mse_trades_variance_for_bias() -> None:
    groups = np.arange(100)
    cheap = [value_with(1.0, 1.0, 2.0), value_with(1.0, 1.01, math.inf)]
    assert least_mse(cheap, groups) == 0
    far = [value_with(3.0, 1.0, 2.0), value_with(1.0, 1.01, math.inf)]
    assert least_mse(far, groups) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_bad_model_is_not_followed(method: Method) -> None:
    world = make_world()
    drawn = draw(world, 5_000, seed=1)
    log = replace(drawn.log, q_hat=np.full(drawn.log.policy.shape, 5.0))  # rewards are at most 1
    for tuned in (tuned_switch_dr, tuned_dros):
        assert tuned(log, method).value == pytest.approx(world.value, abs=0.15)
    assert tuned_clipped_ips(drawn.log, method).value == pytest.approx(world.value, abs=0.04)


def test_heavy_weights_and_a_good_model_are_cut_and_err_less() -> None:
    usual = make_world(tilt=2.0, floor=0.004)
    world = World(usual.rewards, usual.logging, np.eye(4)[usual.logging.argmin(axis=1)])
    errors: dict[str, list[float]] = {"dr": [], "slope": [], "mse": []}
    for seed in range(30):
        drawn = draw(world, 500, seed=seed)
        log = replace(drawn.log, q_hat=world.rewards[drawn.segment] + 0.01)
        errors["dr"].append(dr(log).value - world.value)
        for method in METHODS:
            terms = tuned_switch_dr(log, method)
            errors[method].append(terms.value - world.value)
    assert np.square(errors["slope"]).mean() < np.square(errors["dr"]).mean() / 2
    assert np.square(errors["mse"]).mean() <= np.square(errors["dr"]).mean() * 1.01


def test_weights_of_zero_or_all_equal_have_a_dial() -> None:
    one = np.array([0, 0, 0])
    log = Logged(one, np.array([1.0, 2.0, 3.0]), np.full(3, 0.5), np.tile([0.0, 1.0], (3, 1)), q_hat=np.ones((3, 2)))
    for tuned in (tuned_clipped_ips, tuned_switch_dr, tuned_dros):
        assert math.isfinite(tuned(log).value)
    same = Logged(one, np.array([1.0, 2.0, 3.0]), np.full(3, 0.5), np.full((3, 2), 0.5), q_hat=np.ones((3, 2)))
    assert tuned_clipped_ips(same).value == pytest.approx(2.0)
