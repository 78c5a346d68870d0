"""Execution sends what was published and approved, and nothing that was made since then."""

from __future__ import annotations

import json
from datetime import date

import pytest

from mktgen import pipeline
from mktgen.documents import Allocation, Approval, Document, PublishedStrategy, Strategy
from mktgen.errors import NotAllowed
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, Provenance
from tests.execution.conftest import decision, decisions, messages_for
from tests.steps.conftest import PlatformOf

DAY = date(2017, 10, 3)
STRATEGY = Strategy(
    partition=DAY, status="evaluated", source="s", source_notice="n", assumptions=[], customers=1, contacted=1, holdout=0,
    segments={}, campaigns=[], versions={},
    allocation=Allocation(
        budget_minor=1, worst_case_cost_minor=0, allocated_cost_minor=0, value_minor=0.0, bound_minor=0.0, gap_share=0.0,
        shadow_price=0.0, propensity_floor=0.0, expected_cost_minor=1.0, expected_value_minor=1.0, contacts=1, candidates=1,
    ),
)  # fmt: skip


def by(run: str) -> Provenance:
    return Provenance("test", run, "", "", 0, ())


def document(platform: Platform, name: str, body: Document, run: str) -> Manifest:
    return platform.store.write_document(name, DAY, body, by(run))


def decide(platform: Platform, run: str, offer: str) -> tuple[Manifest, Manifest]:
    frame = decisions([decision(1, action=offer)])
    write = platform.store.write_table
    return write("decisions", DAY, frame, by(run)), write("messages", DAY, messages_for(frame), by(run))


@pytest.fixture
def platform(platform_of: PlatformOf) -> Platform:
    """A day that was decided, evaluated, published and approved."""
    platform = platform_of(execution={"live_from": DAY}, contact={"consent_default": "existing_customers"})
    chosen, texts = decide(platform, "r1", "18:c1")
    strategy = document(platform, "strategy", STRATEGY, "r1")
    published = PublishedStrategy(
        partition=DAY,
        strategy_uri=strategy.folder,
        decisions_uri=chosen.folder,
        messages_uri=texts.folder,
        markdown="#",
    )
    document(platform, "published", published, "r1")
    assert pipeline.may_dispatch(DAY, platform)[0]
    pipeline.record_approval(DAY, True, "ana", platform=platform)
    return platform


def outbox(platform: Platform) -> list[str]:
    bodies = [platform.objects.get(key) or b"" for key in platform.objects.keys("outbox/")]
    return [json.loads(body)["offer_id"] for body in bodies]


def test_decisions_made_after_publication_are_not_sent(platform: Platform) -> None:
    decide(platform, "r2", "18:c9")
    pipeline.run_step("dispatch", DAY, platform=platform)
    assert outbox(platform) == ["18:c1"]


def test_a_strategy_that_a_later_evaluation_stopped_is_not_sent(platform: Platform) -> None:
    document(platform, "strategy", STRATEGY.model_copy(update={"status": "stopped"}), "r2")
    with pytest.raises(NotAllowed, match="evaluated anew"):
        pipeline.run_step("dispatch", DAY, platform=platform)
    assert outbox(platform) == []


def test_the_same_strategy_by_another_derivation_is_still_the_one_approved(platform: Platform) -> None:
    document(platform, "strategy", STRATEGY, "r2")
    pipeline.run_step("dispatch", DAY, platform=platform)
    assert outbox(platform) == ["18:c1"]


def test_an_answer_whose_pointer_was_not_written_is_found(platform: Platform) -> None:
    platform.objects.delete(f"approval/dt={DAY}/_current.json")
    again = pipeline.record_approval(DAY, False, "bo", platform=platform)
    kept = platform.store.read_document(platform.store.need("approval", DAY), Approval)
    assert again.reused
    assert (kept.approved, kept.responder) == (True, "ana")
