"""The solver against brute force: optimal where it can be known, never over a limit, the same in any order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mktgen.errors import PermanentError
from mktgen.strategy.allocation import (
    AllocationResult,
    Constraint,
    Problem,
    budget,
    campaign_budget,
    coverage,
    solve,
    stock,
)

ACTIONS = ("none", "mail", "sms", "call")


def meets(problem: Problem, picked: tuple[int, ...]) -> bool:
    for constraint in problem.constraints:
        total = 0
        for row, action in enumerate(picked):
            group = 0 if problem.group is None else int(problem.group[row])
            if action == 0 or (constraint.actions is not None and problem.actions[action] not in constraint.actions):
                continue
            if constraint.groups is not None and group not in constraint.groups:
                continue
            own = problem.cost[action] if problem.cost.ndim == 1 else problem.cost[row, action]
            total += 1 if constraint.counts == "contacts" else int(own)
        if total < constraint.limit if constraint.at_least else total > constraint.limit:
            return False
    return True


def brute_force(problem: Problem) -> float | None:
    """The best value; None where nothing meets the constraints."""
    worth = problem.value.astype(float)
    shut = np.zeros(len(worth), bool) if problem.contactable is None else ~problem.contactable
    worth[shut, 1:] = np.nan
    allowed = [[a for a in range(worth.shape[1]) if not np.isnan(row[a])] for row in worth]
    values = [
        sum(worth[row, action] for row, action in enumerate(picked))
        for picked in itertools.product(*allowed)
        if meets(problem, picked)
    ]
    return max(values) if values else None


@st.composite
def problems(draw: st.DrawFn, with_coverage: bool = True) -> Problem:
    customers, actions = draw(st.integers(0, 5)), draw(st.integers(2, 4))
    number = st.one_of(
        st.integers(-20, 40).map(float), st.floats(-20, 50, allow_nan=False, allow_subnormal=False), st.just(np.nan)
    )
    value = np.array(
        [[0.0, *(draw(number) for _ in range(actions - 1))] for _ in range(customers)],
        draw(st.sampled_from(["f4", "f8"])),
    ).reshape(customers, actions)
    per_row = draw(st.booleans())
    cost = np.array(
        [[0, *(draw(st.integers(0, 60)) for _ in range(actions - 1))] for _ in range(customers if per_row else 1)],
        np.int64,
    ).reshape(-1, actions)
    group = np.array([draw(st.integers(0, 1)) for _ in range(customers)], np.int8)
    group[:1] = 1  # both codes exist
    names = ACTIONS[:actions]
    constraints: list[Constraint] = [budget(draw(st.integers(0, 150)))]
    if draw(st.booleans()):
        constraints.append(campaign_budget("campaign", names[1:3], draw(st.integers(0, 80))))
    if draw(st.booleans()):
        constraints.append(stock("stock", [draw(st.sampled_from(names[1:]))], draw(st.integers(0, 3))))
    if with_coverage and customers and draw(st.booleans()):
        constraints.append(coverage("young", [draw(st.integers(0, 1))], draw(st.integers(0, 3))))
    if with_coverage and customers and draw(st.booleans()):
        constraints.append(coverage("all", [0, 1], draw(st.integers(0, 4))))
    contactable = np.array([draw(st.integers(0, 3)) > 0 for _ in range(customers)], bool)
    key = np.array(draw(st.permutations(range(10, 10 + customers))), np.uint64)
    return Problem(value, cost if per_row else cost[0], names, tuple(constraints), group, key, contactable)


def attempt(problem: Problem) -> tuple[list[int], AllocationResult] | str:
    try:
        choice, result = solve(problem)
    except PermanentError as refused:
        return str(refused)
    return choice.tolist(), result


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_small_problems_are_solved_exactly_or_refused_for_a_reason(problem: Problem) -> None:
    optimum = brute_force(problem)
    answer = attempt(problem)
    if isinstance(answer, str):
        assert optimum is None, answer
        return
    choice, result = answer
    assert optimum is not None
    assert meets(problem, tuple(choice))
    assert result.value_minor == pytest.approx(optimum, rel=1e-6, abs=1e-6)
    assert result.value_minor <= result.bound_minor
    assert result.bound_minor >= optimum - 1e-9
    assert result.value_minor == pytest.approx(float(problem.value[np.arange(len(choice)), choice].sum(dtype=float)))
    assert all(price >= 0 for price in result.shadow_prices.values())


@settings(max_examples=60, deadline=None)
@given(problem=problems(), order=st.randoms(use_true_random=False))
def test_the_order_of_customers_actions_and_constraints_does_not_matter(problem: Problem, order: object) -> None:
    rows, columns = list(range(problem.customers)), list(range(1, len(problem.actions)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    order.shuffle(columns)  # type: ignore[attr-defined]
    columns = [0, *columns]
    assert problem.group is not None
    assert problem.key is not None
    assert problem.contactable is not None
    cost = problem.cost[columns] if problem.cost.ndim == 1 else problem.cost[np.ix_(rows, columns)]
    moved = replace(
        problem, value=problem.value[np.ix_(rows, columns)], cost=cost, actions=tuple(problem.actions[c] for c in columns),
        constraints=problem.constraints[::-1], group=problem.group[rows], key=problem.key[rows],
        contactable=problem.contactable[rows],
    )  # fmt: skip
    first, second = attempt(problem), attempt(moved)
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
        return
    assert second[1] == first[1]
    assert [moved.actions[a] for a in second[0]] == [problem.actions[first[0][row]] for row in rows]


@settings(max_examples=60, deadline=None)
@given(problem=problems(with_coverage=False), more=st.integers(0, 60))
@example(problem=Problem(np.array([[0.0, 5.0], [0.0, 3.0]]), np.array([0, 7]), ("none", "mail"), (budget(7),)), more=6)
def test_more_budget_never_hurts_where_all_pairs_are_open(problem: Problem, more: int) -> None:
    first, *others = problem.constraints
    _, less = solve(problem)
    _, result = solve(replace(problem, constraints=(budget(first.limit + more), *others)))
    assert result.value_minor >= less.value_minor - 1e-6
    assert result.bound_minor >= less.bound_minor - 1e-6


def test_nothing_to_spend_leaves_what_is_free() -> None:
    value, cost = np.array([[0.0, 9.0, 2.0], [0.0, 9.0, -1.0]]), np.array([0, 10, 0])
    choice, result = solve(Problem(value, cost, ("none", "call", "push"), (budget(0),)))
    assert choice.tolist() == [2, 0]
    assert (result.cost_minor, result.value_minor, result.bound_minor) == (0, 2.0, pytest.approx(2.0))


def test_where_every_contact_loses_money_nobody_is_contacted() -> None:
    value = -np.ones((50, 3), np.float32)
    value[:, 0] = 0
    choice, result = solve(Problem(value, np.array([0, 1, 2]), ("none", "a", "b"), (budget(100),)))
    assert not choice.any()
    assert (result.value_minor, result.bound_minor, result.gap_share, result.binding) == (0.0, 0.0, 0.0, ())


def test_coverage_contacts_even_at_a_loss_and_has_a_price() -> None:
    value = np.array([[0.0, -5.0], [0.0, -2.0], [0.0, 4.0]])
    problem = Problem(value, np.array([0, 3]), ("none", "a"), (budget(9), coverage("new", [1], 1)), np.array([1, 1, 0]))
    choice, result = solve(problem)
    assert choice.tolist() == [0, 1, 1]
    assert result.value_minor == 2.0
    use = {c.name: c for c in result.constraints}
    assert (use["new"].used, use["new"].binding, use["budget"].used, use["budget"].binding) == (1, True, 6, False)
    assert 2.0 <= use["new"].shadow_price <= 5.0


def test_equal_customers_are_chosen_by_key_alone() -> None:
    value = np.tile([0.0, 3.0], (40, 1))
    key = np.random.default_rng(3).permutation(40).astype(np.uint64)
    problem = Problem(value, np.array([0, 5]), ("none", "a"), (budget(52),), key=key)
    choice, result = solve(problem)
    again, _ = solve(replace(problem, key=key[::-1]))
    assert int(choice.sum()) == 10
    assert result.value_minor == 30.0
    assert set(key[choice == 1].tolist()) == set(key[::-1][again == 1].tolist())


def test_no_customers_and_no_constraints_have_answers() -> None:
    nobody = Problem(np.zeros((0, 2)), np.array([0, 1]), ("none", "a"), (budget(5),))
    assert solve(nobody)[1].value_minor == 0.0
    free = Problem(np.array([[0.0, 2.0], [0.0, np.nan]]), np.array([0, 1]), ("none", "a"))
    choice, result = solve(free)
    assert (choice.tolist(), result.value_minor, result.bound_minor) == ([1, 0], 2.0, 2.0)


def test_no_contact_as_the_only_action() -> None:
    choice, result = solve(Problem(np.zeros((3, 1)), np.array([0]), ("none",), (budget(5),)))
    assert (choice.tolist(), result.value_minor) == ([0, 0, 0], 0.0)
