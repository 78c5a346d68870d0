"""Effects as foretold for customers whose own trials were left out, beside what these trials say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.response.trials import NOT_CONTACTED, Trials

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOutOutcome:
    """Of one outcome; n trials, A actions. effect [n, A]: predicted without the customer's fold. score [n, A]: doubly
    robust pseudo-outcome, NaN where the action or no contact was impossible. q [n, A + 1]: outcome predicted under each
    action and, last, no contact. residual [n]: outcome less its prediction under the logged chances. boosted [n, A]:
    effects by boosted trees, as comparison; None: not made.
    """

    effect: Matrix
    score: Matrix
    q: Matrix
    residual: Matrix
    boosted: Matrix | None = None


@dataclass(frozen=True)
class HeldOut:
    """All that the checks of a model need. weight [n]: by age, as in the fit. fold [n]: what was left out together.
    imbalance [K]: of each basis function, in standard errors: how far contacted customers are from what the chances imply.
    """

    trials: Trials
    weight: Matrix
    fold: NDArray[np.int64]
    imbalance: Matrix
    reward: HeldOutOutcome
    conversion: HeldOutOutcome

    def centre(self, effect: Matrix) -> Matrix:
        """[n, A]: weighted mean of `effect` over each trial's fold.

        What a fold's predictions have in common moves against its own trials (they are what the others lack), so
        differences between customers are judged within folds.
        """
        result = np.empty(effect.shape)
        for number in np.unique(self.fold):
            rows = self.fold == number
            result[rows] = np.average(effect[rows], axis=0, weights=self.weight[rows])
        return result

    def frame(self) -> pl.DataFrame:
        """One row per trial and possible action: decision_id, customer_id, action, weight, effect_minor, score_minor,
        conversion_effect, conversion_score. Scores are null where no contact was impossible."""
        rows, columns = np.nonzero(self.trials.chance > 0)
        names = pl.Series(self.trials.actions, dtype=pl.String)
        ids = self.trials.frame.select("decision_id", "customer_id")[rows.tolist()]
        values = {
            "effect_minor": self.reward.effect, "score_minor": self.reward.score,
            "conversion_effect": self.conversion.effect, "conversion_score": self.conversion.score,
        }  # fmt: skip
        return ids.with_columns(
            names.gather(columns).alias("action"),
            pl.Series("weight", self.weight[rows]),
            *(pl.Series(name, matrix[rows, columns]).fill_nan(None) for name, matrix in values.items()),
        )


def scores(outcome: Matrix, q: Matrix, trials: Trials) -> Matrix:
    """Doubly robust pseudo-outcomes [n, A] of each action against no contact.

    psi_a = q_a - q_0 + 1[drawn a] / e_a (y - q_a) - 1[none] / e_0 (y - q_0); q [n, A + 1], no contact last. Its mean given x
    is the effect, whatever q is. When it fails: chances near 0 give it a huge spread. Reference: Robins and Rotnitzky
    (1995); Kennedy, Electronic Journal of Statistics 17 (2023).
    """
    actions = len(trials.actions)
    drawn = np.equal.outer(trials.drawn, np.arange(actions))
    none = trials.drawn == NOT_CONTACTED
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(drawn, (outcome[:, None] - q[:, :actions]) / trials.chance, 0.0)
        other = np.where(none, (outcome - q[:, actions]) / trials.chance_none, 0.0)
    psi = q[:, :actions] - q[:, [actions]] + own - other[:, None]
    possible = (trials.chance > 0) & (trials.chance_none > 0)[:, None]
    return np.where(possible, psi, np.nan)


def by_customer(trials: Trials, values: Matrix) -> Matrix:
    """[customers, k]: sums of the rows [n, k] of each customer; trials are sorted by customer."""
    starts = np.flatnonzero(np.diff(trials.customer, prepend=-1))
    sums: Matrix = np.add.reduceat(values, starts, axis=0)
    return sums


def imbalance(design: Matrix, trials: Trials, weight: Matrix) -> Matrix:
    """[K]: sum of w c phi_k(x) over its standard error (clustered by customer), c = 1[contacted] - P(contacted)."""
    scores = by_customer(trials, design * (trials.contrast.sum(axis=1) * weight)[:, None])
    error = np.sqrt((scores**2).sum(axis=0))
    z: Matrix = scores.sum(axis=0) / np.where(error > 0, error, np.inf)
    return z


def expected(q: Matrix, trials: Trials) -> Matrix:
    """[n]: the prediction under the logged chances, sum over actions of e_b q_b."""
    prediction: Matrix = (q[:, :-1] * trials.chance).sum(axis=1) + q[:, -1] * trials.chance_none
    return prediction
