"""Qini and uplift@k from what was seen: outcomes of treated and untreated customers, in order of a priority.

What: Q(u) = Y_t - Y_c N_t / N_c among the first share u (per customer of all): sales gained over what as many untreated
customers bought. The coefficient is the area between Q and the straight line to Q(1).
Assumption: treatment was assigned with one probability for all. When it fails: with other propensities take rate.py, whose
scores know them; the first customers have few untreated among them and the curve starts unsteadily.
Reference: Radcliffe, Direct Marketing Analytics Journal (2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.uplift.curves import Bools, Curve, Floats, Order, bootstrap


def qini_curve(outcome: Floats, treated: Bools, order: Order, weight: Floats) -> Curve:
    """Q(u) at the ends of groups of equal priority; 0 as long as nobody untreated has come."""
    mine, theirs = weight * treated, weight * ~treated
    number, others = order.cumulated(mine), order.cumulated(theirs)
    ratio = np.divide(number, others, out=np.zeros_like(number), where=others > 0)
    gain = order.cumulated(mine * outcome) - order.cumulated(theirs * outcome) * ratio
    total = float(weight.sum())
    return Curve(order.cumulated(weight) / total, np.where(others > 0, gain, 0.0) / total)


def qini(
    outcome: Floats,
    treated: Bools,
    priority: Floats,
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> Interval:
    """Qini coefficient; 0 for an order that knows nothing. outcome, treated, priority [n]. Raises ValueError."""
    _check(outcome, treated)
    order = Order.by(priority)

    def figure(weight: Floats) -> Floats:
        curve = qini_curve(outcome, treated, order, weight)
        return np.array([curve.area - float(curve.gain[-1]) / 2])

    return bootstrap(figure, outcome.size, clusters, resamples, seed)[0]


def uplift_at(
    outcome: Floats,
    treated: Bools,
    priority: Floats,
    share: float,
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> Interval:
    """Mean outcome of the treated less that of the others among the first ceil(share * n) rows; of equal priorities the
    earlier row. Raises ValueError where a share isn't in (0, 1] or one kind is absent."""
    _check(outcome, treated)
    if not 0 < share <= 1:
        raise ValueError(f"share {share} must lie in (0, 1]")
    first = np.zeros(outcome.size, dtype=bool)
    first[Order.by(priority).row[: int(np.ceil(share * outcome.size))]] = True

    def figure(weight: Floats) -> Floats:
        mine, theirs = weight * (first & treated), weight * (first & ~treated)
        if not mine.sum() or not theirs.sum():
            return np.array([np.nan])
        return np.array([mine @ outcome / mine.sum() - theirs @ outcome / theirs.sum()])

    return bootstrap(figure, outcome.size, clusters, resamples, seed)[0]


def _check(outcome: Floats, treated: Bools) -> None:
    if outcome.shape != treated.shape or not np.isfinite(outcome).all():
        raise ValueError(f"{outcome.size} outcomes and {treated.size} treatments: give both, finite, to each row")
    if treated.all() or not treated.any():
        raise ValueError(f"{int(treated.sum())} of {treated.size} rows are treated: both kinds are needed")
