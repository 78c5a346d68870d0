"""Effects on campaigns that nobody randomised. They hold only as far as the covariates hold all that chose the customers."""

from __future__ import annotations

from math import sqrt

import numpy as np

from mktgen.errors import PermanentError
from mktgen.feedback.effect.crossfit import Nuisance, within
from mktgen.feedback.effect.estimate import Estimate, Vector
from mktgen.feedback.effect.sample import Sample


def doubly_robust(sample: Sample, nuisance: Nuisance, trim: float) -> Estimate:
    """Mean effect over the rows whose propensity lies in (trim, 1 - trim).

    Formula (AIPW): psi = m1 - m0 + t (y - m1) / e - (1 - t) (y - m0) / (1 - e), averaged; its error is that of the sums of
    psi by customer, df = customers of the smaller arm - 1.
    Assumption: treatment is as good as random given x (nothing unmeasured chose the customers); one of the two models is
    right, or both nearly. When it fails: unmeasured confounding, which nothing in these numbers shows: see the placebo;
    propensities near the bounds; then it is also an effect on fewer customers than were mailed.
    Reference: Robins, Rotnitzky & Zhao, JASA 89 (1994); Crump et al., Biometrika 96 (2009).
    Raises PermanentError where fewer than two customers of an arm are left.
    """
    kept = within(nuisance.propensity, trim)
    e = np.clip(nuisance.propensity, trim, 1 - trim)
    t = sample.treated.astype(np.float64)
    psi = nuisance.treated - nuisance.control
    psi = psi + t * (sample.outcome - nuisance.treated) / e - (1 - t) * (sample.outcome - nuisance.control) / (1 - e)
    weight = kept.astype(np.float64)
    return _mean(sample, psi, weight, f"AIPW on {trim:g} < e < {1 - trim:g}")


def overlap_weighted(sample: Sample, nuisance: Nuisance) -> Estimate:
    """Mean effect with weights e (1 - e): most weight where both arms were likely, none where one was certain.

    Formula (R-learner): sum (t - e) (y - m) / sum (t - e)^2, m the outcome whatever the arm; influences of its moment
    condition, summed by customer. Assumption and failure: as `doubly_robust`, but no row is cut off; both models
    must be nearly right. Reference: Robinson, Econometrica 56 (1988); Nie & Wager, Biometrika 108 (2021);
    Li, Morgan & Zaslavsky, JASA 113 (2018).
    """
    rest = sample.treated.astype(np.float64) - nuisance.propensity
    value = (sample.outcome - nuisance.either) / np.where(rest == 0, 1.0, rest)
    return _mean(sample, value, rest**2, "R-learner, overlap-weighted")


def _mean(sample: Sample, values: Vector, weight: Vector, method: str) -> Estimate:
    """Weighted mean of a value per row, errors clustered by customer."""
    used = weight > 0
    arms = [sample.customers_in(used & arm) for arm in (sample.treated, ~sample.treated)]
    if min(arms) < 2:
        raise PermanentError(
            f"{method}: {arms[0]} treated and {arms[1]} control customers are left; two each are needed"
        )
    total = float(weight.sum())
    mean = float(weight @ values) / total
    influence = sample.by_customer(weight * (values - mean) / total)
    customers = sample.customers_in(used)
    se = sqrt(float((influence**2).sum()) * customers / (customers - 1))
    method = f"{method}, clustered by customer"
    return Estimate(mean, se, float(min(arms) - 1), method, sample.customers, influence)
