"""Scenario files: all that are found can be used, and what can't be used is refused by name."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError

import mktgen.market_sim
from mktgen.market_sim.scenario import NO_CONTACT, Scenario, ScenarioError, load, names

REQUIRED = {"null", "weak", "strong", "adverse", "drift", "delayed_and_lost_feedback"}


def changed(scenario: Scenario, **parts: Any) -> dict[str, Any]:
    return scenario.model_dump() | parts


def test_the_scenarios_are_there() -> None:
    assert set(names()) >= REQUIRED


@pytest.mark.parametrize("name", names())
def test_a_scenario_is_a_market(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.actions[0] == NO_CONTACT
    assert len(scenario.actions) in range(5, 8)
    assert all(scenario.action_of(scenario.offer_id(offer)) == offer for offer in scenario.offers)
    assert scenario.action_of("18:51380041013") is None
    assert scenario.horizon_days >= scenario.window_days


@pytest.mark.parametrize("name", names())
def test_a_file_says_first_that_it_is_simulated_and_assumed(name: str) -> None:
    text = (files(mktgen.market_sim) / "scenarios" / f"{name}.yaml").read_text()
    assert text.startswith("# SIMULATED.")
    assert "assumptions" in text


def test_scenarios_differ() -> None:
    assert len({load(name).digest for name in names()}) == len(names())
    assert load("strong").digest == load("strong").digest


def test_an_unknown_scenario_names_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'rosy'.*'adverse'"):
        load("rosy")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"margin_share": 1.2}, "margin_share"),
        ({"no_such_key": 1}, "no_such_key"),
        ({"offers": {}}, "offers"),
        ({"drift": {"first_day": "2017-09-04", "swap": [["reminder", "rebate"]]}}, "must be offers"),
        ({"drift": {"first_day": "2017-09-04", "swap": [["reminder", "reminder"]]}}, "at most once"),
        ({"reporting": {"lost": 0.1, "delay_days": [-1]}}, "before it happens"),
        ({"annoyance": {"logit": {"weights": {"shoe_size": 1.0}}}}, "annoyance.logit.weights"),
    ],
)
def test_what_makes_no_sense_is_refused(strong: Scenario, parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Scenario.model_validate(changed(strong, **parts))


def test_only_what_costs_something_can_be_redeemed(strong: Scenario) -> None:
    body = strong.model_dump()
    body["offers"]["reminder"]["redeemable"] = True
    with pytest.raises(ValidationError, match="face value above 0"):
        Scenario.model_validate(body)


def test_two_offers_need_two_campaigns(strong: Scenario) -> None:
    body = strong.model_dump()
    body["offers"]["reminder"]["campaign_id"] = "9001"
    with pytest.raises(ValidationError, match="campaign of its own"):
        Scenario.model_validate(body)


def test_a_drift_swaps_answers_from_its_day_on() -> None:
    drift = load("drift")
    assert drift.drift is not None
    day = drift.drift.first_day
    a, b = drift.drift.swap[0]
    assert drift.answered_as(a, date.fromordinal(day.toordinal() - 1)) is drift.offers[a]
    assert drift.answered_as(a, day) is drift.offers[b]
    assert drift.answered_as(b, day) is drift.offers[a]
    assert drift.answered_as("meat_coupon", day) is drift.offers["meat_coupon"]
