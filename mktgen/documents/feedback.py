"""Feedback: what followed, what campaigns did, and whether to train again."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import model_validator

from mktgen.documents.base import Document, Gate, Interval, Refusal


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
