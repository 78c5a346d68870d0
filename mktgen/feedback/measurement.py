"""How the decisions did: what the data can say, and by name what it can't."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import fsum
from typing import Final

import polars as pl

from mktgen.documents import FeedbackReport, Refusal
from mktgen.feedback.intervals import clustered_difference, clustered_share
from mktgen.settings import FeedbackSettings

LIVE: Final = "has_live_customers"
_CALIBRATION_BINS: Final = 10


def measure(
    attributions: pl.DataFrame,
    settings: FeedbackSettings,
    capabilities: Mapping[str, bool],
    partition: date,
    forecasts: Mapping[str, float] | None = None,
) -> FeedbackReport:
    """Metrics of contracts.ATTRIBUTIONS as of `partition`. A metric that can't be had is absent, and refused by name.

    capabilities: of the source; `has_live_customers` True says that its customers can have received what we sent. It is
    False where it is not given: a replayed history can't answer, and its redemptions are no response to us.
    Rates come with `_low` and `_high` (95%, clustered by customer). Only matured rows make a rate; mailings whose
    window is open are counted and rated apart, under `_open`. forecasts: figures of forecasts.py, reported beside.
    """
    live = capabilities.get(LIVE, False)
    decisions = attributions.filter(pl.col("kind") == "decision")
    exposures = attributions.filter(pl.col("kind") == "exposure")
    sent = decisions.filter(pl.col("was_sent"))
    metrics = {
        "decisions": float(decisions.height),
        "decisions_matured": float(decisions["matured"].sum()),
        "decisions_sent": float(sent.height),
        "decisions_sent_matured": float(sent["matured"].sum()),
        "exposures": float(exposures.height),
        "exposures_matured": float(exposures["matured"].sum()),
    }
    metrics |= _would_have_bought(decisions.filter(pl.col("matured") & (pl.col("recommended") > 0)))
    metrics |= _rate("exposure_redemption_rate", exposures.filter(pl.col("matured")))
    metrics |= _rate("exposure_redemption_rate_open", exposures.filter(~pl.col("matured")))
    if live:
        metrics |= _calibration(sent.filter(pl.col("matured") & pl.col("predicted").is_not_null()))
        metrics |= _holdout_difference(decisions.filter(pl.col("matured")))
    metrics |= forecasts or {}
    return FeedbackReport(
        partition=partition,
        metrics=dict(sorted(metrics.items())),
        refused=_refused(metrics, capabilities, live),
        notes=_notes(settings),
    )


def _would_have_bought(rows: pl.DataFrame) -> dict[str, float]:
    """Share of decisions of which at least one recommended item was bought, and share of recommended items bought."""
    if rows.height == 0:
        return {}
    metrics = _share("would_have_bought_hit_rate", rows, pl.col("recommended_bought") > 0)
    metrics["would_have_bought_item_share"] = _total(rows["recommended_bought"]) / _total(rows["recommended"])
    return metrics


def _rate(name: str, rows: pl.DataFrame) -> dict[str, float]:
    return {} if rows.height == 0 else _share(name, rows, pl.col("redeemed"))


def _share(name: str, rows: pl.DataFrame, hit: pl.Expr) -> dict[str, float]:
    found = clustered_share(rows.select("customer_id", hit.alias("hit")))
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _calibration(rows: pl.DataFrame) -> dict[str, float]:
    """Predicted against realised redemptions of what we sent.

    Expected calibration error: sum over ten equal-sized bins of predicted probability of share * |realised - predicted|.
    It is biased upwards where bins are small. Reference: Naeini et al., AAAI 2015.
    """
    if rows.height == 0:
        return {}
    ordered = rows.sort("predicted", "reference_id").with_row_index("n")
    bins = ordered.group_by((pl.col("n") * _CALIBRATION_BINS // rows.height).alias("bin"), maintain_order=True).agg(
        pl.len().alias("rows"), pl.col("predicted").mean(), pl.col("redeemed").cast(pl.Float64).mean()
    )
    gap = _total((bins["predicted"] - bins["redeemed"]).abs() * bins["rows"]) / rows.height
    predicted = _total(ordered["predicted"]) / rows.height
    metrics = _share("sent_redemption_rate", rows, pl.col("redeemed"))
    metrics |= {
        "sent_decisions_predicted": float(rows.height),
        "sent_predicted_rate": predicted,
        "sent_calibration_error": gap,
        "sent_brier": _total((ordered["predicted"] - ordered["redeemed"].cast(pl.Float64)) ** 2) / rows.height,
    }
    if predicted > 0:
        metrics["sent_realised_over_predicted"] = metrics["sent_redemption_rate"] / predicted
    return metrics


def _total(values: pl.Series) -> float:
    return fsum(values.to_list())


def _holdout_difference(rows: pl.DataFrame) -> dict[str, float]:
    """Spend per decision of those not held out minus of those held out, as drawn: needs both, and something sent."""
    if not rows["was_sent"].any() or rows.filter(pl.col("holdout"))["was_sent"].any():
        return {}
    found = clustered_difference(
        rows.select("customer_id", (~pl.col("holdout")).alias("contacted"), pl.col("net_minor").alias("value"))
    )
    if found is None:
        return {}
    name = "holdout_difference_net_minor"
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _refused(metrics: dict[str, float], capabilities: Mapping[str, bool], live: bool) -> list[Refusal]:
    refused = []
    if not (capabilities.get("has_impressions", False) and capabilities.get("has_clicks", False)):
        missing = [name for name in ("has_impressions", "has_clicks") if not capabilities.get(name, False)]
        refused.append(
            Refusal(metric="ctr", missing=missing, reason="The source records no impressions and clicks to divide.")
        )
    if not live:
        reason = (
            "The source replays history: its customers can't have seen what we sent, so nothing is a response to it."
        )
        refused.append(Refusal(metric="response_to_our_sends", missing=[LIVE], reason=reason))
    if "holdout_difference_net_minor" not in metrics:
        reason = "It needs matured decisions that were really sent beside customers held out by our own draw."
        missing = [] if live else [LIVE]
        refused.append(Refusal(metric="uplift", missing=[*missing, "randomised_holdout_of_sent"], reason=reason))
    reason = "Outcomes of actions that were not taken are unknown, and the shop logged no propensities for its own."
    if not capabilities.get("has_propensity", False):
        refused.append(Refusal(metric="off_policy_value", missing=["has_propensity"], reason=reason))
    return refused


def _notes(settings: FeedbackSettings) -> list[str]:
    return [
        '"Would have bought" counts recommended items that were bought though nothing was sent: it measures the '
        "recommendation, not a response.",
        f"Windows are {settings.window_days} days; a rate counts matured rows only, unless its name ends in _open.",
        "Intervals are 95%, clustered by customer.",
    ]
