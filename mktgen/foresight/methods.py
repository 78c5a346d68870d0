"""Ways to forecast units per open day from what was sold before. Few, plain, and compared on the past (demand.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from mktgen.foresight.series import Floats, Series

Method = Callable[[Series, int], Floats]  # (series, end): [categories] units per open day, from days before `end` only

NAIVE: Final = "naive_28d"
_RECENT: Final = 28  # days
_LONG: Final = 112
_WEEKS: Final = 26  # that smoothing looks at; with these weights earlier ones don't count any more
_OWN: Final = 0.3  # smoothing constants: a category's own weeks, and the slower level of the whole shop
_SHOP: Final = 0.2


def naive_28d(series: Series, end: int) -> Floats:
    """Mean of the last 28 days."""
    return series.rate(end - _RECENT, end)


def smoothed(series: Series, end: int) -> Floats:
    """Simple exponential smoothing of weeks, scaled so that the sum follows the smoothed weeks of the whole shop.

    Reference: Gardner, "Exponential smoothing: the state of the art", J. Forecasting 4 (1985).
    """
    return _levelled(series, end, "units")


def lines_28d(series: Series, end: int) -> Floats:
    """Lines of the last 28 days times units per line of 112 days.

    How often a category is bought changes; how much is taken at a time hardly does, and a few big baskets make it noisy.
    """
    return series.rate(end - _RECENT, end, "lines") * _units_per_line(series, end)


def smoothed_lines(series: Series, end: int) -> Floats:
    """Smoothed lines, levelled as `smoothed`, times units per line of 112 days."""
    return _levelled(series, end, "lines") * _units_per_line(series, end)


def blend(series: Series, end: int) -> Floats:
    """Mean of `lines_28d` and `smoothed_lines`."""
    return 0.5 * (lines_28d(series, end) + smoothed_lines(series, end))


METHODS: Final[dict[str, Method]] = {
    method.__name__: method for method in (naive_28d, smoothed, lines_28d, smoothed_lines, blend)
}


def _units_per_line(series: Series, end: int) -> Floats:
    """Of each category, drawn towards the shop's mean as by one line more."""
    units, lines = series.sold(end - _LONG, end), series.sold(end - _LONG, end, "lines")
    mean = units.sum() / max(lines.sum(), 1.0)
    drawn: Floats = (units + mean) / (lines + 1.0)
    return drawn


def _levelled(series: Series, end: int, what: str) -> Floats:
    weeks = [(end - 7 * (back + 1), end - 7 * back) for back in range(_WEEKS)]
    weeks = [week for week in weeks if week[0] >= 0 and series.open_days(*week) > 0]
    if not weeks:
        return series.rate(0, end, what)
    rates = np.array([series.rate(*week, what) for week in weeks])  # [weeks, categories], newest first
    own, shop = (_weights(len(weeks), constant) for constant in (_OWN, _SHOP))
    level = own @ rates
    total = float(level.sum())
    scale = float(shop @ rates.sum(axis=1)) / total if total else 0.0
    levelled: Floats = level * scale
    return levelled


def _weights(count: int, constant: float) -> Floats:
    weights: Floats = (1.0 - constant) ** np.arange(count, dtype=np.float64)
    weights /= weights.sum()
    return weights
