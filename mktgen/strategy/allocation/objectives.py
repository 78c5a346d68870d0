"""What a pair (customer, action) is worth, from the mean and the spread of its effect: small functions of arrays.

Formula: with mean m and standard deviation s, `expected` is m, `mean_less_risk` m - weight * s, `lower_bound` the
q-quantile m + z(q) * s of a normal. Assumption: s is the uncertainty of the estimate of m (not of one customer's
outcome), and for `lower_bound` roughly normal. When it fails: sums of quantiles are not the quantile of the sum, so the
total is more cautious than q says, the more so the less customers' errors go together. No contact is worth 0 under all.
Reference: Markowitz (1952), Portfolio selection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mktgen.errors import PermanentError

Floats = NDArray[np.floating[Any]]
Objective = Callable[[Floats, Floats | None], Floats]  # mean, sd [rows, actions] -> value [rows, actions]


def expected(mean: Floats, sd: Floats | None) -> Floats:
    """The mean, whatever the spread."""
    return mean


def mean_less_risk(weight: float) -> Objective:
    """The mean less `weight` standard deviations. Raises PermanentError for a negative weight."""
    if not weight >= 0:
        raise PermanentError(f"allocation: the weight of risk is {weight}; it must not be negative")

    def value(mean: Floats, sd: Floats | None) -> Floats:
        if sd is None:
            raise PermanentError("allocation: an objective with risk needs the standard deviations (Problem.sd)")
        return mean.astype(np.float64) - weight * sd

    return value


def lower_bound(quantile: float) -> Objective:
    """The value that the mean effect exceeds with probability 1 - quantile. Raises PermanentError outside (0, 0.5]."""
    if not 0 < quantile <= 0.5:
        raise PermanentError(f"allocation: the quantile is {quantile}; a lower bound needs one in (0, 0.5]")
    return mean_less_risk(-float(ndtri(quantile)))
