"""Expected units by category for the next 7 and 28 days, by the way to forecast that did best on past weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Any, Final

import numpy as np
import polars as pl

from mktgen.contracts import DEMAND_FORECAST
from mktgen.documents import DemandChoice, DemandReport, Interval
from mktgen.foresight.intervals import LEVELS, Bounds, class_bounds, total_bounds, volume_classes
from mktgen.foresight.methods import METHODS, NAIVE
from mktgen.foresight.series import Floats, Series
from mktgen.settings.foresight import ForesightSettings

HORIZONS: Final = (7, 28)
_MIN_ORIGINS: Final = 8  # fewer past weeks show nothing: the naive is taken, without intervals


@dataclass(frozen=True)
class Backtest:
    """Forecasts at past days, newest origin first. predicted: method -> [origins, categories]; actual alike."""

    horizon: int
    predicted: dict[str, Floats]
    actual: Floats

    @property
    def origins(self) -> int:
        return int(self.actual.shape[0])

    def errors(self, method: str) -> Floats:
        """[origins]: sum of absolute errors over categories, as a share of the units sold."""
        wrong = np.abs(self.predicted[method] - self.actual).sum(axis=1)
        shares: Floats = wrong / np.maximum(self.actual.sum(axis=1), 1.0)
        return shares


def forecast(
    category_days: pl.DataFrame, cut: date, closed: Sequence[date], settings: ForesightSettings
) -> tuple[pl.DataFrame, DemandReport]:
    """contracts.DEMAND_FORECAST for the days from `cut` on, and how the methods were chosen.

    category_days: contracts.CATEGORY_DAYS; what lies on or after `cut` is not looked at. closed: days ahead on which the
    shop is known to be closed. Every horizon has its own method: that of the smallest error (WAPE) at past origins, one
    a week, whose days had all gone by before `cut`; the naive stays unless the best one's mean advantage is larger than
    its standard error. Where fewer than 8 origins are to be had there are no intervals.
    """
    series = Series.before(category_days, cut)
    frames, choices = [DEMAND_FORECAST.empty()], []
    for horizon in HORIZONS:
        past = backtest(series, horizon, settings)
        choice = _choose(past)
        ahead = [cut + timedelta(days=n) for n in range(horizon)]
        open_days = sum(day not in set(closed) for day in ahead)
        frames.append(_table(series, past, choice.method, ahead, open_days))
        choices.append(choice)
    left_out = category_days.filter(pl.col("business_date") < cut)["uncounted_lines"].sum()
    return DEMAND_FORECAST.check(pl.concat(frames)).sort(DEMAND_FORECAST.key), DemandReport(
        partition=cut - timedelta(days=1), choices=choices, uncounted_lines=int(left_out)
    )


def backtest(series: Series, horizon: int, settings: ForesightSettings) -> Backtest:
    """Forecasts at the origins that lie 7, 14, ... days apart, the newest just `horizon` days before the end."""
    newest = series.days - horizon
    origins = [newest - 7 * back for back in range(settings.origins) if newest - 7 * back >= settings.min_history_days]
    open_days = np.array([[series.open_days(o, o + horizon)] for o in origins]).reshape(-1, 1)
    width = len(series.categories)
    shape = (len(origins), width)
    predicted = {
        name: np.array([method(series, o) for o in origins]).reshape(shape) * open_days
        for name, method in METHODS.items()
    }
    actual = np.array([series.sold(o, o + horizon) for o in origins]).reshape(shape)
    return Backtest(horizon, predicted, actual)


def _choose(past: Backtest) -> DemandChoice:
    if past.origins < _MIN_ORIGINS:
        reason = f"{past.origins} past weeks to compare on, {_MIN_ORIGINS} are needed: the naive, without intervals"
        return DemandChoice(
            horizon_days=past.horizon, method=NAIVE, reason=reason, origins=past.origins, wape={}, advantage=None
        )
    wrong = {name: past.errors(name) for name in past.predicted}
    wape = {
        name: float(np.abs(values - past.actual).sum() / max(past.actual.sum(), 1.0))
        for name, values in past.predicted.items()
    }
    best = min((name for name in wape if name != NAIVE), key=lambda name: (wape[name], name))
    better = wrong[NAIVE] - wrong[best]
    # Horizons of neighbouring origins overlap, so that many origins are fewer independent ones.
    independent = past.origins * 7 / past.horizon
    error = float(better.std(ddof=1)) / sqrt(max(independent, 1.0))
    mean = float(better.mean())
    wins = mean > error
    compared = f"{best} {wape[best]:.4f}, {NAIVE} {wape[NAIVE]:.4f} over {past.origins} weeks; advantage {mean:+.4f}"
    reason = f"{compared}, standard error {error:.4f}" + ("" if wins else ": nothing beats the naive clearly")
    return DemandChoice(
        horizon_days=past.horizon,
        method=best if wins else NAIVE,
        reason=reason,
        origins=past.origins,
        wape=wape,
        advantage=Interval(
            value=mean, low=mean - 1.96 * error, high=mean + 1.96 * error, method="normal, overlap of weeks counted"
        ),
    )


def _table(series: Series, past: Backtest, method: str, ahead: list[date], open_days: int) -> pl.DataFrame:
    units = METHODS[method](series, series.days) * open_days
    naive = METHODS[NAIVE](series, series.days) * open_days
    known = past.origins >= _MIN_ORIGINS
    edges = volume_classes(past.predicted[method] if known else units[None, :])
    bounds = class_bounds(past.predicted[method], past.actual, units, edges) if known else {}
    width = len(series.categories)
    rows = {
        "horizon_days": [past.horizon] * (width + 1),
        "level": ["category"] * width + ["all"],
        "category": [*series.categories, ""],
        "first_day": [ahead[0]] * (width + 1),
        "last_day": [ahead[-1]] * (width + 1),
        "open_days": [open_days] * (width + 1),
        "units": [*units, units.sum()],
        **_bounds(bounds, past, method, units, known),
        "naive_units": [*naive, naive.sum()],
        "method": [method] * (width + 1),
        "volume_class": [*(np.searchsorted(edges, units, side="right") + 1), len(edges) + 1],
    }
    return pl.DataFrame(rows, schema=DEMAND_FORECAST.columns)


def _bounds(bounds: Bounds, past: Backtest, method: str, units: Floats, known: bool) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    total = total_bounds(past.predicted[method], past.actual, float(units.sum()), past.horizon) if known else {}
    for level in LEVELS:
        for side, name in enumerate((f"low_{level}", f"high_{level}")):
            values = bounds[level][side].tolist() if known else [None] * units.size
            columns[name] = [*values, total[level][side] if known else None]
    return columns
