"""The launch gate: a policy that was not run yet must surely be better than the one in place, on the log of that one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mktgen.documents import Allocation, Gate, LaunchEvidence
from mktgen.evaluation.off_policy.estimate import Estimate, difference
from mktgen.evaluation.off_policy.logged import Floats, Logged
from mktgen.settings import EvaluationSettings, StrategySettings

NAME: Final = "off_policy_value"


@dataclass(frozen=True)
class Experiment:
    """A strategy that is launched to learn. planned, budget: what it spends on exploration and may spend, in one unit
    (customers, or minor units of money)."""

    planned: float
    budget: float


def launch_gate(
    log: Logged,
    incumbent: Floats,
    settings: EvaluationSettings,
    *,
    experiment: Experiment | None = None,
    compared: int = 1,
    seed: int = 0,
    name: str = "business as usual",
) -> Gate:
    """Whether the candidate (log.policy) may be launched in place of `incumbent` ([n, A], business as usual).

    Passes where the lower bound of the paired difference is above 0, or where it is an experiment within its exploration
    budget: what was never tried has no support in a log, and is tried on purpose and for a stated price. Fails where the log
    can't carry the figure, by name (diagnostics.Reason). compared: candidates that were judged on this log; the bound holds
    for all of them at once (Bonferroni), so that the best of many is no winner by chance. name: of the incumbent, in words.
    Raises RefusedLog for a log that can't be right.
    """
    if experiment is not None:
        return _experiment_gate(experiment)
    found = difference(log, incumbent, settings.off_policy, alpha=settings.alpha / max(compared, 1), seed=seed)
    return verdict(found, compared, name)


def verdict(found: Estimate, compared: int = 1, name: str = "business as usual") -> Gate:
    """The gate that a difference of candidate and incumbent gives."""
    if found.refused or found.low is None:
        named = "; ".join(f"{refusal.missing[0]}: {refusal.reason}" for refusal in found.refused) or found.method
        return Gate(name=NAME, passed=False, detail=f"refused, {named}", threshold=0.0)
    return Gate(name=NAME, passed=found.low > 0, detail=_told(found, compared, name), value=found.low, threshold=0.0)


def _experiment_gate(experiment: Experiment) -> Gate:
    """Nothing planned, or a budget that isn't known, fails: the word alone opens no gate."""
    within = 0 < experiment.planned <= experiment.budget < math.inf
    detail = f"an experiment: explores {experiment.planned:.6g} of at most {experiment.budget:.6g}; its value is not known yet"
    return Gate(name=NAME, passed=within, detail=detail, value=experiment.planned, threshold=experiment.budget)


def _told(found: Estimate, compared: int, name: str) -> str:
    at_once = f", for {compared} candidates at once" if compared > 1 else ""
    return (
        f"difference to {name} {found.value:.6g} per decision, [{found.low:.6g}, {found.high:.6g}] by "
        f"{found.estimator} ({found.method}{at_once}); {found.diagnostics.rows} decisions worth "
        f"{found.diagnostics.effective_sample:.0f} customers under the candidate"
    )


def strategy_gate(evidence: LaunchEvidence, plan: Allocation, settings: StrategySettings) -> Gate:
    """Whether a strategy may go out by what past trials say of its policy: proven, or an experiment within its budget.

    The comparisons are read, not the word `proven`: each must have a lower bound above 0. An experiment's cost is the worst
    case of the whole strategy. What is futile has no contacts, and is stopped if it has any (free ones). Not applicable where
    nobody is contacted or no customer can be reached.
    """
    if plan.contacts == 0:  # not what they cost: a free contact can do harm, too
        return Gate(name=NAME, passed=None, detail="nobody is contacted: nothing is launched")
    if evidence.standing == "not_judged":
        return Gate(name=NAME, passed=None, detail=f"not judged: {evidence.reason}")
    bounds = [one.difference.low if one.difference else -math.inf for one in evidence.comparisons]
    if bounds and min(bounds) > 0:
        told = "; ".join(one.gate.detail for one in evidence.comparisons)
        return Gate(name=NAME, passed=True, detail=told, value=min(bounds), threshold=0.0)
    if evidence.standing == "futile":
        detail = f"{plan.contacts} contacts would be made that past trials speak against: {evidence.reason}"
        return Gate(name=NAME, passed=False, detail=detail)
    if plan.worst_case_cost_minor == 0:
        detail = f"an experiment whose {plan.contacts} contacts cost nothing. Why: {evidence.reason}"
        return Gate(name=NAME, passed=True, detail=detail, value=0.0)
    budget = settings.budget_minor * settings.experiment_budget_share
    gate = _experiment_gate(Experiment(float(plan.worst_case_cost_minor), budget))
    return gate.model_copy(update={"detail": f"{gate.detail} (minor units). Why: {evidence.reason}"})
