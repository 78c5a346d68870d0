"""More customers than the data has: copies of households that shop at other times and spend other amounts.

Copy 0 is the real household, untouched. A copy stays at home on some of the days on which its original shopped, and its
baskets are scaled by a factor of its own and one of the day. Copies give tests of a loop the power that 2,469 households
can't; they are no new information: copies of one household are alike.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mktgen.market_sim import chance
from mktgen.market_sim.chance import Floats, Keys

KEPT: Final = (0.65, 0.95)  # share of its original's days on which a copy shops; each copy has its own, uniformly
SPEND_SPREAD: Final = 0.25  # of log spending, between copies
DAY_SPREAD: Final = 0.15  # of log spending, between days of a copy


def copy_id(identifier: str, copy: int) -> pl.Expr:
    """Identifier of a copy: its number before the original's, which is filled up with zeros so that no two meet."""
    own = pl.col(identifier)
    return own if copy == 0 else pl.concat_str(pl.lit(str(copy)), own.str.zfill(12))


def replicate(frame: pl.DataFrame, copy: int, seed: int, on: str = "business_date") -> pl.DataFrame:
    """Rows of a copy of every customer in `frame`, in its order.

    frame: `customer_id`, a date column `on`, and where it has them `order_id` (renamed alike) and columns ending in
    `_minor` (Int64, scaled and rounded). Order lines, and redemptions on the day of their basket, stay together.
    """
    if copy == 0 or frame.is_empty():
        return frame
    renamed = [copy_id(name, copy).alias(name) for name in ("customer_id", "order_id") if name in frame.columns]
    frame = frame.with_columns(renamed)
    people = chance.keys(frame["customer_id"])
    days = chance.mixed(people, frame[on].to_physical().to_numpy().astype(np.uint64))
    stays = chance.uniform(chance.salted(days, seed, "copy: day kept")) < _kept_share(people, seed)
    factor = _spend_factor(people, seed) * np.exp(DAY_SPREAD * chance.normal(chance.salted(days, seed, "copy: day")))
    money = [name for name in frame.columns if name.endswith("_minor")]
    scaled = [(pl.col(name) * pl.lit(pl.Series(factor))).round().cast(pl.Int64).alias(name) for name in money]
    return frame.with_columns(scaled).filter(pl.Series(stays))


def _kept_share(people: Keys, seed: int) -> Floats:
    low, high = KEPT
    return low + (high - low) * chance.uniform(chance.salted(people, seed, "copy: days"))


def _spend_factor(people: Keys, seed: int) -> Floats:
    """Fewer days, larger baskets: a copy spends as much as its original in the mean over copies."""
    spread = SPEND_SPREAD * chance.normal(chance.salted(people, seed, "copy: spending"))
    both = (SPEND_SPREAD**2 + DAY_SPREAD**2) / 2  # so that the factors' mean is 1
    return np.asarray(np.exp(spread - both) / _kept_share(people, seed), dtype=np.float64)
