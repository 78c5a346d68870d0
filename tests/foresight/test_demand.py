"""Demand: nothing from the future, the naive unless it is beaten, intervals that cover, closed days."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import CATEGORY_DAYS
from mktgen.foresight.demand import HORIZONS, forecast
from mktgen.foresight.methods import METHODS, NAIVE
from mktgen.foresight.series import Series
from mktgen.settings import ForesightSettings

FIRST = date(2017, 1, 1)
SETTINGS = ForesightSettings()


def sold(units: np.ndarray, lines: np.ndarray | None = None) -> pl.DataFrame:
    """contracts.CATEGORY_DAYS of [days, categories]; days on which nothing at all was sold have no rows."""
    lines = units if lines is None else lines
    rows = [
        (f"k{column:02d}", FIRST + timedelta(days=day), int(units[day, column]), int(lines[day, column]), 0)
        for day, column in np.argwhere(lines).tolist()
    ]
    return pl.DataFrame(rows, schema=CATEGORY_DAYS.columns, orient="row").sort(CATEGORY_DAYS.key)


def cut_after(days: int) -> date:
    return FIRST + timedelta(days=days)


def poisson_world(days: int, categories: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.6, 20.0, categories), (days, categories))


row = st.tuples(st.integers(0, 199), st.integers(0, 3), st.integers(0, 40), st.integers(1, 9))


def frame(rows: list[tuple[int, int, int, int]]) -> pl.DataFrame:
    kept = {(day, category): (units, lines) for day, category, units, lines in rows}
    records = [
        (f"k{category}", FIRST + timedelta(days=day), units, lines, 0)
        for (day, category), (units, lines) in sorted(kept.items())
    ]
    return pl.DataFrame(records, schema=CATEGORY_DAYS.columns, orient="row")


@settings(max_examples=40, deadline=None)
@given(st.lists(row, max_size=60), st.lists(row, max_size=30), st.integers(30, 190))
def test_what_lies_on_or_after_the_cut_changes_nothing(
    rows: list[tuple[int, int, int, int]], later: list[tuple[int, int, int, int]], day: int
) -> None:
    cut = cut_after(day)
    known = frame([each for each in rows if each[0] < day])
    future = frame([each for each in later if each[0] >= day])
    once, report = forecast(known, cut, [], SETTINGS)
    again, report_again = forecast(pl.concat([known, future]), cut, [], SETTINGS)
    assert once.equals(again)
    assert report == report_again


@settings(max_examples=40, deadline=None)
@given(st.lists(row, min_size=1, max_size=80), st.integers(100, 200))
def test_bounds_are_nested_around_the_forecast_and_never_negative(
    rows: list[tuple[int, int, int, int]], day: int
) -> None:
    table, _ = forecast(frame(rows), cut_after(day), [], SETTINGS)
    assert (table["units"] >= 0).all()
    known = table.filter(pl.col("low_80").is_not_null())
    order = ["low_95", "low_80", "units", "high_80", "high_95"]
    assert (known["low_95"] >= 0).all()
    for below, above in pairwise(order):
        assert (known[below] <= known[above]).all(), (below, above)


@settings(max_examples=20, deadline=None)
@given(st.lists(row, min_size=1, max_size=80))
def test_the_sum_row_is_the_sum_of_the_categories(rows: list[tuple[int, int, int, int]]) -> None:
    table, _ = forecast(frame(rows), cut_after(200), [], SETTINGS)
    for horizon in HORIZONS:
        mine = table.filter(pl.col("horizon_days") == horizon)
        total = mine.filter(pl.col("level") == "all").row(0, named=True)
        for column in ("units", "naive_units"):
            parts = mine.filter(pl.col("level") == "category")[column].sum()
            assert total[column] == pytest.approx(parts)


def test_a_shop_that_never_changes_is_forecast_exactly_by_the_naive() -> None:
    steady = np.tile(np.array([[1, 5, 40]]), (250, 1))
    table, report = forecast(sold(steady), cut_after(250), [], SETTINGS)
    week = table.filter((pl.col("horizon_days") == 7) & (pl.col("level") == "category"))
    assert week["units"].to_list() == [7.0, 35.0, 280.0]
    assert [choice.method for choice in report.choices] == [NAIVE, NAIVE]
    assert all("nothing beats the naive" in choice.reason for choice in report.choices)


def test_big_baskets_are_smoothed_by_lines_where_that_is_better() -> None:
    """Purchases come evenly, but the units of one are wild: lines x units per line must win, and say so."""
    rng = np.random.default_rng(4)
    lines = rng.poisson(6.0, (300, 30)) + 1
    units = np.array([[sum(rng.pareto(1.6, n).astype(int) + 1) for n in day] for day in lines])
    table, report = forecast(sold(units, lines), cut_after(300), [], SETTINGS)
    chosen = report.choices[1]
    assert chosen.method in {"lines_28d", "smoothed_lines", "blend"}
    assert chosen.advantage is not None
    assert chosen.wape[chosen.method] < chosen.wape[NAIVE]
    assert (table["naive_units"] >= 0).all()
    assert not table["units"].equals(table["naive_units"])


def test_closed_days_count_neither_before_nor_ahead() -> None:
    steady = np.tile(np.array([[10, 20]]), (252, 1))
    steady[::7] = 0  # closed every Sunday
    cut = cut_after(252)
    closed = [cut + timedelta(days=7 * n) for n in range(4)]
    table, _ = forecast(sold(steady), cut, closed, SETTINGS)
    week = table.filter((pl.col("horizon_days") == 7) & (pl.col("level") == "category"))
    month = table.filter((pl.col("horizon_days") == 28) & (pl.col("level") == "category"))
    assert week["open_days"].to_list() == [6, 6]
    assert week["units"].to_list() == pytest.approx([60.0, 120.0])
    assert month["units"].to_list() == pytest.approx([240.0, 480.0])


def test_little_history_gives_the_naive_without_intervals_and_says_why() -> None:
    table, report = forecast(sold(poisson_world(70, 4, 1)), cut_after(70), [], SETTINGS)
    assert table["low_80"].null_count() == table.height
    assert set(table["method"]) == {NAIVE}
    assert table["units"].equals(table["naive_units"])
    assert "8 are needed" in report.choices[0].reason


def test_nothing_sold_yet_is_an_empty_forecast() -> None:
    table, report = forecast(CATEGORY_DAYS.empty(), FIRST, [], SETTINGS)
    assert table.filter(pl.col("level") == "category").is_empty()
    assert table["units"].to_list() == [0.0, 0.0]
    assert report.uncounted_lines == 0


def test_intervals_cover_a_world_of_known_chance() -> None:
    inside = {80: 0, 95: 0}
    total = 0
    for seed in range(6):
        world = poisson_world(330, 60, seed)
        table, _ = forecast(sold(world), cut_after(300), [], SETTINGS)
        week = table.filter((pl.col("horizon_days") == 7) & (pl.col("level") == "category"))
        columns = [int(name[1:]) for name in week["category"]]
        actual = world[300:307, columns].sum(axis=0)
        for level in inside:
            low, high = (week[f"{side}_{level}"].to_numpy() for side in ("low", "high"))
            inside[level] += int(((actual >= low) & (actual <= high)).sum())
        total += actual.size
    assert 0.74 <= inside[80] / total <= 0.88
    assert 0.92 <= inside[95] / total <= 0.99


@pytest.mark.parametrize("name", METHODS)
def test_methods_follow_the_scale_of_sales(name: str) -> None:
    """Twice as many of everything is forecast twice as high."""
    world = poisson_world(200, 12, 3)
    once, twice = (Series.before(sold(world * factor), cut_after(200)) for factor in (1, 2))
    assert METHODS[name](twice, 200) == pytest.approx(2 * METHODS[name](once, 200), rel=0.02, abs=0.02)


def test_sums_over_windows_by_hand() -> None:
    series = Series.before(sold(np.array([[1, 0], [0, 0], [4, 2]])), cut_after(4))
    assert series.days == 4
    assert series.open_days(0, 4) == 2
    assert series.sold(0, 4).tolist() == [5.0, 2.0]
    assert series.rate(-3, 3).tolist() == [2.5, 1.0]
    assert series.rate(3, 4).tolist() == [0.0, 0.0]
