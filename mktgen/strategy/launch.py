"""What past trials allow the day's strategy to spend: all of the budget, or an experiment's share of it."""

from __future__ import annotations

from mktgen.documents import LaunchEvidence
from mktgen.settings import StrategySettings


def bounded(settings: StrategySettings, evidence: LaunchEvidence) -> StrategySettings:
    """The settings to decide with: an experiment has `experiment_budget_share` of the budget, rounded down. What is futile
    has no candidates (steps/deciding.py), free ones neither."""
    if evidence.standing != "experiment":
        return settings
    return settings.model_copy(update={"budget_minor": experiment_budget(settings)})


def experiment_budget(settings: StrategySettings) -> int:
    """Minor units that a strategy may spend that is not proven better than what it replaces."""
    return int(settings.budget_minor * settings.experiment_budget_share)


def told(settings: StrategySettings, evidence: LaunchEvidence) -> str:
    """One sentence for the reader of the strategy. settings: those it was decided with."""
    if evidence.standing == "proven":
        return f"launched on evidence: {evidence.reason}"
    if evidence.standing == "not_judged":
        return f"not judged on past trials: {evidence.reason}"
    if evidence.standing == "futile":
        return f"nobody is contacted: {evidence.reason}"
    return f"an EXPERIMENT with a budget of {settings.budget_minor} minor units, not proven to pay: {evidence.reason}"
