"""Values of a policy from a log of another. Written with w = pi(a|x) / p(a|x) of the action taken, r its reward,
q(x, a) expected rewards, v(x) = sum_a pi(a|x) q(x, a). All assume that p is the true propensity and covers pi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mktgen.evaluation.off_policy.logged import Floats, Logged


@dataclass(frozen=True, eq=False)
class Terms:
    """value = mean(offset) + mean(numerator) / mean(denominator), each [n]: all estimators have this form.

    biased: on purpose (weights cut) or by a model, which no standard error shows; such a value gets no interval.
    dial: where weights are cut; infinite = nowhere. cut: share of the rows whose weight is.
    """

    offset: Floats
    numerator: Floats
    denominator: Floats
    biased: bool = False
    dial: float = math.inf
    cut: float = 0.0

    @property
    def scale(self) -> float:
        """1 where the denominator is 0: no action of the log is the policy's; the diagnostics refuse that."""
        return mean(self.denominator) or 1.0

    @property
    def value(self) -> float:
        return mean(self.offset) + mean(self.numerator) / self.scale

    @property
    def influence(self) -> Floats:
        """[n] what each row moves the value by, times n; mean zero. Delta method for the ratio."""
        ratio = mean(self.numerator) / self.scale
        moved: Floats = self.offset - mean(self.offset) + (self.numerator - ratio * self.denominator) / self.scale
        return moved


def mean(values: Floats) -> float:
    """Mean to the same last bit in whatever order the rows come."""
    return float(np.sort(values).mean())


def ips(log: Logged) -> Terms:
    """Inverse propensity score: mean(w r). Unbiased. Fails by variance where weights are heavy, and it moves with a
    constant added to the rewards. Horvitz and Thompson (1952); Strehl et al. (2010)."""
    return _linear(log.weight * log.reward)


def clipped_ips(log: Logged, cap: float) -> Terms:
    """IPS with weights of at most `cap`: mean(min(w, cap) r). Biased towards 0 by what is cut. Ionides (2008)."""
    return _cut(np.minimum(log.weight, cap) * log.reward, log.weight > cap, cap)


def snips(log: Logged) -> Terms:
    """Self-normalised IPS: mean(w r) / mean(w). Adding a constant to the rewards adds it to the value; bounded by the
    rewards. Bias of order 1/n; fails where few rows carry the weight. Swaminathan and Joachims (2015)."""
    return Terms(np.zeros(log.rows), log.weight * log.reward, log.weight)


def dm(log: Logged) -> Terms:
    """Direct method: mean(v). Uses no propensity; its error is that of the model, which doesn't shrink with n and isn't
    in any standard error. Never enough for a launch. Beygelzimer and Langford (2009)."""
    n = log.rows
    return Terms(log.expected(log.rewards), np.zeros(n), np.ones(n), biased=True)


def dr(log: Logged) -> Terms:
    """Doubly robust: mean(v + w (r - q)). Unbiased with true propensities whatever q is, if q was not fitted on the row;
    fails by variance where weights are heavy and q is poor. Dudik, Langford and Li (2011)."""
    return _linear(log.expected(log.rewards) + log.weight * _residual(log))


def sndr(log: Logged) -> Terms:
    """Self-normalised DR: mean(v) + mean(w (r - q)) / mean(w). As DR, tamer with heavy weights; bias of order 1/n.
    Thomas and Brunskill (2016)."""
    return Terms(log.expected(log.rewards), log.weight * _residual(log), log.weight)


def switch_dr(log: Logged, threshold: float) -> Terms:
    """DR where w <= threshold, the model alone above: mean(v + w 1{w <= threshold} (r - q)). Biased by the model's error
    where weights are heavy. Wang, Agarwal and Dudik (2017)."""
    above = log.weight > threshold
    corrected = np.where(above, 0.0, log.weight) * _residual(log)
    return _cut(log.expected(log.rewards) + corrected, above, threshold)


def dros(log: Logged, shrinkage: float) -> Terms:
    """DR with optimistic shrinkage: w becomes s w / (w^2 + s), between the model (s = 0) and DR (s infinite). Biased as
    Switch-DR, smoothly. Su, Dimakopoulou, Krishnamurthy and Dudik (2020)."""
    if math.isinf(shrinkage):
        return dr(log)
    weight = shrinkage * log.weight / (log.weight**2 + shrinkage) if shrinkage else np.zeros(log.rows)
    terms = log.expected(log.rewards) + weight * _residual(log)
    return _cut(terms, weight < log.weight / 2, shrinkage, biased=True)


def calibrated_dr(log: Logged) -> Terms:
    """DR whose model is rescaled by regression so that the variance is least; the product's default.

    mean(w r) - b' mean(c) with controls c = (w - 1, w q - v), which have mean zero when p is true, and b of the least
    squares of w r on c and v. With b = (0, 1) it is DR, with b = (0, 0) IPS; to first order it is no worse than these, SNIPS
    and SNDR. A poor q gets a small b. Without q_hat only w - 1 is used. Bias of order 1/n from fitting b; fails as the others
    where few rows carry the weight. Robins, Rotnitzky and Zhao (1994); Tan (2006); Vlassis et al. (2019).
    """
    target, controls, context = log.weight * log.reward, [log.weight - 1], list[Floats]()
    if log.q_hat is not None:
        context = [log.expected(log.q_hat)]  # what differs between customers is no noise to be fitted by the controls
        controls.append(log.weight * log.at_action(log.q_hat) - context[0])
    fitted = slopes(target, [*controls, *context])[: len(controls)]
    return _linear(target - np.column_stack(controls) @ fitted)


def slopes(target: Floats, controls: list[Floats]) -> Floats:
    """[k] slopes of the least squares of target on controls, with intercept; 0 for a control that doesn't vary."""
    rows = np.lexsort([target, *controls])  # a total order: sums in floating point depend on it
    x = np.column_stack(controls)[rows]
    x -= x.mean(axis=0)
    scale = x.std(axis=0)
    scaled = x / np.where(scale > _STILL, scale, np.inf)
    y = target[rows] - target[rows].mean()
    found: Floats = np.linalg.lstsq(scaled, y, rcond=1e-10)[0] / np.where(scale > _STILL, scale, 1.0)
    return found


_STILL = 1e-12


def _residual(log: Logged) -> Floats:
    residual: Floats = log.reward - log.at_action(log.rewards)
    return residual


def _linear(values: Floats) -> Terms:
    return Terms(values, np.zeros_like(values), np.ones_like(values))


def _cut(values: Floats, cut: np.ndarray[tuple[int], np.dtype[np.bool_]], dial: float, biased: bool = False) -> Terms:
    n = len(values)
    share = float(cut.mean())
    return Terms(values, np.zeros(n), np.ones(n), biased or share > 0, dial, share)
