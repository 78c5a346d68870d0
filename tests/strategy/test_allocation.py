"""The knapsack: feasible, bounded, and as good as brute force says it can be."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen.errors import PermanentError
from mktgen.strategy.allocation import allocate

Row = tuple[int, int, float]  # customer, cost, value
ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.floats(-20, 50, allow_nan=False, allow_infinity=False)),
    max_size=10,
)
BUDGETS = st.integers(0, 200)


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"c{customer}", f"o{index:02d}", cost, value) for index, (customer, cost, value) in enumerate(rows)],
        schema={"customer_id": pl.String, "offer_id": pl.String, "cost_minor": pl.Int64, "value_minor": pl.Float64},
        orient="row",
    )


def brute_force(rows: list[Row], budget: int) -> float:
    by_customer: dict[int, list[tuple[int, float]]] = {}
    for customer, cost, value in rows:
        by_customer.setdefault(customer, [(0, 0.0)]).append((cost, value))
    return max(
        (
            sum(v for _, v in pick)
            for pick in itertools.product(*by_customer.values())
            if sum(c for c, _ in pick) <= budget
        ),
        default=0.0,
    )


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, budget=BUDGETS)
def test_never_overspends_and_lies_between_nothing_and_the_bound(rows: list[Row], budget: int) -> None:
    chosen, result = allocate(frame(rows), budget)
    optimum = brute_force(rows, budget)
    assert chosen["cost_minor"].sum() == result.cost_minor <= budget
    assert chosen["customer_id"].is_unique().all()
    assert 0 <= result.value_minor <= optimum + 1e-6
    assert result.bound_minor >= optimum - 1e-6
    assert result.value_minor == pytest.approx(sum(chosen["value_minor"].to_list()))
    assert (chosen["value_minor"] > 0).all()
    assert 0 <= result.gap_share <= 1


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, budget=BUDGETS, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Row], budget: int, order: object) -> None:
    candidates = frame(rows)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    first, facts = allocate(candidates, budget)
    second, again = allocate(candidates[shuffled], budget)
    assert facts == again
    assert_frame_equal(first, second)


def test_equal_costs_are_solved_exactly() -> None:
    rows = [(0, 10, 5.0), (1, 10, 9.0), (2, 10, 7.0), (3, 10, 1.0)]
    chosen, result = allocate(frame(rows), 25)
    assert chosen["customer_id"].to_list() == ["c1", "c2"]
    assert result.value_minor == 16.0
    # The dual spends the odd 5 units on half of the next customer: 16 + 5 / 2.
    assert result.bound_minor == pytest.approx(18.5)
    assert result.shadow_price == pytest.approx(0.5, rel=1e-6)


def test_a_budget_that_covers_everything_has_no_price_and_no_gap() -> None:
    _, result = allocate(frame([(0, 10, 5.0), (0, 30, 6.0), (1, 10, 9.0)]), 100)
    assert (result.value_minor, result.bound_minor, result.shadow_price, result.gap_share) == (15.0, 15.0, 0.0, 0.0)


def test_affinity_breaks_ties_between_offers_of_one_campaign() -> None:
    candidates = frame([(0, 10, 5.0), (0, 10, 5.0)]).with_columns(pl.Series("affinity", [0.1, 0.4]))
    chosen, _ = allocate(candidates, 10)
    assert chosen["offer_id"].to_list() == ["o01"]


@pytest.mark.parametrize(
    ("rows", "budget"), [([(0, 1, 1.0)], -1), ([(0, -1, 1.0)], 5), ([(0, 1, float("nan"))], 5)], ids=str
)
def test_unusable_input_is_refused(rows: list[Row], budget: int) -> None:
    with pytest.raises(PermanentError, match="allocation"):
        allocate(frame(rows), budget)


def test_a_large_problem_comes_close_to_its_bound() -> None:
    rows = [(n // 3, 50 + 37 * n % 91, 5 + 13.7 * n % 97) for n in range(3_000)]
    _, result = allocate(frame(rows), 20_000)
    assert 0 <= result.gap_share < 0.005
