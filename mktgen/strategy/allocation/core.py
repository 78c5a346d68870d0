"""One round of the search: the problem restricted to the customers nearest to a tie, all others held at their best action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.strategy.allocation.dual import Cut, DualPoint, minimise
from mktgen.strategy.allocation.keys import fraction, scrambled
from mktgen.strategy.allocation.pricing import Choice, Market, Scan, Vector, scan, tally
from mktgen.strategy.allocation.problem import Ints, Rows
from mktgen.strategy.allocation.restricted import OpenPairs, Relaxation, nearest, open_pairs, relax

EVERYTHING: Final = 5_000  # pairs up to which one linear programme takes them all
_CORE_SHARE: Final = 20  # one customer in so many is looked at again in a round, the nearest to a tie first,
_LEAST_CORE: Final = 60_000  # and at least so many,
_MOST_CORE: Final = 500_000  # at most so many
_OPEN: Final = (1_500, 6_000, 24_000)  # customers in the linear programme; more where fewer can't keep the limits
_DRAWN: Final = 200  # customers whose pairs are all open, near or not
_SIFTS: Final = 6
_TIED: Final = 2  # times the core's size; with more customers at its edge all are looked at
_LEAST_WINDOW: Final = 1e-4  # of a typical value, where many customers are tied
_TIE: Final = 1e-9  # of the largest value; pairs within it are tied but for rounding
_FENCE: Final = 8.0  # windows that prices may move in a round
_TOLERANCE: Final = 1e-6  # of the cutting planes; the linear programmes make it exact
_SIFTED: Final = 1e-9  # gap at which the restricted problem counts as solved
_CLOSE: Final = 1e-6  # gap from which no larger linear programme is tried


@dataclass(frozen=True)
class Core:
    """Customers whose action is looked at again, and what all others hold. index [n]: their positions among all."""

    rows: Rows
    index: Ints | None  # None: everyone
    held_value: float
    held_used: NDArray[np.int64]

    def evaluate(self, market: Market, prices: Vector) -> Cut:
        found = scan(self.rows, market, prices).tally
        return Cut(prices, self.held_value + found.value, (self.held_used + found.used).astype(np.float64))


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


def restrict(rows: Rows, market: Market, found: Scan, prices: Vector, floor: float) -> tuple[Candidate | None, Vector]:
    """The best fractional choice near `prices`, and the prices to try next; no choice where none keeps the limits."""
    core, window = _core(rows, market, found)
    if rows.value.size <= EVERYTHING:
        return _sift(core, market, found.choice, prices, None)
    point = _prices(core, market, prices, window, floor)
    if point.diverged:
        return None, point.prices
    return _sift(core, market, found.choice, point.prices, point)


def typical_use(market: Market) -> Vector:
    """[K]: what one contact uses of each constraint, roughly."""
    costs = np.abs(market.terms.cost_sign).any(axis=(1, 2))
    return np.where(costs, max(market.facts.mean_cost, 1.0), 1.0)


def _core(rows: Rows, market: Market, found: Scan) -> tuple[Core, float]:
    margin = found.margin
    nothing = np.zeros(len(market.terms.limit), np.int64)
    number = min(max(_LEAST_CORE, len(rows) // _CORE_SHARE), _MOST_CORE)
    if len(rows) <= number:
        return Core(rows, None, 0.0, nothing), np.inf
    window = max(float(np.partition(margin, number - 1)[number - 1]), _LEAST_WINDOW * market.typical)
    near = np.flatnonzero(margin <= window)
    if len(near) > _TIED * number:
        return Core(rows, None, 0.0, nothing), np.inf
    index, open_ = rows.take(near)
    own = tally(open_, market, found.choice[index])
    held = replace(found.tally, fixed=found.tally.fixed - own.fixed)
    return Core(open_, index, held.value, found.tally.used - own.used), window


def _prices(core: Core, market: Market, prices: Vector, window: float, floor: float) -> DualPoint:
    use = typical_use(market)
    if core.index is None:
        radius, fence = first_radius(market), None
    else:
        radius = window / use
        fence = (np.maximum(prices - _FENCE * radius, 0.0), prices + _FENCE * radius)
    return minimise(
        lambda at: core.evaluate(market, at), market.terms.limit.astype(np.float64), prices, radius,
        tolerance=_TOLERANCE, least_size=max(market.facts.largest, 1e-300), floor=floor, fence=fence,
    )  # fmt: skip


def first_radius(market: Market) -> Vector:
    """[K]: half-width of the first box: prices at which a typical contact no longer pays."""
    return max(market.typical, 1e-3 * market.facts.largest, 1e-300) / typical_use(market)


def _sift(
    core: Core, market: Market, everyone: Choice, prices: Vector, point: DualPoint | None
) -> tuple[Candidate | None, Vector]:
    """Linear programmes over the open pairs at the prices that the last one found, while these get better."""
    limit = market.terms.limit.astype(np.float64)
    best: Candidate | None = None
    least = core.evaluate(market, prices).at(prices, limit)
    for _ in range(_SIFTS):
        candidate = _candidate(core, market, everyone, prices, point)
        if candidate is None:
            return best, prices
        if best is None or candidate.value > best.value:
            best = candidate
        bound = core.evaluate(market, candidate.prices).at(candidate.prices, limit)
        if not bound < least:
            break
        least, prices = bound, candidate.prices
        if least - best.value <= _SIFTED * abs(least):
            break
    return best, prices


def _candidate(
    core: Core, market: Market, everyone: Choice, prices: Vector, point: DualPoint | None
) -> Candidate | None:
    """The best of a few linear programmes: more open customers, or the others mixed by the cuts' shares, where too few can
    make up for what the others' best actions exceed or leave."""
    found = scan(core.rows, market, prices, margins=True)
    limit = market.terms.limit.astype(np.float64)
    bound = core.held_value + found.tally.value + float(prices @ (limit - core.held_used - found.tally.used))
    mixed: Choice | None = None
    best: Candidate | None = None
    for number in _OPEN:
        near, window = _nearest(core.rows, market, found, number)
        for mixing in (False, True):
            if not mixing:
                base = found.choice
            elif point is None or np.count_nonzero(point.shares) < 2:
                continue
            else:
                base = mixed = _mixed(core, market, point) if mixed is None else mixed
            candidate = _open(core, market, everyone, prices, base, near, window)
            if candidate is not None and (best is None or candidate.value > best.value):
                best = candidate
            if best is not None and bound - best.value <= _CLOSE * abs(bound):
                return best
        if number >= len(core.rows):
            break
    return best


def _nearest(rows: Rows, market: Market, found: Scan, number: int) -> tuple[Ints, Vector]:
    """Positions of the customers nearest to a tie, by key, and the window of net value within which each one's pairs are
    open; a few drawn by their keys have all pairs open, so that odd remains of the limits find a use."""
    if rows.value.size <= EVERYTHING:
        return rows.take(np.arange(len(rows)))[0], np.full(len(rows), np.inf)
    # Among customers tied but for rounding the key decides, so that every kind of them is open.
    margin = np.maximum(found.margin, np.float32(_TIE * market.facts.largest))
    rank = scrambled(rows.keys(slice(0, len(rows))))
    near = nearest(margin, rank, number)
    drawn = np.argpartition(rank, min(_DRAWN, len(rank) - 1))[:_DRAWN]
    open_ = rows.take(np.union1d(near, drawn))[0]
    return open_, np.where(np.isin(open_, drawn), np.inf, float(margin[near].max()))


def _mixed(core: Core, market: Market, point: DualPoint) -> Choice:
    """Each customer takes the choice of one cut, drawn by its key with the cuts' shares: uses are those of the fractional
    choice but for the luck of the draw."""
    active = np.flatnonzero(point.shares > 0)
    upper = np.cumsum(point.shares[active])
    drawn = np.searchsorted(upper, fraction(core.rows.keys(slice(0, len(core.rows))), salt=1), side="right")
    drawn = np.minimum(drawn, len(active) - 1)
    choice = scan(core.rows, market, point.cuts[int(active[0])].prices).choice
    for turn, cut in enumerate(active[1:].tolist(), start=1):
        np.copyto(choice, scan(core.rows, market, point.cuts[cut].prices).choice, where=drawn == turn)
    return choice


def _open(
    core: Core, market: Market, everyone: Choice, prices: Vector, base: Choice, near: Ints, window: Vector
) -> Candidate | None:
    """The linear programme over the pairs of `near`, all others of the core at `base`."""
    part = core.rows.take(near)[1]
    all_, own = tally(core.rows, market, base), tally(part, market, base[near])
    used = core.held_used + all_.used - own.used
    pairs = open_pairs(part, market, prices, window, market.terms.limit - used)
    solution = relax(pairs, len(part))
    if solution is None:
        return None
    chosen = everyone.copy()
    chosen[slice(None) if core.index is None else core.index] = base
    open_ = near if core.index is None else core.index[near]
    value = core.held_value + replace(all_, fixed=all_.fixed - own.fixed).value + solution.value
    return Candidate(chosen, open_, pairs, solution, value, solution.prices)
