"""The panel: what was known before the wave, and what follows it, by hand and by falsified futures."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mktgen.market_sim.panel import Organic, PanelError, covariates, panel, visits, wave_of
from mktgen.market_sim.scenario import Scenario
from tests.support.organic_days import SCHEMA, WAVE, organic

NOTHING = {"responded_on": pl.Date, "exposed_on": pl.Date}


def days(rows: list[tuple[str, int, int]], scenario: Scenario) -> Organic:
    """(customer, days from the wave, net) as a basket of one line each."""
    made = [
        (who, f"o{place}", "1", "31", WAVE + timedelta(days=day), "BEEF", True, net, 0, 0)
        for place, (who, day, net) in enumerate(rows)
    ]
    lines = pl.DataFrame(made, schema=SCHEMA, orient="row")
    none = {"customer_id": pl.String}
    return Organic(
        visits(lines, scenario),
        pl.DataFrame(schema=none | {"responded_on": pl.Date}),
        pl.DataFrame(schema=none | {"exposed_on": pl.Date}),
    )


def test_by_hand(strong: Scenario) -> None:
    rows = [
        ("a", -85, 9_900), ("a", -84, 1_000), ("a", -1, 3_000), ("a", 0, 500), ("a", 6, 700), ("a", 7, 800), ("a", 27, 900),
        ("b", -10, 2_000), ("b", 28, 5_000), ("c", -85, 1_000), ("d", 0, 100),
    ]  # fmt: skip
    contacts = pl.DataFrame(
        {"customer_id": ["b"] * 4, "contacted_on": [WAVE - timedelta(days=n) for n in (0, 1, 28, 29)]}
    )
    found = panel(days(rows, strong), WAVE, strong, contacts)
    assert found["customer_id"].to_list() == ["a", "b"], "active in 84 days; sorted"
    a, b = found.rows(named=True)
    assert (a["recency_days"], a["visits_84d"], a["spend_minor_84d"]) == (1, 2, 4_000)
    assert a["usual_basket_minor"] == (4_000 + 3 * 2_500) / 5
    assert (a["organic_orders"], a["organic_minor"], a["later_minor"]) == (2, 1_200, 800)
    assert (b["organic_orders"], b["organic_minor"], b["later_minor"]) == (0, 0, 0), "day 28 lies after the later days"
    assert (a["recent_contacts"], b["recent_contacts"]) == (0, 2)
    assert a["affinity_meat_coupon"] == 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(factor=st.integers(0, 50), shift=st.integers(0, 9))
def test_the_future_changes_no_covariate(lines: pl.DataFrame, strong: Scenario, factor: int, shift: int) -> None:
    lines = lines.filter(pl.col("customer_id").cast(pl.Int64) <= 40)
    after = pl.col("business_date") >= WAVE
    moved = pl.col("business_date") + timedelta(days=shift)
    falsified = lines.with_columns(
        pl.when(after).then(pl.col("net_minor") * factor).otherwise("net_minor").alias("net_minor"),
        pl.when(after).then(moved).otherwise("business_date").alias("business_date"),
    )
    known = ["customer_id", "wave", *covariates(strong)]
    truth, other = (panel(organic(rows, strong), WAVE, strong) for rows in (lines, falsified))
    history = ["prior_redemptions", "prior_exposures"]  # drawn from the days, so they move with them
    assert truth.select(known).drop(history).equals(other.select(known).drop(history))


def test_histories_are_cut_at_the_wave(lines: pl.DataFrame, strong: Scenario) -> None:
    whole = organic(lines, strong)
    before = Organic(
        whole.visits,
        whole.redemptions.filter(pl.col("responded_on") < WAVE),
        whole.exposures.filter(pl.col("exposed_on") < WAVE),
    )
    assert panel(whole, WAVE, strong).equals(panel(before, WAVE, strong))


def test_order_of_rows_does_not_matter(lines: pl.DataFrame, strong: Scenario, small: pl.DataFrame) -> None:
    whole = organic(lines, strong)
    dealt = Organic(*(frame.sample(fraction=1.0, shuffle=True, seed=2) for frame in vars(whole).values()))
    assert panel(dealt, WAVE, strong).equals(small)


def test_nobody_active_is_an_empty_panel(lines: pl.DataFrame, strong: Scenario) -> None:
    late = panel(organic(lines, strong), date(2018, 6, 1), strong)
    assert late.is_empty()
    with pytest.raises(PanelError, match="one wave"):
        wave_of(late)


def test_two_waves_are_no_panel(small: pl.DataFrame) -> None:
    later = small.with_columns(pl.col("wave") + timedelta(days=7))
    with pytest.raises(PanelError, match="of 2"):
        wave_of(pl.concat([small, later]))
