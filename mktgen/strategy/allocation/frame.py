"""Who gets which offer under a budget, as frames: a front of the solver for candidates with offers of their own."""

from __future__ import annotations

import numpy as np
import polars as pl

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.constraints import budget
from mktgen.strategy.allocation.problem import Problem
from mktgen.strategy.allocation.report import AllocationResult
from mktgen.strategy.allocation.solver import solve


def allocate(candidates: pl.DataFrame, budget_minor: int) -> tuple[pl.DataFrame, AllocationResult]:
    """Choose at most one offer per customer; never spends more than the budget.

    candidates: at least customer_id, offer_id (String), cost_minor (Int64, >= 0), value_minor (Float64, finite); an
    `affinity` column breaks ties of value and cost. Offers that lose money are never chosen: no contact is worth 0.
    Returns the chosen rows sorted by customer_id, and the facts. The order of the rows given does not matter.
    Raises PermanentError for a negative budget or cost, or a value that is not finite.
    """
    ordered = _ordered(candidates, budget_minor)
    ids = ordered["customer_id"].to_numpy()
    starts = np.concatenate([[True], ids[1:] != ids[:-1]])[: len(ids)]
    row = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    # A customer's offers are its actions, best first: column j is its j-th offer, whatever that is.
    column = np.arange(len(ids)) - first[row] + 1
    width = int(column.max(initial=0)) + 1
    value = np.full((len(first), width), np.nan)
    cost = np.zeros((len(first), width), np.int64)
    value[:, 0] = 0.0
    value[row, column] = ordered["value_minor"].to_numpy()
    cost[row, column] = ordered["cost_minor"].to_numpy()
    names = tuple(f"{index:06d}" for index in range(width))
    choice, result = solve(Problem(value, cost, names, (budget(budget_minor),)))
    chosen = np.flatnonzero(choice[row] == column)
    return ordered[chosen.tolist()], result


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
