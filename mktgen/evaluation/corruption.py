"""Worlds that must not matter: another future after the cut, another order of the rows."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl


def corrupt_future(lines: pl.DataFrame, cut: date, seed: int) -> pl.DataFrame:
    """`lines` (contracts.ORDER_LINES) with everything dated on or after `cut` shuffled and falsified; the rest untouched.

    Of the later rows, customers, items, times and amounts are each dealt out anew, amounts are tripled, promotions turned
    around, and every row is an order of its own. The result still keeps the contract, so no check but the date's stops it.
    """
    late = pl.col("business_date") >= cut
    future = lines.filter(late)
    rng = np.random.default_rng(seed)
    amounts = [name for name in lines.columns if name.endswith("_minor")]
    together = (("customer_id",), ("item_id", "category"), ("event_time", "business_date"), tuple(amounts))
    for names in together:
        dealt = future.select(names)[rng.permutation(future.height)]
        future = future.with_columns(dealt)
    numbers = pl.int_range(pl.len()).cast(pl.String)
    future = future.with_columns(
        pl.concat_str(pl.lit("corrupted-"), numbers).alias("order_id"),
        pl.col(amounts) * 3 + 1,
        ~pl.col("on_display", "on_mailer"),
    )
    return pl.concat([lines.filter(~late), future])


def reordered(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same rows in another order."""
    return frame[np.random.default_rng(seed).permutation(frame.height)]
