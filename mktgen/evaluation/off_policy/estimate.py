"""One value, or one difference of two policies on the same log: point, standard error, bounds and diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mktgen.documents import Refusal
from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy import estimators, tuning
from mktgen.evaluation.off_policy.diagnostics import Diagnostics, diagnose, refusals
from mktgen.evaluation.off_policy.estimators import Terms
from mktgen.evaluation.off_policy.intervals import Bounds, bootstrap, normal
from mktgen.evaluation.off_policy.logged import Floats, Logged
from mktgen.settings import OffPolicySettings

ESTIMATORS: Final[dict[str, Callable[[Logged], Terms]]] = {
    "ips": estimators.ips,
    "snips": estimators.snips,
    "dm": estimators.dm,
    "dr": estimators.dr,
    "sndr": estimators.sndr,
    "calibrated_dr": estimators.calibrated_dr,
    "clipped_ips": tuning.tuned_clipped_ips,
    "switch_dr": tuning.tuned_switch_dr,
    "dros": tuning.tuned_dros,
}


@dataclass(frozen=True)
class Estimate:
    """value in the unit of the rewards, per decision. se, low, high: at level 1 - alpha; None where `method` says why.
    dial: where weights are cut (infinite: nowhere). refused: why the value may not be used; empty: it may."""

    estimator: str
    value: float
    se: float | None
    low: float | None
    high: float | None
    method: str
    dial: float
    diagnostics: Diagnostics
    refused: tuple[Refusal, ...]


def estimate(log: Logged, settings: OffPolicySettings, *, alpha: float = 0.05, seed: int = 0) -> Estimate:
    """The judged policy's value, by the estimator of the settings. Raises RefusedLog where that needs a reward model."""
    terms = _terms(log, settings)
    found = diagnose(log, terms, settings)
    bounds = _bounds(terms.value, terms.influence, terms.biased, log, settings, alpha, seed)
    refused = refusals(found, terms, settings)
    return _told(settings, terms.value, bounds, terms.dial, found, refused)


def difference(
    log: Logged, incumbent: Floats, settings: OffPolicySettings, *, alpha: float = 0.05, seed: int = 0
) -> Estimate:
    """Value of the judged policy less that of `incumbent` ([n, A]) on the same decisions.

    Each customer's influence is subtracted before its spread is taken, so what both policies share cancels out. Refusals
    are those of both policies; the diagnostics shown are the judged one's. Raises RefusedLog as `estimate`, and where the
    incumbent's probabilities can't be right.
    """
    other = log.under(incumbent)
    terms, base = _terms(log, settings), _terms(other, settings)
    found = diagnose(log, terms, settings)
    refused = refusals(found, terms, settings)
    refused += [
        refusal.model_copy(update={"reason": f"incumbent: {refusal.reason}"})
        for refusal in refusals(diagnose(other, base, settings), base, settings)
    ]
    value, influence = terms.value - base.value, terms.influence - base.influence
    bounds = _bounds(value, influence, terms.biased or base.biased, log, settings, alpha, seed)
    return _told(settings, value, bounds, terms.dial, found, refused)


def _terms(log: Logged, settings: OffPolicySettings) -> Terms:
    if settings.estimator not in ESTIMATORS:
        raise PermanentError(
            f"evaluation.off_policy.estimator = {settings.estimator!r}; there are {', '.join(ESTIMATORS)}"
        )
    return ESTIMATORS[settings.estimator](log)


def _bounds(
    value: float, influence: Floats, biased: bool, log: Logged, settings: OffPolicySettings, alpha: float, seed: int
) -> Bounds:
    if biased:
        return Bounds(None, None, None, "none: biased by its model or by cut weights, which no standard error shows")
    if settings.interval == "bootstrap":
        return bootstrap(value, influence, log.groups, alpha, resamples=settings.resamples, seed=seed)
    return normal(value, influence, log.groups, alpha)


def _told(
    settings: OffPolicySettings,
    value: float,
    bounds: Bounds,
    dial: float,
    found: Diagnostics,
    refused: list[Refusal],
) -> Estimate:
    return Estimate(
        estimator=settings.estimator,
        value=value,
        se=bounds.se,
        low=bounds.low,
        high=bounds.high,
        method=bounds.method,
        dial=dial,
        diagnostics=found,
        refused=tuple(refused),
    )
