"""Solve an allocation: prices, then the few pairs that prices leave open, then whole customers.

1. Prices from samples of customers, drawn by their keys and stratified by group (small problems skip this).
2. Prices of all customers, by cutting planes that start there: a bound, and how near each is to changing its action.
3. Exact prices by a linear programme over the pairs that are still open near them, all others held.
4. Again from 2, more precisely, until the bound meets the value of 3; then whole customers, counted to the unit.

Guarantees: no limit is exceeded and no coverage missed, by exact counts, or PermanentError is raised; the bound is at least
the best possible value; the answer does not depend on the order of customers, actions or constraints. Hence with a larger
budget the value can fall by no more than the gap reported with it; where all pairs are open (small problems), not at all.
When it fails: with few customers and large costs whole customers can't use a budget up; the gap says so.
Memory: beyond the arrays given, about 50 bytes for a customer. Time: a few dozen passes over the values.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from mktgen.strategy.allocation.core import Candidate, evaluate, first_radius, restrict
from mktgen.strategy.allocation.dual import minimise
from mktgen.strategy.allocation.integral import rounded_choice, whole_customers
from mktgen.strategy.allocation.keys import fraction
from mktgen.strategy.allocation.pricing import Choice, Market, Vector, scan, tally, upper_bound
from mktgen.strategy.allocation.problem import Problem, Rows, prepare
from mktgen.strategy.allocation.refusal import refuse_contradiction, refuse_unsettled
from mktgen.strategy.allocation.report import AllocationResult, Bound, report

TARGET: Final = 1e-6  # gap, as a share of the bound, at which the search for prices stops
SAMPLES: Final = (30_000, 300_000)  # customers whose prices are sought first,
_SAMPLED: Final = 2  # where there are at least so many times as many
_LEAST_OF_GROUP: Final = 500  # customers of a group in the sample, as far as there are
_SAMPLE_TOLERANCE: Final = 1e-6
_TOLERANCES: Final = (1e-7, 1e-8, 1e-9)  # of the cutting planes in each round; the linear programmes make it exact
_NARROWER: Final = 0.125  # the first box of each stage, against that of the stage before


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
    prices, radius = _first_prices(rows, market, floor)
    best: Candidate | None = None
    for tolerance in _TOLERANCES:
        candidate, moved = restrict(rows, market, prices, radius=radius, tolerance=tolerance, floor=floor)
        if candidate is None:
            refuse_contradiction(rows, market)
        elif best is None or candidate.value > best.value:
            best = candidate
        if candidate is None and (moved == prices).all():
            break
        prices, radius = moved, radius * _NARROWER
        found = scan(rows, market, prices).tally
        here = Bound(*upper_bound(found, market, prices), prices)
        if here.value <= bound.value + bound.rounding:
            bound = replace(here, value=min(here.value, bound.value))
        if best is not None and bound.value - best.value <= TARGET * max(abs(bound.value), size):
            break
    return _settled(rows, market, best, bound)


def _settled(rows: Rows, market: Market, best: Candidate | None, bound: Bound) -> tuple[Choice, AllocationResult]:
    choice = None if best is None else whole_customers(rows, market, best, TARGET * abs(bound.value))
    if choice is None:
        fallback = scan(rows, market, bound.prices).choice if best is None else rounded_choice(best)
        raise refuse_unsettled(market, tally(rows, market, fallback).used, bound.prices)
    return choice, report(market, tally(rows, market, choice), bound)


def _first_prices(rows: Rows, market: Market, floor: float) -> tuple[Vector, Vector]:
    """[K]: of samples where there are many customers; else 0, or prohibitive where a limit is 0. And the half-width [K] of
    the box in which better ones are sought first."""
    limit, radius = market.terms.limit, first_radius(market)
    shut = (limit == 0) & np.array([not c.at_least for c in market.terms.constraints], bool)
    prices = np.where(shut, 2.0 * market.facts.largest, 0.0)
    for size in SAMPLES:
        if size * _SAMPLED > len(rows):
            break
        sample = _sample(rows, market, size)
        point = minimise(
            partial(evaluate, sample, market), limit.astype(np.float64), prices, radius, tolerance=_SAMPLE_TOLERANCE,
            least_size=max(market.facts.largest, 1e-300), floor=floor,
        )  # fmt: skip
        if point.diverged:  # a sample may lack the few customers who can keep a limit
            break
        prices, radius = point.prices, radius * _NARROWER
    return prices, radius


def _sample(rows: Rows, market: Market, size: int) -> Rows:
    """About `size` customers, those with the smallest scrambled keys in their group; each weighs what it stands for."""
    members = market.facts.members
    wanted = np.maximum(members * (size / max(len(rows), 1)), _LEAST_OF_GROUP)
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
