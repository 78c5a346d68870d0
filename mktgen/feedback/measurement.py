"""How the decisions did: what the data can say, and by name what it can't."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import fsum
from typing import Final

import polars as pl

from mktgen.documents import FeedbackReport, Interval, Refusal
from mktgen.feedback.effect_report import effect_lines, effect_metrics, effect_refusal
from mktgen.feedback.intervals import clustered_share
from mktgen.feedback.metrics import CALCULATED, Observed, figure, ours, shops
from mktgen.metrics import CAPABILITIES, LIVE, refusals
from mktgen.settings import FeedbackSettings

_CALIBRATION_BINS: Final = 10


def measure(
    attributions: pl.DataFrame,
    settings: FeedbackSettings,
    capabilities: Mapping[str, bool],
    partition: date,
    forecasts: Mapping[str, float] | None = None,
    observed: Observed | None = None,
    ledger: pl.DataFrame | None = None,
) -> FeedbackReport:
    """Metrics of contracts.ATTRIBUTIONS as of `partition`. A metric that can't be had is absent, and refused by name.

    capabilities: of the source; `has_live_customers` True says that its customers can have received what we sent. One
    that is not given counts as missing: a replayed history can't answer, and its redemptions are no response to us.
    observed: what was recorded of our own contacts beyond the attributions (impressions, offers, margins and costs,
    covariates); see metrics.ours. Metrics of mktgen/metrics.py about our contacts stand under their names there; the `cvr`
    of the shop's own mailings is `exposure_redemption_rate`. Rates come with `_low` and `_high` (95%, clustered by
    customer). Only matured rows make a rate; mailings whose window is open are counted and rated apart, under
    `_open`. forecasts: figures of forecasts.py, reported beside. ledger: contracts.EFFECT_LEDGER as of `partition`: its latest
    waves are reported, or profit is refused; None: not kept.
    """
    flags = {name: capabilities.get(name, False) for name in (*CAPABILITIES, LIVE)}
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
    mailed = figure("cvr", shops(attributions), flags, "shop")
    metrics |= {} if isinstance(mailed, Refusal) else _flat({"exposure_redemption_rate": mailed["cvr"]})
    metrics |= _rate("exposure_redemption_rate_open", exposures.filter(~pl.col("matured")))
    if flags[LIVE]:
        metrics |= _calibration(sent.filter(pl.col("matured") & pl.col("predicted").is_not_null()))
    refused = {one.metric: one for one in refusals(flags, "ours")}
    for name in CALCULATED:
        found = figure(name, observed or ours(attributions), flags, "ours")
        if isinstance(found, Refusal):
            refused[name] = found
        else:
            metrics |= _flat(found)
    metrics |= forecasts or {}
    if ledger is not None:
        metrics |= effect_metrics(ledger)
        unknown = effect_refusal(ledger)
        refused |= {} if unknown is None else {unknown.metric: unknown}
    return FeedbackReport(
        partition=partition,
        metrics=dict(sorted(metrics.items())),
        refused=[refused[name] for name in sorted(refused)],
        notes=_notes(settings),
        effects=[] if ledger is None else effect_lines(ledger, settings),
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
    return _flat({name: clustered_share(rows.select("customer_id", hit.alias("hit")))})


def _flat(figures: Mapping[str, Interval]) -> dict[str, float]:
    bounds = (((name, f.value), (f"{name}_low", f.low), (f"{name}_high", f.high)) for name, f in figures.items())
    return {name: value for three in bounds for name, value in three}


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
    realised = _total(ordered["redeemed"].cast(pl.Float64)) / rows.height
    metrics = {
        "sent_decisions_predicted": float(rows.height),
        "sent_predicted_rate": predicted,
        "sent_calibration_error": gap,
        "sent_brier": _total((ordered["predicted"] - ordered["redeemed"].cast(pl.Float64)) ** 2) / rows.height,
    }
    if predicted > 0:
        metrics["sent_realised_over_predicted"] = realised / predicted
    return metrics


def _total(values: pl.Series) -> float:
    return fsum(values.to_list())


def _notes(settings: FeedbackSettings) -> list[str]:
    return [
        '"Would have bought" counts recommended items that were bought though nothing was sent: it measures the '
        "recommendation, not a response.",
        f"Windows are {settings.window_days} days; a rate counts matured rows only, unless its name ends in _open.",
        "Intervals are 95%, clustered by customer.",
    ]
