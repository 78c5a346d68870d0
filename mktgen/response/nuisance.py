"""What would have been bought anyway: a prediction of the outcome that takes most of its noise away.

What: q_a(x) = f(x) + d_a, the mean outcome of a customer x under action a. Cross-fitted: a customer's prediction is made
without any of its own trials. f is ridge regression on the basis or boosted trees, whichever predicts held-out trials
better (weighted squared error); d_a is a mean, shrunk.
Assumption: none for the effects. They stay unbiased whatever f is, because the chances of the draw are known; a poor f
leaves them noisier. Reference: Chernozhukov et al., Econometrics Journal 21 (2018); Robins and Rotnitzky (1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.response.boosted import some
from mktgen.response.trials import NOT_CONTACTED
from mktgen.settings import ResponseSettings

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of standardised coefficients, times the weight of the trials
_SHRINK: Final = 20.0  # trials that an action's mean of 0 is worth
_TREES: Final = 60
_LEAVES: Final = 15
_LEARNING_RATE: Final = 0.1


@dataclass(frozen=True)
class Nuisance:
    """Cross-fitted predictions of one outcome. q [n, A + 1]: under each action and, last, under no contact.

    kind: what f is; losses: kind -> held-out weighted mean squared error, `mean` being the mean of each action alone.
    """

    q: Matrix
    kind: str
    losses: dict[str, float]


def cross_fit(
    design: Matrix,
    bins: Matrix,
    outcome: Matrix,
    drawn: Integers,
    actions: int,
    weight: Matrix,
    fold: Integers,
    settings: ResponseSettings,
    seed: int,
) -> Nuisance:
    """design [n, K]: the basis; bins [n, k]: what trees get. fold [n]: of each trial, whole customers."""
    arms = _arms(drawn, actions)
    candidates = {"mean": _ridge(np.ones((len(outcome), 1)), arms, outcome, weight, fold)}
    candidates["ridge"] = _ridge(design, arms, outcome, weight, fold)
    if len(outcome) >= settings.boosting_from:
        candidates["boosted trees"] = _boosted(bins, arms, outcome, weight, fold, seed)
    column = np.where(drawn == NOT_CONTACTED, actions, drawn)
    rows = np.arange(len(outcome))
    losses = {
        kind: float(np.average((outcome - q[rows, column]) ** 2, weights=weight)) for kind, q in candidates.items()
    }
    kind = min(losses, key=lambda name: losses[name])
    return Nuisance(candidates[kind], kind, losses)


def _arms(drawn: Integers, actions: int) -> Matrix:
    """[n, A]: 1 for the action drawn; a row of 0 for no contact."""
    return np.equal.outer(drawn, np.arange(actions)).astype(np.float64)


def _ridge(design: Matrix, arms: Matrix, outcome: Matrix, weight: Matrix, fold: Integers) -> Matrix:
    """q [n, A + 1] by ridge regression with an offset per action; the penalty that predicts held-out trials best."""
    base, size = design.shape[1], design.shape[1] + arms.shape[1]
    members = [np.flatnonzero(fold == number) for number in np.unique(fold)]
    grams, sides = np.empty((len(members), size, size)), np.empty((len(members), size))
    for place, rows in enumerate(members):
        space = np.hstack([design[rows], arms[rows]])
        grams[place] = space.T @ (space * weight[rows, None])
        sides[place] = space.T @ (weight[rows] * outcome[rows])
    penalties = np.array(_PENALTIES if base > 1 else _PENALTIES[:1])
    solved = np.empty((len(members), size, len(penalties)))
    losses = np.zeros(len(penalties))
    for place, rows in enumerate(members):
        others = np.arange(len(members)) != place
        gram, side = grams[others].sum(axis=0), sides[others].sum(axis=0)
        for number, penalty in enumerate(penalties):
            ridge = np.full(size, penalty * gram[0, 0])  # of the basis, the first function is 1: its sum is the weight
            ridge[0], ridge[base:] = 1e-9 * max(gram[0, 0], 1.0), _SHRINK
            solved[place, :, number] = np.linalg.solve(gram + np.diag(ridge), side)
        told = design[rows] @ solved[place, :base] + arms[rows] @ solved[place, base:]
        losses += weight[rows] @ (outcome[rows, None] - told) ** 2
    best = int(losses.argmin())
    q = np.empty((len(outcome), arms.shape[1] + 1))
    for place, rows in enumerate(members):
        coefficients = solved[place, :, best]
        q[rows] = (design[rows] @ coefficients[:base])[:, None] + np.append(coefficients[base:], 0.0)
    return q


def _boosted(bins: Matrix, arms: Matrix, outcome: Matrix, weight: Matrix, fold: Integers, seed: int) -> Matrix:
    q = np.empty((len(outcome), arms.shape[1] + 1))
    from sklearn.ensemble import HistGradientBoostingRegressor  # late: most steps do without

    rng = np.random.Generator(np.random.PCG64(seed))
    for number in np.unique(fold):
        train = some(np.flatnonzero(fold != number), rng)
        model = HistGradientBoostingRegressor(
            max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=_LEARNING_RATE, min_samples_leaf=50,
            early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(bins[train], outcome[train], sample_weight=weight[train])
        residual = weight[train] * (outcome[train] - model.predict(bins[train]))
        own = np.hstack([arms[train], 1.0 - arms[train].sum(axis=1, keepdims=True)])
        offsets = (residual @ own) / (weight[train] @ own + _SHRINK)
        held = fold == number
        q[held] = model.predict(bins[held])[:, None] + offsets
    return q
