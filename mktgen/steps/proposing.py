"""What to try next: the offer whose unknown effect is worth most, and the size of a test of it."""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from mktgen.documents import NextExperiment
from mktgen.evaluation.power import customers_per_arm
from mktgen.steps import responding
from mktgen.steps.runner import Run
from mktgen.strategy.launch import experiment_budget
from mktgen.strategy.next_experiment import Design, propose

_SPEND_DAYS: Final = 28


def next_experiment(run: Run, eligible: pl.DataFrame, draws: pl.DataFrame | None) -> NextExperiment | None:
    """The day's proposal. eligible: candidates (contracts.OFFER_SCORES) that may be drawn when it is their customer's turn;
    draws: of their worth."""
    settings = run.settings.evaluation
    sd, effect = _reward_sd(run), settings.worthwhile_effect_minor
    design = Design(
        per_arm=customers_per_arm(sd, effect, settings.alpha, settings.power),
        detectable_minor=effect,
        power=settings.power,
        alpha=settings.alpha,
        reward_sd_minor=sd,
        window_days=run.settings.response.window_days,
        daily_budget_minor=experiment_budget(run.settings.strategy),
    )
    return propose(eligible, draws, design)


def _reward_sd(run: Run) -> float:
    """Spread of one customer's reward, in minor units: what the response model leaves unexplained; without one, margin on
    the spend of the last 28 days, taken down to the window as if weeks were independent (they are not: an understatement
    where customers keep their habits)."""
    model = responding.model_of(run)
    if model is not None:
        return model.reward.noise_sd
    spend = run.table("customer_features")["net_minor_28d"]
    sd = float(spend.std() or 0.0)  # type: ignore[arg-type]
    return run.settings.strategy.margin_share * sd * math.sqrt(run.settings.response.window_days / _SPEND_DAYS)
