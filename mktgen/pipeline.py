"""The loop as a table: each step, what it reads, what it writes. Airflow's tasks and `python -m mktgen run` call this.

Read STEPS from top to bottom and you have read the product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from mktgen.errors import PermanentError
from mktgen.steps import (
    acting,
    approving,
    assessing,
    auditing,
    collecting,
    data,
    deciding,
    drafting,
    effects,
    foreseeing,
    judging_policy,
    launching,
    learning_words,
    responding,
    sending,
    succession,
    tracked,
    tracked_response,
    tracked_strategy,
    tracked_wording,
    tracked_words,
    training,
    training_words,
    validation,
)
from mktgen.steps.runner import After, Platform, Recompute, Step, StepResult, execute
from mktgen.store import parallel

_DATA: Final = ("steps.data", "sources", "market_sim", "cleaning")
_TRAINING: Final = (
    "steps.training", "steps.train_worker", "steps.workers", "steps.worlds", "models", "features",
    "strategy.mailings", "strategy.redemption",
    "evaluation.leakage", "evaluation.classification", "evaluation.sameness",
)  # fmt: skip

_JUDGING: Final = (
    "steps.validation", "steps.judging", "steps.judge_worker", "steps.workers", "steps.handover", "steps.honesty",
    "steps.worlds", "evaluation", "models", "features",
)  # fmt: skip


def _each(*effects: After) -> After:
    """One after the other."""
    return lambda run, written: [note for effect in effects for note in effect(run, written)]


_TABLE: Final = (
    # -- collect and clean ------------------------------------------------------------------------------------------
    Step("reference", "onboarding", "catalogue and customer attributes of the source",
         data.reference, data.no_reads,
         ("raw_*", "items", "customers", "reference_quarantine"), _DATA, ("source", "cleaning"),
         at=data.reference_day, identity=data.source_identity),
    Step("ingest", "loop", "the day's rows as received, customers pseudonymised",
         data.ingest, data.no_reads,
         ("raw_*",), ("steps.data", "sources", "market_sim"), ("source",), identity=data.source_identity),
    Step("clean", "loop", "canonical tables; what breaks a rule goes to quarantine under its name",
         data.clean, data.clean_reads,
         ("order_lines", "responses", "context_promotions", "item_promotions", "campaigns", "offers", "offer_items",
          "exposures", "clicks", "quarantine"),
         _DATA, ("source", "cleaning")),
    # -- features -----------------------------------------------------------------------------------------------------
    Step("extract_features", "loop", "fold the day into the state; features of customers and items at its end",
         data.extract_features, data.feature_reads,
         (*data.STATE, "customer_features", "item_features"), ("steps.data", "features"), ("features",)),
    # -- large model --------------------------------------------------------------------------------------------------
    Step("train_due", "loop", "which training day serves this day: the weekly one, or one that feedback asked for",
         training.train_due, training.plan_reads,
         ("training_plan",), ("steps.training",), ("models",)),
    Step("train", "loop", "all kinds of the behaviour experiment, and the redemption model, on that training day",
         training.train, training.train_reads,
         ("models", "trained_models", "redemption_holdout", "sample_scores"),
         _TRAINING, ("models", "features"),
         at=training.training_day, identity=training.processes, after=training.clear_checkpoints),
    Step("validate", "loop", "judge them on the frozen cut, and their honesty; one MLflow run and version each",
         validation.validate, validation.validate_reads,
         ("model_set", "validation_ranking", "validation_customers"),
         _JUDGING, ("models", "features"),
         at=training.training_day, after=tracked.log_models),
    Step("promote", "loop", "a challenger becomes champion only by winning, with an interval; none that failed a gate",
         validation.promote, validation.promote_reads,
         ("promotion",), ("steps.validation", "evaluation"), ("models",),
         at=training.training_day, after=tracked.move_aliases),
    # -- language model -----------------------------------------------------------------------------------------------
    Step("train_copywriter", "loop", "an adapter of the small language model, from the bank and from what was clicked more",
         training_words.train_copywriter, training_words.train_reads,
         ("copywriter", "copywriter_training"), ("steps.training_words", "copywriting"), ("copywriting",),
         at=training.training_day, after=training.clear_checkpoints),
    Step("promote_copywriter", "loop", "who writes: a new adapter only where it is shown to be better, on cells kept back",
         training_words.promote_copywriter, training_words.promote_reads,
         ("copy_promotion",), ("steps.training_words", "steps.drafting", "copywriting"), ("copywriting",),
         at=training.training_day, after=tracked_words.log_copywriter),
    # -- what is to come --------------------------------------------------------------------------------------------------
    Step("forecast_demand", "loop", "units by category for the next 7 and 28 days, with intervals",
         foreseeing.forecast_demand, foreseeing.demand_reads,
         ("demand_forecast", "demand_report"), ("steps.foreseeing", "foresight", "sources"), ("foresight", "source")),
    # -- strategy -----------------------------------------------------------------------------------------------------
    Step("score", "loop", "purchase, churn, items, categories and a vector for every active customer",
         deciding.score, deciding.score_reads,
         ("customer_scores", "item_scores", "category_scores"), ("steps.deciding", "steps.worlds", "models"),
         ("models", "features")),
    Step("warn_churn", "loop", "customers at risk, what is at stake, and their own rhythm in words",
         foreseeing.warn_churn, foreseeing.churn_reads,
         ("churn_warnings",), ("steps.foreseeing", "foresight"), ("foresight",)),
    Step("segment", "loop", "customer classes, named in words",
         deciding.segment, deciding.segment_reads,
         ("segments", "customer_segments"), ("steps.deciding", "strategy"), ("strategy", "features")),
    Step("recommend", "loop", "items per customer with reasons, seen and unseen apart",
         deciding.recommend, deciding.recommend_reads,
         ("recommendations",), ("steps.deciding", "strategy"), ("strategy",)),
    Step("learn_response", "loop", "the incremental effect of offers, from decisions that were drawn at random and sent",
         responding.learn_response, responding.learn_reads,
         ("response_model", "response_report", "held_out_effects"),
         ("steps.responding", "steps.known", "steps.uplift", "response", "evaluation.uplift"), ("response", "strategy")),
    Step("promote_response", "loop", "a version that passed its checks and is not shown to be worse serves; or a pinned one",
         succession.promote_response, succession.promote_reads,
         ("response_promotion",), ("steps.succession", "steps.responding", "response"), ("response",),
         after=tracked_response.log_response),
    Step("estimate_response", "loop", "that effect for every active customer, and who is persuadable or better left alone",
         responding.estimate_response, responding.estimate_reads,
         ("response_facts", "response_scores", "customer_classes"), ("steps.responding", "steps.known", "response", "strategy"),
         ("response", "source")),
    Step("judge_policy", "loop", "the policy as learned now on past trials: better than no contact and business as usual?",
         judging_policy.judge_policy, judging_policy.judge_reads,
         ("launch_evidence",),
         ("steps.judging_policy", "steps.responding", "steps.known", "response", "strategy", "evaluation", "sources"),
         ("response", "strategy", "evaluation", "source")),
    Step("allocate", "loop", "offers under a budget and contact caps; a decision with its propensity for everyone",
         deciding.allocate, deciding.allocate_reads,
         ("offer_scores", "decisions", "excluded_offers", "allocation", "what_if"),
         ("steps.deciding", "steps.responding", "steps.known", "steps.proposing", "steps.dispatched", "strategy", "response",
          "evaluation.power", "sources"),
         ("strategy", "contact", "features", "response", "evaluation", "source")),
    Step("explain", "loop", "past events behind each recommendation and churn warning, and a test of these reasons",
         foreseeing.explain, foreseeing.explain_reads,
         ("reasons", "reasons_check"), ("steps.foreseeing", "steps.worlds", "foresight", "models", "features"),
         ("foresight", "models", "features")),
    Step("learn_wording", "loop", "which words are clicked, from messages whose wording was drawn at random and sent",
         learning_words.learn_wording, learning_words.learn_reads,
         ("wording_model", "wording_report", "wording_pairs"),
         ("steps.learning_words", "steps.known", "copywriting", "sources"), ("words",),
         after=tracked_wording.log_wording),
    Step("write_copy", "loop", "wordings that a language model proposes, verified; none where nobody is asked",
         drafting.write_copy, drafting.draft_reads,
         ("wordings", "copy_report"), ("steps.drafting", "copywriting", "execution.channels"), ("copywriting", "strategy")),
    Step("write_briefs", "loop", "messages, a brief of each campaign, and the strategy as a document",
         deciding.write_briefs, deciding.brief_reads,
         ("messages", "wording_pool", "strategy_draft", "briefs"),
         ("steps.deciding", "steps.learning_words", "steps.drafting", "strategy", "copywriting", "sources"),
         ("strategy", "feedback")),
    # -- evaluation ---------------------------------------------------------------------------------------------------
    Step("evaluate_strategy", "loop", "gates before anyone may be contacted; what can't be known is refused by name",
         launching.evaluate_strategy, launching.evaluate_reads,
         ("strategy",), ("steps.launching", "steps.deciding", "evaluation", "metrics", "sources"),
         ("strategy", "contact", "evaluation", "features"), after=tracked_strategy.log_strategy),
    Step("publish", "loop", "hand the evaluated strategy to execution",
         launching.publish, launching.publish_reads,
         ("published",), ("steps.launching", "strategy.markdown"),
         after=_each(auditing.published, tracked_strategy.log_release)),
    # -- execution: after a person's approval ---------------------------------------------------------------------------
    Step("dispatch", "execution", "the newest approved strategy to its customers, by the rules, each message once; a proof",
         sending.send, sending.dispatch_reads,
         ("sends", "contact_proof"), ("steps.sending", "steps.released", "execution"), sending.DISPATCH_SECTIONS,
         after=_each(auditing.dispatched, tracked_strategy.log_dispatch)),
    # -- effect feedback ------------------------------------------------------------------------------------------------
    Step("collect_outcomes", "feedback", "what customers bought and redeemed",
         acting.collect_outcomes, acting.outcome_reads,
         ("outcomes",), ("steps.acting", "feedback"), ("feedback",)),
    Step("attribute", "feedback", "outcomes joined to decisions, and to what was really sent",
         acting.attribute, acting.attribute_reads,
         ("attributions",), ("steps.acting", "steps.dispatched", "feedback"), ("feedback",)),
    Step("collect_trials", "feedback", "decisions whose window is over, with their chances and what came of them",
         collecting.collect_trials, collecting.trial_reads,
         ("trials",), ("steps.collecting", "steps.dispatched", "feedback"), ("response", "strategy")),
    Step("collect_clicks", "feedback", "messages whose days to be clicked are over: what was drawn, and what was clicked",
         learning_words.collect_clicks, learning_words.click_reads,
         ("wording_trials",), ("steps.learning_words", "steps.dispatched", "feedback"), ("words",)),
    Step("judge_forecasts", "feedback", "demand forecasts and churn warnings whose days are over, against what came",
         foreseeing.judge_forecasts, foreseeing.judge_reads,
         ("demand_outcomes", "churn_outcomes"), ("steps.foreseeing", "feedback")),
    Step("judge_effects", "feedback", "profit predicted and realised, by campaign and wave, against those left alone",
         effects.judge_effects, effects.judge_reads,
         ("effect_ledger",), ("steps.effects", "steps.acting", "steps.dispatched", "feedback"), ("feedback", "strategy")),
    Step("assess_campaigns", "feedback", "what a campaign did, or why that can't be said, on the day its window is over",
         assessing.assess_campaigns, assessing.assess_reads,
         ("effect_reports",), ("steps.assessing", "feedback", "features"), ("feedback", "features")),
    Step("measure", "feedback", "rates with intervals, matured and open apart; what can't be known is refused by name",
         effects.measure, effects.measure_reads,
         ("feedback_report",), ("steps.effects", "steps.acting", "steps.dispatched", "feedback", "metrics", "sources"),
         ("feedback", "strategy", "words"), after=tracked_strategy.log_realised),
    Step("detect_drift", "feedback", "today's customers against those the models learned from",
         acting.detect_drift, acting.drift_reads,
         ("drift",), ("steps.acting", "feedback"), ("feedback",)),
    Step("request_retraining", "feedback", "ask for training before its turn, with reasons",
         acting.request_retraining, acting.request_reads,
         ("retraining_request",), ("steps.acting", "feedback"), ("feedback",)),
)  # fmt: skip

STEPS: Final[dict[str, Step]] = {step.name: step for step in _TABLE}


def run_step(
    name: str, partition: date, *, recompute: Recompute = "changed", platform: Platform | None = None
) -> StepResult:
    """Run one step for a partition. Raises KeyError for an unknown step; else see steps/runner.py: execute."""
    if name not in STEPS:
        raise KeyError(f"no step {name!r}; steps: {', '.join(STEPS)}")
    platform = platform or Platform.from_environment()
    if name == "ingest":
        execute(STEPS["reference"], partition, platform)
    return execute(STEPS[name], partition, platform, recompute)


def onboard(
    source: str,
    first: date,
    last: date,
    *,
    platform: Platform | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> StepResult:
    """Bring in a range of days: the same artefacts as `ingest` and `clean` of each day, in one pass over the upstream,
    then the features of the last day. Days that are there already are found, not written again."""
    started = time.monotonic()
    platform = platform or Platform.from_environment()
    if source != platform.settings.source.name:
        raise PermanentError(
            f"settings say source.name = {platform.settings.source.name}; onboarding {source} was asked for"
        )
    if last < first:
        raise PermanentError(f"onboarding from {first} to {last}: the range is empty")
    execute(STEPS["reference"], first, platform)
    data.require_week_start(platform, first)
    rows = 0
    for week in data.weeks(platform.source, first, last):
        # The first day of a week brings its promotions, which the other days read: it goes first, they go together.
        results = [_bring_in(platform, *week[0])]
        results += parallel(lambda pair: _bring_in(platform, *pair), week[1:], threads=4)
        rows += sum(results)
        progress(f"onboarded to {week[-1][0]}: {rows} order lines")
    features = execute(STEPS["extract_features"], last, platform)
    rate = f"{rows} order lines of {(last - first).days + 1} days"
    return replace(
        features, step="onboard", rows=features.rows | {"order_lines": rows}, notes=[rate, *features.notes],
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def newest_published(platform: Platform | None = None) -> date | None:
    """The newest partition with a published strategy; None: nothing was published yet."""
    return sending.newest_published(platform or Platform.from_environment())


def may_dispatch(partition: date, platform: Platform | None = None) -> tuple[bool, str]:
    """Whether a day's strategy may be put before an approver, and the reason."""
    refused = approving.refusal(platform or Platform.from_environment(), partition)
    return refused is None, refused or f"{partition} is the newest published day and live: an approver may be asked"


def hands_over_from(partition: date, platform: Platform | None = None) -> datetime | None:
    """The moment from which a day's messages may be dispatched; None: at any time, the channel holds them."""
    return sending.hands_over_from(platform or Platform.from_environment(), partition)


def record_approval(
    partition: date,
    approved: bool,
    responder: str,
    note: str = "",
    *,
    shown: str = "",
    platform: Platform | None = None,
) -> StepResult:
    """Keep a person's answer to the strategy as published now. The first answer to a strategy stays.

    `shown`: run of the `published` artefact that the person saw; NotAllowed where another was published meanwhile.
    """
    return approving.keep_answer(platform or Platform.from_environment(), partition, approved, responder, note, shown)


def roll_back_response(
    by: str,
    why: str,
    to: date | None = None,
    since: date | None = None,
    release: bool = False,
    *,
    platform: Platform | None = None,
) -> StepResult:
    """Pin the response model to an earlier version until it is released: see steps/succession.py: roll_back."""
    return succession.roll_back(platform or Platform.from_environment(), by, why, to, since, release)


def requested_training(partition: date, platform: Platform | None = None) -> bool:
    """Whether the feedback of this partition asked for the behaviour models to be trained."""
    return acting.requested(platform or Platform.from_environment(), partition)


def partition_of_request(partition: date, platform: Platform | None = None) -> date:
    """The first partition that a retraining asked for on `partition` serves: marketing_retraining works for that one."""
    platform = platform or Platform.from_environment()
    return partition + timedelta(days=platform.settings.models.request_takes_effect_after_days)


def _bring_in(platform: Platform, day: date, raw: data.RawTables) -> int:
    execute(replace(STEPS["ingest"], body=lambda run: data.ingested(raw)), day, platform)
    return execute(STEPS["clean"], day, platform).rows["order_lines"]
