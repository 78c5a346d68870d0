"""The curves are the allocator's own, answers are read off them, and what was not learned has no interval."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.documents import Refusal
from mktgen.documents.what_if import WhatIf
from mktgen.errors import PermanentError
from mktgen.strategy import arms
from mktgen.strategy.policy import eligible_candidates
from mktgen.strategy.what_if import BUDGETS, OFFERS, answer, what_if
from tests.support.campaign_world import PARTITION
from tests.support.strategy_day import NOBODY, SETTINGS, make_day

KEY = "key"
BUDGET = SETTINGS.budget_minor
DRAWS = 64
FEW = settings(max_examples=60, deadline=None)


@cache
def eligible() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The candidates of the small world's day, and everybody's arm."""
    day = make_day()
    among = arms.arms(day.decisions["customer_id"].sort(), SETTINGS, KEY)
    return eligible_candidates(day.scores, among, SETTINGS, KEY, NOBODY), among


@cache
def draws(spread: float = 0.2) -> pl.DataFrame:
    """A posterior in which all candidates err alike, each draw by its own factor."""
    candidates, _ = eligible()
    factor = 1.0 + spread * np.random.default_rng(3).standard_normal((1, DRAWS))
    values = candidates["value_minor"].to_numpy()[:, None] * factor
    return candidates.select("customer_id", "offer_id").with_columns(
        draws=pl.Series(values, dtype=pl.Array(pl.Float64, DRAWS))
    )


@cache
def curves(width: float = 1.0, learned: bool = True) -> WhatIf:
    candidates, among = eligible()
    refused = (
        None if learned else Refusal(metric="incremental_profit", missing=["response model"], reason="none serves")
    )
    return what_if(candidates, among, SETTINGS, PARTITION, draws() if learned else None, width, refused)


def test_at_the_plans_budget_the_curve_is_the_plan() -> None:
    plan = make_day().strategy.allocation
    found = answer(curves(), BUDGET, "", SETTINGS.holdout_share)
    assert found.value_minor == pytest.approx(plan.value_minor, rel=1e-9)
    assert found.cost_minor == plan.allocated_cost_minor
    assert found.difference_minor == 0.0
    assert found.error_ratio == 1.0
    assert (found.difference.low, found.difference.high) == (0.0, 0.0) if found.difference else False


def test_more_budget_never_brings_less_and_is_worth_less_and_less() -> None:
    points = curves().points
    assert [point.budget_minor for point in points] == [round(multiple * BUDGET) for multiple in BUDGETS]
    values = [point.value_minor for point in points]
    assert values[0] == 0.0
    assert values == sorted(values)
    assert all(point.cost_minor <= point.budget_minor for point in points)
    prices = [point.price for point in points]
    assert all(high <= low * 1.05 for low, high in pairwise(prices))
    assert prices[-1] == 0.0


def test_leaving_an_offer_out_never_helps() -> None:
    known = curves()
    assert len(known.without) == min(OFFERS, eligible()[0]["offer_id"].n_unique())
    whole = {point.budget_minor: point.value_minor for point in known.points}
    for one in known.without:
        for point in one.points:
            if point.budget_minor in whole:
                # Whole customers: a smaller problem may use a budget up a little better, by its own gap at most.
                assert point.value_minor <= whole[point.budget_minor] * 1.01 + 1e-9


def test_leaving_out_the_one_good_offer_costs_what_it_brought() -> None:
    candidates, among = eligible()
    best = candidates["offer_id"].mode().sort()[0]
    value = pl.when(pl.col("offer_id") == best).then(pl.col("value_minor") * 3).otherwise("value_minor")
    known = what_if(candidates.with_columns(value), among, SETTINGS, PARTITION, None, 1.0, None)
    found = answer(known, BUDGET, best, 0.1)
    assert found.difference_minor < -0.2 * known.points[BUDGETS.index(1.0)].value_minor
    assert found.without == best


def test_an_interval_is_as_wide_as_the_posterior() -> None:
    factor = 1.0 + 0.2 * np.random.default_rng(3).standard_normal((1, DRAWS))
    found = answer(curves(), BUDGET, "", SETTINGS.holdout_share)
    assert found.value is not None
    half = 1.96 * float(factor.std(ddof=1)) * found.value_minor
    assert found.value.high - found.value_minor == pytest.approx(half, rel=1e-3)


def test_draws_that_were_drawn_together_are_spread_again() -> None:
    wide, narrow = answer(curves(), BUDGET, "", 0.1).value, answer(curves(0.5), BUDGET, "", 0.1).value
    assert wide is not None
    assert narrow is not None
    assert narrow.high - narrow.low == pytest.approx(2 * (wide.high - wide.low), rel=1e-3)


def test_what_was_not_learned_has_no_interval_and_says_why() -> None:
    known = curves(learned=False)
    assert known.refused is not None
    found = answer(known, BUDGET // 2, "", 0.2)
    assert (found.value, found.difference) == (None, None)
    assert found.value_minor > 0
    assert known.points[5].interval() is None


@given(budget=st.integers(BUDGET // 2, 4 * BUDGET), shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)))
@FEW
def test_a_larger_holdout_never_brings_more(budget: int, shares: tuple[float, float]) -> None:
    less, more = (answer(curves(), budget, "", share).value_minor for share in sorted(shares))
    assert less >= more * 0.99  # customers are whole, so the curve is concave but for the size of one


@given(share=st.floats(0.05, 0.45))
@FEW
def test_so_many_times_the_customers_with_so_many_times_the_budget_bring_so_many_times_the_profit(share: float) -> None:
    known = curves()
    reach = 1.0 - known.usual_share
    more = (reach - share) / (reach - known.holdout_share)
    found = answer(known, round(more * BUDGET), "", share)
    # The budget is a whole number of minor units: off by less than one of them, at the curve's price.
    assert found.value_minor == pytest.approx(
        more * answer(known, BUDGET, "", known.holdout_share).value_minor, abs=5.0
    )
    assert found.error_ratio < 1.0 if share > known.holdout_share + 0.01 else True


@given(st.integers(0, 4 * BUDGET), st.integers(0, 4 * BUDGET))
@FEW
def test_answers_between_points_follow_the_budget(one: int, other: int) -> None:
    low, high = (answer(curves(), budget, "", 0.1) for budget in sorted((one, other)))
    assert low.value_minor <= high.value_minor + 1e-6
    assert low.contacts <= high.contacts + 1e-6


def test_beyond_the_curve_nothing_more_is_promised() -> None:
    last = curves().points[-1]
    found = answer(curves(), last.budget_minor * 3, "", 0.1)
    assert found.beyond
    assert found.value_minor == pytest.approx(last.value_minor)


@pytest.mark.parametrize(("budget", "without", "holdout"), [(-1, "", 0.1), (1, "", 0.6), (1, "", -0.1), (1, "no", 0.1)])
def test_what_has_no_answer_is_refused(budget: int, without: str, holdout: float) -> None:
    with pytest.raises(PermanentError):
        answer(curves(), budget, without, holdout)


def test_where_nothing_could_be_chosen_there_is_nothing_to_read() -> None:
    candidates, among = eligible()
    nothing = what_if(candidates.clear(), among, SETTINGS, PARTITION, None, 1.0, None)
    assert (nothing.customers, nothing.without) == (0, [])
    with pytest.raises(PermanentError, match="nothing could be chosen"):
        answer(nothing, BUDGET, "", 0.1)


def test_many_customers_are_stood_for_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates, among = eligible()
    monkeypatch.setattr("mktgen.strategy.what_if.SAMPLE", 90)
    found = what_if(candidates, among, SETTINGS, PARTITION, draws(), 1.0, None)
    assert 50 < found.sampled < 130 < found.customers
    whole = answer(curves(), BUDGET, "", 0.1).value_minor
    assert answer(found, BUDGET, "", 0.1).value_minor == pytest.approx(whole, rel=0.25)


def test_the_order_of_rows_does_not_matter() -> None:
    candidates, among = eligible()
    shuffled = candidates.sample(fraction=1.0, shuffle=True, seed=4)
    again = what_if(shuffled, among.reverse(), SETTINGS, PARTITION, draws().reverse(), 1.0, None)
    assert again.to_bytes() == curves().to_bytes()
