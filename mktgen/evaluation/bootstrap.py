"""Intervals by resampling households: the household is the unit that is independent, not the order or the item.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). Assumes that the
households are a random sample and that their number is not small (below about 30 the interval is too narrow). It
doesn't cover the choice of the cut or of the training run: another month may differ by more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.classification import Bools, Floats, auc

LEVEL: Final = 0.95
_TRIES: Final = 20  # draws per resample until both classes are in it


def paired_difference(
    challenger: pl.DataFrame, incumbent: pl.DataFrame, metric: str, *, resamples: int, seed: int
) -> Interval:
    """Mean difference challenger - incumbent of a per-customer metric, with its 95% percentile interval.

    Both frames: customer_id and `metric`; the same customers must have a value (nulls are left out on both sides).
    d_i = challenger_i - incumbent_i is resampled by household, so what both models find easy or hard cancels out.
    Raises ValueError where the customers differ or there are none.
    """
    difference = _paired(challenger, incumbent, metric)
    rng = np.random.default_rng(seed)
    means = np.array([difference[_draw(rng, difference.size)].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    method = f"paired household bootstrap of the mean, {resamples} resamples"
    return Interval(value=float(difference.mean()), low=float(low), high=float(high), method=method)


def _paired(challenger: pl.DataFrame, incumbent: pl.DataFrame, metric: str) -> Floats:
    """[customers] differences, by customer."""
    mine = challenger.select("customer_id", metric).drop_nulls()
    theirs = incumbent.select("customer_id", metric).drop_nulls()
    joined = mine.join(theirs, on="customer_id", suffix="_incumbent").sort("customer_id")
    if not joined.height or joined.height != mine.height or joined.height != theirs.height:
        raise ValueError(
            f"{metric}: {mine.height} and {theirs.height} customers, {joined.height} in common; "
            "compare models on the same customers of the same cut"
        )
    difference: Floats = joined[metric].to_numpy() - joined[f"{metric}_incumbent"].to_numpy()
    return difference


def mean_leads(
    values: Mapping[str, pl.DataFrame], incumbent: str, metric: str, *, resamples: int, seed: int
) -> dict[str, Interval]:
    """Mean difference of each other kind to the incumbent, with simultaneous bounds (see _simultaneous).

    values: kind -> customer_id and `metric`, of the same customers. Raises ValueError where they differ or there are none.
    """
    others = [kind for kind in sorted(values) if kind != incumbent]
    columns = [_paired(values[kind], values[incumbent], metric) for kind in others]
    if not columns:
        return {}
    differences = np.column_stack(columns)
    rng, size = np.random.default_rng(seed), differences.shape[0]
    draws = np.stack([differences[_draw(rng, size)].mean(axis=0) for _ in range(resamples)])
    return dict(zip(others, _simultaneous(differences.mean(axis=0), draws, "mean"), strict=True))


def auc_leads(
    label: Bools, scores: Mapping[str, Floats], incumbent: str, *, resamples: int, seed: int
) -> dict[str, Interval]:
    """AUC of each other kind minus that of the incumbent on the same households, with simultaneous bounds.

    One row per household, in the same order in all. A resample without both classes is drawn again. Raises ValueError
    where lengths differ, only one class is present, or a class is so rare that resamples miss it.
    """
    others = [kind for kind in sorted(scores) if kind != incumbent]
    if any(score.size != label.size for score in scores.values()):
        sizes = {kind: score.size for kind, score in scores.items()}
        raise ValueError(f"{label.size} labels and scores {sizes}; need as many of each")

    def leads(rows: NDArray[np.int64] | slice) -> Floats:
        base = auc(label[rows], scores[incumbent][rows])
        return np.array([auc(label[rows], scores[kind][rows]) - base for kind in others])

    points = leads(slice(None))
    rng = np.random.default_rng(seed)
    draws = np.stack([leads(_draw_both(rng, label)) for _ in range(resamples)])
    return dict(zip(others, _simultaneous(points, draws, "AUC"), strict=True)) if others else {}


def _simultaneous(points: Floats, draws: Floats, what: str) -> list[Interval]:
    """Bounds that hold for all kinds at once. points: [kinds]; draws: [resamples, kinds].

    What: lower bounds of the leads, to be used after looking for the best one. Formula: low_k = d_k - c se_k, with se_k the
    spread of the draws and c the 95% quantile over the draws of max_k (d*_k - d_k) / se_k; high_k = d_k + c se_k. Kinds that
    err alike cost little: c is 1.64 for one kind, and stays near it where they are nearly the same. Assumption: as the
    bootstrap's; errors about as wide above as below. Fails where households are few. Reference: Romano and Wolf,
    "Stepwise Multiple Testing as Formalized Data Snooping", Econometrica 73 (2005).
    """
    spread = draws.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    reach = float(np.quantile(((draws - points) / scale).max(axis=1), LEVEL))
    how = f"one-sided 95% for {points.size} kinds at once"
    method = f"paired household bootstrap of the {what}, {draws.shape[0]} resamples, {how}"
    low, high = points - reach * spread, points + reach * spread
    return [
        Interval(value=float(points[k]), low=float(low[k]), high=float(high[k]), method=method)
        for k in range(points.size)
    ]


def _draw(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    return rng.integers(0, size, size)


def _draw_both(rng: np.random.Generator, label: Bools) -> NDArray[np.int64]:
    for _ in range(_TRIES):
        rows = _draw(rng, label.size)
        if label[rows].any() and not label[rows].all():
            return rows
    raise ValueError(f"{int(label.sum())} of {label.size} labels are positive: too few for an interval of the AUC")
