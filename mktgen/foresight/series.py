"""Units by category and day as arrays, with sums over any window of days at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """units, lines: [days, categories], day 0 is `first`. A day on which nothing at all was sold counts as closed."""

    first: date
    categories: list[str]
    units: Floats
    lines: Floats

    @classmethod
    def before(cls, category_days: pl.DataFrame, cut: date) -> Series:
        """From contracts.CATEGORY_DAYS; rows on or after `cut` are left out, the last day is the eve of `cut`."""
        known = category_days.filter(pl.col("business_date") < cut).sort("category", "business_date")
        if known.is_empty():
            nothing = np.zeros((0, 0))
            return cls(cut, [], nothing, nothing)
        first = known["business_date"].to_numpy().min().astype(object)
        names = known["category"].unique().sort()
        row = (known["business_date"] - first).dt.total_days().to_numpy()
        column = np.searchsorted(names.to_numpy().astype(object), known["category"].to_numpy().astype(object))
        shape = ((cut - first).days, names.len())
        arrays = []
        for name in ("units", "lines"):
            values = np.zeros(shape)
            values[row, column] = known[name].to_numpy()
            arrays.append(values)
        return cls(first, names.to_list(), *arrays)

    @property
    def days(self) -> int:
        return int(self.units.shape[0])

    @cached_property
    def _open(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(self.lines.sum(axis=1) > 0, dtype=np.float64)])

    @cached_property
    def _sums(self) -> dict[str, Floats]:
        start = np.zeros((1, len(self.categories)))
        named = {"units": self.units, "lines": self.lines}
        return {name: np.concatenate([start, np.cumsum(values, axis=0)]) for name, values in named.items()}

    def open_days(self, start: int, end: int) -> float:
        """Days of [start, end) on which the shop sold something."""
        low, high = max(start, 0), max(end, 0)
        return float(self._open[high] - self._open[low])

    def sold(self, start: int, end: int, what: str = "units") -> Floats:
        """[categories]: sum over the days [start, end)."""
        total: Floats = self._sums[what][max(end, 0)] - self._sums[what][max(start, 0)]
        return total

    def rate(self, start: int, end: int, what: str = "units") -> Floats:
        """[categories]: the same per open day; 0 where the shop was closed throughout."""
        days = self.open_days(start, end)
        return self.sold(start, end, what) / days if days else np.zeros(len(self.categories))
