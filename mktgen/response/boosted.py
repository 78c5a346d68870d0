"""Boosted trees: to predict outcomes, and as another final stage that shows whether the basis misses something.

The final stage is an R-learner; it is compared and never used to decide, since it has no intervals. Formula: constants
t_a by least squares on the contrasts, then trees f for what is left of the effect of being contacted at all, minimising
sum of w c^2 (r / c - f(x))^2, c = 1[contacted] - P(contacted). Cross-fitted by the same folds. Assumption: the shape is common
to all actions. Reference: Nie and Wager, Biometrika 108 (2021).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.response.trials import Trials

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_TREES: Final = 40
_LEAVES: Final = 6
_LEARNING_RATE: Final = 0.05
_ROWS: Final = 20_000  # more would cost time and hardly help
_BINS: Final = 64
_SAMPLE: Final = 20_000  # rows that the bins are found from
_LEAST: Final = 1e-6  # contrasts nearer to 0 tell nothing


def binned(design: Matrix) -> Matrix:
    """Each column [n, k] as the number of its quantile bin: what histogram boosting would do, once for all fits.

    Given weights and many distinct values, scikit-learn takes weighted quantiles, which costs far more than the trees.
    """
    sample = design[:: max(len(design) // _SAMPLE, 1)]
    result = np.empty(design.shape)
    for column in range(design.shape[1]):
        edges = np.unique(np.quantile(sample[:, column], np.linspace(0, 1, _BINS + 1)[1:-1]))
        result[:, column] = np.searchsorted(edges, design[:, column], side="right")
    return result


def some(rows: Integers, rng: np.random.Generator) -> Integers:
    """At most so many of the rows as trees are worth their time on, in order."""
    return rows if len(rows) <= _ROWS else np.sort(rng.choice(rows, _ROWS, replace=False))


def boosted_effects(
    bins: Matrix, residual: Matrix, trials: Trials, weight: Matrix, fold: Integers, seed: int
) -> Matrix:
    """[n, A] effects of each trial's customer, from the other folds. bins [n, k]; residual, weight, fold [n]."""
    contrast = trials.contrast
    contacted = contrast.sum(axis=1)
    result = np.empty_like(contrast)
    from sklearn.ensemble import HistGradientBoostingRegressor  # late: most steps do without

    rng = np.random.Generator(np.random.PCG64(seed))
    for number in np.unique(fold):
        train = np.flatnonzero((fold != number) & (np.abs(contacted) > _LEAST))
        scaled = contrast[train] * np.sqrt(weight[train])[:, None]
        ridge = 1e-6 * max(float(np.trace(scaled.T @ scaled)), 1e-12) * np.eye(contrast.shape[1])
        constants = np.linalg.solve(scaled.T @ scaled + ridge, contrast[train].T @ (weight[train] * residual[train]))
        train = some(train, rng)
        left = residual[train] - contrast[train] @ constants
        model = HistGradientBoostingRegressor(
            max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=_LEARNING_RATE, min_samples_leaf=100,
            l2_regularization=10.0, early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(bins[train], left / contacted[train], sample_weight=weight[train] * contacted[train] ** 2)
        rows = fold == number
        result[rows] = constants + model.predict(bins[rows])[:, None]
    return result
