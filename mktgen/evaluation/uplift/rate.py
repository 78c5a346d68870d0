"""Rank-weighted average treatment effects: does a priority put those first on whom treatment does most?

What: TOC(u) is the mean effect among the first share u less the mean effect of all; RATE is its weighted mean.
Formula: AUTOC = integral of TOC(u) du; QINI = integral of u TOC(u) du. With G the cumulative gain: TOC(u) = G(u) / u - G(1).
AUTOC looks at the very first, QINI at the bulk. A priority that knows nothing has 0 in both, whatever the mean effect.
Assumption: scores are unbiased for the effect (known propensities), priorities were made without these trials.
When it fails: heavy-tailed scores at the very top make AUTOC's interval too narrow.
Reference: Yadlowsky, Fleming, Shah, Brunskill and Wager, JASA 120 (2025), arXiv:2111.07966.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.uplift.curves import Curve, Floats, Order, bootstrap, gain_curve

Weighting = Literal["autoc", "qini"]


def targeting_operator(
    scores: Floats,
    priority: Floats,
    shares: Sequence[float],
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> list[Interval]:
    """TOC at each of `shares` in (0, 1]."""
    _check(scores, priority)
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares {list(shares)}: each must lie in (0, 1]")
    order = Order.by(priority)

    def figure(weight: Floats) -> Floats:
        curve = gain_curve(scores, order, weight)
        return np.array([curve.at(share) / share - curve.gain[-1] for share in shares])

    return bootstrap(figure, scores.size, clusters, resamples, seed)


def rate(
    scores: Floats,
    priority: Floats,
    weighting: Weighting,
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> Interval:
    """RATE of a priority (the targeting function's values, larger = earlier). scores, priority, clusters [n].

    Raises ValueError where lengths differ, nothing is given, or a value isn't finite.
    """
    _check(scores, priority)
    order = Order.by(priority)
    return bootstrap(
        lambda weight: np.array([_rate(gain_curve(scores, order, weight), weighting)]),
        scores.size, clusters, resamples, seed,
    )[0]  # fmt: skip


def rate_difference(
    scores: Floats,
    priority: Floats,
    other: Floats,
    weighting: Weighting,
    *,
    resamples: int,
    seed: int,
    clusters: NDArray[np.generic] | None = None,
) -> Interval:
    """RATE of `priority` less that of `other`, on the same draws."""
    _check(scores, priority)
    _check(scores, other)
    orders = Order.by(priority), Order.by(other)

    def figure(weight: Floats) -> Floats:
        mine, theirs = (_rate(gain_curve(scores, order, weight), weighting) for order in orders)
        return np.array([mine - theirs])

    return bootstrap(figure, scores.size, clusters, resamples, seed)[0]


def _rate(curve: Curve, weighting: Weighting) -> float:
    if weighting == "qini":
        return curve.area - float(curve.gain[-1]) / 2
    # G is a line in each group: the integral of G(u) / u there is slope * length + (G_0 - slope u_0) log(u_1 / u_0).
    keep = np.append(True, np.diff(curve.share) > 0)
    share, gain = curve.share[keep], curve.gain[keep]
    length = np.diff(share)
    slope = np.diff(gain) / length
    start = gain[:-1] - slope * share[:-1]
    ratio = np.append(1.0, share[2:] / share[1:-1])  # the first group starts at 0, where `start` is 0
    return float((slope * length + start * np.log(ratio)).sum() - gain[-1])


def _check(scores: Floats, priority: Floats) -> None:
    if scores.shape != priority.shape or not np.isfinite(scores).all():
        raise ValueError(
            f"{scores.size} scores ({int(np.isfinite(scores).sum())} finite) and {priority.size} priorities: give a finite "
            "score and a priority to each row"
        )
