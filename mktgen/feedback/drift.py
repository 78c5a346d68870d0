"""Have the customers changed since the model was trained?"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.contracts import DRIFT, ContractError
from mktgen.settings import FeedbackSettings

_BINS: Final = 10
MIN_ROWS: Final = 200  # fewer rows make ten bins too noisy: see `population_stability_index`
_PSEUDO_COUNT: Final = 0.5


# Lifetime counts grow with the calendar though nobody changes: a panel that began on one day shifts by a day every day.
GROWING: Final = frozenset({"tenure_days", "orders_all", "net_minor_all", "categories_all", "category_entropy"})


def detect_drift(reference: pl.DataFrame, current: pl.DataFrame, settings: FeedbackSettings) -> pl.DataFrame:
    """contracts.DRIFT: one row per numeric feature that doesn't grow with the calendar, sorted by feature.

    reference, current: contracts.CUSTOMER_FEATURES at the training cut and now. A missing value is a bin of its own.
    Raises ContractError where either has fewer than 200 customers: too few to tell drift from chance.
    """
    for name, frame in (("reference", reference), ("current", current)):
        if frame.height < MIN_ROWS:
            raise ContractError(f"detect_drift: {name} has {frame.height} customers, {MIN_ROWS} are needed")
    features = sorted(name for name, dtype in reference.schema.items() if dtype == pl.Float64 and name not in GROWING)
    rows = [(name, population_stability_index(_values(reference, name), _values(current, name))) for name in features]
    frame = pl.DataFrame(rows, schema={"feature": pl.String, "psi": pl.Float64}, orient="row").with_columns(
        pl.lit(settings.psi_threshold).alias("threshold"), (pl.col("psi") > settings.psi_threshold).alias("drifted")
    )
    return DRIFT.check(frame)


def _values(frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    return frame[name].fill_null(float("nan")).to_numpy().astype(np.float64)


def population_stability_index(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """How far a distribution moved: the symmetrised Kullback-Leibler divergence over bins.

    PSI = sum_b (q_b - p_b) ln(q_b / p_b), p and q the shares of reference and current in bin b; bins are the deciles
    of the reference (fewer where values are tied; a value that fills a decile gets a bin) and one for missing values.
    Each bin's count is raised by 0.5, so that an empty bin is rare rather than impossible.

    Assumes independent customers. Without drift, PSI is about (bins - 1)(1/n + 1/m) on average (a chi-square over the
    sizes), .009 at n = m = 2,000. It fails where one sample is small, it sees no change inside a bin or in how features
    go together, and its usual thresholds (.1, .25) are habits, not tests.

    Reference: Siddiqi, Credit Risk Scorecards (2006); Yurdakul & Naranjo, Statistical properties of the population
    stability index, Journal of Risk Model Validation 14 (2020).
    """
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS)) if known.size else np.empty(0)
    # each edge is a bin of its own beside the open intervals between edges: ties at an edge then can't hide a shift
    tied = edges[np.isin(edges, known)]
    edges = np.unique(np.concatenate([edges, np.nextafter(tied[_heavy(known, tied)], np.inf)]))
    p, q = _shares(reference, edges), _shares(current, edges)
    return float(np.sum((q - p) * np.log(q / p)))


def _heavy(known: NDArray[np.float64], tied: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values alone hold at least a decile of the reference."""
    ordered = np.sort(known)
    counts = np.searchsorted(ordered, tied, side="right") - np.searchsorted(ordered, tied, side="left")
    return np.asarray(counts * _BINS >= known.size, dtype=np.bool_)


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    missing = np.isnan(values)
    bins = np.searchsorted(edges, values[~missing], side="right")
    counts = np.append(np.bincount(bins, minlength=edges.size + 1), missing.sum()) + _PSEUDO_COUNT
    return np.asarray(counts / counts.sum(), dtype=np.float64)
