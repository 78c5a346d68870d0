"""Intervals for rows that come several to a customer."""

from __future__ import annotations

from math import sqrt
from typing import Final

import polars as pl

from mktgen.documents import Interval

_Z: Final = 1.959963984540054


def clustered_share(rows: pl.DataFrame) -> Interval:
    """95% interval of a share whose rows are dependent within a customer.

    rows: customer_id, hit (Boolean), not empty. The variance of p = sum(y) / n is sum_h (y_h - p n_h)^2 / n^2 *
    H / (H - 1) over H customers (linearised ratio); the Wilson interval is taken with n_eff = p (1 - p) / variance,
    at most n. Where p is 0 or 1, or there is one customer, n_eff = H.

    Assumes independent customers. Fails with few customers (H < 30: too narrow) and where one customer has most rows.
    Reference: Cochran, Sampling Techniques (1977), ch. 6; Wilson, JASA 22 (1927); Dean & Pagano, Survey Practice 8 (2015).
    """
    totals = rows.group_by("customer_id").agg(pl.col("hit").sum().cast(pl.Float64), pl.len().alias("n"))
    n, households = float(rows.height), float(totals.height)
    share = float(rows["hit"].sum()) / n
    residual = (totals["hit"] - share * totals["n"]) ** 2
    variance = float(residual.sort().sum()) / n**2 * households / max(households - 1, 1)
    effective = min(share * (1 - share) / variance, n) if variance > 0 and 0 < share < 1 else households
    centre = (share + _Z**2 / (2 * effective)) / (1 + _Z**2 / effective)
    half = _Z / (1 + _Z**2 / effective) * sqrt(share * (1 - share) / effective + _Z**2 / (4 * effective**2))
    low, high = min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)
    return Interval(value=share, low=low, high=high, method="wilson, clustered by customer")
