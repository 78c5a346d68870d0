"""The structural equations, up to chance: with which probabilities a customer does what, for every action.

A contacted customer stays away for the window (annoyed), or else answers or doesn't. An answer is an incremental visit
with probability kappa; otherwise the offer is redeemed on a visit that would have been made anyway, where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

from mktgen.market_sim.chance import Floats
from mktgen.market_sim.covariates import standardised
from mktgen.market_sim.hazard import redemption_logit
from mktgen.market_sim.panel import affinity_column, wave_of
from mktgen.market_sim.people import Nature
from mktgen.market_sim.scenario import Logit, Scenario


@dataclass(frozen=True)
class Chances:
    """Probabilities and sizes by customer and action [N, A], in the order of scenario.actions; the first column is 0."""

    annoyed: Floats  # stays away for the window
    answers: Floats  # given that the customer doesn't stay away
    incremental: Floats  # kappa, given an answer
    borrowed: Floats  # an incremental visit replaces the first one after the window
    basket_minor: Floats  # mean of an incremental basket
    face_minor: Floats  # what a redemption costs; 0 = nothing to redeem
    contact_minor: Floats


def chances(panel: pl.DataFrame, nature: Nature, scenario: Scenario) -> Chances:
    """Chances of every action for every row of a panel. `nature`: of the same rows. Raises PanelError: not one wave."""
    wave = wave_of(panel)
    hazard = redemption_logit(panel)
    contacts = panel["recent_contacts"].to_numpy()
    usual = panel["usual_basket_minor"].to_numpy()
    annoyed = scenario.annoyance.ceiling * expit(
        _logit(panel, scenario.annoyance.logit)
        + scenario.annoyance.hidden * nature.annoyed
        + scenario.annoyance.per_contact * contacts
    )
    zeros, columns = np.zeros(panel.height), []
    for name, offer in scenario.offers.items():
        behind = scenario.answered_as(name, wave)
        own = next(key for key, value in scenario.offers.items() if value is behind)
        answer = hazard + _logit(panel, behind.answer, own) + scenario.answering.per_contact * contacts
        answer += scenario.answering.face_slope * np.log1p(offer.face_value_minor / 100)
        kappa = _logit(panel, behind.incrementality, own) + scenario.incremental.hidden * nature.persuadable
        columns.append(
            (
                annoyed, expit(answer), scenario.incremental.ceiling * expit(kappa), zeros + behind.borrowed,
                usual * behind.basket, zeros + offer.face_value_minor, zeros + scenario.contact_cost_minor,
            )
        )  # fmt: skip
    stacked = [np.stack([zeros, *part], axis=1) for part in zip(*columns, strict=True)]
    return Chances(*stacked)


def _logit(panel: pl.DataFrame, logit: Logit, offer: str = "") -> Floats:
    total = np.full(panel.height, logit.constant)
    for name, weight in logit.weights.items():
        column = affinity_column(offer) if name == "affinity" else None
        total += weight * standardised(panel, name, column)
    return total
