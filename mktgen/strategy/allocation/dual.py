"""Prices of the constraints: the Lagrangian dual, by cutting planes in a trust region.

What: minimise a convex, piecewise linear g over prices >= 0. Every evaluation gives a cut, a choice's value V and use u,
with g(l) >= V + l (limit - u) for all l; the master, a small linear programme over the cuts, proposes the next prices
within a box about the best so far. The box grows where the model was right at its edge, and shrinks where it was wrong.
Certificate: with the box inactive the master's value is the least that g can be; its multipliers ("shares") mix the cuts'
choices into a fractional choice that respects the constraints and is worth that much (Dantzig-Wolfe).
When it fails: constraints that contradict each other let g fall without end; that is reported, by `diverged`.
Reference: Kelley (1960), The cutting-plane method; Marsten, Hogan & Blankenship (1975), The boxstep method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.optimize import linprog

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.pricing import Vector

EVALUATIONS: Final = 400
_GROW: Final = 2.0
_SHRINK: Final = 0.5
_STEPS_AT_THE_EDGE: Final = 30  # doublings of the box that promise nothing before we believe it


@dataclass(frozen=True)
class Cut:
    """Best choice at some prices: its value, and what it uses of each constraint [K]."""

    prices: Vector
    value: float
    used: Vector

    def at(self, prices: Vector, limit: Vector) -> float:
        return self.value + float(prices @ (limit - self.used))


@dataclass(frozen=True)
class DualPoint:
    """prices [K] with the least g found, and g there; `model` the least it can be where `settled`; cuts and their shares."""

    prices: Vector
    value: float
    model: float
    cuts: list[Cut] = field(repr=False)
    shares: Vector = field(repr=False)
    settled: bool = False
    diverged: bool = False


Evaluate = Callable[[Vector], Cut]


def minimise(
    evaluate: Evaluate, limit: Vector, start: Vector, radius: Vector, *, tolerance: float, least_size: float,
    floor: float, fence: tuple[Vector, Vector] | None = None,
) -> DualPoint:  # fmt: skip
    """The prices with the least g, to `tolerance` as a share of g, or of `least_size` where g is smaller.

    evaluate: prices [K] -> cut. limit, start, radius [K]: right-hand sides, first prices, half-width of the first box.
    floor: g below this proves that no choice respects the constraints. fence: least and most [K] that prices may be; with
    one, `settled` says only that no better prices lie within it.
    """
    low, high = (np.zeros(len(limit)), np.full(len(limit), np.inf)) if fence is None else fence
    cuts = [evaluate(start)]
    best = DualPoint(start, cuts[0].at(start, limit), -np.inf, cuts, np.ones(1))
    radius, edges = radius.copy(), 0
    if len(limit) == 0:
        return DualPoint(start, best.value, best.value, cuts, np.ones(1), settled=True)
    size = max(abs(best.value), least_size)
    while len(cuts) < EVALUATIONS:
        prices, model, shares, edge = _master(cuts, best, limit, (low, high), radius, size)
        promised = best.value - model
        best = DualPoint(
            best.prices, best.value, model, cuts, shares, settled=not edge and promised <= tolerance * size
        )
        if best.settled:
            return best
        if promised <= tolerance * size:
            edges += 1
            if edges > _STEPS_AT_THE_EDGE:
                break
            radius *= _GROW * _GROW
            continue
        cuts.append(evaluate(prices))
        value = cuts[-1].at(prices, limit)
        if value < best.value:
            radius = radius * _GROW if best.value - value > promised / 2 else radius
            best, edges = DualPoint(prices, value, model, cuts, shares), 0
            size = max(abs(value), least_size)
        elif value - best.value > promised:
            radius = radius * _SHRINK
        if best.value < floor:
            return DualPoint(best.prices, best.value, model, cuts, shares, diverged=True)
    return best


def _master(
    cuts: list[Cut], best: DualPoint, limit: Vector, fence: tuple[Vector, Vector], radius: Vector, size: float
) -> tuple[Vector, float, Vector, bool]:
    """Next prices, the model's value there, the cuts' shares, and whether the box stopped the step."""
    slope = limit - np.array([cut.used for cut in cuts])  # [cuts, K]
    height = np.array([cut.at(best.prices, limit) for cut in cuts]) - best.value
    # Steps in units in which slopes are about 1, so that the solver's tolerances mean the same for each constraint.
    unit = size / np.maximum(np.abs(slope).max(axis=0), 1.0)
    low, high = np.maximum(best.prices - radius, fence[0]), np.minimum(best.prices + radius, fence[1])
    bounds = [*zip((low - best.prices) / unit, (high - best.prices) / unit, strict=True), (None, None)]
    found = linprog(
        np.r_[np.zeros(len(limit)), 1.0],
        A_ub=np.c_[slope * unit / size, -np.ones(len(cuts))],
        b_ub=-height / size,
        bounds=bounds,
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None or found.ineqlin.marginals is None:
        raise PermanentError(f"allocation: the prices' linear programme failed: {found.message}")
    step = found.x[:-1]
    prices = np.clip(best.prices + step * unit, low, high)
    edge = ((prices <= low) & (low > fence[0])) | ((prices >= high) & (high < fence[1]))
    shares = np.maximum(-found.ineqlin.marginals, 0.0)
    return prices, best.value + float(found.x[-1]) * size, shares / shares.sum(), bool(edge.any())
