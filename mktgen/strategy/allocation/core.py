"""One round of the search: prices that suit all customers, then the best fractional choice near them.

The prices come from all customers, not from those near a tie: a customer whose action is settled at nearly right prices is
not at others, and a scarce action (a stock for one customer in a thousand) moves its price far before many change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from mktgen.strategy.allocation.dual import Cut, DualPoint, minimise
from mktgen.strategy.allocation.keys import fraction, scrambled
from mktgen.strategy.allocation.pricing import Choice, Market, Scan, Vector, scan, tally
from mktgen.strategy.allocation.problem import Ints, Rows
from mktgen.strategy.allocation.restricted import OpenPairs, Relaxation, nearest, open_pairs, relax

EVERYTHING: Final = 5_000  # pairs up to which one linear programme takes them all
_OPEN: Final = (1_500, 6_000, 24_000)  # customers in the linear programme; more where fewer can't keep the limits
_DRAWN: Final = 200  # customers whose pairs are all open, near or not
_SIFTS: Final = 6
_TIE: Final = 1e-9  # of the largest value; pairs within it are tied but for rounding
_SOLVED: Final = 1e-9  # gap at which a problem whose pairs are all open counts as solved
_CLOSE: Final = 1e-6  # gap from which no larger linear programme is tried


@dataclass(frozen=True)
class Candidate:
    """A choice that is whole but for the open customers.

    chosen [N]: of everyone, the open ones' best actions. open [n]: their positions, in the pairs' order of rows. value: of
    the fractional choice, which keeps all limits. prices [K]: at which its bound is least.
    """

    chosen: Choice
    open: Ints
    pairs: OpenPairs
    solution: Relaxation
    value: float
    prices: Vector


def evaluate(rows: Rows, market: Market, prices: Vector) -> Cut:
    """The customers' best choice at some prices."""
    found = scan(rows, market, prices).tally
    return Cut(prices, found.value, found.used.astype(np.float64))


def restrict(
    rows: Rows, market: Market, prices: Vector, *, radius: Vector, tolerance: float, floor: float
) -> tuple[Candidate | None, Vector]:
    """The best fractional choice near the best prices, sought from `prices` on, and these; no choice where none keeps the
    limits. radius, tolerance, floor: as in `minimise`."""
    if rows.value.size <= EVERYTHING:
        return _sift(rows, market, prices, None, _SOLVED)
    point = minimise(
        partial(evaluate, rows, market), market.terms.limit.astype(np.float64), prices, radius,
        tolerance=tolerance, least_size=max(market.facts.largest, 1e-300), floor=floor,
    )  # fmt: skip
    if point.diverged:
        return None, point.prices
    return _sift(rows, market, point.prices, point, tolerance)


def typical_use(market: Market) -> Vector:
    """[K]: what one contact uses of each constraint, roughly."""
    costs = np.abs(market.terms.cost_sign).any(axis=(1, 2))
    return np.where(costs, max(market.facts.mean_cost, 1.0), 1.0)


def first_radius(market: Market) -> Vector:
    """[K]: half-width of the first box: prices at which a typical contact no longer pays."""
    return max(market.typical, 1e-3 * market.facts.largest, 1e-300) / typical_use(market)


def _sift(
    rows: Rows, market: Market, prices: Vector, point: DualPoint | None, enough: float
) -> tuple[Candidate | None, Vector]:
    """Linear programmes over the open pairs at the prices that the last one found, while these get better; a gap of
    `enough` will do."""
    best: Candidate | None = None
    found = scan(rows, market, prices, margins=True)
    least = _bound(found, market, prices)
    for _ in range(_SIFTS):
        candidate = _candidate(rows, market, found, prices, point)
        if candidate is None:
            return best, prices
        if best is None or candidate.value > best.value:
            best = candidate
        if least - best.value <= enough * abs(least):
            break
        found = scan(rows, market, candidate.prices, margins=True)
        bound = _bound(found, market, candidate.prices)
        if not bound < least:
            break
        least, prices = bound, candidate.prices
        if least - best.value <= enough * abs(least):
            break
    return best, prices


def _bound(found: Scan, market: Market, prices: Vector) -> float:
    return found.tally.value + float(prices @ (market.terms.limit - found.tally.used))


def _candidate(rows: Rows, market: Market, found: Scan, prices: Vector, point: DualPoint | None) -> Candidate | None:
    """The best of a few linear programmes: more open customers, or the others mixed by the cuts' shares, where too few can
    make up for what the others' best actions exceed or leave."""
    bound = _bound(found, market, prices)
    mixed: Choice | None = None
    best: Candidate | None = None
    for number in _OPEN:
        near, window = _nearest(rows, market, found, number)
        for mixing in (False, True):
            if not mixing:
                base = found.choice
            elif point is None or np.count_nonzero(point.shares) < 2:
                continue
            else:
                base = mixed = _mixed(rows, market, point) if mixed is None else mixed
            candidate = _open(rows, market, prices, base, near, window)
            if candidate is not None and (best is None or candidate.value > best.value):
                best = candidate
            if best is not None and bound - best.value <= _CLOSE * abs(bound):
                return best
        if number >= len(rows):
            break
    return best


def _nearest(rows: Rows, market: Market, found: Scan, number: int) -> tuple[Ints, Vector]:
    """Positions of about `number` customers nearest to a tie, by key, and the window of net value within which each one's
    pairs are open. Half of them are the nearest of all, half the nearest of each kind of tie, so that no constraint is
    without customers who can move it; a few drawn by their keys have all pairs open, so that odd remains of the limits
    find a use."""
    if rows.value.size <= EVERYTHING:
        return rows.take(np.arange(len(rows)))[0], np.full(len(rows), np.inf)
    # Among customers tied but for rounding the key decides, so that every kind of them is open.
    margin = np.maximum(found.margin, np.float32(_TIE * market.facts.largest))
    rank = scrambled(rows.keys(slice(0, len(rows))))
    kinds = _kinds(found)
    quota = max(number // (2 * len(kinds)), 1) if kinds else 0
    inside = [nearest(margin, rank, number // 2)]
    inside += [kind[nearest(margin[kind], rank[kind], quota)] for kind in kinds]
    edges = [float(margin[part].max()) for part in inside]
    inside.append(np.argpartition(rank, min(_DRAWN, len(rank) - 1))[:_DRAWN])
    edges.append(np.inf)
    near, place = np.unique(np.concatenate(inside), return_inverse=True)
    window = np.zeros(len(near))
    np.maximum.at(window, place, np.repeat(edges, [len(part) for part in inside]))
    order = np.argsort(rows.keys(near), kind="stable")
    return near[order], window[order]


def _kinds(found: Scan) -> list[Ints]:
    """Positions of the customers between the same two actions; those who have no choice are left out."""
    kinds = []
    for action in np.unique(found.choice):
        having = np.flatnonzero((found.choice == action) & (found.margin < np.inf))
        second = found.second[having]
        kinds += [having[second == other] for other in np.unique(second)]
    return kinds


def _mixed(rows: Rows, market: Market, point: DualPoint) -> Choice:
    """Each customer takes the choice of one cut, drawn by its key with the cuts' shares: uses are those of the fractional
    choice but for the luck of the draw."""
    active = np.flatnonzero(point.shares > 0)
    upper = np.cumsum(point.shares[active])
    drawn = np.searchsorted(upper, fraction(rows.keys(slice(0, len(rows))), salt=1), side="right")
    drawn = np.minimum(drawn, len(active) - 1)
    choice = scan(rows, market, point.cuts[int(active[0])].prices).choice
    for turn, cut in enumerate(active[1:].tolist(), start=1):
        np.copyto(choice, scan(rows, market, point.cuts[cut].prices).choice, where=drawn == turn)
    return choice


def _open(rows: Rows, market: Market, prices: Vector, base: Choice, near: Ints, window: Vector) -> Candidate | None:
    """The linear programme over the pairs of `near`, all others at `base`."""
    part = rows.take(near)[1]
    all_, own = tally(rows, market, base), tally(part, market, base[near])
    pairs = open_pairs(part, market, prices, window, market.terms.limit - (all_.used - own.used))
    solution = relax(pairs, len(part))
    if solution is None:
        return None
    value = replace(all_, fixed=all_.fixed - own.fixed).value + solution.value
    return Candidate(base, near, pairs, solution, value, solution.prices)
