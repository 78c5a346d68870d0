"""How noisy the outcome of each trial is, so that loud customers don't drown what the quiet ones say.

What: weights inverse to the variance of what is left of an outcome after its prediction.
Formula: log (r_i^2 + 0.01 mean r^2) regressed on phi(x_i) by ridge; w_i = exp(-that), cut at its 5% and 95% quantiles, mean 1.
Assumption: none for unbiasedness: weights are functions of what was known at the draw. Effects are then the best approximation
for customers weighted so; where the basis holds the truth, that is the truth, at the least variance (Aitken 1935).
When it fails: where effects bend in ways the basis lacks, the loud customers are fitted worse than the quiet ones.
Reference: Aitken, Proc. Roy. Soc. Edinburgh 55 (1935); Romano and Wolf, J. Econometrics 197 (2017), for robust errors with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_FLOOR: Final = 0.01  # of the mean square, so that a lucky guess is no certainty
_CUT: Final = 0.05
_RIDGE: Final = 1e-3  # times the weight of the trials


def precision(design: Matrix, left: Matrix, weight: Matrix) -> Matrix:
    """Weights [n] of mean 1 under `weight`. design [n, K], the first column 1; left [n]: outcome less its prediction."""
    square = float(np.average(left**2, weights=weight))
    if square == 0:
        return np.ones(len(left))
    target = np.log(left**2 + _FLOOR * square)
    gram = design.T @ (design * weight[:, None])
    ridge = np.full(len(gram), _RIDGE * gram[0, 0])
    ridge[0] = 1e-9 * gram[0, 0]
    told = design @ np.linalg.solve(gram + np.diag(ridge), design.T @ (weight * target))
    low, high = np.quantile(told, [_CUT, 1 - _CUT])
    each = np.exp(float(told.mean()) - np.clip(told, low, high))
    return np.asarray(each / np.average(each, weights=weight), dtype=np.float64)
