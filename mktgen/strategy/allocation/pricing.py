"""Each customer's best action at given prices: the inner maximum of the Lagrangian, in blocks, the same in any row order.

What: g(l) = sum over customers of max over actions (value - price of the pair) + sum over constraints of l * limit. Every
l >= 0 gives an upper bound of the best allocation (weak duality; Everett 1963, Geoffrion 1974).
Exactness: uses are whole numbers and are summed as such. Values are summed as integers at a fixed scale (2^60 steps to the
largest), so no order of rows or blocks changes a digit; the bound adds the rounding that comparing net values may cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mktgen.strategy.allocation.constraints import Terms
from mktgen.strategy.allocation.objectives import Floats
from mktgen.strategy.allocation.problem import Facts, Ints, Rows

Vector = NDArray[np.float64]
Choice = NDArray[np.unsignedinteger[Any]]  # [n]: column of the action

_HIGH_BITS: Final = 30
_LOW_BITS: Final = 30
_LARGEST_POWER: Final = 900  # of two; smaller values than 2^-900 are summed as 0
_ULPS: Final = 8.0  # roundings of one net value, generously


@dataclass(frozen=True)
class Market:
    """What prices act on. typical: what a customer's best action is worth on average where nothing has a price."""

    terms: Terms
    facts: Facts
    typical: float = 0.0

    @property
    def scale(self) -> float:
        """At which values are summed: the power of two that brings the largest to at most 2^30."""
        _, exponent = math.frexp(self.facts.largest)
        return 2.0 ** min(_HIGH_BITS - exponent, _LARGEST_POWER)


@dataclass(frozen=True)
class Tally:
    """A choice summed up. fixed: sum of values in steps of 2^-30 / scale. used [K]: as in Terms, whole numbers (float64
    where rows are weighted). cost: of everything chosen."""

    fixed: int
    used: NDArray[Any]
    cost: float
    scale: float

    @property
    def value(self) -> float:
        return float(self.fixed) / self.scale / 2.0**_LOW_BITS


@dataclass(frozen=True)
class Scan:
    """Best actions at some prices; margin [n]: how much better than the next best action, net (inf: there is no other), and
    `second` [n], which that is; both empty where they were not asked for."""

    tally: Tally
    choice: Choice
    margin: NDArray[np.float32]
    second: Choice


def scan(rows: Rows, market: Market, prices: Vector, *, margins: bool = False) -> Scan:
    """The best action of each row at these prices [K], and what they add up to."""
    quote = _Quote(rows, market, prices)
    choice = np.empty(len(rows), np.min_scalar_type(rows.value.shape[1]))
    margin = np.empty(len(rows) if margins else 0, np.float32)
    second = np.zeros_like(choice, shape=len(margin))
    total = _Total(rows, market)
    for part in rows.blocks():
        worth, group = rows.values(part), rows.groups(part)
        net = quote.net(worth, part, group)
        best, runner_up = net[0].copy(), np.full(len(worth), -np.inf)
        chosen, next_best = choice[part], second[part]
        chosen[:] = 0
        for action in rows.order[1:]:
            better = net[action] > best
            if margins:
                other = np.minimum(net[action], best)
                np.copyto(next_best, np.where(better, chosen, action), where=other > runner_up, casting="unsafe")
                np.maximum(runner_up, other, out=runner_up)
            np.putmask(chosen, better, action)
            np.putmask(best, better, net[action])
        if margins:
            margin[part] = best - runner_up
        total.add(worth, chosen, part, group)
    return Scan(total.tally(), choice, margin, second)


def net_values(rows: Rows, market: Market, prices: Vector) -> Vector:
    """[n, A] for few rows: value less price, -inf where not allowed."""
    quote = _Quote(rows, market, prices)
    whole = slice(0, len(rows))
    return np.ascontiguousarray(quote.net(rows.values(whole), whole, rows.groups(whole)).T)


def tally(rows: Rows, market: Market, choice: Choice) -> Tally:
    """What a choice adds up to."""
    total = _Total(rows, market)
    for part in rows.blocks():
        total.add(rows.values(part), choice[part], part, rows.groups(part))
    return total.tally()


def upper_bound(found: Tally, market: Market, prices: Vector) -> tuple[float, float]:
    """g(prices) from the tally of the best actions at these prices, and how much of it allows for rounding.

    A customer's net value can be misjudged only by an action that would beat no contact, so by one whose price is at most
    its value and what coverages pay for it.
    """
    terms = market.terms
    slack = [float(price) * int(left) for price, left in zip(prices, terms.limit - found.used, strict=True)]
    if not prices.any():
        return math.fsum([found.value, *slack]), 0.0
    paid = sum(price for price, c in zip(prices.tolist(), terms.constraints, strict=True) if c.at_least)
    customers = int(market.facts.members.sum())
    rounding = _ULPS * float(np.finfo(np.float64).eps) * (market.facts.largest + 2 * paid) * customers
    return math.fsum([found.value, *slack, rounding]), rounding


class _Quote:
    """Prices as tables by group and action."""

    def __init__(self, rows: Rows, market: Market, prices: Vector) -> None:
        terms = market.terms
        per_cost = np.tensordot(prices, terms.cost_sign.astype(np.float64), 1)
        per_unit = np.tensordot(prices, terms.unit_sign.astype(np.float64), 1)
        self._rows, self._missing = rows, market.facts.missing
        self._own_costs = rows.cost.ndim == 2
        # [A, groups], so that a row of the table is one action's prices.
        self._flat = np.ascontiguousarray((per_unit if self._own_costs else per_unit + per_cost * rows.cost).T)
        self._per_cost = np.ascontiguousarray(per_cost.T) if self._own_costs and per_cost.any() else None

    def net(self, worth: Floats, part: slice, group: Ints | None) -> Vector:
        """[A, rows]"""
        flat = self._flat[:, :1] if group is None else self._flat.take(group, axis=1)
        net = np.subtract(worth.T, flat, dtype=np.float64)
        if self._per_cost is not None:
            rate = self._per_cost[:, :1] if group is None else self._per_cost.take(group, axis=1)
            net -= rate * self._rows.costs(part).T
        if self._missing:
            np.copyto(net, -np.inf, where=np.isnan(net))
        return net


class _Total:
    """Sums over blocks, exact in whole numbers; weighted rows stand for several."""

    def __init__(self, rows: Rows, market: Market) -> None:
        self._rows, self._market = rows, market
        shape = market.terms.unit_sign.shape[1:]
        kind = np.int64 if rows.weight is None else np.float64
        self._contacts: NDArray[Any] = np.zeros(shape, kind)
        self._costs: NDArray[Any] = np.zeros(shape, kind)
        self._fixed = 0

    def add(self, worth: Floats, chosen: Choice, part: slice, group: Ints | None) -> None:
        weight = None if self._rows.weight is None else self._rows.weight[part]
        value = np.take_along_axis(worth, chosen[:, None].astype(np.intp), axis=1)[:, 0].astype(np.float64)
        self._fixed += _fixed(value if weight is None else value * weight, self._market.scale)
        actions = self._contacts.shape[1]
        cell = chosen.astype(np.intp) if group is None else group * np.intp(actions) + chosen
        self._contacts += self._by_cell(cell, weight)
        if self._rows.cost.ndim == 2:
            cost = np.take_along_axis(self._rows.costs(part), chosen[:, None].astype(np.intp), axis=1)[:, 0]
            self._costs += self._by_cell(cell, cost if weight is None else cost * weight)

    def _by_cell(self, cell: Ints, weight: NDArray[Any] | None) -> NDArray[Any]:
        # Whole numbers stay exact in float64: a block's costs are far below 2^53.
        sums = np.bincount(cell, weights=weight, minlength=self._contacts.size)
        return sums.astype(self._contacts.dtype).reshape(self._contacts.shape)

    def tally(self) -> Tally:
        terms = self._market.terms
        costs = self._costs if self._rows.cost.ndim == 2 else self._contacts * self._rows.cost.astype(np.int64)
        used = (terms.cost_sign * costs + terms.unit_sign * self._contacts).sum(axis=(1, 2))
        return Tally(self._fixed, used, costs.sum().item(), self._market.scale)


def _fixed(value: Vector, scale: float) -> int:
    """The sum of values in steps of 2^-30 / scale. Scaling by a power of two and taking off whole parts are exact, so only
    what lies below 2^-60 of the largest value is rounded, for each value by itself."""
    scaled = value * scale
    whole = np.rint(scaled)
    rest = np.rint((scaled - whole) * 2.0**_LOW_BITS)
    return (int(whole.astype(np.int64).sum()) << _LOW_BITS) + int(rest.astype(np.int64).sum())
