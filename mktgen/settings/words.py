"""Words: which of them work, and who proposes them beside the template bank."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mktgen.settings.base import Section


class WordSettings(Section):
    """Learning which words work, from clicks on messages whose wording was drawn at random."""

    click_days: int = Field(
        3, ge=1, le=28, description="days after a decision in which a click counts; then it is learned from"
    )
    memory_days: int = Field(84, ge=7, description="sends that were counted so long ago are forgotten: tastes move")
    min_clicks: int = Field(30, ge=10, description="clicks below which the choice among wordings stays even")
    sure_from: float = Field(
        0.9,
        ge=0.5,
        lt=1,
        description="P(one wording is clicked more than another) from which they make a pair to tune on",
    )
    held_out_share: float = Field(
        0.33, gt=0, lt=1, description="segments kept from tuning, by hash: a model's drafts are judged by their clicks"
    )


class TuningSettings(Section):
    """Of the small model's adapter (copywriting/tuning.py)."""

    rank: int = Field(16, ge=1, description="of each adapted matrix's change")
    alpha: int = Field(32, ge=1, description="the change is scaled by alpha / rank")
    steps: int = Field(80, ge=1, description="on wordings of the bank; a step takes about two seconds on two cores")
    prompts: int = Field(2, ge=1, description="different prompts of a step")
    answers: int = Field(4, ge=1, description="wordings learned with each prompt")
    learning_rate: float = Field(2e-3, gt=0)
    preference_steps: int = Field(24, ge=0, description="on pairs of wordings of which one was answered better")
    pairs: int = Field(4, ge=1, description="pairs of a step")
    preference_rate: float = Field(2e-4, gt=0, description="learning rate of these steps")
    beta: float = Field(0.1, gt=0, description="how strongly a preference holds against what was learned before")
    likelihood_weight: float = Field(0.2, ge=0, description="of the chosen wording's likelihood, beside the preference")
    checkpoint_every: int = Field(10, ge=1, description="steps between checkpoints")
    threads: int = Field(2, ge=1, description="fixed, because sums in floating point depend on it")


class CopySettings(Section):
    """Who proposes wordings beside the template bank, and what that may take."""

    engine: Literal["template", "embedded", "server"] = Field(
        "template",
        description="template: nobody; embedded: a small English model with an adapter trained here; server: any "
        "OpenAI-compatible one (base_url, model; its key is MKTGEN_COPY_API_KEY in the environment)",
    )
    base_url: str = Field("", description="of the server, e.g. http://127.0.0.1:8000/v1")
    model: str = Field("", description="as the server calls it")
    drafts: int = Field(4, ge=1, le=50, description="different wordings wanted for each form, tone and set of facts")
    tries: float = Field(3.0, ge=1, le=20, description="answers asked for per wording that is wanted")
    tokens: int = Field(
        100_000, ge=0, description="of a run, prompts and answers; then the template bank alone is used"
    )
    seconds: float = Field(300.0, ge=0, description="of a run: the guard, where a model is slower than its tokens say")
    answer_tokens: int = Field(160, ge=20, description="of one answer; one that is cut off counts as none")
    answer_seconds: float = Field(20.0, gt=0, description="of one answer of a server")
    judged_answers: int = Field(
        6, ge=2, description="of a new adapter, for each form, tone and set of facts kept from it"
    )
    min_well_formed: float = Field(0.9, ge=0, le=1, description="of those answers, to serve")
    min_verified: float = Field(0.25, ge=0, le=1, description="of those answers, to serve")
    max_verified_loss: float = Field(
        0.1,
        ge=0,
        le=1,
        description="of those answers, against the adapter that serves: losing more counts as a risen fallback rate",
    )
    tuning: TuningSettings = TuningSettings()
