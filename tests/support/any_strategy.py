"""A strategy as a document, with words of the test's choice wherever words can stand."""

from __future__ import annotations

from datetime import date
from typing import Final

from mktgen.documents import (
    Allocation,
    Campaign,
    Gate,
    Interval,
    OfferLine,
    Refusal,
    Strategy,
    StrategyEvaluation,
    WhyExample,
)
from mktgen.store import Provenance

DAY: Final = date(2017, 10, 3)


def provenance(run: str) -> Provenance:
    return Provenance(step="test", run=run, code="c", config="c", seed=0, parents=())


def strategy(day: date = DAY, *, stopped: bool = False, text: str = "Coffee for regulars") -> Strategy:
    """One campaign, with `text` wherever words can stand."""
    evaluation = StrategyEvaluation(
        partition=day,
        gates=[Gate(name="budget_worst_case", passed=not stopped, detail=f"worst case {text}")],
        metrics={},
        refused=[Refusal(metric="uplift", missing=["has_randomised_holdout"], reason=f"No randomisation. {text}")],
        stopped=stopped,
        reasons=["the budget is overspent"] if stopped else [],
    )
    campaign = Campaign(
        campaign_id="18", name={"en": text, "zh": f"老客户咖啡 {text}"}, objective=text, audience={"en": text, "zh": text},
        segment_ids=["s1"], customers=1234, offers=[OfferLine(offer_id="18:1", label=text, customers=7)], items=["i1"],
        channel="outbox", send_at_local="2017-10-04T10:00", budget_minor=50_000, worst_case_cost_minor=49_900,
        expected_redemptions=Interval(value=12.34, low=10.0, high=15.0), expected_redemption_rate=None,
        expected_value_minor=None, holdout_customers=12, reasons=[text], copy_example={"en": f"{text} — {text}"},
        why_examples=[WhyExample(customer_id="c1", item_id="i1", item=text, reasons=["bought 6 times", text])],
    )  # fmt: skip
    allocation = Allocation(
        budget_minor=50_000, worst_case_cost_minor=49_900, allocated_cost_minor=40_000, value_minor=1.0, bound_minor=1.25,
        gap_share=0.2, shadow_price=0.5, propensity_floor=0.02, expected_cost_minor=90.0, expected_value_minor=10.0,
        contacts=10, candidates=20,
    )  # fmt: skip
    return Strategy(
        partition=day, status="stopped" if stopped else "evaluated", source="complete_journey", source_notice=text,
        assumptions=[text], customers=2301, contacted=310, holdout=34, segments={"s1": 3}, campaigns=[campaign],
        allocation=allocation, versions={"policy": text}, evaluation=evaluation,
    )  # fmt: skip
