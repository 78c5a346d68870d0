"""Cut weights with the dial set by the log itself: from candidates between cautious (nothing cut) and bold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from scipy.special import ndtri

from mktgen.evaluation.off_policy.estimators import Terms, clipped_ips, dros, switch_dr
from mktgen.evaluation.off_policy.intervals import normal
from mktgen.evaluation.off_policy.logged import Ints, Logged

Method = Literal["slope", "mse"]
QUANTILES: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
SHRINKAGES: Final = 12
CONFIDENCE: Final = 0.1  # alpha of the intervals that slope compares


def tuned_clipped_ips(log: Logged, method: Method = "slope") -> Terms:
    """clipped_ips at a quantile of the weights, or uncut."""
    return _tuned(log, clipped_ips, _caps(log), method)


def tuned_switch_dr(log: Logged, method: Method = "slope") -> Terms:
    """switch_dr at a quantile of the weights, or plain DR."""
    return _tuned(log, switch_dr, _caps(log), method)


def tuned_dros(log: Logged, method: Method = "slope") -> Terms:
    """dros at one of some shrinkages, spread geometrically over those that matter for the log's weights, or plain DR."""
    positive = log.weight[log.weight > 0]
    low, high = np.quantile(positive, [0.05, 0.95]) if positive.size else (1.0, 1.0)
    dials = [float(s) for s in np.geomspace(0.01 * low**2, 100 * high**2, SHRINKAGES)]
    return _tuned(log, dros, dials, method)


def slope(candidates: Sequence[Terms], groups: Ints) -> int:
    """Number of the boldest candidate whose interval agrees with those of all more cautious ones.

    What: the selection of Lepski's kind for off-policy values (SLOPE). Formula: candidates by falling width c_i; the last i
    with |V_i - V_j| <= c_i + (sqrt(6) - 1) c_j for all j before it. Assumption: bias grows as the width falls. When it
    fails: wide intervals agree with anything, so heavy weights may leave much bias. Reference: Su, Srinath and
    Krishnamurthy (2020); order by width as Tucker and Lee (2021).
    """
    widths = [_half_width(terms, groups) for terms in candidates]
    order = sorted(range(len(candidates)), key=lambda i: (-widths[i], -candidates[i].dial))
    chosen = order[0]
    for place, i in enumerate(order):
        gaps = [abs(candidates[i].value - candidates[j].value) for j in order[:place]]
        reach = [widths[i] + (math.sqrt(6) - 1) * widths[j] for j in order[:place]]
        if any(gap > limit for gap, limit in zip(gaps, reach, strict=True)):
            break
        chosen = i
    return chosen


def least_mse(candidates: Sequence[Terms], groups: Ints) -> int:
    """Number of the candidate with the least bound of the mean squared error; the last one must be uncut.

    Formula: se^2 + (|b| + z se(b))^2 with b = V - V(uncut), the estimated bias. Assumption: the uncut one is unbiased. When
    it fails: b is as noisy as the uncut value, so with little data little is cut. Reference: Su et al. (2020), section 5.
    """
    uncut = candidates[-1]
    bounds = []
    for terms in candidates:
        own = normal(terms.value, terms.influence, groups, CONFIDENCE).se or 0.0
        bias = normal(0.0, terms.influence - uncut.influence, groups, CONFIDENCE).se or 0.0
        bounds.append(own**2 + (abs(terms.value - uncut.value) + _Z * bias) ** 2)
    return int(np.argmin(bounds))


_Z: Final = float(ndtri(1 - CONFIDENCE))


def _tuned(log: Logged, make: Callable[[Logged, float], Terms], dials: Sequence[float], method: Method) -> Terms:
    candidates = [make(log, dial) for dial in [*dials, math.inf]]
    choose = slope if method == "slope" else least_mse
    return candidates[choose(candidates, log.groups)]


def _caps(log: Logged) -> list[float]:
    return sorted({float(q) for q in np.quantile(log.weight, QUANTILES) if q > 0})


def _half_width(terms: Terms, groups: Ints) -> float:
    bounds = normal(terms.value, terms.influence, groups, 2 * CONFIDENCE)
    return (bounds.high or 0.0) - terms.value if bounds.se is not None else 0.0
