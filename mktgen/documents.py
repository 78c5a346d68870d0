"""Artefacts that are documents rather than tables: strategies, evaluations, promotions, requests."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator


class Document(BaseModel):
    """Stored as canonical JSON (sorted keys), so that equal documents are equal bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def fingerprint(cls) -> str:
        return hashlib.sha256(json.dumps(cls.model_json_schema(), sort_keys=True).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        body = self.model_dump(mode="json")
        return (json.dumps(body, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


class Interval(Document):
    """A point estimate with its 95% interval; `method` names how the interval was made."""

    value: float
    low: float
    high: float
    method: str = ""


class Refusal(Document):
    """A metric that the data can't support, and the capability that is missing."""

    metric: str
    missing: list[str]
    reason: str


class Gate(Document):
    """One check. `passed` None: not applicable today, `detail` says why."""

    name: str
    passed: bool | None
    detail: str
    value: float | None = None
    threshold: float | None = None


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


# -- strategy -----------------------------------------------------------------------------------------------------------
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
    contacts: int
    candidates: int


class ResponseComparison(Document):
    """A version of the response model against the one that serves, on trials that neither had seen.

    champion: the day it was learned. gain: its loss less the version's, squared minor units; None: not comparable. replaces:
    whether the rule lets the version take its place.
    """

    champion: date
    trials: int
    gain: Interval | None
    reason: str
    replaces: bool


class ResponseReport(Document):
    """What is known of the effect of offers: from how many trials, and whether it may be used.

    reason: why not, or that all checks passed. facts: of the fit, for the model card. alike: one mean effect per action for
    all customers. doubted_before: trials decided earlier counted for little. against: the version that serves; None: none did.
    """

    partition: date
    usable: bool
    reason: str
    trials: int
    actions: list[str]
    facts: dict[str, float | str]
    gates: list[Gate]
    alike: bool = False
    doubted_before: date | None = None
    against: ResponseComparison | None = None


class ResponsePin(Document):
    """A rollback: from `partition` on the version of a day serves, until a later pin; version None: released."""

    partition: date
    version: date | None
    by: str
    why: str


class ResponsePromotion(Document):
    """Which version of the response model serves a day, and why.

    serving: the day it was learned; None: none, values are assumed. role: of the day's own version. previous: what served
    before. rule: the whole rule. pin: the rollback in force.
    """

    partition: date
    serving: date | None
    role: Literal["none", "shadow", "challenger", "champion"]
    previous: date | None
    reason: str
    rule: str
    pin: ResponsePin | None = None


class AllocationReport(Document):
    """What `allocate` says besides the decisions: plan, notes for the reader, versions in force."""

    partition: date
    allocation: Allocation
    notes: list[str]
    versions: dict[str, str]


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


class PublishedStrategy(Document):
    """The strategy that execution may take: status `published`, with the manifest it was published from."""

    partition: date
    strategy_uri: str
    decisions_uri: str
    messages_uri: str
    markdown: str


# -- execution and feedback ---------------------------------------------------------------------------------------------
class Approval(Document):
    """A person's answer. Nothing is dispatched without one that says approved."""

    partition: date
    approved: bool
    responder: str
    strategy_run: str  # derivation id of the strategy that was answered
    note: str = ""


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


class RetrainingRequest(Document):
    """models: which the reasons concern; the behaviour models are trained before their turn, with the redemption model, and the
    response model counts trials decided before `doubted_before` for little: the effect moved or fell short since."""

    partition: date
    requested: bool
    reasons: list[str]
    models: list[Literal["behaviour", "response"]] = []
    doubted_before: date | None = None

    @model_validator(mode="after")
    def _names_models(self) -> Self:
        if not self.requested == bool(self.reasons) == bool(self.models):
            raise ValueError(
                "a request has its reasons and names the models that they concern, and only a request does"
            )
        return self


class EffectLine(Document):
    """What a campaign ("": all together) was to bring in a wave and what it brought, in minor units of profit.

    incremental: the prediction was learned from trials; else it rests on assumptions. realised None: `reason` says why.
    """

    campaign_id: str
    wave: date
    contacts: int
    controls: int
    matured: bool
    incremental: bool
    predicted_minor: float
    realised: Interval | None
    shortfall: bool
    reason: str


class FeedbackReport(Document):
    partition: date
    metrics: dict[str, float]
    refused: list[Refusal]
    notes: list[str]
    effects: list[EffectLine] = []


class EffectReport(Document):
    """What one campaign did, or why that can't be said.

    evidence: by name, among them `naive` (difference of means), `adjusted`, `placebo` (the same estimator on the window
    before; 0 is due) and `negative_control` (on an outcome out of the campaign's reach; 0 is due). Where the verdict is
    `refused` they show why, and none of them is an effect.
    """

    partition: date
    campaign_id: str
    arm: str
    outcome: str  # what was compared, with unit and window
    design: Literal["randomised", "observational"]
    customers: dict[str, int]  # treated, control
    evidence: dict[str, Interval]
    effect: Interval | None  # per customer and wave
    relative_effect: Interval | None  # share of the control's mean
    diagnostics: dict[str, float]
    gates: list[Gate]
    verdict: Literal["reported", "refused"]
    reasons: list[str]
    notes: list[str]

    @model_validator(mode="after")
    def _effect_only_where_reported(self) -> Self:
        if (self.effect is not None) != (self.verdict == "reported"):
            raise ValueError("an effect stands in a report exactly where the verdict is `reported`")
        if (self.verdict == "refused") != bool(self.reasons):
            raise ValueError("a refusal has its reasons, and only a refusal has any")
        return self


class EffectReports(Document):
    """The verdicts of a day: campaigns whose window ends on it, and our programme where a wave of it does."""

    partition: date
    reports: list[EffectReport]
    notes: list[str]
