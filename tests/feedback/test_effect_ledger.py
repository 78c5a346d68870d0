"""Predicted against realised on a market whose effect is planted: shortfalls, and what can't be measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.contracts import ATTRIBUTIONS, DECISIONS, DRIFT, EFFECT_LEDGER, OUTCOMES
from mktgen.documents import FeedbackReport
from mktgen.errors import PermanentError
from mktgen.feedback.effect.logged import comparable, effect_on_contacted
from mktgen.feedback.effect_ledger import effect_ledger
from mktgen.feedback.programme import Economics, Sent, programme_arms
from mktgen.feedback.retraining import request_retraining
from mktgen.settings import EffectSettings, FeedbackSettings
from tests.execution.conftest import decision
from tests.feedback.shop import DAY, day

SETTINGS = FeedbackSettings()
MONEY = Economics(margin_share=0.5, contact_cost_minor=40, face_value_minor=100)
KNOWN = day(28)  # the window after DAY is over
HELD_OUT, LEFT_ALONE = 0.2, 0.3


def market(
    gain: float, predicted: float = 60.0, customers: int = 3_000, seed: int = 1, on: date = DAY, sends: bool = True
) -> Sent:
    """One day of decisions. A contact of campaign 18 adds `gain` minor units of profit, its costs included.

    20% are held out; the others are contacted with a chance of .7, logged. Net spend is 2,000 and skewed; a fifth redeem.
    """
    rng = np.random.default_rng(seed)
    held, contacted = rng.random(customers) < HELD_OUT, rng.random(customers) > LEFT_ALONE
    contacted &= ~held
    redeemed = contacted & (rng.random(customers) < 0.2)
    cost = MONEY.contact_cost_minor + MONEY.face_value_minor * redeemed
    net = rng.gamma(4, 500, customers) + contacted * (gain + cost) / MONEY.margin_share
    made, told = [], []
    came: list[tuple[object, ...]] = []
    for n in range(customers):
        row = decision(n, action="18:c1" if contacted[n] else "no_contact", holdout=bool(held[n]))
        alone = ["no_contact"] if held[n] else ["no_contact", "18:c1"]
        made.append(
            row
            | {
                "decision_id": f"{on}-{n:05d}",
                "action_set": alone,
                "expected_value_minor": predicted if contacted[n] else 0.0,
                "action_propensities": [1.0] if held[n] else [LEFT_ALONE, 1 - LEFT_ALONE],
                "p_redeem": 0.2 if contacted[n] else None,
            }
        )
        told.append(
            {
                "kind": "decision",
                "reference_id": f"{on}-{n:05d}",
                "customer_id": row["customer_id"],
                "campaign_id": row["campaign_id"],
                "decided_on": on,
                "window_end": on + timedelta(days=28),
                "matured": True,
                "was_sent": bool(contacted[n]) and sends,
                "holdout": bool(held[n]),
                "predicted": 0.2 if contacted[n] else None,
                "redeemed": bool(redeemed[n]),
                "charged": bool(redeemed[n]),
                "orders": 1,
                "net_minor": round(net[n]),
                "recommended_bought": 0,
                "recommended": 0,
            }
        )
        came.append((row["customer_id"], on + timedelta(days=9), 1, round(net[n]), [], []))
    return Sent(
        attributions=pl.DataFrame(told, schema=ATTRIBUTIONS.columns),
        decisions={on: pl.DataFrame(made, schema=DECISIONS.columns)},
        outcomes=pl.DataFrame(came, schema=OUTCOMES.columns, orient="row"),
    )  # fmt: skip


def ledger(sent: Sent, settings: FeedbackSettings = SETTINGS, on: date = KNOWN) -> pl.DataFrame:
    return effect_ledger(EFFECT_LEDGER.empty(), sent, MONEY, settings, on)


def test_realised_profit_is_found_against_the_holdout_and_against_those_left_alone() -> None:
    sent = market(gain=60.0)
    found = ledger(sent)
    contacts = sent.attributions.filter("was_sent").height
    assert found["campaign_id"].to_list() == ["", "18"]
    for row in found.iter_rows(named=True):
        assert row["contacts"] == contacts
        assert row["predicted_minor"] == pytest.approx(60 * contacts)
        assert row["realised_low_minor"] < 60 * contacts < row["realised_high_minor"]
        assert row["ratio"] == pytest.approx(row["realised_minor"] / row["predicted_minor"])
        assert not row["shortfall"]
        assert (row["known_on"], row["called_on"]) == (KNOWN, None)
        assert row["predicted_redemptions"] == pytest.approx(0.2 * contacts)
    everyone, campaign = found.iter_rows(named=True)
    assert everyone["controls"] == sent.attributions["holdout"].sum()
    assert campaign["controls"] < everyone["contacts"]


def test_a_shortfall_is_called_where_the_upper_bound_lies_below_the_prediction() -> None:
    found = ledger(market(gain=0.0, predicted=300.0))
    assert found["shortfall"].to_list() == [True, True]
    assert found["called_on"].to_list() == [KNOWN, KNOWN]
    assert all("below 0.5" in reason for reason in found["reason"])
    few = replace_min_matured(SETTINGS, 100_000)
    judged = ledger(market(gain=0.0, predicted=300.0), few)
    assert judged["shortfall"].to_list() == [False, False]
    assert all("100000 are needed" in reason for reason in judged["reason"])


def test_a_wave_is_judged_once_when_all_its_contacts_have_matured() -> None:
    sent = market(gain=0.0, predicted=300.0)
    half = replace(sent, attributions=sent.attributions.with_columns(matured=pl.col("reference_id") < f"{DAY}-01500"))
    early = ledger(half).filter(pl.col("campaign_id") != "").row(0, named=True)
    assert (early["shortfall"], early["called_on"]) == (False, None)
    assert "not matured: judged when all are" in early["reason"]
    called = ledger(sent)
    better = effect_ledger(called, market(gain=300.0, predicted=300.0), MONEY, SETTINGS, day(30))
    again = effect_ledger(better, sent, MONEY, SETTINGS, day(31))
    campaign = [frame.filter(pl.col("campaign_id") != "").row(0, named=True) for frame in (called, better, again)]
    assert [row["shortfall"] for row in campaign] == [True, False, True]
    assert [row["called_on"] for row in campaign] == [KNOWN] * 3, (
        "late rows may change a figure, not the day of the call"
    )


def replace_min_matured(settings: FeedbackSettings, least: int) -> FeedbackSettings:
    return settings.model_copy(update={"min_matured": least})


def test_chance_alone_calls_no_shortfall() -> None:
    called = [ledger(market(gain=60.0, customers=600, seed=seed))["shortfall"].any() for seed in range(10)]
    assert sum(called) <= 2  # two rows a seed, of which 2.5% each


def test_predictions_with_bounds_are_summed_and_a_baseline_narrows_what_is_realised() -> None:
    sent = market(gain=60.0)
    made = sent.decisions[DAY]
    told = made.filter(pl.col("action") != "no_contact").select(
        "decision_id", pl.lit(50.0).alias("profit_minor"), pl.lit(30.0).alias("profit_low_minor"),
        pl.lit(80.0).alias("profit_high_minor"), pl.lit(True).alias("incremental"),
    )  # fmt: skip
    usual = sent.attributions.select(
        "customer_id", "decided_on",
        (MONEY.margin_share * pl.col("net_minor") - pl.when("was_sent").then(100.0).otherwise(0.0)).alias("baseline_minor"),
    )  # fmt: skip
    plain, better = (
        ledger(sent),
        ledger(replace(sent, predictions=told, baseline=usual, before=usual.drop("decided_on"))),
    )
    for one, other in zip(plain.iter_rows(named=True), better.iter_rows(named=True), strict=True):
        assert other["predicted_low_minor"] == pytest.approx(30 * one["contacts"])
        assert other["predicted_high_minor"] == pytest.approx(80 * one["contacts"])
        assert one["predicted_low_minor"] is None
        width, narrower = (row["realised_high_minor"] - row["realised_low_minor"] for row in (one, other))
        assert narrower < 0.5 * width
    with pytest.raises(PermanentError, match="delivered contacts have no prediction"):
        ledger(replace(sent, predictions=told.head(10)))


def test_only_what_was_sent_and_has_matured_has_rows() -> None:
    assert ledger(market(gain=60.0, sends=False)).is_empty()
    assert ledger(market(gain=60.0), on=day(27)).is_empty()
    assert effect_ledger(
        EFFECT_LEDGER.empty(), Sent(ATTRIBUTIONS.empty(), {}, OUTCOMES.empty()), MONEY, SETTINGS, KNOWN
    ).is_empty()
    open_ = market(gain=60.0)
    unripe = replace(open_, attributions=open_.attributions.with_columns(pl.lit(False).alias("matured")))
    assert ledger(unripe)["campaign_id"].to_list() == [
        ""
    ]  # a campaign waits for its contacts, the programme for its window


def every_day(gain: float, customers: int = 400, days: int = 56) -> Sent:
    """Everyone not held out is contacted every 28 days, each on a day of its own; a contact brings `gain` minor units of
    profit, evenly over its 28 days, beside its own costs. Predicted: just that."""
    rng = np.random.default_rng(4)
    held = rng.random(customers) < HELD_OUT
    made: dict[date, list[dict[str, object]]] = {day(d): [] for d in range(days)}
    told, net = [], np.tile(rng.gamma(4, 0.1, customers)[:, None], (1, days + 29))
    for d in range(days):
        for n in range(customers):
            contact = n % 28 == d % 28 and not held[n]
            row = decision(n, action="18:c1" if contact else "no_contact", holdout=bool(held[n]))
            made[day(d)].append(row | {"decision_id": f"{d}-{n}", "expected_value_minor": gain if contact else 0.0})
            if contact:
                net[n, d + 1 : d + 29] += (gain + MONEY.contact_cost_minor) / MONEY.margin_share / 28
                told.append({
                    "kind": "decision", "reference_id": f"{d}-{n}", "customer_id": row["customer_id"], "campaign_id": "18",
                    "decided_on": day(d), "window_end": day(d + 28), "matured": True, "was_sent": True, "holdout": False,
                    "predicted": 0.1, "redeemed": False, "charged": False, "orders": 1, "net_minor": 0, "recommended_bought": 0,
                    "recommended": 0,
                })  # fmt: skip
    came: list[tuple[object, ...]] = [
        (f"customer{n:04d}", day(d), 1, round(1_000 * net[n, d]), [], [])
        for n in range(customers)
        for d in range(days + 1)
    ]
    return Sent(
        attributions=pl.DataFrame(told, schema=ATTRIBUTIONS.columns),
        decisions={on: pl.DataFrame(rows, schema=DECISIONS.columns) for on, rows in made.items()},
        outcomes=pl.DataFrame(came, schema=OUTCOMES.columns, orient="row"),
    )


def test_contacts_of_every_day_count_with_what_falls_into_the_window() -> None:
    """Money in thousandths, so that rounding does not matter: the first wave has no contacts before it, the second has."""
    sent = every_day(gain=60.0)
    money = Economics(MONEY.margin_share / 1_000, MONEY.contact_cost_minor, MONEY.face_value_minor)
    first = effect_ledger(EFFECT_LEDGER.empty(), sent, money, SETTINGS, day(28))
    both = effect_ledger(first, sent, money, SETTINGS, day(56))
    programme = both.filter(pl.col("campaign_id") == "").sort("wave")
    assert programme["wave"].to_list() == [DAY, day(28)]
    assert programme["predicted_minor"][0] < 0.6 * programme["predicted_minor"][1]
    for row in programme.iter_rows(named=True):
        assert row["realised_low_minor"] < row["predicted_minor"] < row["realised_high_minor"]
        assert row["ratio"] == pytest.approx(1.0, abs=0.03)


def test_without_holdout_or_exploration_nothing_is_realised_and_the_reason_says_why() -> None:
    sent = market(gain=60.0)
    none_held = sent.decisions[DAY].with_columns(pl.lit(False).alias("holdout"))
    certain = none_held.with_columns(
        pl.when(pl.col("action") == "18:c1").then(pl.lit([0.0, 1.0])).otherwise(pl.col("action_propensities"))
        .alias("action_propensities"), pl.when(pl.col("action_set").list.len() == 1).then(pl.lit(["no_contact", "18:c1"]))
        .otherwise(pl.col("action_set")).alias("action_set"),
    )  # fmt: skip
    certain = certain.with_columns(
        pl.when(pl.col("action_propensities").list.len() == 1).then(pl.lit([1.0, 0.0])).otherwise(pl.col("action_propensities"))
        .alias("action_propensities")
    )  # fmt: skip
    found = ledger(replace(sent, decisions={DAY: certain}))
    assert found["realised_minor"].null_count() == 2
    assert not found["shortfall"].any()
    assert "0 of 3000 customers held out" in found["reason"][0]
    assert "could not have been left alone" in found["reason"][1]
    strict = SETTINGS.model_copy(update={"effect": EffectSettings(min_effective_controls=5_000)})
    assert all("too few to compare" in reason for reason in ledger(sent, strict)["reason"])


def test_a_wave_is_kept_when_it_is_no_longer_followed_and_rerunning_changes_nothing() -> None:
    first = ledger(market(gain=0.0, predicted=300.0))
    second_day = day(28)
    second = market(gain=60.0, seed=2, on=second_day)
    found = effect_ledger(first, second, MONEY, SETTINGS, day(56))
    assert found["wave"].unique().sort().to_list() == [DAY, second_day]
    assert_frame_equal(found.filter(pl.col("wave") == DAY), first)
    assert_frame_equal(effect_ledger(found, second, MONEY, SETTINGS, day(56)), found)
    later = effect_ledger(found, second, MONEY, SETTINGS, day(57))
    assert_frame_equal(later, found)  # the day on which a row was first known stays
    shuffled = replace(
        second, attributions=second.attributions.reverse(), outcomes=second.outcomes.reverse(),
        decisions={second_day: second.decisions[second_day].reverse()},
    )  # fmt: skip
    assert_frame_equal(effect_ledger(first, shuffled, MONEY, SETTINGS, day(56)), found)


# -- by logged propensities -------------------------------------------------------------------------------------------------
def test_weights_undo_a_draw_that_favours_big_spenders() -> None:
    """The chance of a contact grows with spend; the plain difference of contacted and left alone is far off."""
    rng = np.random.default_rng(3)
    spend = rng.gamma(4, 500, 6_000)
    chance = np.clip(spend / 4_000, 0.1, 0.9)
    contacted = rng.random(spend.size) < chance
    made = pl.DataFrame([
        decision(n, action="18:c1" if contacted[n] else "no_contact")
        | {"decision_id": f"d{n:05d}", "customer_id": f"c{n:05d}", "action_propensities": [1 - chance[n], chance[n]]}
        for n in range(spend.size)
    ], schema=DECISIONS.columns)  # fmt: skip
    value = pl.DataFrame({"decision_id": [f"d{n:05d}" for n in range(spend.size)], "value": spend + 50.0 * contacted})
    rows = comparable(made, "18").join(value, on="decision_id")
    found = effect_on_contacted(rows)
    assert found.effect is not None
    assert abs(found.effect.value - 50) < 3 * found.effect.se
    naive = spend[contacted].mean() + 50 - spend[~contacted].mean()
    assert naive - 50 > 5 * found.effect.se
    assert 2 < found.effective_controls < found.controls
    assert comparable(made, "19").is_empty()
    assert effect_on_contacted(rows.head(0)).effect is None


# -- what is asked for ------------------------------------------------------------------------------------------------------
def test_the_ledger_asks_for_retraining_beside_the_present_reasons() -> None:
    report = FeedbackReport(partition=KNOWN, metrics={}, refused=[], notes=[])
    short = ledger(market(gain=0.0, predicted=300.0))
    asked = request_retraining(DRIFT.empty(), report, SETTINGS, KNOWN, short)
    assert asked.requested
    assert [reason.split(",")[0] for reason in asked.reasons] == [
        "effect shortfall: all campaigns", "effect shortfall: campaign 18",
    ]  # fmt: skip
    assert (asked.models, asked.doubted_before) == (["behaviour"], None)  # what was assumed is made of redemptions
    assert not request_retraining(DRIFT.empty(), report, SETTINGS, day(29), short).requested  # asked once
    learned = request_retraining(DRIFT.empty(), report, SETTINGS, KNOWN, short.with_columns(incremental=pl.lit(True)))
    assert (learned.models, learned.doubted_before) == (["response"], DAY)
    drifted = pl.DataFrame([("a", 0.4, 0.25, True)], schema=DRIFT.columns, orient="row")
    assert len(request_retraining(drifted, report, SETTINGS, KNOWN, short).reasons) == 3
    assert not request_retraining(DRIFT.empty(), report, SETTINGS, KNOWN).requested


# -- costs, arms, and what is still open -------------------------------------------------------------------------------------
def test_a_coupon_costs_its_own_face_value_where_that_is_known() -> None:
    sent = market(gain=60.0)
    dear = Economics(MONEY.margin_share, MONEY.contact_cost_minor, MONEY.face_value_minor, {"18:c1": 600})
    for cheap_row, dear_row in zip(
        ledger(sent).iter_rows(named=True),
        effect_ledger(EFFECT_LEDGER.empty(), sent, dear, SETTINGS, KNOWN).iter_rows(named=True),
        strict=True,
    ):
        redeemed = sent.attributions.filter("was_sent")["redeemed"].sum()
        lost = cheap_row["realised_minor"] - dear_row["realised_minor"]
        assert lost == pytest.approx(500 * redeemed, rel=0.01)


def test_business_as_usual_counts_in_the_programme_and_not_in_the_campaign() -> None:
    sent = market(gain=60.0)
    usual = pl.col("customer_id").is_in([f"customer{n:04d}" for n in range(300)]) & ~pl.col("holdout")
    certain = sent.decisions[DAY].with_columns(
        arm=pl.when(usual).then(pl.lit("business_as_usual")).otherwise("arm"),
        action_propensities=pl.when(usual & (pl.col("action") != "no_contact"))
        .then(pl.lit([0.0, 1.0]))
        .when(usual)
        .then(pl.lit([1.0, 0.0]))
        .otherwise("action_propensities"),
    )
    everyone, campaign = ledger(replace(sent, decisions={DAY: certain})).iter_rows(named=True)
    by_rule = certain.filter((pl.col("arm") == "business_as_usual") & (pl.col("action") != "no_contact")).height
    assert by_rule > 100
    assert campaign["contacts"] == everyone["contacts"] - by_rule
    assert campaign["realised_minor"] is not None


def test_a_baseline_that_foretells_nothing_costs_no_precision() -> None:
    sent = market(gain=60.0)
    noise = np.random.default_rng(9).gamma(4, 2_000, sent.attributions.height)
    told = sent.attributions.select("customer_id", "decided_on").with_columns(baseline_minor=pl.Series(noise))
    plain, other = (ledger(one)[1].row(0, named=True) for one in (sent, replace(sent, baseline=told)))
    widths = [row["realised_high_minor"] - row["realised_low_minor"] for row in (plain, other)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_open_contacts_and_assumed_predictions_are_marked() -> None:
    sent = market(gain=60.0)
    half = sent.attributions.with_columns(matured=pl.col("reference_id") < f"{DAY}-01500")
    assert ledger(sent)["matured"].to_list() == [True, True]
    assert ledger(replace(sent, attributions=half))["matured"].to_list() == [False, False]
    assert ledger(sent)["incremental"].to_list() == [False, False]
    told = sent.decisions[DAY].select(
        "decision_id", pl.lit(50.0).alias("profit_minor"), pl.lit(None, pl.Float64).alias("profit_low_minor"),
        pl.lit(None, pl.Float64).alias("profit_high_minor"), pl.lit(True).alias("incremental"),
    )  # fmt: skip
    assert ledger(replace(sent, predictions=told))["incremental"].to_list() == [True, True]


def test_the_arms_of_a_wave_hold_spend_margin_and_cost_of_everyone_as_drawn() -> None:
    sent = market(gain=60.0)
    arms = programme_arms(EFFECT_LEDGER.empty(), sent, MONEY, SETTINGS, KNOWN)
    assert arms is not None
    assert arms.height == 3_000
    made = sent.attributions.filter("was_sent")
    assert arms["cost_minor"].sum() == pytest.approx(40 * made.height + 100 * made["redeemed"].sum())
    assert arms["margin_minor"].sum() == pytest.approx(0.5 * sent.outcomes["net_minor"].sum())
    assert arms.filter(pl.col("arm") == "control").height == sent.attributions["holdout"].sum()
    assert programme_arms(EFFECT_LEDGER.empty(), market(60.0, sends=False), MONEY, SETTINGS, KNOWN) is None
    broken = sent.attributions.with_columns(was_sent=pl.lit(True))
    assert programme_arms(EFFECT_LEDGER.empty(), replace(sent, attributions=broken), MONEY, SETTINGS, KNOWN) is None
