"""Forecasts against what came: only matured ones, by hand and by figures."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import CATEGORY_DAYS, CHURN_WARNINGS, CUSTOMER_DAYS, DEMAND_FORECAST
from mktgen.feedback.forecasts import churn_outcomes, demand_outcomes, forecast_metrics
from tests.feedback.shop import day


def said(made_on: date, horizon: int = 7, units: tuple[float, float] = (10.0, 30.0)) -> pl.DataFrame:
    rows = [
        (horizon, level, category, made_on, made_on, horizon, value, value - 2, value + 2, value - 4, value + 4, value + 5,
         "blend", 1)
        for level, category, value in (("category", "a", units[0]), ("category", "b", units[1]), ("all", "", sum(units)))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=DEMAND_FORECAST.columns, orient="row")


def sold(rows: list[tuple[str, int, int]]) -> pl.DataFrame:
    full = [(category, day(offset), units, units, 0) for category, offset, units in rows]
    return pl.DataFrame(full, schema=CATEGORY_DAYS.columns, orient="row")


def test_a_forecast_is_held_against_the_days_after_it() -> None:
    came = sold([("a", 0, 99), ("a", 1, 5), ("a", 7, 6), ("a", 8, 99), ("b", 3, 25), ("new", 4, 3)])
    found = demand_outcomes({day(0): said(day(0))}, came, day(7))
    assert dict(found.select("category", "actual_units").iter_rows()) == {"": 39, "a": 11, "b": 25}
    metrics = forecast_metrics(found, churn_outcomes({}, CUSTOMER_DAYS.empty(), day(7)))
    assert metrics["demand_7d_wape"] == pytest.approx((1 + 5) / 36)
    assert metrics["demand_7d_naive_wape"] == pytest.approx((4 + 10) / 36)
    assert metrics["demand_7d_bias"] == pytest.approx((40 - 36) / 36)
    assert metrics["demand_7d_total_ape"] == pytest.approx(1 / 39)
    assert (metrics["demand_7d_coverage_80"], metrics["demand_7d_coverage_95"]) == (0.5, 0.5)
    assert not [name for name in metrics if name.startswith("demand_28d")]


@settings(deadline=None)
@given(st.integers(1, 90), st.sampled_from([7, 28]))
def test_only_forecasts_whose_days_are_over_count_and_old_ones_no_more(age: int, horizon: int) -> None:
    came = sold([("a", offset, 1) for offset in range(90)])
    found = demand_outcomes({day(0): said(day(0), horizon)}, came, day(age))
    assert (found.height > 0) == (horizon <= age < horizon + 28)


def test_a_warning_is_right_where_the_customer_did_not_come_in_28_days() -> None:
    warned = pl.DataFrame(
        [(who, rank, 0.6, 900.0, 540.0, 30.0, 6.0, "r", "m") for rank, who in enumerate(["came", "late", "never"], 1)],
        schema=CHURN_WARNINGS.columns,
        orient="row",
    )
    visits = [("came", day(0), 5), ("came", day(28), 700), ("late", day(29), 900), ("never", day(-3), 800)]
    empty = dict.fromkeys(CUSTOMER_DAYS.columns, 0)
    days = pl.DataFrame(
        [{**empty, "customer_id": who, "business_date": on, "net_minor": net} for who, on, net in visits],
        schema=CUSTOMER_DAYS.columns,
    )
    assert churn_outcomes({day(0): warned}, days, day(27)).is_empty()
    found = churn_outcomes({day(0): warned}, days, day(28))
    assert dict(found.select("customer_id", "churned").iter_rows()) == {"came": False, "late": True, "never": True}
    assert dict(found.select("customer_id", "net_minor").iter_rows()) == {"came": 700, "late": 0, "never": 0}
    metrics = forecast_metrics(demand_outcomes({}, sold([]), day(28)), found)
    assert metrics["churn_warnings_churned"] == pytest.approx(2 / 3)
    assert metrics["churn_warnings_predicted"] == pytest.approx(0.6)
    assert metrics["churn_warnings_churned_low"] < 2 / 3 < metrics["churn_warnings_churned_high"]
