"""Can the two groups be compared at all? Balance, overlap, the ratio of the arms, other campaigns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mktgen.feedback.effect.crossfit import within
from mktgen.feedback.effect.estimate import Vector
from mktgen.feedback.effect.sample import CONTROL, Sample


@dataclass(frozen=True)
class Balance:
    """Standardised mean differences of the covariates between the arms, [covariates] each."""

    names: tuple[str, ...]
    before: Vector
    after: Vector


def balance(sample: Sample, weights: Vector) -> Balance:
    """Of every covariate: treated mean less control mean, in standard deviations; plain and with `weights` [rows].

    Formula: (mean1 - mean0) / sqrt((var1 + var0) / 2), variances unweighted in both. Below .1 is called balanced.
    It says nothing of what isn't among the covariates. Reference: Austin, Statistics in Medicine 28 (2009).
    """
    treated = sample.treated
    spread = np.sqrt((sample.covariates[treated].var(axis=0) + sample.covariates[~treated].var(axis=0)) / 2)
    spread = np.where(spread > 0, spread, 1.0)

    def gap(weight: Vector) -> Vector:
        one, other = (
            np.average(sample.covariates[rows], axis=0, weights=weight[rows]) if weight[rows].sum() > 0 else np.nan
            for rows in (treated, ~treated)
        )
        result: Vector = (one - other) / spread
        return result

    return Balance(sample.names, gap(np.ones(sample.rows)), gap(weights))


def inverse_weights(sample: Sample, propensity: Vector, trim: float) -> Vector:
    """[rows] 1 / P(own arm), 0 outside (trim, 1 - trim)."""
    own = np.where(sample.treated, propensity, 1 - propensity)
    result: Vector = np.where(within(propensity, trim), 1 / np.maximum(own, trim), 0.0)
    return result


def effective_share(weights: Vector) -> float:
    """Kish's effective sample size over the rows with weight: (sum w)^2 / (n sum w^2); 0 where there is none."""
    used = weights[weights > 0]
    return float(used.sum() ** 2 / (used.size * (used**2).sum())) if used.size else 0.0


def overlap(sample: Sample, propensity: Vector, trim: float) -> dict[str, float]:
    """How well treatment is foretold, and how much of each arm could have been in the other.

    propensity_auc: .5 = as a draw; near 1 = the groups hardly meet. overlap_treated, overlap_control: shares of rows with
    propensity in (trim, 1 - trim). effective_share: the smaller of the arms' effective sample sizes under
    inverse weights, as share of the rows kept. propensity_treated_median: of the treated.
    """
    from sklearn.metrics import roc_auc_score  # late: most steps do without

    kept, weights = within(propensity, trim), inverse_weights(sample, propensity, trim)
    arms = (sample.treated, ~sample.treated)
    return {
        "propensity_auc": float(roc_auc_score(sample.treated, propensity)),
        "overlap_treated": float(kept[arms[0]].mean()),
        "overlap_control": float(kept[arms[1]].mean()),
        "effective_share": min(effective_share(weights[arm]) for arm in arms),
        "propensity_treated_median": float(np.median(propensity[arms[0]])),
    }


def sample_ratio(sample: Sample, control_share: float) -> tuple[int, int, float]:
    """Units of the control, units in all, and the p-value of their number against the share that was designed.

    The unit is the customer where each stayed in one arm, else the row (drawn anew each wave). Exact binomial test.
    When it fails: it can't see a biased draw that keeps the count. Reference: Fabijan et al., KDD 2019.
    """
    control = sample.in_arm(CONTROL)
    mixed = sample.by_customer(control.astype(np.float64)) % np.bincount(sample.cluster)
    if (mixed != 0).any():
        held, units = int(control.sum()), sample.rows
    else:
        held, units = sample.customers_in(control), len(sample.customers)
    from scipy.stats import binomtest  # late: most steps do without

    return held, units, float(binomtest(held, units, control_share).pvalue)


def contamination(rows: pl.DataFrame, other: str) -> dict[str, float]:
    """Shares of treated and control rows that were in another campaign inside the window (`other`: Boolean)."""
    shares = rows.group_by(pl.col("arm") != CONTROL).agg(pl.col(other).cast(pl.Float64).mean())
    found = dict(shares.iter_rows())
    return {"contaminated_treated": float(found.get(True, 0.0)), "contaminated_control": float(found.get(False, 0.0))}
