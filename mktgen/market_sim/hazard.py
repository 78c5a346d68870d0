"""P(a mailed household redeems), as real campaigns show it: the ground that a scenario's answers stand on.

What: logistic regression of "redeemed any coupon of the campaign" on what was known at the campaign's start.
Formula: logit p = INTERCEPT + TYPE_A [campaign of type A] + sum of WEIGHTS * z, z as in covariates.py.
Assumption: customers of a simulated market differ in answering as mailed households differed in redeeming; what an
offer adds (appeal, face value, fatigue) is the scenario's. When it fails: for customers unlike those ever mailed.
Measured on 6,400 mailings; `python -m benchmarks.market_calibration` fits again beside these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from mktgen.market_sim.chance import Floats
from mktgen.market_sim.covariates import Covariate, standardised

INTERCEPT: Final = -3.47
TYPE_A: Final = 1.67  # campaigns of type A: a booklet of 16 coupons; others are the base
WEIGHTS: Final[Mapping[Covariate, float]] = {
    "recency_days": -0.05,
    "visits_84d": -0.21,
    "spend_minor_84d": 0.23,
    "coupon_lines_84d": 0.66,
    "discount_share_84d": 0.21,
    "prior_redemptions": 0.53,
    "prior_exposures": -0.25,
}


def redemption_logit(panel: pl.DataFrame) -> Floats:
    """Logit of redeeming a campaign that is not of type A, for each row."""
    total = np.full(panel.height, INTERCEPT)
    for name, weight in WEIGHTS.items():
        total += weight * standardised(panel, name)
    return total
