"""Solve an allocation: prices, then the few pairs that prices leave open, then whole customers.

1. Prices from a sample of customers, drawn by their keys and stratified by group (small problems skip this).
2. All customers at these prices: a bound, and how near each is to changing its action.
3. The problem restricted to the nearest ones, others held: prices by cutting planes and then, exactly, by a linear
   programme over the open pairs.
4. Again from 2 until the bound meets the restricted problem's value; then whole customers, counted to the unit.

Guarantees: no limit is exceeded and no coverage missed, by exact counts, or PermanentError is raised; the bound is at least
the best possible value; the answer does not depend on the order of customers, actions or constraints. Hence with a larger
budget the value can fall by no more than the gap reported with it; where all pairs are open (small problems), not at all.
When it fails: with few customers and large costs whole customers can't use a budget up; the gap says so.
Memory: beyond the arrays given, about 20 bytes for a customer, and the open customers' values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from mktgen.strategy.allocation.core import Candidate, first_radius, restrict
from mktgen.strategy.allocation.dual import Cut, minimise
from mktgen.strategy.allocation.integral import rounded_choice, whole_customers
from mktgen.strategy.allocation.keys import fraction
from mktgen.strategy.allocation.pricing import Choice, Market, Vector, scan, tally, upper_bound
from mktgen.strategy.allocation.problem import Problem, Rows, prepare
from mktgen.strategy.allocation.refusal import refuse_contradiction, refuse_unsettled
from mktgen.strategy.allocation.report import AllocationResult, Bound, report

TARGET: Final = 1e-6  # gap, as a share of the bound, at which the search for prices stops
ROUNDS: Final = 10
SAMPLED: Final = 60_000  # customers beyond which a sample finds the first prices
SAMPLE: Final = 30_000
_LEAST_OF_GROUP: Final = 500  # customers of a group in the sample, as far as there are
_SAMPLE_TOLERANCE: Final = 1e-5


def solve(problem: Problem) -> tuple[Choice, AllocationResult]:
    """One action for each customer, and the facts of the allocation.

    Returns choice [N], columns of problem.value, and the report. Raises PermanentError for input that can't be used and
    for constraints that can't be met together, naming them and by how much they miss.
    """
    rows, terms, facts = prepare(problem)
    free = np.zeros(len(terms.limit))
    found = scan(rows, Market(terms, facts), free)
    market = Market(terms, facts, found.tally.value / max(len(rows), 1))
    bound = Bound(*upper_bound(found.tally, market, free), free)
    if (found.tally.used <= terms.limit).all():
        # What is best for each customer by itself; a constraint that isn't used up has no price.
        return found.choice, report(market, found.tally, bound)
    return _priced(rows, market, bound)


def _priced(rows: Rows, market: Market, bound: Bound) -> tuple[Choice, AllocationResult]:
    size = max(market.facts.largest, 1e-300)
    floor = -2.0 * size * len(rows)
    prices = _first_prices(rows, market, floor)
    best: Candidate | None = None
    for _ in range(ROUNDS):
        found = scan(rows, market, prices, margins=True)
        here = Bound(*upper_bound(found.tally, market, prices), prices)
        if here.value <= bound.value + bound.rounding:
            bound = replace(here, value=min(here.value, bound.value))
        if best is not None and bound.value - best.value <= TARGET * max(abs(bound.value), size):
            break
        candidate, moved = restrict(rows, market, found, prices, floor)
        if candidate is None:
            refuse_contradiction(rows, market)
        elif best is None or candidate.value > best.value:
            best = candidate
        if candidate is None and (moved == prices).all():
            break
        prices = moved
    return _settled(rows, market, best, bound)


def _settled(rows: Rows, market: Market, best: Candidate | None, bound: Bound) -> tuple[Choice, AllocationResult]:
    choice = None if best is None else whole_customers(rows, market, best, TARGET * abs(bound.value))
    if choice is None:
        fallback = scan(rows, market, bound.prices).choice if best is None else rounded_choice(best)
        raise refuse_unsettled(market, tally(rows, market, fallback).used, bound.prices)
    return choice, report(market, tally(rows, market, choice), bound)


def _first_prices(rows: Rows, market: Market, floor: float) -> Vector:
    """[K]: of a sample where there are many customers; else 0, or prohibitive where a limit is 0."""
    limit = market.terms.limit
    shut = (limit == 0) & np.array([not c.at_least for c in market.terms.constraints], bool)
    prices = np.where(shut, 2.0 * market.facts.largest, 0.0)
    if len(rows) <= SAMPLED or len(limit) == 0:
        return prices
    sample = _sample(rows, market)

    def evaluate(at: Vector) -> Cut:
        found = scan(sample, market, at).tally
        return Cut(at, found.value, found.used)

    return minimise(
        evaluate, limit.astype(np.float64), prices, first_radius(market), tolerance=_SAMPLE_TOLERANCE,
        least_size=max(market.facts.largest, 1e-300), floor=floor,
    ).prices  # fmt: skip


def _sample(rows: Rows, market: Market) -> Rows:
    """About SAMPLE customers, those with the smallest scrambled keys in their group; each weighs what it stands for."""
    members = market.facts.members
    wanted = np.maximum(members * (SAMPLE / max(len(rows), 1)), _LEAST_OF_GROUP)
    share = wanted / np.maximum(members, 1)
    picked = []
    for part in rows.blocks():
        group = rows.groups(part)
        inside = fraction(rows.keys(part)) < (share[0] if group is None else share[group])
        picked.append(part.start + np.flatnonzero(inside))
    index = np.concatenate(picked)
    group = rows.groups(index)
    code = np.zeros(len(index), np.int64) if group is None else group
    drawn = np.bincount(code, minlength=len(members))
    return rows.take(index, (members / np.maximum(drawn, 1))[code])[1]
