"""Seeded rows for the tests of effects."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

DAY = date(2017, 1, 1)


def rows(
    customers: int = 60, waves: int = 3, seed: int = 1, effect: float = 5.0, control_share: float = 0.4, arms: int = 1
) -> pl.DataFrame:
    """customer_id, wave, arm, y, x (known before), z (noise); a customer stays in its arm, waves vary by customer."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(customers):
        drawn = rng.random()
        arm = "control" if drawn < control_share else f"treated{rng.integers(arms)}" if arms > 1 else "treated"
        level = rng.gamma(3, 10)
        for wave in range(int(rng.integers(1, waves + 1))):
            y = level + rng.normal(0, 5) + (effect if arm != "control" else 0.0)
            made.append(
                (f"c{number:04d}", DAY + timedelta(days=28 * wave), arm, y, level + rng.normal(0, 3), rng.normal())
            )
    return pl.DataFrame(made, schema=["customer_id", "wave", "arm", "y", "x", "z"], orient="row")
