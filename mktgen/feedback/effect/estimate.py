"""A number with its uncertainty, and how such numbers are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from mktgen.documents import Interval
from mktgen.errors import PermanentError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEVEL: Final = 0.95


def sums(cluster: Ints, values: Vector, groups: int = 0) -> Vector:
    """[groups] sums of `values` by group number."""
    total: Vector = np.bincount(cluster, weights=values, minlength=groups).astype(np.float64)
    return total


@dataclass(frozen=True)
class Estimate:
    """value, standard error and degrees of freedom of its t distribution.

    influence: what each customer moved the estimate by (they sum to about 0); `customers` names them in the same order.
    Both are empty where nobody asked for them.
    """

    value: float
    se: float
    df: float
    method: str
    customers: tuple[str, ...] = field(default=(), repr=False)
    influence: Vector = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)

    def interval(self, level: float = LEVEL) -> Interval:
        reach = float(stdtrit(self.df, (1 + level) / 2)) * self.se
        return Interval(value=self.value, low=self.value - reach, high=self.value + reach, method=self.method)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value of the estimate being `null`; 1 where nothing varies and it is `null` exactly."""
        if self.se == 0:
            return 1.0 if self.value == null else 0.0
        return float(2 * stdtr(self.df, -abs(self.value - null) / self.se))


@dataclass(frozen=True)
class Pooled:
    """Several estimates as one. `between_sd`: spread of the true effects (DerSimonian and Laird), 0 where none shows.

    `independent_se`: what the standard error would be, were the estimates independent.
    """

    estimate: Estimate
    independent_se: float
    random_effects: Estimate
    between_sd: float


def pool(estimates: Sequence[Estimate]) -> Pooled:
    """Inverse-variance mean of estimates that share customers.

    Formula: value = sum w v / sum w, w = 1 / se^2. Its variance is sum_h (sum_k w_k f_hk / sum w)^2 with f_hk the
    influence of customer h on estimate k, so that a customer who is in several campaigns counts once; where influences are
    missing it is 1 / sum w. Random effects: w = 1 / (se^2 + tau^2), tau^2 by the method of moments.
    Assumption: one common effect (fixed), or effects that scatter normally (random). When it fails: with few estimates
    tau^2 is badly known; estimates that fail their own checks are not repaired by pooling.
    Reference: DerSimonian & Laird, Controlled Clinical Trials 7 (1986); Liang & Zeger, Biometrika 73 (1986).
    Raises PermanentError where there is no estimate or one of them has no spread.
    """
    if not estimates or not all(isfinite(one.se) and one.se > 0 for one in estimates):
        raise PermanentError(
            f"pool: {len(estimates)} estimates; at least one is needed, each with a standard error above 0"
        )
    values, weights = np.array([one.value for one in estimates]), np.array([one.se**-2.0 for one in estimates])
    value = float(weights @ values / weights.sum())
    independent = float(weights.sum() ** -0.5)
    excess = float(weights @ (values - value) ** 2) - (len(estimates) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    tau = max(0.0, excess / scale) if scale > 0 else 0.0
    blended = 1 / (1 / weights + tau)
    random = Estimate(
        float(blended @ values / blended.sum()), float(blended.sum() ** -0.5), inf, "random effects, inverse variance"
    )
    shares = _shares(estimates, weights / weights.sum())
    se = sqrt(float(np.sum(np.array([shares[who] for who in sorted(shares)]) ** 2))) if shares else independent
    fixed = Estimate(value, se, inf, "inverse variance, clustered by customer over campaigns")
    return Pooled(fixed, independent, random, sqrt(tau))


def _shares(estimates: Sequence[Estimate], weights: Vector) -> dict[str, float]:
    """customer -> what it moved the mean by; empty where any estimate came without influences."""
    if not all(len(one.customers) for one in estimates):
        return {}
    shares: dict[str, float] = {}
    for one, weight in zip(estimates, weights.tolist(), strict=True):
        for who, moved in zip(one.customers, one.influence.tolist(), strict=True):
            shares[who] = shares.get(who, 0.0) + weight * moved
    return shares
