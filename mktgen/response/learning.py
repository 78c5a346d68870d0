"""Learn a model and judge it; where differences between customers are exaggerated, learn what actions do in the mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from scipy.special import ndtri

from mktgen.documents import Gate
from mktgen.response.checks import calibration, no_harm_in_scale, sanity_gates
from mktgen.response.clustered import slopes
from mktgen.response.fitting import Alike, fit_response
from mktgen.response.held_out import HeldOut, HeldOutOutcome
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings

DIFFERENCES: Final = "differences"  # the gate that says which of the two models it is
_LEVEL: Final = 0.99  # as the gates


@dataclass(frozen=True)
class Learned:
    """gates: of the model that is given. alike: it has one mean effect per action, and not effects that differ."""

    model: ResponseModel
    held_out: HeldOut
    gates: list[Gate]
    alike: bool

    @property
    def failed(self) -> list[str]:
        return [f"{gate.name}: {gate.detail}" for gate in self.gates if gate.passed is False]


def learn(
    trials: pl.DataFrame,
    covariates: pl.DataFrame,
    settings: ResponseSettings,
    partition: date,
    seed: int,
    offers: pl.DataFrame,
    holdout_share: float | None = None,
    doubted_before: date | None = None,
    placebo: pl.DataFrame | None = None,
) -> Learned:
    """A response model with its gates. Arguments and errors as fit_response; offers, placebo as sanity_gates.

    What: effects that differ between customers, unless held-out trials surely show less of these differences than was
    foretold (the gates effect_calibration and individual_effects); then the mean effect of each action for everyone. Formula:
    the same regression with the constant function alone; the spread that held-out trials don't rule out, the upper 99% end
    of the slope times the standard deviation of the foretold differences, widens what is said of a single customer.
    Assumption: what is left of the differences scatters around the mean like a normal over the basis. When it fails:
    differences of another shape than was foretold are larger than said; draws explore them in directions of the basis only.
    """
    known = (trials, covariates, settings, partition, seed, holdout_share, doubted_before)
    model, held_out = fit_response(*known)
    failed = [gate for gate in (calibration(held_out), no_harm_in_scale(held_out)) if gate.passed is False]
    if not failed:
        return Learned(model, held_out, sanity_gates(held_out, offers, placebo), alike=False)
    left = Alike(*(not_ruled_out(held_out, outcome) for outcome in (held_out.reward, held_out.conversion)))
    model, held_out = fit_response(*known, left)
    told = "; ".join(f"{gate.name}: {gate.detail}" for gate in failed)
    detail = (
        f"the mean effect of each action is used for all customers, who may differ from it by {left.reward_sd:.1f} minor units "
        f"(standard deviation): foretold differences were exaggerated ({told})"
    )
    return Learned(
        model,
        held_out,
        [*sanity_gates(held_out, offers, placebo), Gate(name=DIFFERENCES, passed=None, detail=detail)],
        alike=True,
    )


def not_ruled_out(held_out: HeldOut, outcome: HeldOutOutcome) -> float:
    """Standard deviation over customers of the differences that held-out trials leave possible, in units of the outcome."""
    found = slopes(held_out, outcome)
    if found is None:
        return 0.0
    high = max(found[0] + float(ndtri((1 + _LEVEL) / 2)) * found[1], 0.0)
    away = outcome.effect - held_out.centre(outcome.effect)
    return high * float(np.sqrt(np.average((away**2).mean(axis=1), weights=held_out.weight)))
