"""Artefacts that are documents rather than tables: strategies, evaluations, promotions, requests."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import JsonValue

from mktgen.documents.base import Document, Gate, Interval, Refusal
from mktgen.documents.brief import Brief, Briefs, Variant
from mktgen.documents.copywriter import CopyJudgement, CopyPromotion, CopyReport, CopyTally, CopywriterTraining
from mktgen.documents.feedback import EffectLine, EffectReport, EffectReports, FeedbackReport, RetrainingRequest
from mktgen.documents.response import ResponseComparison, ResponsePin, ResponsePromotion, ResponseReport
from mktgen.documents.strategy import (
    Allocation,
    AllocationReport,
    Campaign,
    ClassSummary,
    Comparison,
    LaunchEvidence,
    NextExperiment,
    OfferLine,
    OfferUncertainty,
    PublishedStrategy,
    Strategy,
    StrategyEvaluation,
    WhyExample,
)
from mktgen.documents.wording import TraitLine, WordingLine, WordingReport

__all__ = [
    "Allocation",
    "AllocationReport",
    "Brief",
    "Briefs",
    "Campaign",
    "ClassSummary",
    "Comparison",
    "CopyJudgement",
    "CopyPromotion",
    "CopyReport",
    "CopyTally",
    "CopywriterTraining",
    "Document",
    "EffectLine",
    "EffectReport",
    "EffectReports",
    "FeedbackReport",
    "Gate",
    "Interval",
    "LaunchEvidence",
    "NextExperiment",
    "OfferLine",
    "OfferUncertainty",
    "PublishedStrategy",
    "Refusal",
    "ResponseComparison",
    "ResponsePin",
    "ResponsePromotion",
    "ResponseReport",
    "RetrainingRequest",
    "Strategy",
    "StrategyEvaluation",
    "TraitLine",
    "Variant",
    "WhyExample",
    "WordingLine",
    "WordingReport",
]


# -- models -----------------------------------------------------------------------------------------------------------
class TrainingPlan(Document):
    """Which training day serves a partition, and why."""

    partition: date
    training_partition: date
    evaluation_from: date  # = the cut: training sees only what lies before it
    evaluation_to: date
    reason: str


class ModelEntry(Document):
    """One trained model. `directory` is a prefix inside the `models` artefact of the training day."""

    kind: str
    directory: str
    metrics: dict[str, float]
    parameters: dict[str, float | int | str | bool]
    curves: dict[str, list[float]] = {}
    files: dict[str, str] = {}  # file name -> sha256
    untrained: bool = False  # it only counts: a line to beat
    gates: list[Gate] = []  # of its honesty; a failed one bars the kind from promotion


class ModelSet(Document):
    """Everything trained for one training day, on the same frozen cut."""

    training_partition: date
    evaluation_from: date
    evaluation_to: date
    models: list[ModelEntry]


class TaskPromotion(Document):
    """The champion of one task (`ranking`: what next; `customer`: purchase and churn) after a comparison."""

    task: Literal["ranking", "customer"]
    metric: str
    incumbent: str
    challenger: str
    difference: Interval | None  # challenger - incumbent on the same households; None: no comparison was needed
    champion: str
    reason: str
    barred: dict[str, str] = {}  # kind -> the gates that it failed
    kept_from: date | None = None  # the training day whose version stays champion; None: this one's


class Promotion(Document):
    training_partition: date
    ranking: TaskPromotion
    customer: TaskPromotion


# -- what is to come ----------------------------------------------------------------------------------------------------
class DemandChoice(Document):
    """How units of one horizon are forecast. `wape`: of each way, on past weeks. `advantage`: WAPE of the naive less that
    of the best other way; None: too little history."""

    horizon_days: int
    method: str
    reason: str
    origins: int
    wape: dict[str, float]
    advantage: Interval | None


class DemandReport(Document):
    partition: date
    choices: list[DemandChoice]
    uncounted_lines: int  # merchandise lines left out: their units are not plausible pieces


class Faithfulness(Document):
    """How much more a score moves without the events that reasons name than without as many others of the same customer.

    `named`, `others`: mean absolute change of the score; `difference` is their mean difference with customers as units.
    """

    about: Literal["item", "churn"]
    targets: int
    customers: int
    named: float
    others: float
    difference: Interval | None  # None: nothing to compare
    larger_share: float  # share of targets that the named events move more
    passed: bool | None


class ReasonsCheck(Document):
    partition: date
    checks: list[Faithfulness]


# -- execution and feedback ---------------------------------------------------------------------------------------------
class Approval(Document):
    """A person's answer. Nothing is dispatched without one that says approved."""

    partition: date
    approved: bool
    responder: str
    strategy_run: str  # derivation id of the strategy that was answered
    note: str = ""
    newest_published: date | None = None  # the newest published partition when it was answered


class ProofInput(Document):
    """An artefact that a dispatch went by. uri: <artefact>/dt=<partition>/run=<id>; digest: of its content."""

    name: str
    uri: str
    digest: str


class ProofContact(Document):
    """One decision to contact, and how it ended. ledger, seen: key -> sha256 of objects that are never changed.

    rule: what refused it, "" where it was not refused. send_at: when it is to reach the customer, "" where it is not.
    seen: contact records of the customer, and other days' claims, that the verdict rests on.
    """

    send_id: str
    decision_id: str
    customer_id: str
    campaign_id: str
    status: str
    rule: str
    send_at: str
    ledger: dict[str, str]
    seen: dict[str, str]


class ContactProof(Document):
    """What one dispatch went by and what came of it, so that another program can check it (execution/prover.py).

    counts: decisions = contacts + no_contact + held_out; contacts = sent + already_sent + unconfirmed + refused.
    refused: by rule. records_sha256: of all keys and hashes in `seen`.
    """

    partition: date
    channel: str
    purposes: list[str]
    holds_messages: bool
    planned_send_at: str
    time_zone: str
    inputs: list[ProofInput]
    settings: dict[str, JsonValue]  # section -> values
    campaign_types: dict[str, str]
    counts: dict[str, int]
    refused: dict[str, int]
    records: int
    records_sha256: str
    contacts: list[ProofContact]
