"""What can be set, with types and bounds. `config.py` reads the values; stages get their section as an argument.

Every value that changes a result is part of an artefact's identity (see store.py); what only says where things
live (endpoints, credentials) is in config.py's `Environment` and never enters it.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from mktgen.settings.base import Section
from mktgen.settings.foresight import ForesightSettings
from mktgen.settings.words import CopySettings, WordSettings


class MarketSettings(Section):
    """Of the source `simulated_market` alone."""

    scenario: str = Field("strong", description="file name of a scenario in mktgen/market_sim/scenarios/")
    copies: int = Field(1, ge=1, le=1_000, description="customers per real household, the real one among them")
    seed: int = Field(20170101, description="chance of responses and of copies; what customers are is the scenario's")


class SourceSettings(Section):
    name: str = Field("complete_journey", description="file name of a source in mktgen/sources/")
    drop_dir: str = Field(
        "", description="day files put here (<table>/<YYYY-MM-DD>.csv|jsonl|parquet) replace the source's rows"
    )
    promotion_plan: bool = Field(
        True,
        description="ASSUMPTION: next week's promotions are known a week ahead (mailers are printed); off = never known ahead",
    )
    max_field_chars: int = Field(
        2_000, ge=100, description="longer values are cut in the quarantine and the row is refused"
    )
    market: MarketSettings = MarketSettings()


class CleaningSettings(Section):
    max_quarantine_share: float = Field(0.02, ge=0, le=1, description="per table; above it the step stops")
    min_rows_for_share: int = Field(100, ge=1, description="smaller tables are not stopped by the share")
    max_line_minor: int = Field(1_000_000, gt=0, description="a line above this is not plausible")
    max_units: int = Field(100, gt=0, description="units above this are not pieces")


class FeatureSettings(Section):
    window_days: int = Field(112, ge=84, description="days of daily aggregates kept in the state")
    item_window_days: int = Field(
        28, ge=28, description="days of daily aggregates of items kept; features look back 28"
    )
    demand_days: int = Field(800, ge=112, description="days of units by category kept, for the demand forecast")
    sequence_events: int = Field(
        2048, ge=16, description="merchandise events kept per customer; what lies further back counts as not bought"
    )
    active_days: int = Field(84, ge=7, description="a customer with an order in this window is active")


class TransformerSettings(Section):
    width: int = Field(64, ge=8, description="the one dial of size: heads, layers and feed-forward follow from it")
    events: int = Field(192, ge=16, description="events of a customer that the model sees")
    epochs: int = Field(1, ge=1, description="with two, held-out rankings were worse")
    batch_customers: int = Field(8, ge=1)
    memory_events: int = Field(2048, ge=16, description="last events whose counts feed the copy part")
    accumulate: int = Field(1, ge=1, description="micro-batches of a step, where memory is short")
    average: float = Field(
        0.98, ge=0, lt=1, description="decay of the mean of the weights that is kept; 0 = the last weights"
    )
    patience: int = Field(
        0,
        ge=0,
        description="epochs without a better loss on the newest week before stopping; that week, and the four before it whose "
        "labels it would tell, are then not learned. 0 = all is learned, for all epochs",
    )
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    purchase_weight: float = Field(1.0, ge=0, description="weight of the purchase loss beside the ranking loss")
    spend_weight: float = Field(0.3, ge=0, description="weight of the spend loss")
    category_weight: float = Field(0.3, ge=0, description="weight of the loss of the week's categories; 0 = none")
    redemption_weight: float = Field(0.3, ge=0, description="weight of the redemption loss, where mailings are given")
    dropout: float = Field(0.1, ge=0, lt=1)
    min_item_lines: int = Field(
        10,
        ge=1,
        description="lines that an item needs for a token of its own; rarer ones are scored by category and attributes",
    )
    negatives: int = Field(0, ge=0, description="items drawn per step to score against; 0 = the whole vocabulary")


class LstmSettings(TransformerSettings):
    """The same recipe for the recurrent encoder, cut to a minute."""

    events: int = Field(96, ge=16, description="events of a customer that the model sees")
    epochs: int = Field(1, ge=1)
    batch_customers: int = Field(32, ge=1)


class BoostingSettings(Section):
    iterations: int = Field(100, ge=1, description="trees")
    learning_rate: float = Field(0.06, gt=0, le=1)
    leaves: int = Field(15, ge=2, description="at most so many per tree")


class RankingBoostingSettings(BoostingSettings):
    iterations: int = Field(80, ge=1, description="trees")
    learning_rate: float = Field(0.1, gt=0, le=1)
    leaves: int = Field(31, ge=2, description="at most so many per tree")


class GradientBoostingSettings(Section):
    customer: BoostingSettings = BoostingSettings()
    ranking: RankingBoostingSettings = RankingBoostingSettings()


class ModelSettings(Section):
    kinds: tuple[str, ...] = Field((), description="model files to train; empty = all that are found")
    initial_champion: str = "personal_frequency"
    vector_model: str = Field(
        "transformer", description="whose customer vectors the strategy uses, and likely categories"
    )
    top_categories: int = Field(10, ge=1, description="likely categories kept per customer")
    evaluation_days: int = Field(
        28, ge=28, description="frozen evaluation window before the training day; its purchase labels take 28 days"
    )
    train_cuts: int = Field(16, ge=2, description="weekly cuts whose labels end before the evaluation window")
    top_k: int = Field(50, ge=10, description="items kept per customer, seen and unseen apart")
    bootstrap: int = Field(2000, ge=50, description="household resamples of the promotion interval")
    gate_customers: int = Field(100, ge=10, description="customers that the honesty gates score again and again")
    max_feature_auc: float = Field(
        0.90, gt=0.5, le=1, description="a customer feature that alone tells a label better is taken for a leak"
    )
    sharding: Literal["replicated", "sharded"] = Field(
        "replicated", description="of weights over the processes of a training: each has all (DDP) or a part (FSDP)"
    )
    threads: int = Field(2, ge=1, description="fixed, because sums in floating point depend on it")
    checkpoint_every: int = Field(50, ge=1, description="optimiser steps between checkpoints")
    retrain_weekday: int = Field(6, ge=0, le=6, description="scheduled training day, Monday = 0; 6 = Sunday")
    request_takes_effect_after_days: int = Field(2, ge=1)
    transformer: TransformerSettings = TransformerSettings()
    lstm: LstmSettings = LstmSettings()
    gradient_boosting: GradientBoostingSettings = GradientBoostingSettings()


class StrategySettings(Section):
    segments: int = Field(6, ge=2, le=20)
    items_per_message: int = Field(4, ge=1, le=10)
    offers_per_customer: int = Field(3, ge=1, le=10)
    budget_minor: int = Field(
        50_000, ge=0, description="per day; contact cost and reserved face value are charged to it"
    )
    contact_cost_minor: int = Field(40, ge=0, description="ASSUMPTION: one contact")
    face_value_minor: int = Field(100, ge=0, description="ASSUMPTION: face value of a coupon where the source has none")
    margin_share: float = Field(0.30, ge=0, le=1, description="ASSUMPTION: margin of merchandise sales")
    redemption_basket_minor: int = Field(
        2_500, ge=0, description="ASSUMPTION: merchandise value credited to a redemption"
    )
    contact_cap_days: int = Field(7, ge=1, description="at most `contact_cap` contacts per customer in so many days")
    contact_cap: int = Field(1, ge=1)
    cohorts: int = Field(
        8,
        ge=1,
        le=28,
        description="customers are decided on in turns, each every so many days (strategy/turns.py); 1: whoever is free, "
        "daily. A multiple of 7 ties each customer to a weekday",
    )
    holdout_share: float = Field(0.10, ge=0, le=0.5, description="customers that no campaign contacts")
    campaign_holdout_share: float = Field(0.0, ge=0, le=0.5, description="of each campaign, beside the common hold-out")
    usual_share: float = Field(
        0.05, ge=0, le=0.4, description="customers contacted as the shop would without us: by the chance of redemption"
    )
    propensity_floor: float = Field(
        0.02, gt=0, lt=0.5, description="least chance of every action, while little is known"
    )
    no_contact_floor: float = Field(
        0.02,
        ge=0,
        lt=0.5,
        description="chance of no contact on top of the floor, however much is known: what effects are measured against",
    )
    exploring_trials: int = Field(
        10_000,
        ge=100,
        description="trials up to which exploration is whole; with more it narrows (strategy/exploration.py)",
    )
    experiment_budget_share: float = Field(
        0.5, gt=0, le=1, description="of the budget, for a strategy that is not proven better than what it replaces"
    )
    posterior_draws: int = Field(64, ge=8, le=1000, description="of what offers are worth; chances are shares of them")
    channel: str = Field("outbox", description="file name of a channel in mktgen/execution/channels/")
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    send_hour_local: int = Field(10, ge=0, le=23, description="hour of the next day, shop's time")
    quiet_from_hour: int = Field(21, ge=0, le=23)
    quiet_to_hour: int = Field(8, ge=0, le=23)

    def floor_among(self, actions: int) -> float:
        """The least chance of each of so many possible actions: the floor, or equal parts where they are too many for it."""
        return min(self.propensity_floor, (1.0 - self.no_contact_floor) / max(actions, 1))

    def is_quiet(self, hour: int) -> bool:
        """Whether nobody is to be contacted in this hour of the day; equal bounds: no hour is quiet."""
        start, end = self.quiet_from_hour, self.quiet_to_hour
        return start <= hour < end if start <= end else hour >= start or hour < end


class ContactCap(Section):
    """At most `contacts` to a customer in any `days` days; of one campaign where `campaign` is named, else of all."""

    days: int = Field(ge=1)
    contacts: int = Field(ge=1)
    campaign: str = ""


class Exclusion(Section):
    """Campaigns that exclude one another: a customer contacted for one is not contacted for another within `days`."""

    campaigns: tuple[str, ...] = Field(
        min_length=2, description="campaign ids, or `type:<campaign_type>`; in order of priority, the first is highest"
    )
    days: int = Field(ge=1)
    wins: Literal["first", "priority"] = Field(
        "first", description="first: whichever was sent first; priority: one of higher priority may still follow"
    )


class ContactSettings(Section):
    """Who may be contacted, beyond `strategy.contact_cap` and the quiet hours there; enforced again at dispatch."""

    further_caps: tuple[ContactCap, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    outside_hours: Literal["defer", "refuse"] = Field(
        "defer",
        description="a contact planned in the customer's quiet hours: put off to the next hour allowed, or not made",
    )
    consent_default: Literal["refuse", "existing_customers"] = Field(
        "refuse",
        description="where consent was neither given nor withdrawn; existing_customers is an ASSUMPTION: the shop has a legal "
        "basis for contacting its existing customers without it",
    )


def contact_caps(strategy: StrategySettings, contact: ContactSettings) -> tuple[ContactCap, ...]:
    """All caps in force: the strategy's own, then the further ones."""
    return ContactCap(days=strategy.contact_cap_days, contacts=strategy.contact_cap), *contact.further_caps


class ResponseSettings(Section):
    """The incremental effect of offers on customers, learned from randomised trials."""

    window_days: int = Field(7, ge=1, le=28, description="days after a decision whose purchases are its outcome")
    reporting_days: int = Field(
        0,
        ge=0,
        le=28,
        description="days after the window in which a redemption may still be reported: a trial waits so long",
    )
    memory_days: int = Field(180, ge=28, description="trials that matured so long ago are forgotten")
    half_life_days: float = Field(
        42.0, gt=0, description="a trial so old counts half: effects drift; three waves of 28 days outweigh all before"
    )
    doubted_weight: float = Field(
        0.125, gt=0, le=1, description="of trials from before a day from which on effects fell short or moved"
    )
    min_trials: int = Field(300, ge=50, description="randomised trials below which nothing is learned")
    min_drawn: int = Field(20, ge=5, description="times that at least two actions must have been drawn")
    folds: int = Field(
        5, ge=2, le=20, description="of customers, for predictions of the outcome and of held-out effects"
    )
    hinged_covariates: int = Field(4, ge=0, description="strongest covariates whose effect may bend")
    crossed_covariates: int = Field(12, ge=0, description="strongest covariates whose products may matter")
    vector_components: int = Field(8, ge=0, description="principal components kept of the customer vector")
    boosting_from: int = Field(2_000, ge=100, description="trials from which boosted trees may predict the outcome")
    max_coefficients: int = Field(1_500, ge=50, description="above it, actions differ in fewer terms; bounds the time")
    sure_buyer_from: float = Field(0.5, gt=0, lt=1, description="who buys uncontacted so likely is a sure buyer")
    negligible_conversion: float = Field(
        0.02, gt=0, lt=1, description="an effect on conversion whose interval lies within this of 0 is none"
    )

    @property
    def matured_after_days(self) -> int:
        """When a decision becomes a trial: its outcome's window is over, and what is reported late is known."""
        return self.window_days + self.reporting_days


class OffPolicySettings(Section):
    """The launch gate on logged propensities: which estimator speaks, and when it may not."""

    estimator: str = Field(
        "calibrated_dr", description="name in evaluation/off_policy/estimate.py; one with an interval"
    )
    interval: Literal["normal", "bootstrap"] = "normal"
    resamples: int = Field(2_000, ge=200, description="of the bootstrap interval")
    propensity_floor: float = Field(0.001, gt=0, lt=1, description="actions logged more rarely count as not supported")
    max_unsupported: float = Field(
        0.01, ge=0, lt=1, description="share of the judged policy on actions without support"
    )
    min_effective_sample: float = Field(200, ge=2, description="customers that the log is worth under the policy")
    min_clusters: int = Field(50, ge=2, description="customers in the log")
    max_weight_share: float = Field(0.05, gt=0, le=1, description="of the total weight, on one customer")
    weight_alpha: float = Field(
        0.001, gt=0, lt=1, description="weights that miss what true propensities give, at a p-value below this"
    )
    log_days: int = Field(84, ge=7, description="trials decided in the last so many days are the log: effects drift")
    log_decisions: int = Field(150_000, ge=1_000, description="of them the newest days, up to so many decisions")


class EvaluationSettings(Section):
    srm_alpha: float = Field(0.001, gt=0, lt=1, description="sample-ratio mismatch stops below this p-value")
    power: float = Field(0.8, gt=0, lt=1)
    alpha: float = Field(0.05, gt=0, lt=1)
    worthwhile_effect_minor: float = Field(
        50.0,
        gt=0,
        description="profit per contact; an experiment is proposed large enough to find an effect of this size",
    )
    max_calibration_error: float = Field(
        0.15, gt=0, le=1, description="expected calibration error of the redemption model"
    )
    concordance_days: int = Field(28, ge=1, description="mailings this recent are compared with our scores")
    off_policy: OffPolicySettings = OffPolicySettings()


class ExecutionSettings(Section):
    live_from: date | None = Field(None, description="first partition that may be sent; unset = nothing is ever sent")
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(1025, ge=1, le=65535)
    smtp_sender: str = "offers@example.invalid"


class EffectSettings(Section):
    outcome_model: Literal["ridge", "boosting", "mean"] = Field(
        "mean", description="what foretells spend where nobody was randomised; mean: of both"
    )
    folds: int = Field(5, ge=2, description="parts of the customers; each is predicted by models fitted on the others")
    trim: float = Field(
        0.05, gt=0, lt=0.5, description="customers whose propensity lies outside (trim, 1 - trim) are cut"
    )
    min_customers: int = Field(100, ge=10, description="in each arm, before anything is estimated")
    max_smd: float = Field(0.1, gt=0, description="standardised mean difference of a covariate after weighting")
    max_propensity_auc: float = Field(0.85, gt=0.5, le=1, description="above it the two groups hardly meet")
    min_overlap: float = Field(0.7, ge=0, le=1, description="share of either arm inside the overlap")
    min_effective_share: float = Field(0.2, ge=0, le=1, description="effective sample size over rows, under weights")
    max_contamination: float = Field(0.2, ge=0, le=1, description="share of an arm in another campaign at the time")
    placebo_alpha: float = Field(
        0.05, gt=0, lt=1, description="placebo and negative control of an observed campaign fail below this p-value"
    )
    randomisation_alpha: float = Field(
        0.001,
        gt=0,
        lt=1,
        description="sample ratio, placebo and negative control of a randomised one: its draw is broken",
    )
    recent_waves: int = Field(3, ge=1, description="waves of the ledger that are compared with those before them")
    drift_alpha: float = Field(0.01, gt=0, lt=1, description="calibration or effect has moved below this p-value")
    min_effective_controls: float = Field(
        30,
        ge=2,
        description="comparable customers left alone, as effective size, before a campaign's effect is realised",
    )


class FeedbackSettings(Section):
    window_days: int = Field(28, ge=1, description="attribution window after a decision or an exposure")
    psi_threshold: float = Field(0.25, gt=0)
    min_matured: int = Field(200, ge=1, description="matured rows needed before a shortfall may be called")
    shortfall_ratio: float = Field(
        0.5, gt=0, lt=1, description="realised / predicted redemptions or profit below this asks for retraining"
    )
    effect: EffectSettings = EffectSettings()


class Settings(Section):
    """All that changes results. Its canonical JSON is hashed into every artefact's identity, section by section."""

    seed: int = 20170101
    source: SourceSettings = SourceSettings()
    cleaning: CleaningSettings = CleaningSettings()
    features: FeatureSettings = FeatureSettings()
    models: ModelSettings = ModelSettings()
    strategy: StrategySettings = StrategySettings()
    copywriting: CopySettings = CopySettings()
    response: ResponseSettings = ResponseSettings()
    words: WordSettings = WordSettings()
    contact: ContactSettings = ContactSettings()
    foresight: ForesightSettings = ForesightSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    execution: ExecutionSettings = ExecutionSettings()
    feedback: FeedbackSettings = FeedbackSettings()
