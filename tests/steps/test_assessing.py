"""Verdicts by the step itself: an effect of ours that was drawn, and one of the shop's that nobody drew."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from mktgen import contracts, pipeline
from mktgen.documents import EffectReport, EffectReports
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.execution.conftest import decision
from tests.feedback import shop
from tests.steps.conftest import PlatformOf

BY = Provenance("test", "r", "", "", 0, ())
BEGAN, TODAY = date(2017, 6, 4), date(2017, 7, 2)  # a window of 28 days apart
WAS = date(2017, 5, 7)
COUNT = 1_200
CUSTOMERS = [f"customer{n:04d}" for n in range(COUNT)]
LEVEL = np.random.default_rng(3).gamma(4, 500, COUNT)
LEDGER = {
    "campaign_id": "", "wave": BEGAN, "contacts": 900, "controls": 240, "predicted_minor": 1.0, "realised_minor": 1.0,
    "realised_low_minor": 0.0, "realised_high_minor": 2.0, "predicted_redemptions": 0.0, "redeemed": 0,
    "incremental": True, "matured": True, "shortfall": False, "reason": "", "known_on": TODAY,
}  # fmt: skip


def features(day: date) -> pl.DataFrame:
    """What was known at the end of a day: past spend foretells the level of a customer."""
    rng = np.random.default_rng(day.toordinal())
    columns = {}
    for name, kind in contracts.CUSTOMER_FEATURES.columns.items():
        if kind == pl.Float64:
            columns[name] = rng.gamma(2.0, 10.0, COUNT)
    columns |= {"net_minor_84d": 3 * LEVEL + rng.normal(0, 100, COUNT), "recency_days": np.full(COUNT, 5.0)}
    frame = pl.DataFrame(columns).with_columns(customer_id=pl.Series(CUSTOMERS))
    rest = [name for name in contracts.CUSTOMER_FEATURES.columns if name not in frame.columns]
    return frame.with_columns(
        pl.lit("c").cast(contracts.CUSTOMER_FEATURES.columns[name], strict=False).fill_null(0).alias(name)
        if contracts.CUSTOMER_FEATURES.columns[name] != pl.String
        else pl.lit("c").alias(name)
        for name in rest
    ).select(list(contracts.CUSTOMER_FEATURES.columns))


def bought(effect: np.ndarray) -> pl.DataFrame:
    """A purchase of each customer in the window before, and one in the window after with the effect on it."""
    rng = np.random.default_rng(5)
    empty = dict.fromkeys(contracts.CUSTOMER_DAYS.columns, 0)
    made = []
    for when, added in ((WAS + timedelta(days=9), np.zeros(COUNT)), (BEGAN + timedelta(days=9), effect)):
        spent = LEVEL + rng.normal(0, 150, COUNT) + added
        other = rng.gamma(2, 100, COUNT)
        made += [
            {**empty, "customer_id": who, "business_date": when, "net_minor": round(net), "other_minor": round(fuel)}
            for who, net, fuel in zip(CUSTOMERS, spent, other, strict=True)
        ]
    return pl.DataFrame(made, schema=contracts.CUSTOMER_DAYS.columns)


def assessed(platform: Platform) -> EffectReports:
    pipeline.run_step("assess_campaigns", TODAY, platform=platform)
    return platform.store.read_document(platform.store.need("effect_reports", TODAY), EffectReports)


@pytest.fixture
def platform(platform_of: PlatformOf) -> Platform:
    made = platform_of()
    made.store.write_table("effect_ledger", TODAY, contracts.EFFECT_LEDGER.empty(), BY)
    return made


def ours(platform: Platform, held: np.ndarray) -> None:
    rows = [decision(n, holdout=bool(held[n])) | {"holdout_share": 0.2} for n in range(COUNT)]
    platform.store.write_table("decisions", BEGAN, pl.DataFrame(rows, schema=contracts.DECISIONS.columns), BY)
    ledger = pl.DataFrame([LEDGER], schema=contracts.EFFECT_LEDGER.columns)
    platform.store.write_table("effect_ledger", TODAY, ledger, Provenance("test", "wave", "", "", 0, ()))


def test_a_wave_of_ours_is_reported_against_its_holdout(platform: Platform) -> None:
    held = np.random.default_rng(1).random(COUNT) < 0.2
    ours(platform, held)
    for day in (WAS, BEGAN):
        platform.store.write_table("customer_features", day, features(day), BY)
    platform.store.write_table("customer_days", TODAY, bought(np.where(held, 0.0, 200.0)), BY)
    (report,) = assessed(platform).reports
    assert (report.campaign_id, report.design, report.verdict) == ("", "randomised", "reported"), report.reasons
    assert report.effect is not None
    assert report.effect.low < 200 < report.effect.high
    assert report.effect.high - report.effect.low < 100, "past spend must narrow it: customers differ by 1,000"
    assert {gate.name for gate in report.gates} >= {"sample_ratio", "placebo", "negative_control"}
    assert report.diagnostics["control_share_designed"] == 0.2


def test_a_campaign_that_nobody_drew_is_refused_with_its_reasons(platform: Platform) -> None:
    """Big spenders were mailed, and mailing did nothing: the naive difference is large and is not an effect."""
    start = BEGAN + timedelta(days=1)
    mailed = [who for who, level in zip(CUSTOMERS, LEVEL, strict=True) if level > 2_000]
    write = platform.store.write_table
    write("exposures", start, shop.exposures([(who, "18", start) for who in mailed]), BY)
    write("campaigns", start, shop.campaigns([("18", start, start + timedelta(days=30))]), BY)
    for day in (WAS, BEGAN):
        write("customer_features", day, features(day), BY)
    write("customer_days", TODAY, bought(np.zeros(COUNT)), BY)
    (report,) = assessed(platform).reports
    assert (report.campaign_id, report.design, report.verdict, report.effect) == (
        "18",
        "observational",
        "refused",
        None,
    )
    assert report.evidence["naive"].low > 500
    assert report.reasons


def test_what_is_not_stored_is_named_and_a_day_without_a_window_s_end_says_so(platform: Platform) -> None:
    assert assessed(platform).notes == []
    held = np.random.default_rng(1).random(COUNT) < 0.2
    ours(platform, held)
    start = BEGAN + timedelta(days=1)
    platform.store.write_table("exposures", start, shop.exposures([("customer0001", "18", start)]), BY)
    platform.store.write_table("campaigns", start, shop.campaigns([("18", start, start + timedelta(days=30))]), BY)
    assert assessed(platform).notes == [
        "not assessed: our programme: features or decisions of 2017-06-04, when it began, are not known",
        "not assessed: campaign 18: features of 2017-06-04, before it began, are not known",
    ]


def test_features_from_before_the_loop_ran_are_made_of_the_lines(platform_of: PlatformOf) -> None:
    """Lines of every day since the source began, and no features: what the loop would have stored is made anew."""
    platform = platform_of()
    held = np.random.default_rng(1).random(COUNT) < 0.2
    ours(platform, held)
    first, rng = platform.source.first_day, np.random.default_rng(8)
    for number in range((BEGAN - first).days + 1):
        day = first + timedelta(days=number)
        buyers = [who for n, who in enumerate(CUSTOMERS) if n % 20 == number % 20]
        spent = LEVEL[number % 20 :: 20] / 2 + rng.normal(0, 50, len(buyers))
        rows = [shop.line(who, day, "i", net=round(max(net, 1))) for who, net in zip(buyers, spent, strict=True)]
        platform.store.write_table("order_lines", day, shop.lines(rows), BY)
    platform.store.write_table("customer_days", TODAY, bought(np.where(held, 0.0, 200.0)), BY)
    (report,) = assessed(platform).reports
    assert report.verdict == "reported", report.reasons
    assert report.effect is not None
    assert report.effect.low < 200 < report.effect.high
    assert report.diagnostics["variance_ratio"] < 0.5, "the features must foretell spend"


def test_the_verdicts_stand_in_the_feedback_report(platform: Platform) -> None:
    held = np.random.default_rng(1).random(COUNT) < 0.2
    ours(platform, held)
    for day in (WAS, BEGAN):
        platform.store.write_table("customer_features", day, features(day), BY)
    platform.store.write_table("customer_days", TODAY, bought(np.where(held, 0.0, 200.0)), BY)
    reports: list[EffectReport] = assessed(platform).reports
    for name in ("attributions", "outcomes", "demand_outcomes", "churn_outcomes"):
        platform.store.write_table(name, TODAY, contracts.contract(name).empty(), BY)
    notes = pipeline.run_step("measure", TODAY, platform=platform).notes
    assert any(note.startswith("our programme: +") for note in notes)
    assert reports[0].effect is not None
