"""Everybody has one turn in a round, and nobody is drawn while what followed the last draw is still counted."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import DECISIONS
from mktgen.settings import StrategySettings
from mktgen.strategy.turns import told, waiting
from tests.execution.conftest import decision, decisions

DAY = date(2017, 3, 1)
CUSTOMERS = pl.Series([f"customer{n:04d}" for n in range(400)])


def free(day: date, cohorts: int, dispatched: dict[date, pl.DataFrame] | None = None) -> set[str]:
    found = waiting(CUSTOMERS, day, StrategySettings(cohorts=cohorts), "key", dispatched or {}, 7)
    assert found["customer_id"].is_unique().all()
    return set(CUSTOMERS) - set(found["customer_id"])


@settings(max_examples=30, deadline=None)
@given(cohorts=st.integers(1, 28), later=st.integers(0, 1_000))
def test_in_each_round_everybody_has_one_turn(cohorts: int, later: int) -> None:
    first = DAY + timedelta(days=later)
    turns = [free(first + timedelta(days=n), cohorts) for n in range(cohorts)]
    assert sum(len(turn) for turn in turns) == len(CUSTOMERS)
    assert set().union(*turns) == set(CUSTOMERS)
    assert free(first + timedelta(days=cohorts), cohorts) == turns[0]


def test_who_is_decided_on_only_from_monday_to_friday_still_reaches_everybody() -> None:
    workdays = [day for n in range(60) if (day := DAY + timedelta(days=n)).weekday() < 5]
    cohorts = StrategySettings().cohorts
    assert set().union(*(free(day, cohorts) for day in workdays)) == set(CUSTOMERS)


def test_cohorts_are_about_alike_in_size() -> None:
    sizes = [len(free(DAY + timedelta(days=n), 7)) for n in range(7)]
    assert min(sizes) > 400 / 7 - 4 * 7
    assert max(sizes) < 400 / 7 + 4 * 7


def test_windows_of_a_customer_never_overlap() -> None:
    drawn = decisions([decision(1), decision(2, action="no_contact")])
    certain = decisions([decision(3, action="no_contact")]).with_columns(
        action_set=pl.lit(["no_contact"], pl.List(pl.String)), action_propensities=pl.lit([1.0], pl.List(pl.Float64))
    )
    held = decisions([decision(4, holdout=True)]).with_columns(arm=pl.lit("holdout"))
    before = {DAY: DECISIONS.check(pl.concat([drawn, certain, held]))}
    for days in range(1, 9):
        busy = set(CUSTOMERS) - free(DAY + timedelta(days=days), 1, before)
        assert busy == ({"customer0001", "customer0002"} if days < 7 else set()), days


def test_who_waits_is_told_why_and_until_when() -> None:
    before = {DAY: decisions([decision(1)])}
    found = waiting(CUSTOMERS, DAY + timedelta(days=2), StrategySettings(), "key", before, 7)
    one = found.row(by_predicate=pl.col("customer_id") == "customer0001", named=True)
    assert (one["rule"], one["detail"]) == (
        "running_trial", "drawn on 2017-03-01, and what follows is measured until 2017-03-08",
    )  # fmt: skip
    others = found.filter(pl.col("customer_id") != "customer0001")
    assert set(others["rule"]) == {"turn"}
    words = told(400, found)
    assert words.startswith(f"{400 - found.height} of 400 customers are decided on today; {others.height} wait")
    assert words.endswith("1 are still followed after their last draw")
    assert told(400, found.clear()) == "400 of 400 customers are decided on today"
    assert others["detail"].str.starts_with("decided on every 8 days, next on 2017-03-").all()
