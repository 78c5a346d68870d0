"""Intervals of a forecast from the errors that the same way of forecasting made before."""

from __future__ import annotations

from math import exp, sqrt
from typing import Final

import numpy as np
from scipy.special import stdtrit

from mktgen.foresight.series import Floats

LEVELS: Final = (80, 95)
Bounds = dict[int, tuple[Floats, Floats]]

_CLASSES: Final = 5


def volume_classes(predicted: Floats) -> Floats:
    """Edges between classes of equally many past forecasts, smallest volumes first; equal edges are merged."""
    if not predicted.size:
        return np.zeros(0)
    edges: Floats = np.unique(np.quantile(predicted, np.arange(1, _CLASSES) / _CLASSES))
    return edges


def class_bounds(predicted: Floats, actual: Floats, units: Floats, edges: Floats) -> Bounds:
    """Level -> (low, high), each [categories], for the forecasts `units`; predicted, actual: [origins, categories].

    Split conformal on the scale 2 * sqrt(x + 3/8), on which counts have about equal spread: the two quantiles of past
    errors of the forecast's volume class, the ceil((n + 1) q)-th of n, are added to the forecast and taken back.

    Assumes that errors of one class and of past and coming weeks are alike (exchangeable); a shock that hits all
    categories at once is covered only as far as past weeks had such shocks. Past errors of categories of one week are
    dependent, so that the guarantee of n independent ones does not hold: coverage is measured by the feedback.
    Reference: Vovk et al., Algorithmic Learning in a Random World (2005); Anscombe, Biometrika 35 (1948).
    """
    errors = (_root(actual) - _root(predicted)).ravel()
    of_error = np.searchsorted(edges, predicted.ravel(), side="right")
    of_unit = np.searchsorted(edges, units, side="right")
    bounds = {level: (np.empty_like(units), np.empty_like(units)) for level in LEVELS}
    for number in range(edges.size + 1):
        own = np.sort(errors[of_error == number])
        here = of_unit == number
        for level in LEVELS:
            tail = (1 - level / 100) / 2
            low, high = _order(own, tail), _order(own, 1 - tail)
            bounds[level][0][here] = np.minimum(_square(_root(units[here]) + low), units[here])
            bounds[level][1][here] = np.maximum(_square(_root(units[here]) + high), units[here])
    return bounds


def total_bounds(predicted: Floats, actual: Floats, units: float, horizon: int) -> dict[int, tuple[float, float]]:
    """Level -> (low, high) of the sum of all categories: units * exp(+- t * s * sqrt(1 + 1 / n)).

    s: root mean square of log(actual / forecast) over the past origins, n: how many of them do not overlap; t has n - 1
    degrees of freedom. There are too few weeks for quantiles. Assumes log errors that are about normal and centred.
    """
    sold, said = actual.sum(axis=1), predicted.sum(axis=1)
    valid = (sold > 0) & (said > 0)
    ratio = np.log(sold[valid] / said[valid])
    independent = max(2.0, valid.sum() * 7 / horizon)
    spread = sqrt(float((ratio**2).mean())) * sqrt(1 + 1 / independent) if ratio.size else 0.0
    bounds = {}
    for level in LEVELS:
        reach = float(stdtrit(independent - 1, 0.5 + level / 200)) * spread
        bounds[level] = (units * exp(-reach), units * exp(reach))
    return bounds


def _order(ordered: Floats, q: float) -> float:
    """The conformal quantile: the k-th smallest, k = ceil((n + 1) q) above the middle and its mirror below, within n."""
    n = ordered.size
    if not n:
        return 0.0
    place = int(np.ceil((n + 1) * q)) if q > 0.5 else int(np.floor((n + 1) * q))
    return float(ordered[min(max(place, 1), n) - 1])


def _root(values: Floats) -> Floats:
    rooted: Floats = 2.0 * np.sqrt(values + 0.375)
    return rooted


def _square(rooted: Floats) -> Floats:
    squared: Floats = np.maximum((np.maximum(rooted, 0.0) / 2.0) ** 2 - 0.375, 0.0)
    return squared
