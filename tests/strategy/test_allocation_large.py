"""Problems too large for one linear programme: samples, cutting planes, and worlds in which thousands are tied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mktgen.errors import PermanentError
from mktgen.strategy.allocation import AllocationResult, Problem, budget, campaign_budget, coverage, solve, stock
from mktgen.strategy.allocation.pricing import Choice

CUSTOMERS = 70_000  # more than go without a sample
NAMES = ("none", "mail", "sms", "call")
COST = np.array([0, 10, 25, 90])
KINDS = np.array([[0, 5, 9, 20], [0, 3, 11, 30], [0, -1, 4, 50], [0, 8, 8, 8]], np.float32)


def varied(rng: np.random.Generator) -> np.ndarray:
    value = rng.gamma(2, 20, (CUSTOMERS, 4)) * [0, 1, 1.3, 2] - [0, 8, 15, 30]
    return value.astype(np.float32)


def equal(rng: np.random.Generator) -> np.ndarray:
    return np.tile(KINDS[0], (CUSTOMERS, 1))


def few_kinds(rng: np.random.Generator) -> np.ndarray:
    return KINDS[rng.integers(0, len(KINDS), CUSTOMERS)]


def world(values: Callable[[np.random.Generator], np.ndarray], *, several: bool = True) -> Problem:
    rng = np.random.default_rng(5)
    group = (rng.random(CUSTOMERS) < 0.002).astype(np.int8)
    constraints = [budget(7 * CUSTOMERS)]
    if several:
        constraints += [
            stock("calls", ["call"], CUSTOMERS // 100),
            stock("few", ["sms"], 7),
            campaign_budget("mails", ["mail", "sms"], 5 * CUSTOMERS),
            coverage("vip", [1], int(group.sum()) - 3),
        ]
    key = rng.permutation(CUSTOMERS).astype(np.uint64)
    return Problem(values(rng), COST, NAMES, tuple(constraints), group, key)


def check(problem: Problem, choice: Choice, result: AllocationResult) -> None:
    """Limits counted anew, and the bound against a dual computed here, plainly."""
    cost = problem.cost[choice]
    assert problem.group is not None
    for constraint in problem.constraints:
        inside = choice > 0
        if constraint.actions is not None:
            inside &= np.isin(choice, [NAMES.index(name) for name in constraint.actions])
        if constraint.groups is not None:
            inside &= np.isin(problem.group, list(constraint.groups))
        total = int(inside.sum()) if constraint.counts == "contacts" else int(cost[inside].sum())
        assert total >= constraint.limit if constraint.at_least else total <= constraint.limit
    assert result.value_minor == pytest.approx(
        problem.value[np.arange(CUSTOMERS), choice].sum(dtype=np.float64), rel=1e-12
    )
    assert result.value_minor <= result.bound_minor
    assert result.bound_minor == pytest.approx(plain_dual(problem, result), rel=1e-9)


def plain_dual(problem: Problem, result: AllocationResult) -> float:
    net, constant = problem.value.astype(np.float64), 0.0
    assert problem.group is not None
    by_name = {constraint.name: constraint for constraint in problem.constraints}
    for use in result.constraints:
        constraint, sign = by_name[use.name], -1 if use.at_least else 1
        constant += sign * use.shadow_price * use.limit
        members = (
            np.ones(CUSTOMERS, bool) if constraint.groups is None else np.isin(problem.group, list(constraint.groups))
        )
        for column, name in enumerate(NAMES[1:], start=1):
            if constraint.actions is None or name in constraint.actions:
                weight = COST[column] if use.counts == "minor" else 1
                net[members, column] -= sign * use.shadow_price * weight
    return constant + float(net.max(axis=1).sum())


@pytest.mark.parametrize("values", [varied, equal, few_kinds], ids=lambda f: f.__name__)
@pytest.mark.parametrize("several", [False, True], ids=["budget", "several"])
def test_limits_hold_and_the_gap_is_small(values: Callable[[np.random.Generator], np.ndarray], several: bool) -> None:
    problem = world(values, several=several)
    choice, result = solve(problem)
    check(problem, choice, result)
    assert result.gap_share <= 1e-4


def test_a_scarce_and_dear_action_among_many_customers() -> None:
    """Its price, per contact, is far from what a sample says, and few of the customers nearest to a tie can have it."""
    rng = np.random.default_rng(3)
    number = 200_000
    margin = rng.lognormal(6, 1, (number, 1))
    bent = rng.normal(-4, 1.2, (number, 1))
    cost = np.array([0, 1, 50, 300])
    value = margin * (
        1 / (1 + np.exp(-bent - np.log1p(cost / 20) - rng.normal(0, 0.5, (number, 4)))) - 1 / (1 + np.exp(-bent))
    )
    value[:, 0] = 0
    group = rng.integers(0, 8, number).astype(np.int8)
    limits = (
        budget(12 * number), campaign_budget("mails", ["mail", "sms"], 6 * number), stock("calls", ["call"], number // 500),
        coverage("vip", [1], number // 9),
    )  # fmt: skip
    choice, result = solve(Problem(value.astype(np.float32), cost, NAMES, limits, group))
    assert result.gap_share <= 1e-5
    assert (choice == 3).sum() == number // 500
    assert ((choice > 0) & (group == 1)).sum() >= number // 9
    assert cost[choice].sum() <= 12 * number


@pytest.mark.parametrize("values", [varied, few_kinds], ids=lambda f: f.__name__)
def test_the_order_of_many_customers_does_not_matter(values: Callable[[np.random.Generator], np.ndarray]) -> None:
    problem = world(values)
    assert problem.group is not None
    assert problem.key is not None
    order = np.random.default_rng(9).permutation(CUSTOMERS)
    moved = replace(problem, value=problem.value[order], group=problem.group[order], key=problem.key[order])
    choice, result = solve(problem)
    second, facts = solve(moved)
    assert facts == result
    assert (second == choice[order]).all()


def test_costs_of_the_customers_own() -> None:
    problem = world(varied)
    rng = np.random.default_rng(11)
    own = COST + np.where(COST > 0, rng.integers(-3, 4, (CUSTOMERS, 4)), 0)
    choice, result = solve(replace(problem, cost=own))
    assert result.cost_minor == int(own[np.arange(CUSTOMERS), choice].sum()) <= 7 * CUSTOMERS
    assert result.gap_share <= 1e-4


def test_a_coverage_that_is_one_minor_unit_short_among_many_is_refused() -> None:
    problem = world(varied, several=False)
    assert problem.group is not None
    members = int(problem.group.sum())
    with pytest.raises(PermanentError, match=rf"at least {10 * members} minor units of 'budget' .*: 1 short"):
        solve(replace(problem, constraints=(budget(10 * members - 1), coverage("vip", [1], members))))
    choice, result = solve(replace(problem, constraints=(budget(10 * members), coverage("vip", [1], members))))
    assert result.cost_minor == 10 * members
    assert ((choice == 1) == (problem.group == 1)).all()


def test_memory_maps_are_read_in_place(tmp_path: Path) -> None:
    problem = world(varied)
    np.save(tmp_path / "value.npy", problem.value)
    mapped = np.load(tmp_path / "value.npy", mmap_mode="r")
    choice, result = solve(problem)
    second, facts = solve(replace(problem, value=mapped))
    assert facts == result
    assert (second == choice).all()


def test_more_budget_costs_no_more_than_the_gap() -> None:
    problem = world(varied, several=False)
    values = []
    for limit in range(6 * CUSTOMERS, 6 * CUSTOMERS + 60, 20):
        _, result = solve(replace(problem, constraints=(budget(limit),)))
        values.append((result.value_minor, result.bound_minor))
    for (less, _), (more, bound) in pairwise(values):
        assert more >= less - (bound - more)
