"""Ledger, metrics and request of a day by the steps themselves, from what was sent in a market whose effect is planted."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from mktgen import contracts, pipeline
from mktgen.documents import FeedbackReport, RetrainingRequest
from mktgen.feedback.programme import Sent
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.feedback.shop import DAY, day
from tests.feedback.test_effect_ledger import KNOWN, MONEY, market
from tests.steps.conftest import PlatformOf
from tests.support.sent_day import store_sends

BY = Provenance("test", "r", "", "", 0, ())
OFFER = "18:c1"
STRATEGY = {
    "margin_share": MONEY.margin_share, "contact_cost_minor": MONEY.contact_cost_minor, "face_value_minor": 7,
}  # fmt: skip
LIVE = {"source": {"name": "simulated_market", "promotion_plan": False}, "strategy": STRATEGY}


def stored(platform: Platform, sent: Sent, learned: bool, gain: float = 60.0) -> None:
    """A day of decisions, and all that is known of it when its window is over. Spend before the day foretells spend after."""
    write = platform.store.write_table
    write("decisions", DAY, sent.decisions[DAY], BY)
    write("attributions", KNOWN, sent.attributions, BY)
    write("outcomes", KNOWN, sent.outcomes, BY)
    write("demand_outcomes", KNOWN, contracts.DEMAND_OUTCOMES.empty(), BY)
    write("churn_outcomes", KNOWN, contracts.CHURN_OUTCOMES.empty(), BY)
    write("drift", KNOWN, contracts.DRIFT.empty(), BY)
    offer = [(OFFER, "18", "c1", DAY, date(2017, 12, 31), MONEY.face_value_minor)]
    write("offers", DAY, pl.DataFrame(offer, schema=contracts.OFFERS.columns, orient="row"), BY)
    delivered = sent.attributions.filter("was_sent").with_row_index("n")
    sends = [
        (f"s{row['n']}", row["reference_id"], row["customer_id"], "18", OFFER, "outbox", DAY, "sent", "")
        for row in delivered.iter_rows(named=True)
    ]
    store_sends(platform.store, DAY, sends, BY)
    write("customer_features", DAY, features(sent, gain), BY)
    if learned:
        told = sent.decisions[DAY].select(
            "customer_id", pl.lit(OFFER).alias("action"), pl.lit(60.0).alias("effect_minor"), pl.lit(5.0).alias("sd"),
            pl.lit(50.0).alias("low"), pl.lit(70.0).alias("high"),
        )  # fmt: skip
        write("response_scores", DAY, told, BY)


def features(sent: Sent, gain: float = 60.0) -> pl.DataFrame:
    planted = (gain + MONEY.contact_cost_minor + MONEY.face_value_minor * pl.col("redeemed")) / MONEY.margin_share
    caused = pl.when("was_sent").then(planted).otherwise(0.0)
    usual = sent.attributions.select("customer_id", pace=3.0 * (pl.col("net_minor") - caused))
    noise = pl.Series(np.random.default_rng(2).normal(0, 300, usual.height))
    columns = {
        name: pl.lit(None, dtype=pl.Float64)
        .cast(kind, strict=False)
        .fill_null(0 if kind.is_numeric() else None)
        .alias(name)
        for name, kind in (
            (n, k if isinstance(k, pl.DataType) else k()) for n, k in contracts.CUSTOMER_FEATURES.columns.items()
        )
        if kind.is_numeric()
    }
    frame = usual.with_columns(**columns).with_columns(net_minor_84d=pl.col("pace") + noise)
    rest = [name for name in contracts.CUSTOMER_FEATURES.columns if name not in frame.columns]
    frame = frame.with_columns(
        pl.lit(day(1) if name == "cut" else "").cast(contracts.CUSTOMER_FEATURES.columns[name]).alias(name)
        for name in rest
    )
    return frame.select(list(contracts.CUSTOMER_FEATURES.columns))


def run(platform: Platform, *steps: str) -> list[str]:
    return [note for step in steps for note in pipeline.run_step(step, KNOWN, platform=platform).notes]


def ledger(platform: Platform) -> pl.DataFrame:
    return platform.store.read_table(platform.store.need("effect_ledger", KNOWN))


def report(platform: Platform) -> FeedbackReport:
    return platform.store.read_document(platform.store.need("feedback_report", KNOWN), FeedbackReport)


def request(platform: Platform) -> RetrainingRequest:
    return platform.store.read_document(platform.store.need("retraining_request", KNOWN), RetrainingRequest)


def test_what_was_learned_and_came_true_stands_in_ledger_and_report(platform_of: PlatformOf) -> None:
    platform = platform_of(**LIVE)
    sent = market(gain=60.0)
    stored(platform, sent, learned=True)
    notes = run(platform, "judge_effects", "assess_campaigns", "measure", "request_retraining")
    assert notes[0] == "2 rows of 1 waves, 2 new today"
    contacts = sent.attributions["was_sent"].sum()
    for row in ledger(platform).iter_rows(named=True):
        assert (row["incremental"], row["matured"], row["shortfall"]) == (True, True, False)
        assert row["predicted_minor"] == pytest.approx(60 * contacts)
        assert row["predicted_low_minor"] == pytest.approx(50 * contacts)
        assert row["realised_low_minor"] < 60 * contacts < row["realised_high_minor"]
    found = report(platform)
    everyone, campaign = found.effects
    assert (everyone.campaign_id, campaign.campaign_id, everyone.contacts) == ("", "18", contacts)
    assert everyone.realised is not None
    assert found.metrics["effect_realised_minor"] == everyone.realised.value
    assert "incremental_profit" not in {refused.metric for refused in found.refused}
    assert request(platform).requested is False


def test_the_metrics_that_the_source_bears_are_computed_and_the_rest_refused(platform_of: PlatformOf) -> None:
    """The market records deliveries, clicks, offers and costs; of these days no clicks were collected."""
    platform = platform_of(**LIVE)
    sent = market(gain=60.0)
    stored(platform, sent, learned=True)
    run(platform, "judge_effects", "assess_campaigns", "measure")
    found = report(platform)
    made = sent.attributions.filter("was_sent")
    assert found.metrics["cvr"] == pytest.approx(made["redeemed"].mean())
    assert f"offer_response.{OFFER}" in found.metrics
    spent = 40 + 100 * found.metrics["cvr"]  # what a contact costs, and what the planted gain leaves above it
    assert found.metrics["roi_low"] < 60 / spent < found.metrics["roi_high"]
    extra = (60 + spent) / MONEY.margin_share * made.height / (~sent.attributions["holdout"]).sum()
    assert found.metrics["uplift_low"] < extra < found.metrics["uplift_high"]
    assert {refused.metric: refused.missing for refused in found.refused} == {"ctr": ["recorded_impressions"]}


def test_a_click_through_rate_is_clicks_per_message_once_all_its_days_are_recorded(platform_of: PlatformOf) -> None:
    platform = platform_of(**LIVE)
    sent = market(gain=60.0)
    stored(platform, sent, learned=True)
    made = platform.store.read_table(platform.store.need("sends", DAY))
    clicked = made.gather_every(4).select(
        pl.format("{}:1", "send_id").alias("click_id"), pl.col("send_id").alias("exposure_id"), "customer_id"
    )
    for late in (1, 2):
        when = DAY + timedelta(days=late)
        frame = clicked.filter(pl.lit(late == 1)).with_columns(clicked_on=pl.lit(when))
        platform.store.write_table("clicks", when, frame, BY)
    run(platform, "judge_effects", "assess_campaigns", "measure")
    assert "ctr" not in report(platform).metrics, "of the third day nothing is known"
    platform.store.write_table("clicks", DAY + timedelta(days=3), contracts.CLICKS.empty(), BY)
    run(platform, "measure")
    found = report(platform)
    assert found.metrics["ctr"] == pytest.approx(clicked.height / made.height)
    assert found.metrics["ctr_low"] < found.metrics["ctr"] < found.metrics["ctr_high"]
    assert found.refused == []


def test_what_was_known_before_narrows_what_is_realised(platform_of: PlatformOf) -> None:
    widths = []
    for number, foretold in enumerate((False, True)):
        platform = platform_of(prefix=f"/{number}", **LIVE)
        sent = market(gain=60.0)
        stored(platform, sent, learned=True)
        if not foretold:
            flat = features(sent).with_columns(net_minor_84d=pl.lit(100.0))
            platform.store.write_table("customer_features", DAY, flat, Provenance("test", "flat", "", "", 0, ()))
        run(platform, "judge_effects")
        widths.append((ledger(platform)["realised_high_minor"] - ledger(platform)["realised_low_minor"]).to_list())
    assert all(narrow < 0.5 * wide for wide, narrow in zip(*widths, strict=True))


@pytest.mark.parametrize(("learned", "model"), [(True, "response"), (False, "behaviour")])
def test_an_effect_that_falls_short_asks_for_the_model_that_foretold_it(
    platform_of: PlatformOf, learned: bool, model: str
) -> None:
    platform = platform_of(**LIVE)
    stored(platform, market(gain=-60.0, predicted=90.0), learned, gain=-60.0)
    notes = run(platform, "judge_effects", "assess_campaigns", "measure", "request_retraining")
    asked = request(platform)
    assert asked.models == [model]
    assert asked.doubted_before == (DAY if learned else None)
    assert asked.reasons[0].startswith(f"effect shortfall: all campaigns, wave of {DAY}:")
    assert notes[-1].startswith(f"retraining of {model} requested: effect shortfall")
    assert pipeline.requested_training(KNOWN, platform) is not learned
    plan = pipeline.run_step("train_due", day(30), platform=platform).notes[0]
    assert ("retraining request" in plan) is not learned


def test_a_replay_or_a_programme_without_holdout_is_refused_with_the_reason(platform_of: PlatformOf) -> None:
    replay = platform_of(prefix="/replay", strategy=STRATEGY)
    stored(replay, market(gain=60.0, sends=False), learned=False)
    notes = run(replay, "judge_effects", "assess_campaigns", "measure", "request_retraining")
    assert notes[0].startswith("no wave is over in which anything was delivered")
    missing = {refused.metric: refused.missing for refused in report(replay).refused}
    assert missing["incremental_profit"] == ["delivered_contacts"]
    assert missing["roi"] == ["has_live_customers", "has_cost"]
    assert report(replay).effects == []
    none_held = platform_of(prefix="/none", **LIVE)
    sent = market(gain=60.0)
    everyone = Sent(
        sent.attributions.with_columns(holdout=pl.lit(False)),
        {DAY: sent.decisions[DAY].with_columns(holdout=pl.lit(False), arm=pl.lit("policy"))},
        sent.outcomes,
    )
    stored(none_held, everyone, learned=True)
    run(none_held, "judge_effects", "assess_campaigns", "measure")
    refused = {one.metric: one for one in report(none_held).refused}
    assert refused["incremental_profit"].missing == ["randomised_holdout_of_sent"]
    assert "0 of 3000 customers held out" in refused["incremental_profit"].reason
    assert {"roi", "uplift"} <= set(refused)


def test_the_next_day_reads_the_ledger_and_changes_nothing_that_is_known(platform_of: PlatformOf) -> None:
    platform = platform_of(**LIVE)
    sent = market(gain=60.0)
    stored(platform, sent, learned=True)
    run(platform, "judge_effects")
    first, later = ledger(platform), day(29)
    platform.store.write_table("attributions", later, sent.attributions, BY)
    platform.store.write_table("outcomes", later, sent.outcomes, BY)
    assert pipeline.run_step("judge_effects", later, platform=platform).notes == ["2 rows of 1 waves, 0 new today"]
    assert platform.store.read_table(platform.store.need("effect_ledger", later)).equals(first)
