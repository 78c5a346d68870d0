"""Gates: a sound day passes; each rule, broken alone, stops the strategy by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from mktgen.contracts import SENDS
from mktgen.documents import Gate, LaunchEvidence, Promotion, TaskPromotion
from mktgen.evaluation.gates import Evidence, evaluate_strategy
from mktgen.metrics import CAPABILITIES
from mktgen.settings import ContactCap, ContactSettings, EvaluationSettings, Exclusion, StrategySettings
from tests.support.campaign_world import PARTITION
from tests.support.strategy_day import NOBODY, SETTINGS, make_day

CHECKS = EvaluationSettings()
NOT_JUDGED = LaunchEvidence(
    partition=PARTITION, standing="not_judged", reason="a test", value=None, logged=None, comparisons=[], facts={}
)


def task(name: str) -> TaskPromotion:
    return TaskPromotion(
        task=name,  # type: ignore[arg-type]
        metric="ndcg_at_10",
        incumbent="popularity",
        challenger="popularity",
        difference=None,
        champion="popularity",
        reason="first training",
    )


def evidence() -> Evidence:
    day = make_day()
    return Evidence(
        strategy=day.strategy,
        decisions=day.decisions,
        messages=day.messages,
        offer_scores=day.scores,
        customers=day.world.customers,
        features=day.world.features,
        offers=day.world.offers,
        exposures=day.world.exposures,
        recent_contacts=NOBODY,
        redemption_held_out=day.held_out,
        promotion=Promotion(training_partition=PARTITION, ranking=task("ranking"), customer=task("customer")),
        model_metrics={"popularity_ndcg_at_10": 0.1},
        capabilities=dict.fromkeys(CAPABILITIES, False),
        launch=NOT_JUDGED,
    )


def failed(changed: Evidence, settings: StrategySettings = SETTINGS) -> set[str]:
    result = evaluate_strategy(changed, settings, CHECKS)
    names = {gate.name for gate in result.gates if gate.passed is False}
    assert result.stopped == bool(names)
    assert len(result.reasons) == len(names)
    return names


def contacts(day: Evidence) -> pl.DataFrame:
    return day.decisions.filter(pl.col("offer_id").is_not_null())


def with_decisions(day: Evidence, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Evidence:
    return replace(day, decisions=change(day.decisions))


def first(day: Evidence) -> pl.Expr:
    return pl.col("decision_id") == contacts(day)["decision_id"][0]


def test_a_sound_day_passes_every_gate() -> None:
    result = evaluate_strategy(evidence(), SETTINGS, CHECKS)
    assert not result.stopped
    assert {gate.name for gate in result.gates if gate.passed is None} == {
        "consent", "power", "concordance", "off_policy_value",
    }  # fmt: skip
    assert result.metrics["redemption_auc"] > 0.6
    assert result.metrics["mde_spend_minor_28d_per_contact"] > result.metrics["mde_spend_minor_28d"] > 0


def test_ctr_uplift_off_policy_value_and_roi_are_refused_by_name() -> None:
    refused = {r.metric: r.missing for r in evaluate_strategy(evidence(), SETTINGS, CHECKS).refused}
    assert refused["ctr"] == ["has_impressions", "has_clicks"]
    assert refused["uplift"] == ["has_randomised_holdout"]
    assert refused["off_policy_value"] == ["has_propensity"]
    assert refused["roi"] == ["has_randomised_holdout", "has_cost"]


def test_a_customer_without_a_decision_stops() -> None:
    day = evidence()
    quiet = day.decisions.filter(
        pl.col("offer_id").is_null() & ~pl.col("holdout") & (pl.col("action_set").list.len() == 1)
    )
    lost = quiet["customer_id"].head(1).to_list() or day.decisions.filter("holdout")["customer_id"].head(1).to_list()
    assert failed(with_decisions(day, lambda d: d.filter(~pl.col("customer_id").is_in(lost)))) == {
        "one_decision_per_customer"
    }


def test_a_contacted_hold_out_stops() -> None:
    day = evidence()
    broken = with_decisions(day, lambda d: d.with_columns(holdout=pl.col("holdout") | first(day)))
    assert "holdout_not_contacted" in failed(broken)


def test_the_contact_cap_stops() -> None:
    day = evidence()
    capped = contacts(day).head(1).select("customer_id", pl.lit(1, dtype=pl.Int64).alias("contacts"))
    assert failed(replace(day, recent_contacts=capped)) == {"contact_cap"}


def test_further_caps_and_exclusions_stop() -> None:
    day = evidence()
    row = contacts(day).row(0, named=True)
    before = {name: row[name] for name in ("decision_id", "customer_id", "campaign_id", "offer_id", "channel")}
    before |= {"send_id": "s1", "sent_for": PARTITION - timedelta(days=20), "status": "sent", "detail": None}
    changed = replace(day, recent_sends=pl.DataFrame([before], schema=SENDS.columns))
    cap = ContactSettings(further_caps=(ContactCap(days=30, contacts=1),))
    assert stops(changed, cap) == {"further_caps"}
    other = replace(day, recent_sends=changed.recent_sends.with_columns(campaign_id=pl.lit("other")))
    exclusion = Exclusion(campaigns=(row["campaign_id"], "other"), days=30)
    assert stops(other, ContactSettings(exclusions=(exclusion,))) == {"campaign_conflict"}
    assert stops(other, ContactSettings(exclusions=(exclusion.model_copy(update={"wins": "priority"}),))) == set()


def stops(changed: Evidence, contact: ContactSettings) -> set[str]:
    gates = evaluate_strategy(changed, SETTINGS, CHECKS, contact).gates
    return {gate.name for gate in gates if gate.passed is False}


def test_the_assumption_about_consent_is_said() -> None:
    assumed = ContactSettings(consent_default="existing_customers")
    for contact, words in (
        (ContactSettings(), "not known is refused"),
        (assumed, "ASSUMPTION (contact.consent_default)"),
    ):
        gates = evaluate_strategy(evidence(), SETTINGS, CHECKS, contact).gates
        gate = next(gate for gate in gates if gate.name == "consent")
        assert gate.passed is None
        assert words in gate.detail


def test_a_worst_case_over_the_budget_stops_even_if_this_draw_is_cheap() -> None:
    day = evidence()
    between = StrategySettings(budget_minor=int(day.decisions["cost_minor"].sum()))
    assert between.budget_minor < day.strategy.allocation.worst_case_cost_minor
    assert failed(day, between) == {"budget_worst_case"}


def test_the_worst_case_is_the_one_the_strategy_states() -> None:
    result = evaluate_strategy(evidence(), SETTINGS, CHECKS)
    gate = next(gate for gate in result.gates if gate.name == "budget_worst_case")
    assert gate.value == evidence().strategy.allocation.worst_case_cost_minor


@pytest.mark.parametrize("hour", [22, 3, 7])
def test_quiet_hours_stop(hour: int) -> None:
    assert failed(evidence(), SETTINGS.model_copy(update={"send_hour_local": hour})) == {"quiet_hours"}


def test_a_propensity_that_is_not_the_drawn_one_stops() -> None:
    day = evidence()
    wrong = pl.when(first(day)).then(0.5).otherwise(pl.col("propensity")).alias("propensity")
    assert failed(with_decisions(day, lambda d: d.with_columns(wrong))) == {"propensities"}


def test_chance_outside_the_policys_arm_stops() -> None:
    day = evidence()
    moved = pl.when(first(day)).then(pl.lit("business_as_usual")).otherwise(pl.col("arm")).alias("arm")
    assert failed(with_decisions(day, lambda d: d.with_columns(moved))) == {"propensities"}


def test_propensities_that_do_not_sum_to_one_stop() -> None:
    day = evidence()
    half = pl.col("action_propensities").list.eval(pl.element() / 2)
    flat = pl.when(first(day)).then(half).otherwise(pl.col("action_propensities")).alias("action_propensities")
    drawn = pl.when(first(day)).then(pl.col("propensity") / 2).otherwise(pl.col("propensity")).alias("propensity")
    assert "propensities" in failed(with_decisions(day, lambda d: d.with_columns(flat, drawn)))


def test_propensities_that_do_not_line_up_with_the_actions_stop() -> None:
    day = evidence()
    short = pl.col("action_propensities").list.head(1)
    cut = pl.when(first(day)).then(short).otherwise(pl.col("action_propensities")).alias("action_propensities")
    assert "propensities" in failed(with_decisions(day, lambda d: d.with_columns(cut)))


def floor_gate(wanted: float) -> Gate:
    """The gate on a floor of 0.2 by the settings, where the plan asked for `wanted`."""
    day = evidence()
    plan = day.strategy.allocation.model_copy(update={"propensity_floor_wanted": wanted})
    asked = replace(day, strategy=day.strategy.model_copy(update={"allocation": plan}))
    result = evaluate_strategy(asked, SETTINGS.model_copy(update={"propensity_floor": 0.2}), CHECKS)
    return next(gate for gate in result.gates if gate.name == "propensity_floor")


def test_a_floor_above_the_propensities_stops_unless_lowered_openly() -> None:
    gate = floor_gate(0.2)
    assert gate.passed is None
    assert "lowered openly" in gate.detail


def test_a_floor_that_is_lower_because_much_is_known_is_kept_and_said() -> None:
    gate = floor_gate(0.02)
    assert (gate.passed, gate.threshold) == (True, 0.02)
    assert "0.02000 as so many trials are known" in gate.detail
    assert "budget" not in gate.detail
    assert floor_gate(0.001).passed is False


@pytest.mark.parametrize("change", ["missing", "extra", "empty"])
def test_messages_must_match_contacts(change: str) -> None:
    day = evidence()
    messages = {
        "missing": day.messages.tail(-1),
        "extra": pl.concat([day.messages, day.messages.head(1).with_columns(decision_id=pl.lit("x"))]),
        "empty": day.messages.with_columns(body=pl.lit(" ")),
    }[change]
    assert failed(replace(day, messages=messages)) == {"message_per_contact"}


def test_an_offer_that_ends_today_stops() -> None:
    day = evidence()
    closing = day.offers.with_columns(valid_to=pl.lit(PARTITION))
    assert failed(replace(day, offers=closing)) == {"offer_window"}
    one_more_day = day.offers.with_columns(valid_to=pl.lit(PARTITION + timedelta(days=1)))
    assert failed(replace(day, offers=one_more_day)) == set()


def test_a_missing_version_stops() -> None:
    day = evidence()
    assert failed(with_decisions(day, lambda d: d.with_columns(model_version=pl.lit("")))) == {"versions"}


def test_a_hold_out_of_the_wrong_size_stops() -> None:
    day = evidence()
    assert failed(day, SETTINGS.model_copy(update={"holdout_share": 0.4})) == {"sample_ratio"}


def test_bad_calibration_stops_and_none_is_said() -> None:
    day = evidence()
    sure = day.redemption_held_out.with_columns(p_redeem=pl.lit(0.95))
    assert failed(replace(day, redemption_held_out=sure)) == {"redemption_calibration"}
    result = evaluate_strategy(replace(day, redemption_held_out=sure.head(0)), SETTINGS, CHECKS)
    gate = next(gate for gate in result.gates if gate.name == "redemption_calibration")
    assert gate.passed is None


def test_a_champion_without_figures_stops() -> None:
    assert failed(replace(evidence(), model_metrics={})) == {"champion_measured"}


def test_a_value_above_its_bound_stops() -> None:
    day = evidence()
    plan = day.strategy.allocation
    lying = plan.model_copy(update={"value_minor": plan.bound_minor + 10})
    strategy = day.strategy.model_copy(update={"allocation": lying})
    assert failed(replace(day, strategy=strategy)) == {"allocation_bound"}
