"""From trials to a launch: what may be spent, what the strategy says of it, and what stops it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from mktgen import contracts, pipeline
from mktgen.documents import AllocationReport, Gate, LaunchEvidence, Strategy
from mktgen.errors import GateFailed
from mktgen.steps.runner import Platform
from tests.execution.conftest import decision, decisions
from tests.steps import test_responding as trials
from tests.steps.conftest import PlatformOf
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import BY, prepare, run
from tests.support.sent_day import store_sends

LIVE = {"name": "simulated_market"}
BUDGET = {"budget_minor": 9_000, "experiment_budget_share": 0.5}


def decided(platform: Platform) -> AllocationReport:
    prepare(platform)
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    platform.store.write_table("reasons", PARTITION, contracts.REASONS.empty(), BY)
    run(platform, "write_briefs")
    return platform.store.read_document(platform.store.need("allocation", PARTITION), AllocationReport)


def strategy(platform: Platform) -> Strategy:
    return platform.store.read_document(platform.store.need("strategy", PARTITION), Strategy)


def gate(platform: Platform, name: str = "off_policy_value") -> Gate:
    evaluation = strategy(platform).evaluation
    assert evaluation is not None
    return next(one for one in evaluation.gates if one.name == name)


def test_a_source_nobody_can_be_reached_in_is_not_judged_and_says_so(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy=BUDGET)
    plan = decided(platform)
    run(platform, "evaluate_strategy", "publish")
    made = strategy(platform)
    assert made.launch is not None
    assert made.launch.standing == "not_judged"
    assert (gate(platform).passed, plan.allocation.budget_minor) == (None, 9_000)
    assert "no customer of this source can receive" in gate(platform).detail
    names = {one.name for one in made.evaluation.gates} if made.evaluation else set()
    assert {"sample_ratio", "power", "off_policy_value"} <= names
    assert made.classes_note.startswith("not known")
    assert made.next_experiment is not None
    assert "nothing is known yet" in made.next_experiment.reason
    published = platform.store.need("published", PARTITION)
    text = platform.objects.get(f"{published.folder}/document.json") or b""
    for words in (b"**Who**", b"**On past trials**: Not judged", b"**Not known**", b"Messages, as customers will read"):
        assert words in text


def test_the_first_strategy_of_a_live_source_is_an_experiment_within_its_budget(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy=BUDGET, source=LIVE)
    plan = decided(platform)
    assert plan.allocation.budget_minor == 4_500
    assert 0 < plan.allocation.worst_case_cost_minor <= 4_500
    assert any("an EXPERIMENT with a budget of 4500" in note for note in plan.notes)
    run(platform, "evaluate_strategy")
    assert gate(platform).passed is True
    assert "an experiment: explores" in gate(platform).detail
    assert "no effect of contacts is known" in gate(platform).detail
    # The same decisions against a smaller budget for experiments: stopped, with the reason.
    strict = platform_of(strategy=BUDGET | {"experiment_budget_share": 0.1}, source=LIVE)
    with pytest.raises(GateFailed, match="off_policy_value: an experiment: explores"):
        run(strict, "evaluate_strategy")
    assert strategy(strict).status == "stopped"


def tried(platform: Platform, effect_minor: int) -> LaunchEvidence:
    """A dispatched day that matured, and the evidence on the next day."""
    drawn = np.random.default_rng(1).random(len(trials.CUSTOMERS)) < 0.5
    trials.dispatched(platform, drawn)
    trials.bought(platform, drawn, effect_minor)
    rng = np.random.default_rng(4)
    rows = [(who, "18", trials.OFFER, "i", 0.1, float(p), 0.0, 1.0, 140, 1.0)
            for who, p in zip(trials.CUSTOMERS, rng.uniform(0, 1, len(trials.CUSTOMERS)), strict=True)]  # fmt: skip
    offered = pl.DataFrame(rows, schema=contracts.OFFER_SCORES.columns, orient="row")
    platform.store.write_table("offer_scores", trials.DECIDED, offered, BY)
    pipeline.run_step("collect_trials", trials.MATURED, platform=platform)
    for step in ("learn_response", "promote_response", "judge_policy"):
        pipeline.run_step(step, trials.TODAY, platform=platform)
    return platform.store.read_document(platform.store.need("launch_evidence", trials.TODAY), LaunchEvidence)


def test_what_paid_in_dispatched_trials_is_proven(platform_of: PlatformOf) -> None:
    found = tried(platform_of(source=LIVE), effect_minor=1_000)
    assert found.standing == "proven", found.reason
    assert [one.gate.passed for one in found.comparisons] == [True, True]
    assert found.facts["decisions"] == len(trials.CUSTOMERS)
    assert found.value is not None
    assert found.logged is not None


def test_what_cost_more_than_it_brought_is_not(platform_of: PlatformOf) -> None:
    found = tried(platform_of(source=LIVE), effect_minor=0)
    assert found.standing == "futile"


def test_where_nothing_pays_nobody_is_drawn_not_even_for_what_is_free(platform_of: PlatformOf) -> None:
    free = {"contact_cost_minor": 0, "face_value_minor": 0, "cohorts": 1}
    platform = platform_of(strategy=BUDGET | free, source=LIVE)
    prepare(platform)
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy")
    evidence = platform.store.need("launch_evidence", PARTITION)
    found = platform.store.read_document(evidence, LaunchEvidence)
    futile = found.model_copy(update={"standing": "futile", "reason": "past trials speak against it"})
    platform.store.write_document("launch_evidence", PARTITION, futile, BY)
    run(platform, "allocate")
    plan = platform.store.read_document(platform.store.need("allocation", PARTITION), AllocationReport)
    assert (plan.allocation.contacts, plan.allocation.candidates, plan.allocation.shadow_price) == (0, 0, 0.0)
    left_out = platform.store.read_table(platform.store.need("excluded_offers", PARTITION))
    assert set(left_out["rule"]) <= {"futile", "holdout", "contact_cap"}
    assert "past trials speak against it" in set(left_out["detail"])


def test_what_was_made_anew_after_the_evaluation_is_not_published(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy=BUDGET, source=LIVE)
    decided(platform)
    run(platform, "evaluate_strategy")
    current = platform.store.need("decisions", PARTITION)
    anew = platform.store.read_table(current).with_columns(cost_minor=pl.col("cost_minor") + 1)
    platform.store.write_table("decisions", PARTITION, anew, BY)
    with pytest.raises(GateFailed, match=r"decisions of .* were made anew after the strategy was evaluated"):
        run(platform, "publish")
    platform.store.point(current)
    run(platform, "publish")


def test_who_was_drawn_lately_is_not_drawn_again(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy=BUDGET | {"cohorts": 1}, source=LIVE)
    prepare(platform)
    before = PARTITION - timedelta(days=3)
    customers = [f"c{n:04d}" for n in range(100, 110)]
    rows = [decision(n) | {"customer_id": customer} for n, customer in enumerate(customers)]
    platform.store.write_table("decisions", before, decisions(rows), BY)
    store_sends(platform.store, before, [], BY)
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    made = platform.store.read_table(platform.store.need("decisions", PARTITION)).filter(
        pl.col("customer_id").is_in(customers)
    )
    assert made.height > 0
    assert (made["action_set"].list.len() == 1).all()
    left_out = platform.store.read_table(platform.store.need("excluded_offers", PARTITION))
    told = left_out.filter(pl.col("customer_id").is_in(customers))
    assert set(told["rule"]) <= {"running_trial", "holdout"}
    assert any(f"measured until {before + timedelta(days=7)}" in words for words in told["detail"])
