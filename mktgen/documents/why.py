"""One decision, explained: what `python -m mktgen why` tells, from stored artefacts alone."""

from __future__ import annotations

from datetime import date

from mktgen.documents.base import Document


class WhyOption(Document):
    """One action. Money in minor units. value: expected profit if taken, `value_rests_on` says by what; low, high: its 95%
    interval where one is stored. net: value less cost at the day's price of the budget. propensity None: it could not
    be drawn, `excluded_by` names the rule and `excluded_because` says it in words."""

    action: str
    campaign_id: str | None
    value_minor: float
    low_minor: float | None
    high_minor: float | None
    value_rests_on: str
    p_redeem: float | None
    cost_minor: int
    net_minor: float
    propensity: float | None
    drawn: bool
    excluded_by: str | None = None
    excluded_because: str | None = None


class WhySending(Document):
    """What became of it. status: not_to_be_sent, stopped, not_published, not_approved, rejected, not_dispatched, or that of
    contracts.SENDS. rule: of contact, where one refused it. when: ISO time at which it was to reach the customer."""

    status: str
    rule: str
    when: str
    detail: str


class WhyDecision(Document):
    """decided_by: the rule or constraint, by name. because: the same in sentences. events: past events that mattered. day:
    what held for all decisions of the day."""

    decision_id: str
    partition: date
    customer_id: str
    source: str
    notice: str
    arm: str
    action: str
    propensity: float
    explored: bool
    options: list[WhyOption]
    decided_by: str
    because: list[str]
    draw: str
    day: list[str]
    events: list[str]
    sending: WhySending
    versions: dict[str, str]
    notes: list[str]
