"""Every metric of the table: computed where all is recorded, refused by name for each capability that is missing."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import polars as pl
import pytest

from mktgen.documents import Refusal
from mktgen.errors import PermanentError
from mktgen.feedback.metrics import CALCULATED, Observed, figure, ours, shops
from mktgen.metrics import BY_NAME, CAPABILITIES, LIVE, METRICS, OUR_OWN, Log, Metric, refusal, refusals
from mktgen.settings import SourceSettings
from mktgen.sources import names, open_source
from mktgen.sources.base import Capabilities
from tests.execution.conftest import decision
from tests.feedback.shop import DAY, day, decisions, outcome, outcomes
from tests.feedback.test_measurement import rows

EVERYTHING = dict.fromkeys((*CAPABILITIES, LIVE), True)
LOGS: tuple[Log, ...] = get_args(Log)
NEEDS = [(metric.name, log, need) for metric in METRICS for log in LOGS for need in metric.needed(log)]
ELSEWHERE = {"off_policy_value"}  # computed in the evaluation


def everything_recorded(customers: int = 400) -> Observed:
    rng = np.random.default_rng(1)
    who = [f"c{n:04d}" for n in range(customers)]
    treated = rng.random(customers) < 0.5
    spend = rng.gamma(2, 1_000, customers) + 300 * treated
    cost = np.where(treated, 40.0, 0.0) + 100.0 * (treated & (rng.random(customers) < 0.2))
    clicked = (rng.random(customers) < 0.1).tolist()
    redeemed = (rng.random(customers) < 0.2).tolist()
    return Observed(
        contacts=pl.DataFrame({
            "customer_id": who, "redeemed": redeemed, "offer_id": ["18:a", "18:b"] * (customers // 2),
            "redeemed_offer": redeemed,
        }),
        impressions=pl.DataFrame({"customer_id": who, "clicked": clicked}),
        arms=pl.DataFrame({
            "customer_id": who, "wave": [DAY] * customers, "arm": np.where(treated, "treated", "control").tolist(),
            "net_minor": spend, "margin_minor": 0.3 * spend, "cost_minor": cost,
        }),
    )  # fmt: skip


def test_the_table_names_all_that_can_be_computed_and_sources_declare_all_that_it_asks() -> None:
    assert set(CALCULATED) | ELSEWHERE == set(BY_NAME)
    assert len(BY_NAME) == len(METRICS)
    assert tuple(field.name for field in fields(Capabilities)) == CAPABILITIES
    asked = {need for metric in METRICS for need in metric.needs}
    assert asked <= set(CAPABILITIES)
    assert set(OUR_OWN) <= set(CAPABILITIES)


@pytest.mark.parametrize("held", [2, 3, 4, 10])
def test_few_held_out_customers_give_wide_intervals_with_as_many_covariates_as_they_bear(held: int) -> None:
    seen = everything_recorded()
    assert seen.arms is not None
    few = pl.concat([part.head(held if arm == "control" else 200) for (arm,), part in seen.arms.group_by("arm")])
    known = few.with_columns(baseline_minor=pl.col("net_minor") * 0.5 + 10)
    observed = replace(seen, arms=known, covariates=("baseline_minor",))
    for name in ("uplift", "roi"):
        figures = CALCULATED[name](observed)
        assert isinstance(figures, dict), figures
        assert figures[name].low < figures[name].high


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_exactly_what_it_is(metric: Metric) -> None:
    assert all(
        text.strip() for text in (metric.numerator, metric.denominator, metric.unit, metric.window, metric.reason)
    )


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("name", sorted(CALCULATED))
def test_a_metric_has_its_interval_where_all_is_recorded(name: str, log: Log) -> None:
    found = figure(name, everything_recorded(), EVERYTHING, log)
    assert not isinstance(found, Refusal)
    assert name in found
    assert all(one.low <= one.value <= one.high and one.low < one.high for one in found.values())


@pytest.mark.parametrize(("name", "log", "need"), NEEDS)
def test_each_missing_capability_refuses_its_metric_and_is_named(name: str, log: Log, need: str) -> None:
    flags = {**EVERYTHING, need: False}
    found = (
        figure(name, everything_recorded(), flags, log) if name in CALCULATED else refusal(BY_NAME[name], flags, log)
    )
    assert isinstance(found, Refusal)
    assert (found.metric, found.missing) == (name, [need])
    assert found.reason
    forgotten = {flag: there for flag, there in EVERYTHING.items() if flag != need}
    assert refusal(BY_NAME[name], forgotten, log) == found


@pytest.mark.parametrize("name", sorted(CALCULATED))
def test_what_is_allowed_but_was_not_recorded_is_refused_too(name: str) -> None:
    nothing = Observed(everything_recorded().contacts.select("customer_id", "redeemed").clear())
    found = figure(name, nothing, EVERYTHING, "ours")
    assert isinstance(found, Refusal)
    assert found.missing


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("source", names())
def test_of_every_source_a_metric_is_refused_exactly_for_what_it_does_not_declare(
    source: str, metric: Metric, log: Log
) -> None:
    opened = open_source(SourceSettings(name=source), "key")
    flags = opened.capabilities.as_dict() | {LIVE: opened.live}
    missing = [need for need in metric.needed(log) if not flags[need]]
    if metric.name in CALCULATED:
        found = figure(metric.name, everything_recorded(), flags, log)
        assert isinstance(found, Refusal) == bool(missing)
    refused = {
        one.metric: one.missing for one in refusals(flags if log == "ours" else opened.capabilities.as_dict(), log)
    }
    assert refused.get(metric.name, []) == missing


def test_complete_journey_supports_the_redemption_rate_of_its_own_mailings_and_nothing_else() -> None:
    opened = open_source(SourceSettings(name="complete_journey"), "key")
    assert {one.metric for one in refusals(opened.capabilities.as_dict())} == set(BY_NAME) - {"cvr"}
    assert {one.metric for one in refusals(opened.capabilities.as_dict() | {LIVE: opened.live}, "ours")} == set(BY_NAME)


@pytest.mark.parametrize("log", LOGS)
def test_forgotten_or_invented_capabilities_are_refused(log: Log) -> None:
    for flags in ({}, {**EVERYTHING, "has_magic": True}):
        with pytest.raises(PermanentError, match="capabilities"):
            refusals(flags, log)


def test_response_by_offer_counts_the_offer_that_was_sent_inside_its_window() -> None:
    sent = {"c1": "18:a", "c2": "18:a", "c3": "18:b", "c4": "18:b"}
    came = {"c1": (day(5), ["18:a"]), "c2": (day(5), ["18:b"]), "c3": (day(40), ["18:b"]), "c4": (day(0), ["18:b"])}
    made = decisions([
        decision(number, action=offer) | {"decision_id": f"d-{who}", "customer_id": who}
        for number, (who, offer) in enumerate(sent.items())
    ])  # fmt: skip
    told = rows(4, reference_id=[f"d-{who}" for who in sent], customer_id=list(sent), was_sent=True, redeemed=True)
    bought = outcomes([outcome(who, on, [], offers) for who, (on, offers) in came.items()])
    found = figure("offer_response", ours(told, made, bought), EVERYTHING, "ours")
    assert not isinstance(found, Refusal)
    assert {name: one.value for name, one in found.items()} == {
        "offer_response": 0.25, "offer_response.18:a": 0.5, "offer_response.18:b": 0.0,
    }  # fmt: skip


def test_rows_that_are_not_matured_or_not_ours_are_no_contacts_of_ours() -> None:
    open_ = rows(2, was_sent=True, matured=False)
    theirs = rows(3, "exposure", was_sent=True, redeemed=[True, False, False])
    both = pl.concat([open_, theirs])
    assert ours(both).contacts.is_empty()
    found = figure("cvr", shops(both), EVERYTHING, "shop")
    assert not isinstance(found, Refusal)
    assert found["cvr"].value == pytest.approx(1 / 3)
