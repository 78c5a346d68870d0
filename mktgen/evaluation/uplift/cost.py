"""Cost curves: incremental gain against incremental cost, for those who spend a budget.

What: customers in order of a priority (expected gain per cost); C(u) and G(u), cumulated incremental cost and gain.
Formula: AUCC = integral of G dC / (G(1) C(1)): 1/2 for an order that knows nothing, more for a better one. The advantage is the
same area in money: integral of G dC / C(1) - G(1) / 2, the mean gain over the random order, per customer, over all budgets.
Assumption: costs and gains are unbiased scores of the same rows, priorities were made without them.
When it fails: AUCC divides by the total gain: near 0 or below it says nothing, and the advantage remains.
Reference: Du, Lee and Ghaffarizadeh, "Improve User Retention with Causal Learning", KDD workshop (2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.uplift.curves import Floats, Order, bootstrap


@dataclass(frozen=True)
class CostCurveAreas:
    """aucc: None where the total gain isn't surely positive. advantage: in the gain's unit, per customer."""

    aucc: Interval | None
    advantage: Interval
    total_gain: Interval


def cost_curve(gains: Floats, costs: Floats, order: Order, weight: Floats) -> tuple[Floats, Floats]:
    """C and G [groups + 1], per customer of all."""
    total = float(weight.sum())
    return order.cumulated(weight * costs) / total, order.cumulated(weight * gains) / total


def cost_curve_areas(
    gains: Floats,
    costs: Floats,
    priority: Floats,
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> CostCurveAreas:
    """gains, costs: scores of the incremental gain and cost of treating each row [n]; clusters [n].

    Raises ValueError where lengths differ, a value isn't finite, or the total cost isn't positive.
    """
    if not gains.shape == costs.shape == priority.shape or not (np.isfinite(gains) & np.isfinite(costs)).all():
        raise ValueError(
            f"{gains.size} gains, {costs.size} costs, {priority.size} priorities: give all, finite, to each row"
        )
    if costs.sum() <= 0:
        raise ValueError(f"the total incremental cost is {costs.sum():.2f}: a cost curve needs a positive one")
    order = Order.by(priority)

    def figure(weight: Floats) -> Floats:
        cost, gain = cost_curve(gains, costs, order, weight)
        if cost[-1] <= 0:
            return np.full(3, np.nan)
        area = float(np.trapezoid(gain, cost)) / cost[-1]
        return np.array([area / gain[-1] if gain[-1] else np.nan, area - gain[-1] / 2, gain[-1]])

    share, advantage, total = bootstrap(figure, gains.size, clusters, resamples, seed)
    return CostCurveAreas(share if total.low > 0 else None, advantage, total)
