"""Scores of the effect of one treatment: numbers whose mean, given x, is the effect."""

from __future__ import annotations

import numpy as np

from mktgen.evaluation.uplift.curves import Bools, Floats


def doubly_robust(
    outcome: Floats,
    treated: Bools,
    propensity: Floats,
    treated_mean: Floats | None = None,
    other_mean: Floats | None = None,
) -> Floats:
    """mu_1 - mu_0 + T (y - mu_1) / e - (1 - T) (y - mu_0) / (1 - e); inverse-propensity scores where no means are given.

    propensity [n]: P(treated), known. treated_mean, other_mean [n]: predicted outcomes, made without the row. Unbiased
    whatever they are. When it fails: propensities near 0 or 1. Reference: Robins and Rotnitzky (1995).
    Raises ValueError where a propensity isn't inside (0, 1) or a value isn't finite.
    """
    if not ((propensity > 0) & (propensity < 1)).all():
        raise ValueError("propensities must lie inside (0, 1): others identify no effect")
    first = np.zeros_like(outcome) if treated_mean is None else treated_mean
    second = np.zeros_like(outcome) if other_mean is None else other_mean
    scores = first - second + np.where(treated, (outcome - first) / propensity, -(outcome - second) / (1 - propensity))
    if not np.isfinite(scores).all():
        raise ValueError("outcomes or predictions are not finite")
    return scores
