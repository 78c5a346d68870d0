"""Panels: of a small invented shop, and of the real households."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import polars as pl
import pytest

from mktgen.market_sim.panel import Organic, panel
from mktgen.market_sim.scenario import Scenario, load
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.simulated_market import open_source
from tests.support.organic_days import WAVE, order_lines
from tests.support.organic_days import organic as organic_days

REAL_WAVE = date(2017, 7, 3)


@pytest.fixture(scope="session")
def strong() -> Scenario:
    return load("strong")


@pytest.fixture(scope="session")
def lines() -> pl.DataFrame:
    return order_lines()


@pytest.fixture(scope="session")
def small(lines: pl.DataFrame, strong: Scenario) -> pl.DataFrame:
    """A panel of the invented shop."""
    return panel(organic_days(lines, strong), WAVE, strong)


@cache
def _real_market() -> tuple[Organic, Scenario]:
    market = open_source(SourceSettings(market=MarketSettings(scenario="strong")), "a key of this test session, 32 ch.")
    return market.organic(REAL_WAVE - timedelta(days=84), date(2017, 10, 15)), market.scenario


@cache
def real_panel(wave: date = REAL_WAVE) -> pl.DataFrame:
    """All active households of Complete Journey at a wave, once each."""
    organic, scenario = _real_market()
    return panel(organic, wave, scenario)
