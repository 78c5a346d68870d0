"""How well probabilities separate and how true they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CLIP: Final = 1e-7  # log loss of a certain and wrong probability is kept finite


def auc(label: Bools, score: Floats) -> float:
    """Area under the ROC curve: P(a random positive scores above a random negative), ties counting one half.

    (R - n1 (n1 + 1) / 2) / (n1 n0) with R the sum of the positives' mid-ranks (Mann-Whitney). Says nothing about
    calibration. Raises ValueError where only one class is present.
    """
    positives = int(label.sum())
    negatives = label.size - positives
    if not positives or not negatives:
        raise ValueError(f"AUC needs both classes; {positives} of {label.size} labels are positive")
    from scipy.stats import rankdata  # late: most steps do without

    ranks = float(rankdata(score)[label].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(label: Bools, score: Floats) -> float:
    """Sum over thresholds of (recall step) * precision; equal scores are one threshold. Needs a positive label."""
    if not label.any():
        raise ValueError("average precision needs a positive label")
    order = np.argsort(-score, kind="stable")
    sorted_score, hits = score[order], label[order].astype(np.float64)
    last = np.append(sorted_score[1:] != sorted_score[:-1], True)
    found = np.cumsum(hits)[last]
    precision = found / (np.flatnonzero(last) + 1)
    recall = found / hits.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def log_loss(label: Bools, probability: Floats) -> float:
    """Mean of -log p(label), with p kept within [1e-7, 1 - 1e-7]. A proper score: least for the true probability."""
    p = np.clip(probability, _CLIP, 1 - _CLIP)
    return float(-np.where(label, np.log(p), np.log1p(-p)).mean())


def brier(label: Bools, probability: Floats) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    return float(((probability - label) ** 2).mean())


def reliability(label: Bools, probability: Floats, bins: int = 10) -> pl.DataFrame:
    """Predicted against observed in `bins` groups of (nearly) equal size, by predicted probability.

    Columns: bin (Int32, from 1), customers (Int64), predicted, observed (Float64, means). Equal scores may fall into
    two groups; groups of equal size keep the noise of the observed shares alike.
    """
    order = np.argsort(probability, kind="stable")
    rows = [
        (index + 1, part.size, float(probability[part].mean()), float(label[part].mean()))
        for index, part in enumerate(np.array_split(order, min(bins, order.size)))
        if part.size
    ]
    schema = {"bin": pl.Int32(), "customers": pl.Int64(), "predicted": pl.Float64(), "observed": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def expected_calibration_error(table: pl.DataFrame) -> float:
    """Mean over customers of |observed - predicted| of their group, from `reliability`'s table.

    Naeini et al., AAAI 2015. Biased upwards by noise in small groups: about sqrt(p (1 - p) / customers) per group even
    for true probabilities.
    """
    gap = np.abs(table["observed"].to_numpy() - table["predicted"].to_numpy())
    return float(np.average(gap, weights=table["customers"].to_numpy()))


def summary(name: str, label: Bools, probability: Floats) -> dict[str, float]:
    """All measures under `name`, e.g. `churn_28d.auc`, `churn_28d.log_loss`.

    AUC and average precision are left out where only one class is present; `base_rate` and `customers` say so.
    Raises ValueError for no rows, differing lengths, or values that aren't probabilities.
    """
    if label.size == 0 or label.size != probability.size:
        raise ValueError(f"{name}: {label.size} labels and {probability.size} probabilities; need as many, at least 1")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"{name}: a probability lies outside [0, 1] or is NaN")
    values = {
        "log_loss": log_loss(label, probability),
        "brier": brier(label, probability),
        "calibration_error": expected_calibration_error(reliability(label, probability)),
        "base_rate": float(label.mean()),
        "customers": float(label.size),
    }
    if label.any() and not label.all():
        values |= {"auc": auc(label, probability), "average_precision": average_precision(label, probability)}
    return {f"{name}.{key}": values[key] for key in sorted(values)}


def customer_task(probabilities: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, float]:
    """purchase_7d.*, purchase_28d.* and churn_28d.* of a customer model on a frozen cut.

    probabilities: customer_id, p_purchase_7d, p_purchase_28d. outcomes: customer_id, purchased_7d, purchased_28d
    (Boolean) of the customers to be evaluated. Churn is no purchase within 28 days: p_churn = 1 - p_purchase_28d.
    Raises ValueError where an evaluated customer has no probability.
    """
    joined = align(probabilities, outcomes)
    result: dict[str, float] = {}
    for horizon in (7, 28):
        label, p = columns(joined, f"purchased_{horizon}d", f"p_purchase_{horizon}d")
        result |= summary(f"purchase_{horizon}d", label, p)
    label, p = columns(joined, "purchased_28d", "p_purchase_28d")
    return result | summary("churn_28d", ~label, 1.0 - p)


def churn_reliability(probabilities: pl.DataFrame, outcomes: pl.DataFrame, bins: int = 10) -> pl.DataFrame:
    """`reliability` of the churn probabilities, for the reliability diagram."""
    label, p = columns(align(probabilities, outcomes), "purchased_28d", "p_purchase_28d")
    return reliability(~label, 1.0 - p, bins)


def align(probabilities: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Outcomes with their probabilities, by customer. Raises ValueError naming customers without probability."""
    missing = outcomes.join(probabilities, on="customer_id", how="anti")["customer_id"].sort().to_list()
    if missing:
        raise ValueError(f"{len(missing)} evaluated customers have no probability, e.g. {missing[:3]}; score them all")
    chances = probabilities.select("customer_id", cs.starts_with("p_"))
    return outcomes.join(chances, on="customer_id").sort("customer_id")


def columns(joined: pl.DataFrame, label: str, probability: str) -> tuple[Bools, Floats]:
    frame: Any = joined
    return frame[label].to_numpy().astype(np.bool_), frame[probability].to_numpy().astype(np.float64)
