"""The evaluation of a strategy before it may be published. One failed gate stops it, with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import polars as pl

from mktgen.contracts import SENDS
from mktgen.documents import Gate, LaunchEvidence, Promotion, Strategy, StrategyEvaluation
from mktgen.evaluation import contact_history, contact_policy
from mktgen.evaluation.concordance import concordance
from mktgen.evaluation.off_policy.gate import strategy_gate
from mktgen.evaluation.power import minimal_detectable_difference
from mktgen.evaluation.redemption_calibration import redemption_metrics
from mktgen.metrics import refusals
from mktgen.settings import ContactSettings, EvaluationSettings, StrategySettings

_NO_FURTHER_RULES = ContactSettings()


@dataclass(frozen=True)
class Evidence:
    """What a strategy is judged on.

    decisions, messages, offer_scores, offers, exposures, features (contracts.CUSTOMER_FEATURES): tables by contract.
    customers: the active ones. recent_contacts: customer_id, contacts (Int64) in the cap's window before today.
    redemption_held_out: p_redeem, redeemed of matured campaigns that the model had not seen (may be empty).
    model_metrics: figures of the champions on the frozen cut, by name. capabilities: see metrics.CAPABILITIES.
    recent_sends: contracts.SENDS of the days before that caps and exclusions look back on. campaign_types: id -> type.
    launch: what past trials say of the policy.
    """

    strategy: Strategy
    decisions: pl.DataFrame
    messages: pl.DataFrame
    offer_scores: pl.DataFrame
    customers: list[str]
    features: pl.DataFrame
    offers: pl.DataFrame
    exposures: pl.DataFrame
    recent_contacts: pl.DataFrame
    redemption_held_out: pl.DataFrame
    promotion: Promotion
    model_metrics: dict[str, float]
    capabilities: dict[str, bool]
    launch: LaunchEvidence
    recent_sends: pl.DataFrame = field(default_factory=SENDS.empty)
    campaign_types: dict[str, str] = field(default_factory=dict)


def evaluate_strategy(
    evidence: Evidence,
    strategy_settings: StrategySettings,
    evaluation_settings: EvaluationSettings,
    contact_settings: ContactSettings = _NO_FURTHER_RULES,
) -> StrategyEvaluation:
    """All gates, figures and refusals of one strategy; `stopped` with the reasons where a gate failed."""
    redemption = redemption_metrics(evidence.redemption_held_out)
    power = _power_metrics(evidence, evaluation_settings)
    partition = evidence.strategy.partition
    agreement = concordance(
        evidence.offer_scores,
        evidence.customers,
        evidence.exposures,
        partition,
        evaluation_settings.concordance_days,
    )
    gates = [
        *_policy_gates(evidence, strategy_settings, evaluation_settings, contact_settings),
        _allocation_gate(evidence.strategy),
        strategy_gate(evidence.launch, evidence.strategy.allocation, strategy_settings),
        _calibration_gate(redemption, evaluation_settings),
        _champion_gate(evidence),
        _power_gate(power),
        _concordance_gate(agreement),
    ]
    reasons = [f"{gate.name}: {gate.detail}" for gate in gates if gate.passed is False]
    metrics = {f"model_{name}": value for name, value in evidence.model_metrics.items()}
    metrics |= redemption | agreement | power | _copy_metrics(evidence.messages)
    finite = {name: float(value) for name, value in sorted(metrics.items()) if math.isfinite(value)}
    return StrategyEvaluation(
        partition=partition,
        gates=gates,
        metrics=finite,
        refused=refusals(evidence.capabilities),
        stopped=bool(reasons),
        reasons=reasons,
    )


def _policy_gates(
    evidence: Evidence, settings: StrategySettings, evaluation_settings: EvaluationSettings, contact: ContactSettings
) -> list[Gate]:
    decisions, plan = evidence.decisions, evidence.strategy.allocation
    partition, sends = evidence.strategy.partition, evidence.recent_sends
    return [
        contact_policy.one_decision_per_customer(decisions, evidence.customers),
        contact_policy.holdout_not_contacted(decisions),
        contact_policy.contact_cap(decisions, evidence.recent_contacts, settings),
        contact_history.further_caps(decisions, sends, contact, partition),
        contact_history.campaign_conflict(decisions, sends, contact, evidence.campaign_types, partition),
        contact_policy.budget(decisions, evidence.offer_scores, settings),
        contact_policy.consent(contact),
        contact_policy.quiet_hours(settings),
        contact_policy.propensities(decisions),
        contact_policy.propensity_floor(decisions, plan, settings),
        contact_policy.messages(decisions, evidence.messages),
        contact_policy.offer_window(decisions, evidence.offers, partition),
        contact_policy.versions(decisions),
        contact_policy.sample_ratio(decisions, settings, evaluation_settings),
    ]


def _allocation_gate(strategy: Strategy) -> Gate:
    """The value may not exceed its upper bound, nor the stated worst case the budget: else the optimiser is broken."""
    plan = strategy.allocation
    sound = plan.value_minor <= plan.bound_minor + 1e-6 and plan.worst_case_cost_minor <= plan.budget_minor
    detail = (
        f"value {plan.value_minor:.0f} of a bound of {plan.bound_minor:.0f} (gap {plan.gap_share:.2%}), shadow price "
        f"{plan.shadow_price:.3f}, stated worst case {plan.worst_case_cost_minor} of {plan.budget_minor} minor units"
    )
    return Gate(
        name="allocation_bound", passed=sound, detail=detail, value=plan.value_minor, threshold=plan.bound_minor
    )


def _calibration_gate(redemption: dict[str, float], settings: EvaluationSettings) -> Gate:
    error = redemption.get("redemption_ece")
    if error is None:
        detail = "no matured campaign to hold out: probabilities of redemption are not yet checked on later campaigns"
        return Gate(name="redemption_calibration", passed=None, detail=detail)
    detail = (
        f"expected calibration error {error:.3f} on {redemption['redemption_mailings']:.0f} held-out mailings "
        f"(mean p {redemption['redemption_mean_p']:.3f}, redeemed {redemption['redemption_rate']:.3f})"
    )
    return Gate(
        name="redemption_calibration",
        passed=error <= settings.max_calibration_error,
        detail=detail,
        value=error,
        threshold=settings.max_calibration_error,
    )


def _champion_gate(evidence: Evidence) -> Gate:
    """The models that were used have figures from the frozen cut; a champion without one was never compared."""
    champions = (evidence.promotion.ranking, evidence.promotion.customer)
    named = "; ".join(f"{task.task}: {task.champion} ({task.metric}; {task.reason})" for task in champions)
    measured = bool(evidence.model_metrics) and all(math.isfinite(v) for v in evidence.model_metrics.values())
    return Gate(name="champion_measured", passed=measured, detail=named)


def _power_metrics(evidence: Evidence, settings: EvaluationSettings) -> dict[str, float]:
    """Smallest effects the hold-out could show after 28 days, from the spread of the last 28 days' spend."""
    decisions = evidence.decisions
    held = int(decisions["holdout"].sum())
    treated = decisions.height - held
    ours = evidence.features.join(decisions, on="customer_id", how="semi").sort("customer_id")
    spend = ours["net_minor_28d"].to_numpy()
    sd = float(spend.std(ddof=1)) if len(spend) > 1 else 0.0
    contacts = contact_policy.contacted(decisions).height
    difference = minimal_detectable_difference(sd, treated, held, settings.alpha, settings.power)
    # Only the contacted share of the treated arm can respond: the effect per contact is diluted by that share.
    per_contact = difference * treated / contacts if contacts else math.inf
    return {
        "spend_sd_minor_28d": sd,
        "mde_spend_minor_28d": difference,
        "mde_spend_minor_28d_per_contact": per_contact,
    }


def _power_gate(power: dict[str, float]) -> Gate:
    difference = power["mde_spend_minor_28d"]
    if not math.isfinite(difference):
        return Gate(name="power", passed=None, detail="no hold-out or nobody else: the design can't show any effect")
    per_contact = power["mde_spend_minor_28d_per_contact"]
    detail = f"one day's design can show a mean difference of {difference:.0f} minor units of 28-day spend"
    if math.isfinite(per_contact):
        detail += f", which is {per_contact:.0f} per contacted customer; smaller effects need more days or customers"
    return Gate(name="power", passed=None, detail=detail, value=difference)


def _concordance_gate(agreement: dict[str, float]) -> Gate:
    prefix, suffix = "concordance_", "_auc_p_redeem"
    areas = {n.removeprefix(prefix).removesuffix(suffix): v for n, v in agreement.items() if n.endswith(suffix)}
    if not areas:
        return Gate(name="concordance", passed=None, detail="no running campaign was mailed lately: nothing to compare")
    listed = ", ".join(f"campaign {name}: AUC {value:.3f}" for name, value in areas.items())
    return Gate(name="concordance", passed=None, detail=f"{listed}. Agreement with what was sent, not uplift")


def _copy_metrics(messages: pl.DataFrame) -> dict[str, float]:
    fallback = messages.filter(pl.col("origin") == "fallback").height
    return {"messages": float(messages.height), "messages_fallback": float(fallback)}
