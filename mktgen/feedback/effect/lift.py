"""Lift against customers held out at random: plain and with pre-period covariates, relative, and what could be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Final, Literal

import numpy as np
import polars as pl
from scipy.special import stdtrit

from mktgen.documents import Interval
from mktgen.errors import PermanentError
from mktgen.feedback.effect.estimate import Estimate
from mktgen.feedback.effect.linear import Effects, cuped, difference_of_means, interacted
from mktgen.feedback.effect.sample import CONTROL, TREATED, Sample, arm_rows

Adjustment = Literal["none", "cuped", "interacted"]
ALPHA: Final = 0.05
POWER: Final = 0.8
_ADJUSTMENTS: Final[dict[str, Callable[[Sample], Effects]]] = {"cuped": cuped, "interacted": interacted}


@dataclass(frozen=True)
class Lift:
    """raw: difference of means. adjusted: with covariates. relative: adjusted / mean of the control; None: that mean isn't
    surely above 0. variance_ratio: adjusted / raw variance, below 1 where the covariates pay. minimal_detectable: the
    smallest effect that this much data shows with a power of 80% at 5%."""

    arm: str
    raw: Estimate
    adjusted: Estimate
    relative: Interval | None
    variance_ratio: float
    minimal_detectable: float
    treated_customers: int
    control_customers: int


def lift(
    rows: pl.DataFrame,
    outcome: str,
    covariates: Sequence[str] = (),
    adjustment: Adjustment = "interacted",
    arm: str = TREATED,
) -> Lift:
    """Effect of one arm against the control, per row (customer and wave).

    rows: see Sample.of; the arms were drawn at random, covariates are dated before the draw. A customer's waves count as
    dependent. Raises PermanentError as Sample.of, and where an arm has no customers.
    """
    sample = Sample.of(arm_rows(rows, arm), outcome, covariates)
    plain = difference_of_means(sample)
    found = _ADJUSTMENTS[adjustment](sample) if sample.names and adjustment != "none" else plain
    raw, adjusted = plain.effects[arm], found.effects[arm]
    return Lift(
        arm=arm,
        raw=raw,
        adjusted=adjusted,
        relative=relative(adjusted, found.control),
        variance_ratio=(adjusted.se / raw.se) ** 2 if raw.se > 0 else 1.0,
        minimal_detectable=minimal_detectable(adjusted),
        treated_customers=sample.customers_in(sample.in_arm(arm)),
        control_customers=sample.customers_in(sample.in_arm(CONTROL)),
    )


def relative(effect: Estimate, base: Estimate) -> Interval | None:
    """effect / base with a 95% interval.

    Formula (delta method): r = d / m, Var r = sum_h ((f_h - r b_h) / m)^2 with f, b the customers' influences on d and m.
    Assumption: m is many standard errors from 0. When it fails: m near 0, where no interval of this form is right: None
    unless m is surely above 0. Reference: Deng, Knoblich & Lu, KDD 2018.
    """
    if base.interval().low <= 0:
        return None
    ratio = effect.value / base.value
    spread = (effect.influence - ratio * base.influence) / base.value
    found = Estimate(ratio, sqrt(float((spread**2).sum())), effect.df, "delta method, clustered by customer")
    return found.interval()


def minimal_detectable(effect: Estimate, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest true effect that a two-sided test on this much data finds with the given power.

    Formula: (t(1 - alpha/2) + t(power)) se. Assumption: the standard error would be the same under that effect.
    When it fails: effects that change the spread as well. Reference: Bloom, Evaluation Review 19 (1995).
    """
    return float(stdtrit(effect.df, 1 - alpha / 2) + stdtrit(effect.df, power)) * effect.se


def power_of(true_effect: float, effect: Estimate, alpha: float = ALPHA) -> float:
    """Chance that a two-sided test on this much data calls `true_effect`: both tails of the noncentral t.

    1 where nothing varies and the effect isn't 0. Reference: Cohen, Statistical Power Analysis (1988).
    """
    if effect.se == 0:
        return alpha if true_effect == 0 else 1.0
    from scipy.stats import nct  # late: most steps do without

    bound = float(stdtrit(effect.df, 1 - alpha / 2))
    df, away = min(effect.df, 1e6), true_effect / effect.se
    return float(np.clip(nct.sf(bound, df, away) + nct.cdf(-bound, df, away), 0.0, 1.0))


def customers_needed(true_effect: float, found: Lift, alpha: float = ALPHA, power: float = POWER) -> float:
    """Customers over both arms, in the same ratio, for `true_effect` to be found with the given power.

    Formula: n (minimal detectable effect / true effect)^2. Infinite for an effect of 0.
    """
    if true_effect == 0:
        return inf
    now = found.treated_customers + found.control_customers
    return float(ceil(now * (minimal_detectable(found.adjusted, alpha, power) / true_effect) ** 2))


def roi(
    rows: pl.DataFrame, margin: str, cost: str, covariates: Sequence[str] = (), arm: str = TREATED
) -> Interval | None:
    """Return on what was spent: incremental margin / incremental cost - 1, with a 95% interval; None: it isn't bounded.

    rows: see Sample.of, with `margin` and `cost` per row, both minor units; cost holds contact and redemption.
    Formula (Fieller): all r with (N - r D)^2 <= t^2 (V_N - 2 r V_ND + r^2 V_D), N and D the differences of margin and of
    cost between the arms, V from the customers' influences on both. Assumption: arms drawn at random; N and D about
    normal. When it fails: a cost that isn't surely above 0 gives no bounded interval (None). Unlike the delta method it
    holds where the cost is uncertain. Reference: Fieller, JRSS B 16 (1954); Franz, arXiv:0710.2024.
    """
    chosen = arm_rows(rows, arm)
    gain, spent = (
        (interacted(one) if one.names else difference_of_means(one)).effects[arm]
        for one in (Sample.of(chosen, name, covariates) for name in (margin, cost))
    )
    return fieller(gain, spent, less=1.0)


def fieller(numerator: Estimate, denominator: Estimate, less: float = 0.0) -> Interval | None:
    """numerator / denominator - less with its 95% Fieller interval; None where the denominator isn't surely above 0.

    The two must hold the influences of the same customers. Formula and reference: see `roi`.
    """
    if numerator.customers != denominator.customers or not numerator.customers:
        raise PermanentError("fieller: numerator and denominator must come from the same rows, with influences")
    n, d = numerator.value, denominator.value
    reach = float(stdtrit(min(numerator.df, denominator.df), 1 - ALPHA / 2)) ** 2
    vn, vd = (reach * float((one.influence**2).sum()) for one in (numerator, denominator))
    both = reach * float(numerator.influence @ denominator.influence)
    a = d * d - vd
    if d <= 0 or a <= 0:
        return None
    b, c = n * d - both, n * n - vn
    half = sqrt(max(b * b - a * c, 0.0)) / a
    method = "Fieller, clustered by customer"
    return Interval(value=n / d - less, low=b / a - half - less, high=b / a + half - less, method=method)
