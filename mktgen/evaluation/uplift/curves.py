"""Cumulative effect against share treated, the curve that all figures here are areas of.

Customers are treated in order of a priority S(x), largest first; what is known of each is a score whose mean given x is its
effect (doubly robust or inverse-propensity). G(u) = sum of the scores of the first share u, over all customers. Equal
priorities are one group, treated evenly: between the ends of groups the curve is a straight line, so the order of rows
and the way ties are broken have no say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.documents import Interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Order:
    """Rows by falling priority. row [n]: their numbers; group [n]: of equal priorities, 0 = first; ends [groups]: last row."""

    row: Integers
    ends: Integers

    @classmethod
    def by(cls, priority: Floats) -> Order:
        """Raises ValueError where there are no rows or a priority isn't finite."""
        if not priority.size or not np.isfinite(priority).all():
            raise ValueError(
                f"{priority.size} priorities, {int(np.isfinite(priority).sum())} finite: give one to each row"
            )
        row = np.argsort(-priority, kind="stable")
        falling = priority[row]
        return cls(row, np.flatnonzero(np.append(falling[1:] != falling[:-1], True)))

    def cumulated(self, values: Floats) -> Floats:
        """[groups + 1]: 0, and the sum of `values` [n] up to the end of each group."""
        return np.append(0.0, np.cumsum(values[self.row])[self.ends])


@dataclass(frozen=True)
class Curve:
    """share [groups + 1] of customers treated, from 0 to 1; gain [groups + 1] per customer of all, from 0."""

    share: Floats
    gain: Floats

    @property
    def area(self) -> float:
        """Integral of the gain over the share."""
        return float(np.trapezoid(self.gain, self.share))

    def at(self, share: float) -> float:
        return float(np.interp(share, self.share, self.gain))


def gain_curve(scores: Floats, order: Order, weight: Floats) -> Curve:
    """scores, weight [n]: of each row; a weight is how often it counts."""
    total = float(weight.sum())
    return Curve(order.cumulated(weight) / total, order.cumulated(weight * scores) / total)


def bootstrap(
    figure: Callable[[Floats], Floats], rows: int, clusters: NDArray[np.generic] | None, resamples: int, seed: int
) -> list[Interval]:
    """95% percentile intervals of all figures, which are computed on the same draws of customers.

    figure: weight [n] of rows -> values [k]. clusters [n]: who a row belongs to; each row stands alone where None. Assumes
    independent customers, not too few (below about 30 the intervals are too narrow), and priorities fixed beforehand: made
    without these trials. Draws in which a figure is not defined are left out of its interval.
    Reference: Efron and Tibshirani (1993), ch. 13.
    """
    _, index = np.unique(clusters, return_inverse=True) if clusters is not None else (None, np.arange(rows))
    number = int(index.max()) + 1
    rng = np.random.Generator(np.random.PCG64(seed))
    draws = np.array(
        [
            figure(np.bincount(rng.integers(0, number, number), minlength=number)[index].astype(np.float64))
            for _ in range(resamples)
        ]
    )
    values = figure(np.ones(rows))
    method = f"percentile bootstrap of customers, {resamples} resamples"
    found = []
    for column, value in enumerate(values):
        drawn = draws[:, column][np.isfinite(draws[:, column])]
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if drawn.size else (np.nan, np.nan)
        found.append(Interval(value=float(value), low=float(low), high=float(high), method=method))
    return found
