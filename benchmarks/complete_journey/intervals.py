"""Percentile intervals by resampling households, where a household has several rows (one per cut).

The household is the unit: all rows of a drawn household come along, so that its cuts, which resemble each other, count
once. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL: Final = 0.95


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def signed(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


class Households:
    """Draws of households, the same for every figure of a run: differences are paired.

    households: one identifier per row. Raises ValueError where there are no rows.
    """

    def __init__(self, households: pl.Series, resamples: int, seed: int) -> None:
        if not households.len():
            raise ValueError("no rows to resample")
        _, self._index = np.unique(households.to_numpy(), return_inverse=True)
        count = int(self._index.max()) + 1
        rng = np.random.default_rng(seed)
        # Households with their multiplicity in each resample: [resamples, households].
        self._draws = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)

    def mean(self, values: Floats) -> Estimate:
        """Mean over rows with its interval; rows that are NaN are left out."""
        fine = np.isfinite(values)
        sums = np.bincount(self._index[fine], values[fine], self._draws.shape[1])
        counts = np.bincount(self._index[fine], minlength=self._draws.shape[1])
        draws = (self._draws @ sums) / np.maximum(self._draws @ counts, 1.0)
        return _estimate(float(values[fine].mean()), draws)

    def auc(self, label: Bools, score: Floats) -> Estimate:
        """Area under the ROC curve, ties counting one half. Raises ValueError where one class is absent."""
        return _estimate(*self._aucs(label, score))

    def auc_difference(self, label: Bools, score: Floats, other: Floats) -> Estimate:
        """AUC(score) - AUC(other) on the same draws."""
        (value, draws), (other_value, other_draws) = self._aucs(label, score), self._aucs(label, other)
        return _estimate(value - other_value, draws - other_draws)

    def root_mean(self, squares: Floats, others: Floats | None = None) -> Estimate:
        """Root of the mean of `squares`; less that of `others` on the same draws where they are given."""
        value, draws = self._roots(squares)
        if others is None:
            return _estimate(value, draws)
        other_value, other_draws = self._roots(others)
        return _estimate(value - other_value, draws - other_draws)

    def _roots(self, squares: Floats) -> tuple[float, Floats]:
        households = self._draws.shape[1]
        sums, counts = np.bincount(self._index, squares, households), np.bincount(self._index, minlength=households)
        return float(np.sqrt(squares.mean())), np.sqrt((self._draws @ sums) / (self._draws @ counts))

    def _aucs(self, label: Bools, score: Floats) -> tuple[float, Floats]:
        if label.all() or not label.any():
            raise ValueError(f"AUC needs both classes; {int(label.sum())} of {label.size} labels are positive")
        _, place = np.unique(score, return_inverse=True)
        draws = np.array([_weighted_auc(label, place, draw[self._index]) for draw in self._draws])
        return _weighted_auc(label, place, np.ones(label.size)), draws


def _weighted_auc(label: Bools, place: NDArray[np.int64], weight: Floats) -> float:
    """`place`: rank of the score among the distinct ones. NaN where the weights leave one class."""
    positive = np.bincount(place[label], weight[label], int(place.max()) + 1)
    negative = np.bincount(place[~label], weight[~label], positive.size)
    below = np.cumsum(negative) - 0.5 * negative
    pairs = positive.sum() * negative.sum()
    return float(positive @ below / pairs) if pairs else float("nan")


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
