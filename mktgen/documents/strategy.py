"""The strategy of a day as a document, what it rests on, and what was said of it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from mktgen.documents.base import Document, Gate, Interval, Refusal


class OfferLine(Document):
    offer_id: str
    label: str
    customers: int


class WhyExample(Document):
    """One item that one contacted customer is shown, and why; all of them are in the artefact `reasons`."""

    customer_id: str
    item_id: str
    item: str
    reasons: list[str]


class ClassSummary(Document):
    """Customers of one class of response, and what was done with them. effect: of each one's best offer on the chance to buy,
    mean over the class; effect_minor: the same in profit, where it is stored."""

    name: str
    meaning: str
    customers: int
    contacted: int
    held_out: int
    effect: Interval
    effect_minor: Interval | None


class OfferUncertainty(Document):
    """What is not known of one offer. effect_minor: mean over its eligible customers; None: nothing was learned yet.
    information_minor: what knowing it for certain would be worth, if it were then sent to all of them or to none.
    customers_per_arm: to find an effect of NextExperiment.detectable_minor; days: until their outcomes are known."""

    offer_id: str
    campaign_id: str
    eligible: int
    effect_minor: Interval | None
    information_minor: float | None
    customers_per_arm: int
    days: int


class NextExperiment(Document):
    """Which offer to try next against no contact, how many customers it takes, and why. others: the runners-up."""

    offer: OfferUncertainty
    reason: str
    detectable_minor: float
    power: float
    alpha: float
    reward_sd_minor: float
    others: list[OfferUncertainty]


class Campaign(Document):
    campaign_id: str
    name: dict[str, str]  # language -> text
    objective: str
    audience: dict[str, str]
    segment_ids: list[str]
    customers: int
    offers: list[OfferLine]
    items: list[str]
    channel: str
    send_at_local: str
    budget_minor: int
    worst_case_cost_minor: int
    expected_redemptions: Interval | None
    expected_redemption_rate: Interval | None
    expected_value_minor: Interval | None  # under `assumptions`; not incremental
    holdout_customers: int
    reasons: list[str]
    copy_example: dict[str, str]
    why_examples: list[WhyExample] = []


class Allocation(Document):
    """Budget, what may be spent, and the bound that the best allocation is measured against (Lagrangian dual, an upper bound).

    value, bound and gap are of the best integral allocation at the mean values; expected cost and value are of the policy,
    which explores and hedges.
    """

    budget_minor: int
    usual_budget_minor: int = 0  # of it, for the business-as-usual arm
    worst_case_cost_minor: int  # of any draw
    expected_cost_minor: float
    expected_value_minor: float
    allocated_cost_minor: int
    value_minor: float
    bound_minor: float
    gap_share: float  # (bound - value) / bound; 0 where the bound is 0
    shadow_price: float  # expected value per extra minor unit of budget
    propensity_floor: float  # the least chance of any action that may be taken
    propensity_floor_wanted: float | None = None  # by setting and by what is known; the budget may not bear it
    no_contact_floor: float = 0.0  # chance of no contact on top of it
    contacts: int
    candidates: int


class Comparison(Document):
    """The policy as learned now against another one, on the same past decisions. difference: profit per decision in minor
    units; None where the log can't carry it, and `gate` says why."""

    incumbent: str
    difference: Interval | None
    gate: Gate


class LaunchEvidence(Document):
    """What past trials say of the policy as learned now.

    standing: `proven`, its lower bound beats no contact and business as usual; `experiment`, it does not (yet); `futile`, it
    hardly can; `not_judged`, no customer can be reached. value, logged: profit per decision of the policy, and of those that
    drew the log. facts: rows, customers, effective sample, largest weight, overlap.
    """

    partition: date
    standing: Literal["proven", "experiment", "futile", "not_judged"]
    reason: str
    value: Interval | None
    logged: Interval | None
    comparisons: list[Comparison]
    facts: dict[str, float]


class AllocationReport(Document):
    """What `allocate` says besides the decisions: plan, notes for the reader, versions in force."""

    partition: date
    allocation: Allocation
    notes: list[str]
    versions: dict[str, str]
    next_experiment: NextExperiment | None


class StrategyEvaluation(Document):
    partition: date
    gates: list[Gate]
    metrics: dict[str, float]
    refused: list[Refusal]
    stopped: bool
    reasons: list[str]


class Strategy(Document):
    partition: date
    status: Literal["draft", "evaluated", "stopped"]
    source: str
    source_notice: str
    assumptions: list[str]
    customers: int
    contacted: int
    holdout: int
    segments: dict[str, int]
    campaigns: list[Campaign]
    allocation: Allocation
    versions: dict[str, str]
    evaluation: StrategyEvaluation | None = None
    launch: LaunchEvidence | None = None
    classes: list[ClassSummary] = []
    classes_note: str = ""
    next_experiment: NextExperiment | None = None


class PublishedStrategy(Document):
    """The strategy that execution may take: status `published`, with the manifest it was published from."""

    partition: date
    strategy_uri: str
    decisions_uri: str
    messages_uri: str
    markdown: str
