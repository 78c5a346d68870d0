"""How much to explore, by how much is known: wide draws and a high floor at first, narrow and low once trials are many.

What: posterior draws v_s of what actions are worth are drawn together towards their mean, m + w (v_s - m), and every action
keeps a floor f. Formula: w = sqrt(n_0 / n) within [0.1, 1] and f = f_0 n_0 / n within [0.1 f_0, f_0], n the effective number of
trials (old ones count less), n_0 the setting `exploring_trials`. So the spread of the draws shrinks as 1 / n, twice as fast
as the posterior's: Thompson sampling with a schedule. Where trials are forgotten, n falls and exploration comes back.
Assumption: customers answer next week as they did; nearly equal actions are worth telling apart less and less. When it fails:
an effect that changes while n is large is found slowly, until feedback asks to forget (feedback/retraining.py).
Reference: Thompson (1933); Russo and others (2018), A tutorial on Thompson sampling, section 8 (discounted and tempered
draws).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from mktgen.documents import Interval
from mktgen.settings import StrategySettings

LEAST: Final = 0.1  # of the width and of the floor


@dataclass(frozen=True)
class Exploration:
    """width: of the draws around their mean, 1 is the whole posterior. floor: least chance of every action."""

    width: float
    floor: float


def exploration(trials: float | None, settings: StrategySettings) -> Exploration:
    """trials: effective number behind the response model; None or 0: nothing is known, so all of both."""
    if not trials:
        return Exploration(1.0, settings.propensity_floor)
    known = settings.exploring_trials / trials
    return Exploration(
        width=min(1.0, max(known**0.5, LEAST)), floor=settings.propensity_floor * min(1.0, max(known, LEAST))
    )


def even_draws(candidates: pl.DataFrame, settings: StrategySettings, seed: int, partition: date) -> pl.DataFrame:
    """customer_id, offer_id, draws (Array): worth of offers of which nothing is known, so that chances come out even.

    What a draw says of an offer is its cost times a uniform number: no offer is better than another for its money, each is
    tried as often as another, and the budget alone says how often. Where everything is to be learned, a guess of worth would
    only keep most offers from being tried.
    """
    rows = candidates.select("customer_id", "offer_id", "cost_minor").sort("customer_id", "offer_id")
    chance = np.random.default_rng([seed, partition.toordinal()])
    drawn = rows["cost_minor"].to_numpy()[:, None] * chance.random((rows.height, settings.posterior_draws))
    return rows.select("customer_id", "offer_id").with_columns(
        draws=pl.Series(drawn, dtype=pl.Array(pl.Float64, settings.posterior_draws))
    )


def narrowed(settings: StrategySettings, trials: float | None) -> StrategySettings:
    """The settings with the floor that so many trials leave."""
    return settings.model_copy(update={"propensity_floor": exploration(trials, settings).floor})


def cannot_pay(gain: Interval, spend_minor: float) -> bool:
    """Whether exploring on is futile: the most that the policy plausibly gains is less than a tenth of what it would spend.

    gain: profit per decision over no contact, with its interval, on past trials. spend_minor: what the policy would have spent
    per decision there.
    """
    return gain.high < LEAST * spend_minor
