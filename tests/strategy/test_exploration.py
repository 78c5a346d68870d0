"""Exploration narrows with what is known, comes back when it is forgotten, and ends where it can't pay."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.documents import Interval, LaunchEvidence
from mktgen.settings import StrategySettings
from mktgen.strategy.exploration import LEAST, cannot_pay, even_draws, exploration, narrowed
from mktgen.strategy.launch import bounded, told
from mktgen.strategy.mixture import Problem, mixture

SETTINGS = StrategySettings(exploring_trials=1_000, propensity_floor=0.02)


@pytest.mark.parametrize("trials", [None, 0.0, 10.0, 1_000.0])
def test_while_little_is_known_all_of_the_posterior_and_of_the_floor_is_used(trials: float | None) -> None:
    assert exploration(trials, SETTINGS).width == 1.0
    assert exploration(trials, SETTINGS).floor == SETTINGS.propensity_floor


def test_four_times_the_trials_halve_the_width_and_quarter_the_floor() -> None:
    found = exploration(4_000.0, SETTINGS)
    assert found.width == pytest.approx(0.5)
    assert narrowed(SETTINGS, 4_000.0).propensity_floor == pytest.approx(0.005)


@given(st.floats(1, 1e12), st.floats(1, 1e12))
def test_more_trials_never_explore_more_and_exploration_never_ends(one: float, other: float) -> None:
    fewer, more = sorted((one, other))
    early, late = exploration(fewer, SETTINGS), exploration(more, SETTINGS)
    assert LEAST <= late.width <= early.width <= 1
    assert LEAST * SETTINGS.propensity_floor <= late.floor <= early.floor


def test_where_nothing_is_known_every_offer_is_as_likely_and_the_budget_says_how_often() -> None:
    rows = [(f"c{n:04d}", offer, cost) for n in range(500) for offer, cost in (("1:a", 40), ("2:b", 140), ("3:c", 440))]
    candidates = pl.DataFrame(rows, schema=["customer_id", "offer_id", "cost_minor"], orient="row")
    drawn = even_draws(candidates, SETTINGS, 1, date(2017, 6, 5))
    value = np.concatenate([np.zeros((500, 1, 64)), drawn["draws"].to_numpy().reshape(500, 3, 64)], axis=1)
    cost = np.tile([0, 40, 140, 440], (500, 1))
    for budget in (10_000, 60_000):
        found = mixture(Problem(value.transpose(2, 0, 1), cost, np.ones_like(cost, dtype=bool)), budget, 0.0)
        assert found.cost_minor == pytest.approx(budget, rel=0.01)
        shares = found.p.mean(axis=0)[1:]
        assert shares.max() < 2 * shares.min() + 0.02, shares
    assert drawn.equals(even_draws(candidates[::-1], SETTINGS, 1, date(2017, 6, 5)))


def test_exploring_is_futile_where_the_most_it_gains_is_little_beside_what_it_spends() -> None:
    assert cannot_pay(Interval(value=-2, low=-5, high=0.9, method="m"), 10.0)
    assert not cannot_pay(Interval(value=-2, low=-5, high=1.1, method="m"), 10.0)


def test_what_is_futile_is_said() -> None:
    found = LaunchEvidence.model_validate(
        {"partition": "2017-07-03", "standing": "futile", "reason": "it gains nothing", "value": None, "logged": None}
        | {"comparisons": [], "facts": {}}
    )
    own = bounded(SETTINGS, found)
    assert own == SETTINGS, "it has no candidates, so no budget is cut"
    assert told(own, found) == "nobody is contacted: it gains nothing"
