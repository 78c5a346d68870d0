"""A final stage by boosted trees, to show whether the basis misses something; never used to decide.

What: an R-learner. Formula: constants t_a by least squares on the contrasts, then trees for what is left of the effect
of being contacted at all, minimising sum of w c^2 (r / c - f(x))^2, c = 1[contacted] - P(contacted). Cross-fitted by the same
folds. Assumption: the shape is common to all actions. It has no intervals, so it is no substitute.
Reference: Nie and Wager, Biometrika 108 (2021).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from mktgen.response.trials import Trials

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_TREES: Final = 40
_LEAVES: Final = 6
_LEARNING_RATE: Final = 0.05
_ROWS: Final = 50_000
_LEAST: Final = 1e-6  # contrasts nearer to 0 tell nothing


def boosted_effects(
    design: Matrix, residual: Matrix, trials: Trials, weight: Matrix, fold: Integers, seed: int
) -> Matrix:
    """[n, A] effects of each trial's customer, from the other folds. design [n, K]; residual, weight, fold [n]."""
    contrast = trials.contrast
    contacted = contrast.sum(axis=1)
    result = np.empty_like(contrast)
    rng = np.random.Generator(np.random.PCG64(seed))
    for number in np.unique(fold):
        train = np.flatnonzero((fold != number) & (np.abs(contacted) > _LEAST))
        scaled = contrast[train] * np.sqrt(weight[train])[:, None]
        ridge = 1e-6 * max(float(np.trace(scaled.T @ scaled)), 1e-12) * np.eye(contrast.shape[1])
        constants = np.linalg.solve(scaled.T @ scaled + ridge, contrast[train].T @ (weight[train] * residual[train]))
        if len(train) > _ROWS:
            train = np.sort(rng.choice(train, _ROWS, replace=False))
        left = residual[train] - contrast[train] @ constants
        model = HistGradientBoostingRegressor(
            max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=_LEARNING_RATE, min_samples_leaf=100,
            l2_regularization=10.0, early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(design[train], left / contacted[train], sample_weight=weight[train] * contacted[train] ** 2)
        rows = fold == number
        result[rows] = constants + model.predict(design[rows])[:, None]
    return result
