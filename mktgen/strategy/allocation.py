"""Who gets which offer under a budget: a multiple-choice knapsack, solved by its Lagrangian dual.

What: maximise the sum of values with at most one offer per customer and total cost within the budget.
Formula: g(l) = l * budget + sum over customers of max(0, max over offers of value - l * cost). Every l >= 0 gives an
upper bound of the optimum (weak duality); bisection on l finds the smallest one at which the relaxed choice fits the
budget; a greedy repair then spends what is left on the exchanges that gain most per unit of cost.
Assumption: values add up over customers. When it fails: with very few, very large costs the gap to the bound can be
wide; it is reported, not hidden. Reference: Sinha & Zoltners (1979), The multiple-choice knapsack problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.errors import PermanentError

Vector = NDArray[np.float64]

BISECTIONS: Final = 60
NONE: Final = -1  # index of "no offer" in a choice


@dataclass(frozen=True)
class AllocationResult:
    """Facts of an allocation, all in minor units; `shadow_price` is value per minor unit of further budget."""

    cost_minor: int
    value_minor: float
    bound_minor: float
    shadow_price: float

    @property
    def gap_share(self) -> float:
        """(bound - value) / bound; 0 where the bound is 0."""
        return (self.bound_minor - self.value_minor) / self.bound_minor if self.bound_minor > 0 else 0.0


@dataclass(frozen=True)
class _Problem:
    """Candidates sorted by customer; `first` [customers] is where each customer's rows start."""

    value: Vector
    cost: NDArray[np.int64]
    customer: NDArray[np.int64]
    first: NDArray[np.int64]


def allocate(candidates: pl.DataFrame, budget_minor: int) -> tuple[pl.DataFrame, AllocationResult]:
    """Choose at most one offer per customer; never spends more than the budget.

    candidates: at least customer_id, offer_id (String), cost_minor (Int64, >= 0), value_minor (Float64, finite); an
    `affinity` column breaks ties of value and cost. Offers that lose money are never chosen: no contact is worth 0.
    Returns the chosen rows sorted by customer_id, and the facts. The order of the rows given does not matter.
    Raises PermanentError for a negative budget or cost, or a value that is not finite.
    """
    ordered = _ordered(candidates, budget_minor)
    if ordered.is_empty():
        return ordered, AllocationResult(0, 0.0, 0.0, 0.0)
    problem = _problem(ordered)
    price, bound, choice = _dual(problem, budget_minor)
    choice = _spend_the_rest(problem, choice, budget_minor)
    rows = np.sort(choice[choice != NONE])
    chosen = ordered[rows.tolist()]
    value = math.fsum(problem.value[rows].tolist())
    cost = int(problem.cost[rows].sum())
    # The bound is a float sum; it may lie below the value by rounding only.
    return chosen, AllocationResult(cost, value, max(bound, value), price)


def _ordered(candidates: pl.DataFrame, budget_minor: int) -> pl.DataFrame:
    if budget_minor < 0:
        raise PermanentError(f"allocation: the budget is {budget_minor}; it must not be negative")
    wrong = candidates.filter((pl.col("cost_minor") < 0) | ~pl.col("value_minor").is_finite())
    if not wrong.is_empty():
        example = wrong.select("customer_id", "offer_id", "cost_minor", "value_minor").row(0, named=True)
        raise PermanentError(f"allocation: {wrong.height} candidates have no usable cost or value, e.g. {example}")
    by = ["customer_id", "value_minor", "cost_minor", "offer_id"]
    descending = [False, True, False, False]
    if "affinity" in candidates.columns:
        by, descending = [*by[:3], "affinity", "offer_id"], [False, True, False, True, False]
    return candidates.filter(pl.col("value_minor") > 0).sort(by, descending=descending)


def _problem(ordered: pl.DataFrame) -> _Problem:
    ids = ordered["customer_id"].to_numpy()
    starts = np.concatenate([[True], ids[1:] != ids[:-1]])
    return _Problem(
        ordered["value_minor"].to_numpy().astype(np.float64),
        ordered["cost_minor"].to_numpy().astype(np.int64),
        (np.cumsum(starts) - 1).astype(np.int64),
        np.flatnonzero(starts).astype(np.int64),
    )


def _best(problem: _Problem, price: float) -> tuple[NDArray[np.int64], float]:
    """Each customer's best row at a price of the budget (NONE where nothing pays), and the sum of what it is worth."""
    net = problem.value - price * problem.cost
    top = np.maximum.reduceat(net, problem.first)
    # The first row that reaches the maximum: rows are sorted so that the preferred one of equals comes first.
    winners = np.flatnonzero(net == top[problem.customer])
    _, position = np.unique(problem.customer[winners], return_index=True)
    rows = winners[position].astype(np.int64)
    return np.where(top > 0, rows, NONE), math.fsum(np.maximum(top, 0.0).tolist())


def _cost(problem: _Problem, choice: NDArray[np.int64]) -> int:
    return int(problem.cost[choice[choice != NONE]].sum())


def _dual(problem: _Problem, budget: int) -> tuple[float, float, NDArray[np.int64]]:
    """The price of the budget, the least upper bound seen, and the relaxed choice that fits at that price."""
    choice, worth = _best(problem, 0.0)
    if _cost(problem, choice) <= budget:
        return 0.0, worth, choice
    paid = problem.cost > 0
    low, high = 0.0, float((problem.value[paid] / problem.cost[paid]).max()) * (1 + 1e-9)
    choice, high_worth = _best(problem, high)
    bound = min(worth, high * budget + high_worth)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        attempt, worth = _best(problem, middle)
        bound = min(bound, middle * budget + worth)
        if _cost(problem, attempt) <= budget:
            high, choice = middle, attempt
        else:
            low = middle
    return high, bound, choice


def _spend_the_rest(problem: _Problem, choice: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
    """Greedy exchanges that raise the value within what is left; each pass changes a customer at most once."""
    choice = choice.copy()
    left = budget - _cost(problem, choice)
    while True:
        held = choice[problem.customer]
        gain = problem.value - np.where(held == NONE, 0.0, problem.value[held])
        extra = problem.cost - np.where(held == NONE, 0, problem.cost[held])
        useful = np.flatnonzero((gain > 0) & (extra <= left))
        if len(useful) == 0:
            return choice
        rate = gain[useful] / np.maximum(extra[useful], 1e-9)
        changed: set[int] = set()
        for row in useful[np.argsort(-rate, kind="stable")].tolist():
            customer = int(problem.customer[row])
            if customer not in changed and extra[row] <= left:
                choice[customer] = row
                left -= int(extra[row])
                changed.add(customer)
