"""The closed loop at a tiny size: it runs, keeps its budget, begins as an experiment, and can be drawn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from benchmarks import closed_loop
from benchmarks.closed_loop_picture import draw
from mktgen.market_sim.scenario import load
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.simulated_market import open_source

WAVES = 2


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    scenario, first = load("strong"), closed_loop.FIRST_WAVE
    market = open_source(SourceSettings(market=MarketSettings(copies=1)), "a key of this test")
    after = timedelta(days=7 * WAVES + scenario.horizon_days)
    organic = market.organic(first - timedelta(days=84), first + after)
    budget = closed_loop.first_budget(organic, first)
    return {
        "beside": closed_loop.beside(organic, scenario, WAVES, budget),
        "seeds": {0: closed_loop.study(organic, scenario, WAVES, 0, budget)},
    }


def test_the_first_wave_is_an_experiment_and_no_wave_beats_the_oracle(found: dict[str, Any]) -> None:
    run = found["seeds"][0]
    assert run["stages"][0] == "experiment"
    assert len(run["profit"]) == len(run["stages"]) == WAVES
    assert (np.array(run["profit"]) < np.array(found["beside"]["oracle"])).all()


def test_the_oracle_is_the_best_of_those_that_are_given(found: dict[str, Any]) -> None:
    oracle = found["beside"]["oracle"][0]
    assert all(profit[0] <= oracle for profit in found["beside"].values())
    assert found["beside"]["random"][0] < 0 < oracle


def test_the_picture_has_a_panel_a_scenario_and_says_that_it_is_simulated(found: dict[str, Any]) -> None:
    figure = draw({"strong": found, "weak": found})
    assert len(figure.axes) == 2
    title = figure.get_suptitle()
    assert title.startswith("SIMULATED")
