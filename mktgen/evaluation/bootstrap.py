"""Intervals by resampling households: the household is the unit that is independent, not the order or the item.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). Assumes that the
households are a random sample and that their number is not small (below about 30 the interval is too narrow). It
doesn't cover the choice of the cut or of the training run: another month may differ by more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.classification import Bools, Floats, auc

LEVEL: Final = 0.95
_TRIES: Final = 20  # draws per resample until both classes are in it


def paired_difference(
    challenger: pl.DataFrame, incumbent: pl.DataFrame, metric: str, *, resamples: int, seed: int, level: float = LEVEL
) -> Interval:
    """Mean difference challenger - incumbent of a per-customer metric, with its percentile interval (95% unless said).

    Both frames: customer_id and `metric`; the same customers must have a value (nulls are left out on both sides).
    d_i = challenger_i - incumbent_i is resampled by household, so what both models find easy or hard cancels out.
    Raises ValueError where the customers differ or there are none.
    """
    mine = challenger.select("customer_id", metric).drop_nulls()
    theirs = incumbent.select("customer_id", metric).drop_nulls()
    joined = mine.join(theirs, on="customer_id", suffix="_incumbent").sort("customer_id")
    if not joined.height or joined.height != mine.height or joined.height != theirs.height:
        raise ValueError(
            f"{metric}: {mine.height} and {theirs.height} customers, {joined.height} in common; "
            "compare models on the same customers of the same cut"
        )
    difference = joined[metric].to_numpy() - joined[f"{metric}_incumbent"].to_numpy()
    rng = np.random.default_rng(seed)
    means = np.array([difference[_draw(rng, difference.size)].mean() for _ in range(resamples)])
    return _interval(
        float(difference.mean()), means, f"paired household bootstrap of the mean, {resamples} resamples", level
    )


def auc_difference(
    label: Bools, challenger: Floats, incumbent: Floats, *, resamples: int, seed: int, level: float = LEVEL
) -> Interval:
    """AUC(challenger) - AUC(incumbent) on the same households, with its percentile interval (95% unless said).

    One row per household, in the same order in all three. A resample without both classes is drawn again. Raises
    ValueError where lengths differ, only one class is present, or a class is so rare that resamples miss it.
    """
    if not label.size == challenger.size == incumbent.size:
        raise ValueError(f"{label.size} labels, {challenger.size} and {incumbent.size} scores; need as many of each")
    value = auc(label, challenger) - auc(label, incumbent)
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for index in range(resamples):
        rows = _draw_both(rng, label)
        differences[index] = auc(label[rows], challenger[rows]) - auc(label[rows], incumbent[rows])
    return _interval(value, differences, f"paired household bootstrap of the AUC, {resamples} resamples", level)


def _draw(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    return rng.integers(0, size, size)


def _draw_both(rng: np.random.Generator, label: Bools) -> NDArray[np.int64]:
    for _ in range(_TRIES):
        rows = _draw(rng, label.size)
        if label[rows].any() and not label[rows].all():
            return rows
    raise ValueError(f"{int(label.sum())} of {label.size} labels are positive: too few for an interval of the AUC")


def _interval(value: float, draws: Floats, method: str, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), method=f"{method}, {100 * level:.4g}%")
