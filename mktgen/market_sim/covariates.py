"""What the response may depend on and everybody can see, on a fixed scale.

Means and standard deviations are those of the mailed households of Complete Journey at their campaigns' start, as constants:
a customer's response must not depend on who else is in the frame. `python -m benchmarks.market_calibration` measures
them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from mktgen.market_sim.chance import Floats

Covariate = Literal[
    "recency_days",
    "visits_84d",
    "spend_minor_84d",
    "coupon_lines_84d",
    "discount_share_84d",
    "prior_redemptions",
    "prior_exposures",
    "affinity",
]


@dataclass(frozen=True)
class Scale:
    """z = (transform(x / unit) - mean) / spread, cut off at LIMIT."""

    transform: Literal["log", "root", "none"]
    mean: float
    spread: float
    unit: float = 1.0


LIMIT: Final = 3.0
SCALES: Final[Mapping[Covariate, Scale]] = {
    "recency_days": Scale("log", 1.6, 0.8),
    "visits_84d": Scale("log", 2.8, 0.65),
    "spend_minor_84d": Scale("log", 6.3, 0.9, 100.0),  # in currency units
    "coupon_lines_84d": Scale("log", 0.8, 1.0),
    "discount_share_84d": Scale("none", 0.155, 0.055),
    "prior_redemptions": Scale("log", 0.3, 0.65),
    "prior_exposures": Scale("log", 1.0, 0.7),
    "affinity": Scale("root", 0.3, 0.13),  # share of spending on the offer's categories
}


def transformed(panel: pl.DataFrame, name: Covariate, column: str | None = None) -> Floats:
    """A covariate of each row before it is centred."""
    scale = SCALES[name]
    values = panel[column or name].cast(pl.Float64).to_numpy() / scale.unit
    values = np.nan_to_num(np.clip(values, 0.0, None), nan=0.0, posinf=0.0)
    if scale.transform == "log":
        return np.asarray(np.log1p(values), dtype=np.float64)
    return np.asarray(np.sqrt(values) if scale.transform == "root" else values, dtype=np.float64)


def standardised(panel: pl.DataFrame, name: Covariate, column: str | None = None) -> Floats:
    """A covariate of each row in standard deviations of the mailed households."""
    scale = SCALES[name]
    return np.clip((transformed(panel, name, column) - scale.mean) / scale.spread, -LIMIT, LIMIT)
