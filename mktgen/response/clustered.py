"""Statistics of held-out trials, with standard errors clustered by customer. Used by checks.py."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.response.held_out import HeldOut, HeldOutOutcome, by_customer, expected
from mktgen.response.trials import NOT_CONTACTED

Matrix = NDArray[np.float64]

_FLAT: Final = 1e-9  # predictions of less spread, in units of the outcome, can't be calibrated


def mean_score(held_out: HeldOut, scores: Matrix) -> tuple[float, float] | None:
    """Weighted mean of those that are numbers, and its standard error; None: fewer than two customers."""
    fine = np.isfinite(scores)
    weight = np.where(fine, held_out.weight, 0.0)
    total = float(weight.sum())
    if total == 0 or len(np.unique(held_out.trials.customer[fine])) < 2:
        return None
    mean = float(weight @ np.where(fine, scores, 0.0)) / total
    influence = by_customer(held_out.trials, (weight * np.where(fine, scores - mean, 0.0))[:, None])
    return mean, float(np.sqrt((influence**2).sum())) / total


def pooled_error(held_out: HeldOut, outcome: HeldOutOutcome, action: int) -> float:
    """Standard error of an action's weighted mean score, from the residuals of all trials, whatever was drawn in them.

    Formula: sum w^2 r^2 (1/e_a + 1/e_0) / (sum w)^2 over trials in which both were possible, r the outcome less what was
    foretold of the action drawn; its mean is that of the sum over the trials of those two draws alone. Assumption: noise is
    alike under all actions; customers' trials are independent. When it fails: mean_score's error knows better; where an
    action was drawn rarely and money has a long tail, that one is small whenever the few draws miss the big spenders, just
    when their mean is low. So take the larger of both.
    """
    trials, q = held_out.trials, outcome.q
    own = np.where(trials.drawn == NOT_CONTACTED, q.shape[1] - 1, trials.drawn)
    residual = outcome.residual + expected(q, trials) - q[np.arange(len(own)), own]
    chance, none = trials.chance[:, action], trials.chance_none
    possible = (chance > 0) & (none > 0)
    weight = np.where(possible, held_out.weight, 0.0)
    with np.errstate(divide="ignore"):
        spread = np.where(possible, residual**2 * (1 / chance + 1 / none), 0.0)
    return float(np.sqrt(weight**2 @ spread) / weight.sum()) if possible.any() else 0.0


def slopes(held_out: HeldOut, outcome: HeldOutOutcome) -> tuple[float, float] | None:
    """Slope of the differences between customers of a fold, and its standard error."""
    contrast, weight = held_out.trials.contrast, held_out.weight
    mean = held_out.centre(outcome.effect)
    regressors = np.column_stack([(contrast * mean).sum(axis=1), (contrast * (outcome.effect - mean)).sum(axis=1)])
    if np.sqrt(np.average(regressors[:, 1] ** 2, weights=weight)) <= _FLAT * max(outcome.residual.std(), 1e-300):
        return None
    gram = regressors.T @ (regressors * weight[:, None])
    inverse = np.linalg.pinv(gram)
    slopes = inverse @ (regressors.T @ (weight * outcome.residual))
    left = outcome.residual - regressors @ slopes
    meat = by_customer(held_out.trials, regressors * (weight * left)[:, None])
    variance = inverse @ (meat.T @ meat) @ inverse
    return float(slopes[1]), float(np.sqrt(variance[1, 1]))


def r_gain(held_out: HeldOut, other: Matrix, name: str) -> tuple[str, float, float]:
    """Mean R-loss of `other` effects less that of the model's, in shares of the mean squared residual; and its error."""
    contrast, residual, weight = held_out.trials.contrast, held_out.reward.residual, held_out.weight
    ours = (residual - (contrast * held_out.reward.effect).sum(axis=1)) ** 2
    theirs = (residual - (contrast * other).sum(axis=1)) ** 2
    scale = float(np.average(residual**2, weights=weight))
    found = mean_score(held_out, theirs - ours)
    if found is None or scale == 0:
        return f"could not be compared with {name}", 0.0, 0.0
    gain, error = found[0] / scale, found[1] / scale
    detail = f"explains {gain:+.5f} +- {1.96 * error:.5f} more of the held-out variance than {name}"
    return detail, gain, error


def wald(scores: Matrix) -> tuple[float, int]:
    """Statistic that the columns' sums are 0, and its degrees of freedom. scores [customers, k], independent rows."""
    total, covariance = scores.sum(axis=0), scores.T @ scores
    values, directions = np.linalg.eigh(covariance)
    used = values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)
    return float((((directions.T @ total)[used]) ** 2 / values[used]).sum()), int(used.sum())
