"""What the pages show: a day decided, published, approved and sent by the real steps, and what a feedback would leave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import polars as pl

from mktgen import contracts, pipeline
from mktgen.documents import (
    EffectReport,
    EffectReports,
    FeedbackReport,
    Gate,
    Interval,
    Refusal,
    ResponsePromotion,
    ResponseReport,
    RetrainingRequest,
)
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.support.any_strategy import strategy
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import BY, WRITE, prepare, run

DAY: Final = PARTITION
HOSTILE_DAY: Final = DAY - timedelta(days=2)
STOPPED_DAY: Final = DAY - timedelta(days=3)
UNREADABLE_DAY: Final = DAY - timedelta(days=4)
HOSTILE: Final = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
SECTIONS: Final[dict[str, dict[str, Any]]] = {
    "strategy": {"budget_minor": 9_000, "cohorts": 1, "usual_share": 0.1},
    "execution": {"live_from": DAY},
    "contact": {"consent_default": "existing_customers"},
}


def fill(platform: Platform) -> Platform:
    """All days."""
    decided(platform)
    foreseen(platform)
    learned(platform)
    other_days(platform)
    return platform


def decided(platform: Platform) -> None:
    """DAY, by the steps; approved, and sent to the outbox."""
    prepare(platform)
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    platform.store.write_table("reasons", DAY, contracts.REASONS.empty(), BY)
    run(platform, *WRITE, "evaluate_strategy", "publish")
    pipeline.record_approval(DAY, True, "ana", "prices checked", platform=platform)
    run(platform, "dispatch")


def foreseen(platform: Platform) -> None:
    """Demand ahead and customers at risk."""
    bounds = [
        ("category", "CHEESE", 120.4, 96.0, 149.0),
        ("category", HOSTILE, 80.0, None, None),
        ("all", "", 1200.0, 1100.0, 1300.0),
    ]
    rows = [
        (days, level, name, DAY, DAY, days, units * days / 7, low, high, low, high, units, "blend", 1)
        for days in (7, 28) for level, name, units, low, high in bounds
    ]  # fmt: skip
    forecast = pl.DataFrame(rows, schema=contracts.DEMAND_FORECAST.columns, orient="row")
    platform.store.write_table("demand_forecast", DAY, forecast, BY)
    risk = [
        (f"c{n:04d}", n, 0.61, 5_000.0 * n, 3_050.0, 24.0, 6.0, f"no visit for 23 days {HOSTILE}", "m")
        for n in range(1, 13)
    ]
    warnings = pl.DataFrame(risk, schema=contracts.CHURN_WARNINGS.columns, orient="row")
    platform.store.write_table("churn_warnings", DAY, warnings, BY)


def _wave(
    campaign: str, back: int, predicted: float, realised: tuple[float, float, float] | None, short: bool
) -> tuple[Any, ...]:
    wave = DAY - timedelta(days=back)
    value, low, high = realised or (None, None, None)
    reason = "fell short: the upper bound lies below the prediction" if short else "the prediction lies within"
    reason = reason if realised else "12 matured contacts, 200 are needed to judge"
    return (
        campaign, wave, 400, 220, predicted, predicted * 0.5, predicted * 1.5, value, low, high,
        value / predicted if value is not None else None, 30.0, 28, True, realised is not None, short, reason, DAY,
        DAY if short else None,
    )  # fmt: skip


def learned(platform: Platform) -> None:
    """Three waves of feedback with one that fell short, drift, a request for training, a response model in force."""
    store = platform.store
    waves = [
        _wave("", 56, 60_000.0, (52_000.0, 11_000.0, 93_000.0), False),
        _wave("", 28, 70_000.0, (18_000.0, -20_000.0, 56_000.0), True),
        _wave("14", 56, 25_000.0, (27_000.0, 4_000.0, 50_000.0), False),
        _wave("14", 28, 31_000.0, (2_000.0, -15_000.0, 19_000.0), True),
        _wave("15", 28, 22_000.0, None, False),
    ]
    ledger = pl.DataFrame(waves, schema=contracts.EFFECT_LEDGER.columns, orient="row")
    store.write_table("effect_ledger", DAY, ledger, BY)
    drift = [
        ("recency_days", 0.31, 0.25, True),
        ("net_minor_28d", 0.08, 0.25, False),
        ("orders_84d", 0.02, 0.25, False),
    ]
    store.write_table("drift", DAY, pl.DataFrame(drift, schema=contracts.DRIFT.columns, orient="row"), BY)
    refused = [Refusal(metric="ctr", missing=["has_clicks"], reason="clicks are not recorded")]
    metrics = {"cvr": 0.081, "cvr_low": 0.072, "cvr_high": 0.09, "decisions": 480.0}
    report = FeedbackReport(partition=DAY, metrics=metrics, refused=refused, notes=["Intervals are 95%."])
    store.write_document("feedback_report", DAY, report, BY)
    request = RetrainingRequest(
        partition=DAY, requested=True, reasons=["recency_days drifted: PSI 0.31, at most 0.25"], models=["behaviour"]
    )
    store.write_document("retraining_request", DAY, request, BY)
    verdict = EffectReport(
        partition=DAY, campaign_id="14", arm="mailed", outcome="minor units of spend per customer in 28 days",
        design="randomised", customers={"treated": 400, "control": 220}, evidence={},
        effect=Interval(value=61.0, low=-4.0, high=126.0), relative_effect=None, diagnostics={}, gates=[],
        verdict="reported", reasons=[], notes=[],
    )  # fmt: skip
    store.write_document("effect_reports", DAY, EffectReports(partition=DAY, reports=[verdict], notes=[]), BY)
    gate = Gate(name="placebo", passed=True, detail="no effect where there can be none")
    response = ResponseReport(
        partition=DAY, usable=True, reason="all checks passed", trials=900, actions=["14:0"], facts={}, gates=[gate]
    )
    store.write_document("response_report", DAY, response, Provenance("test", "shown", "", "", 0, ()))
    promotion = ResponsePromotion(
        partition=DAY, serving=DAY, role="champion", previous=None, reason="the first that passed", rule="r"
    )
    store.write_document("response_promotion", DAY, promotion, Provenance("test", "shown", "", "", 0, ()))


def other_days(platform: Platform) -> None:
    """A strategy full of markup, a stopped one, and one that another version of the product wrote."""
    store = platform.store
    store.write_document("strategy", HOSTILE_DAY, strategy(HOSTILE_DAY, text=HOSTILE), BY)
    store.write_document("strategy", STOPPED_DAY, strategy(STOPPED_DAY, stopped=True), BY)
    store.write_document("strategy", UNREADABLE_DAY, strategy(UNREADABLE_DAY), BY)
    key = f"strategy/dt={UNREADABLE_DAY}/run={BY.run}/_manifest.json"
    manifest = store.need("strategy", UNREADABLE_DAY)
    written = (platform.objects.get(key) or b"").replace(manifest.contract.encode(), b"0" * 64)
    platform.objects.put(key, written)
