"""Customers at risk: who may stay away, what is at stake, and their own rhythm in words."""

from __future__ import annotations

import polars as pl

from mktgen.contracts import CHURN_WARNINGS
from mktgen.foresight.wording import visit_rhythm
from mktgen.settings.foresight import ForesightSettings

_MONTH: float = 28.0


def churn_warnings(features: pl.DataFrame, scores: pl.DataFrame, settings: ForesightSettings) -> pl.DataFrame:
    """contracts.CHURN_WARNINGS from contracts.CUSTOMER_FEATURES and contracts.CUSTOMER_SCORES (active customers).

    Listed is whose p_churn_28d is at least `churn_from` and whose value at stake is at least `stake_from_minor`: at most
    `warnings_per_day`, the largest expected loss (p x value) first, ties by customer.
    """
    known = scores.join(features, on="customer_id").with_columns(value_at_stake().alias("value_at_stake_minor"))
    known = known.with_columns((pl.col("p_churn_28d") * pl.col("value_at_stake_minor")).alias("expected_loss_minor"))
    listed = known.filter(
        (pl.col("p_churn_28d") >= settings.churn_from) & (pl.col("value_at_stake_minor") >= settings.stake_from_minor)
    )
    listed = listed.sort(["expected_loss_minor", "customer_id"], descending=[True, False]).head(
        settings.warnings_per_day
    )
    texts = [visit_rhythm(row) for row in listed.iter_rows(named=True)]
    ranked = listed.with_columns(
        pl.int_range(1, pl.len() + 1).cast(pl.Int32).alias("rank"), pl.Series("reason", texts, dtype=pl.String)
    )
    return CHURN_WARNINGS.check(ranked.select(list(CHURN_WARNINGS.columns)))


def value_at_stake() -> pl.Expr:
    """Expected merchandise spend in 28 days if the customer is kept: the mean per 28 days since the first visit.

    The last 84 days would be fresher, but a customer at risk has spent little in them because of the silence itself. A
    customer of less than 28 days counts as one of 28. What a customer of this kind spends after coming back is uneven:
    take it as an order of magnitude.
    """
    return pl.col("net_minor_all") / pl.col("tenure_days").clip(lower_bound=_MONTH) * _MONTH
