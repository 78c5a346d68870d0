"""Sample ratio and power of the hold-out design."""

from __future__ import annotations

import math

from scipy.special import ndtri


def sample_ratio_p_value(held_out: int, customers: int, share: float) -> float:
    """p-value of the held-out count against its share.

    Formula: exact binomial test, two-sided (what a chi-square test with one degree of freedom approximates; exact
    also for small shops). Assumption: customers are assigned independently. When it fails: it can't see a biased
    assignment that keeps the count. Reference: Fabijan et al. (2019), Diagnosing sample ratio mismatch.
    """
    if customers == 0 or share in (0.0, 1.0):
        return 1.0 if held_out == round(share * customers) else 0.0
    from scipy.stats import binomtest  # late: most steps do without

    return float(binomtest(held_out, customers, share).pvalue)


def minimal_detectable_difference(sd: float, treated: int, control: int, alpha: float, power: float) -> float:
    """Smallest difference of two means that a two-sided test finds with the given power, in the unit of `sd`.

    Formula: (z(1 - alpha/2) + z(power)) * sd * sqrt(1/treated + 1/control). Assumption: both arms have the same
    spread, means are about normal. When it fails: heavy tails with few customers make it optimistic. Infinite where
    an arm is empty. Reference: Duflo, Glennerster & Kremer (2007).
    """
    if treated == 0 or control == 0:
        return math.inf
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return z * sd * math.sqrt(1 / treated + 1 / control)


def customers_per_arm(sd: float, difference: float, alpha: float, power: float) -> int:
    """Customers in each of two equal arms with which a two-sided test finds a difference of means, in the unit of `sd`.

    Formula: 2 ((z(1 - alpha/2) + z(power)) sd / difference)^2, rounded up, at least 2. Assumption: as
    minimal_detectable_difference, whose inverse it is; customers count once. When it fails: a spread taken from an earlier
    time; outcomes of the same customer in several waves are alike and count for less. Raises ValueError for a difference
    that is not above 0. Reference: Duflo, Glennerster & Kremer (2007).
    """
    if difference <= 0:
        raise ValueError(f"difference = {difference}: a sample size is for a difference above 0")
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return max(2, math.ceil(2 * (z * sd / difference) ** 2))
