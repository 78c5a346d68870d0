"""Constraints that can't be met together: which, and by how much.

Only coverage can be impossible, since contacting nobody keeps every limit. The least total shortfall of all coverages is
a linear programme without values; its dual is found as the allocation's own is, and the prices it ends with name the
constraints that contradict each other (Farkas). For each limit among them a second dual gives the least that would do.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.core import typical_use
from mktgen.strategy.allocation.dual import Cut, DualPoint, minimise
from mktgen.strategy.allocation.objectives import Floats
from mktgen.strategy.allocation.pricing import Market, Vector, scan
from mktgen.strategy.allocation.problem import Rows

_TOLERANCE: Final = 1e-9
_SHORT: Final = 1e-6  # contacts; less is the solver's tolerance


def refuse_contradiction(rows: Rows, market: Market) -> None:
    """Raises PermanentError where the constraints can't be met even by fractions of customers; else returns."""
    terms = market.terms
    least = np.array([constraint.at_least for constraint in terms.constraints], bool)
    if not least.any():
        return
    none = np.zeros(len(least))
    point = _dual(rows, market, none, np.where(least, 1.0, np.inf), none)
    short = -point.value
    if short <= _SHORT:
        return
    coverages = [
        c for c, at_least, price in zip(terms.constraints, least, point.prices, strict=True) if at_least and price > 0
    ]
    needs = [
        _need(rows, market, k, terms.limit[k] + short / point.prices[k])
        for k in np.flatnonzero(~least & (point.prices > 0)).tolist()
    ]
    asked = " and ".join(f"{c.name!r} ({c.limit} contacts)" for c in coverages)
    missing = f"at least {math.ceil(short - _SHORT)} contacts short"
    raise PermanentError(f"allocation: {asked} can't be met: {'; or '.join(needs) or missing}")


def refuse_unsettled(market: Market, used: Vector, prices: Vector) -> PermanentError:
    """The error for constraints that fractions of customers meet, but no choice of whole ones that was found."""
    over = {
        name: int(more)
        for name, more in zip(market.terms.names, used - market.terms.limit, strict=True)
        if more > 0
    }  # fmt: skip
    tight = [name for name, price in zip(market.terms.names, prices, strict=True) if price > 0]
    return PermanentError(
        f"allocation: no choice of whole customers was found that keeps all constraints; the nearest misses {over}. "
        f"Relax one of {sorted({*tight, *over})} by about that much"
    )


def _need(rows: Rows, market: Market, k: int, at_least: float) -> str:
    """How much of the limit k the coverages need."""
    constraint = market.terms.constraints[k]
    fixed = np.zeros(len(market.terms.limit))
    fixed[k] = 1.0
    point = _dual(rows, market, fixed, np.where(fixed > 0, 1.0, np.inf), fixed)
    if point.settled:
        at_least = max(at_least, constraint.limit - point.value)
    needed = math.ceil(at_least * (1 - 1e-9) - _SHORT)
    unit = "minor units" if constraint.counts == "minor" else "contacts"
    return (
        f"at least {needed} {unit} of {constraint.name!r} are needed, which allows {constraint.limit}: "
        f"{needed - constraint.limit} short"
    )


def _dual(rows: Rows, market: Market, low: Vector, high: Vector, start: Vector) -> DualPoint:
    """The least dual of the problem in which every allowed pair is worth nothing."""

    def nothing(mean: Floats, sd: Floats | None) -> Floats:
        return rows.objective(mean, sd) * 0

    worthless = replace(rows, objective=nothing)
    use = typical_use(market)
    most = float(np.abs(market.terms.limit).max()) + len(rows) * float(use.max())

    def evaluate(prices: Vector) -> Cut:
        return Cut(prices, 0.0, scan(worthless, market, prices).tally.used.astype(np.float64))

    return minimise(
        evaluate, market.terms.limit.astype(np.float64), start, 1.0 / use, tolerance=_TOLERANCE,
        least_size=max(1.0, float(np.abs(market.terms.limit).max())), floor=-1e3 * most, fence=(low, high),
    )  # fmt: skip
