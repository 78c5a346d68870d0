"""How well probabilities of redemption hold on campaigns the model has not seen."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import polars as pl

BINS: Final = 10


def redemption_metrics(held_out: pl.DataFrame) -> dict[str, float]:
    """Figures of held-out predictions: p_redeem (Float64), redeemed (Boolean). Empty for no rows.

    auc: probability that a redeemer ranks above another (ties half; absent where one class is missing). log_loss,
    brier: mean losses. ece: expected calibration error, sum over `BINS` equally full bins of n_bin / n *
    |mean p - share redeemed|. When it fails: ece is biased upwards with few rows per bin.
    Reference: Naeini et al. (2015) for ece.
    """
    if held_out.is_empty():
        return {}
    p = held_out["p_redeem"].to_numpy().clip(1e-9, 1 - 1e-9)
    y = held_out["redeemed"].to_numpy().astype(np.float64)
    figures = {
        "redemption_mailings": float(len(y)),
        "redemption_rate": float(y.mean()),
        "redemption_mean_p": float(p.mean()),
        "redemption_log_loss": float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()),
        "redemption_brier": float(((p - y) ** 2).mean()),
        "redemption_ece": _ece(p, y),
    }
    area = auc(held_out["p_redeem"], held_out["redeemed"])
    return figures if math.isnan(area) else {**figures, "redemption_auc": area}


def auc(score: pl.Series, positive: pl.Series) -> float:
    """Area under the ROC curve by mean ranks (Mann-Whitney); NaN where one class is missing."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    ranks = float(score.rank("average").filter(positive).sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def _ece(p: np.ndarray[tuple[int], np.dtype[np.float64]], y: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(BINS, len(order)))
    return float(sum(len(part) / len(p) * abs(p[part].mean() - y[part].mean()) for part in parts))
