"""Rows of an effect from the loop's own tables: a mailed campaign with those left out, or decisions with their holdout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from mktgen.contracts import CUSTOMER_FEATURES
from mktgen.errors import PermanentError
from mktgen.feedback.effect.sample import CONTROL, TREATED

OUTCOME: Final = "net_minor"  # merchandise
NEGATIVE_CONTROL: Final = "other_minor"  # fuel and other non-merchandise spend: no coupon reaches it
OTHER_CAMPAIGN: Final = "in_other_campaign"
# Skewed: on a log scale. These also as they are, since spend to come is nearly linear in spend that was.
_PLAIN: Final = ("net_minor_7d", "net_minor_28d", "net_minor_84d", "orders_28d", "orders_84d", "other_minor_84d")
_FEATURES: Final = tuple(name for name, dtype in CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64)
_HISTORY: Final = ("prior_exposures", "prior_redemptions", "open_exposures")
COVARIATES: Final = (*(f"log_{name}" for name in _FEATURES), *_PLAIN, *_HISTORY)


@dataclass(frozen=True)
class Cohort:
    """rows: customer_id, wave, arm, OUTCOME, NEGATIVE_CONTROL, OTHER_CAMPAIGN (Boolean), COVARIATES. placebo: the same of
    the window before, under the same wave, with covariates from before that window; None: not stored."""

    rows: pl.DataFrame
    placebo: pl.DataFrame | None


@dataclass(frozen=True)
class Tables:
    """What cohorts are made from, by contract: CUSTOMER_DAYS from a window before the first cut on, EXPOSURES, CAMPAIGNS,
    RESPONSES (all of them; later ones are left out)."""

    customer_days: pl.DataFrame
    exposures: pl.DataFrame
    campaigns: pl.DataFrame
    responses: pl.DataFrame


def campaign_cohort(
    campaign_id: str,
    known: pl.DataFrame,
    known_before: pl.DataFrame | None,
    tables: Tables,
    window_days: int,
    active_days: int,
) -> Cohort:
    """Everyone active when a campaign of the shop's own was mailed; treated: those on its list.

    known: contracts.CUSTOMER_FEATURES whose cut is the campaign's start T (the features of partition T - 1); known_before:
    at the cut T - window_days. Outcomes are of [T, T + window_days), the placebo's of [T - window_days, T). Eligible: an
    order in the `active_days` before the cut; the placebo keeps those eligible at both cuts.
    Raises PermanentError where the campaign is unknown.
    """
    start = _start(campaign_id, tables.campaigns)
    mailed = tables.exposures.filter(pl.col("campaign_id") == campaign_id)["customer_id"].unique().to_list()
    arm = pl.when(pl.col("customer_id").is_in(mailed)).then(pl.lit(TREATED)).otherwise(pl.lit(CONTROL)).alias("arm")

    def described(features: pl.DataFrame, cut: date) -> pl.DataFrame:
        eligible = features.filter(pl.col("recency_days") <= active_days)
        rows = _described(eligible, cut, tables, window_days, {campaign_id})
        return rows.with_columns(arm, pl.lit(start).alias("wave"))

    rows = described(known, start)
    if known_before is None:
        return Cohort(rows, None)
    before = described(known_before, start - timedelta(days=window_days))
    return Cohort(rows, before.join(rows, on="customer_id", how="semi"))


def holdout_cohort(
    decisions: pl.DataFrame,
    began: date,
    waves: Sequence[date],
    known: pl.DataFrame,
    known_before: pl.DataFrame | None,
    tables: Tables,
    window_days: int,
) -> Cohort:
    """Customers decided on the day our programme began, by the permanent holdout, over waves: intention to treat.

    decisions: contracts.DECISIONS of `began`, a day before anything was sent. waves: days, `began` or later; each is followed
    on the window_days after it, and its window must be over. known: contracts.CUSTOMER_FEATURES of the partition `began`,
    known_before: of window_days earlier. Covariates and placebo are those of the beginning in every wave, and nobody leaves
    or joins later: what was known after the first contact, and who is still active, may be its effects.
    Raises PermanentError where a wave lies before the beginning, or there is none.
    """
    if not waves or min(waves) < began:
        raise PermanentError(f"waves {sorted(waves)[:3]} of a programme that began on {began}: give days from then on")
    arm = pl.when("holdout").then(pl.lit(CONTROL)).otherwise(pl.lit(TREATED)).alias("arm")
    arms = decisions.select("customer_id", arm)
    cut = began + timedelta(days=1)

    def described(features: pl.DataFrame, first: date, window: date) -> pl.DataFrame:
        rows = _described(features, first, tables, window_days, set(), window)
        return rows.join(arms, on="customer_id")

    parts = [
        described(known, cut, wave + timedelta(days=1)).with_columns(pl.lit(wave).alias("wave"))
        for wave in sorted(waves)
    ]
    rows = pl.concat(parts).sort("customer_id", "wave")
    if known_before is None:
        return Cohort(rows, None)
    earlier = cut - timedelta(days=window_days)
    placebo = described(known_before, earlier, earlier).with_columns(pl.lit(began).alias("wave"))
    return Cohort(rows, placebo.sort("customer_id"))


def _start(campaign_id: str, campaigns: pl.DataFrame) -> date:
    found = campaigns.filter(pl.col("campaign_id") == campaign_id)["start_date"].to_list()
    if not found:
        raise PermanentError(f"campaign {campaign_id!r} is not among the campaigns given")
    start: date = found[0]
    return start


def _described(
    features: pl.DataFrame, cut: date, tables: Tables, window_days: int, own: set[str], first: date | None = None
) -> pl.DataFrame:
    """Covariates as known at `cut`, what came in the window_days from `first` (None: the cut) on, and whether another
    campaign fell into them."""
    first = first or cut
    last = first + timedelta(days=window_days - 1)
    bought = tables.customer_days.filter(pl.col("business_date").is_between(first, last))
    after = bought.group_by("customer_id").agg(pl.col(OUTCOME, NEGATIVE_CONTROL).sum())
    others = tables.exposures.filter(~pl.col("campaign_id").is_in(sorted(own))).join(
        tables.campaigns.select("campaign_id", "start_date", "end_date"), on="campaign_id", how="left"
    )
    inside = others.filter((pl.col("exposed_on") <= last) & (pl.col("end_date") >= first))
    frame = features.select("customer_id", *_covariates())
    for addition in (_history(others, tables.responses, cut), after):
        frame = frame.join(addition, on="customer_id", how="left")
    filled = frame.with_columns(pl.col(*_HISTORY, OUTCOME, NEGATIVE_CONTROL).fill_null(0).cast(pl.Float64))
    marked = pl.col("customer_id").is_in(inside["customer_id"].unique().to_list()).alias(OTHER_CAMPAIGN)
    return filled.with_columns(marked).sort("customer_id")


def _covariates() -> list[pl.Expr]:
    def logged(name: str) -> pl.Expr:
        value: Any = pl.col(name).fill_null(0.0).fill_nan(0.0)
        expression: pl.Expr = value.sign() * value.abs().log1p()
        return expression.alias(f"log_{name}")

    return [*(logged(name) for name in _FEATURES), *(pl.col(name).fill_null(0.0) for name in _PLAIN)]


def _history(others: pl.DataFrame, responses: pl.DataFrame, cut: date) -> pl.DataFrame:
    """customer_id, _HISTORY: campaigns mailed before the cut, those of them still open, coupons redeemed before it."""
    earlier = others.filter(pl.col("exposed_on") < cut)
    mailed = earlier.group_by("customer_id").agg(
        pl.col("campaign_id").n_unique().alias("prior_exposures"),
        pl.col("campaign_id").filter(pl.col("end_date") >= cut).n_unique().alias("open_exposures"),
    )
    redeemed = responses.filter((pl.col("responded_on") < cut) & (pl.col("response_type") == "redeem"))
    counts = redeemed.group_by("customer_id").agg(pl.len().alias("prior_redemptions"))
    return mailed.join(counts, on="customer_id", how="full", coalesce=True)
