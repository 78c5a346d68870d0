"""Standard errors and bounds of a value, or of a difference of two on the same log; the cluster is what is independent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from mktgen.evaluation.off_policy.estimators import Terms, mean
from mktgen.evaluation.off_policy.logged import Floats, Ints, Logged


@dataclass(frozen=True)
class Bounds:
    """se: standard error. low, high: at level 1 - alpha; None, as se, where `method` says why there are none."""

    se: float | None
    low: float | None
    high: float | None
    method: str


def normal(value: float, influence: Floats, groups: Ints, alpha: float) -> Bounds:
    """Bounds from the influence function, by clusters.

    What: value -+ t(1 - alpha / 2, G - 1) se. Formula: se^2 = G / (G - 1) sum_g (sum of g's influence)^2 / n^2. Assumption:
    G independent clusters, none of which dominates. When it fails: heavy weights with few rows, where the distribution is
    skewed (diagnostics refuse before). One cluster has no bounds. Reference: van der Vaart (1998), ch. 20; Liang and Zeger
    (1986) for clusters.
    """
    sums = totals(influence, groups)
    if sums.size < 2:
        return Bounds(None, None, None, "one cluster: no spread to see")
    se = _standard_error(sums, influence.size)
    reach = float(stdtrit(sums.size - 1, 1 - alpha / 2)) * se
    return Bounds(se, value - reach, value + reach, f"influence function, {sums.size} clusters")


def bootstrap(value: float, influence: Floats, groups: Ints, alpha: float, *, resamples: int, seed: int) -> Bounds:
    """Bounds from resampling clusters, studentised: they may be longer on one side, as the data are skewed.

    What: (value - q(1 - alpha / 2) se, value - q(alpha / 2) se) with q of t* = mean* / se* over resamples of the clusters'
    influence. Assumption: as `normal`, without its symmetry. When it fails: fewer than about 30 clusters; a tail that was
    never drawn isn't in the log either. Reference: Efron and Tibshirani (1993), ch. 12.
    """
    sums = totals(influence, groups)
    if sums.size < 2:
        return Bounds(None, None, None, "one cluster: no spread to see")
    se = _standard_error(sums, influence.size)
    rng = np.random.default_rng(seed)
    draws = np.array([_t_value(sums[rng.integers(0, sums.size, sums.size)]) for _ in range(resamples)])
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    method = f"studentised bootstrap, {sums.size} clusters, {resamples} resamples"
    return Bounds(se, value - float(high) * se, value - float(low) * se, method)


def empirical_bernstein(
    log: Logged, terms: Terms, alpha: float, *, modelled: bool, reward_range: tuple[float, float], max_weight: float
) -> Bounds:
    """Bounds that hold for every n and every weight, without a normal approximation; wider than the others.

    What: value -+ (sqrt(2 V L / m) + 7 B L / (3 (m - 1))) for means of m independent terms within a range of length B, with V
    their variance and L = ln(4 / alpha). Assumption: rewards and q_hat lie within `reward_range`, no weight can exceed
    `max_weight` (by the design of logging, not by a look at the log). With clusters: m clusters, B of the largest. When it
    fails: never by being narrow; B large makes it useless. `modelled`: the terms are of dr, else of ips; other estimators are
    no plain means and have no such bound: ValueError, also where the log breaks what was stated. Reference: Maurer and Pontil
    (2009), theorem 4.
    """
    _check_range(log, terms, reward_range, max_weight)
    low, high = reward_range
    length = (1 + 2 * max_weight) * (high - low) if modelled else max_weight * (max(high, 0.0) - min(low, 0.0))
    n, sizes = log.rows, np.bincount(log.groups)
    m = sizes.size
    if m < 2:
        return Bounds(None, None, None, "one cluster: no spread to see")
    sums = totals(terms.influence, log.groups) * m / n
    length *= float(sizes.max()) * m / n
    chance = math.log(4 / alpha)
    reach = math.sqrt(2 * float(sums.var(ddof=1)) * chance / m) + 7 * length * chance / (3 * (m - 1))
    se = _standard_error(sums * n / m, n)
    return Bounds(se, terms.value - reach, terms.value + reach, f"empirical Bernstein, {m} clusters")


def totals(values: Floats, groups: Ints) -> Floats:
    """[G] sums by cluster, sorted; to the same last bit in whatever order rows and clusters come."""
    order = np.lexsort([values, groups])
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.sort(np.add.reduceat(values[order], starts))


def _standard_error(sums: Floats, rows: int) -> float:
    clusters = sums.size
    return math.sqrt(clusters / (clusters - 1) * float((sums**2).sum())) / rows


def _t_value(sums: Floats) -> float:
    spread = float(sums.std(ddof=1))
    return mean(sums) / spread * math.sqrt(sums.size) if spread > 0 else 0.0


def _check_range(log: Logged, terms: Terms, reward_range: tuple[float, float], max_weight: float) -> None:
    low, high = reward_range
    if terms.biased or float(np.ptp(terms.denominator)) > 0:
        raise ValueError("an empirical Bernstein bound is for plain means of unbiased terms: ips and dr")
    named = [("reward", log.reward)] + ([("q_hat", log.q_hat)] if log.q_hat is not None else [])
    for name, array in named:
        if float(array.min()) < low or float(array.max()) > high:
            raise ValueError(f"{name} leaves the stated range {reward_range}")
    if float(log.weight.max()) > max_weight:
        raise ValueError(f"a weight of {float(log.weight.max()):.4g} exceeds the stated maximum of {max_weight:.4g}")
