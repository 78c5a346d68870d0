"""Kernel ridge of rewards on context and action, with bandwidth and penalty by leave-one-out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mktgen.evaluation.off_policy.logged import Floats, Ints

LANDMARKS: Final = 400
EXACT: Final = 1_200  # rows up to which all are landmarks, once the bandwidth is chosen with fewer
BANDWIDTHS: Final = (0.1, 0.5, 1.0)  # times 1 / d, of standardised context
PENALTIES: Final = tuple(float(p) for p in np.geomspace(1e-3, 1e2, 11))
SHARED: Final = 0.3  # how much actions are alike in context, beside their own part
LEVEL: Final = 0.5  # an action's own level, whatever the context


@dataclass(frozen=True, eq=False)
class _Fit:
    """loss: sum of squared leave-one-out residuals. through: [m] coefficients of the landmarks."""

    loss: float
    width: float
    through: Floats


def fit_kernel_ridge(
    context: Floats, action: Ints, reward: Floats, actions: int, *, seed: int
) -> Callable[[Floats], Floats]:
    """Returns context [k, d] -> [k, A] expected rewards.

    What: ridge on K((x, a), (x', a')) = k(x, x') (SHARED + 1{a = a'}) + LEVEL 1{a = a'}, k Gaussian, around the mean reward.
    Formula: f = mean + Z b, Z = K(., landmarks) K(landmarks)^(-1/2), b = (Z'Z + penalty)^(-1) Z'y; exact where all rows
    are landmarks. Bandwidth and penalty have the least sum of squared leave-one-out residuals e / (1 - h). Assumption:
    rewards smooth in context. When it fails: steps, or many columns of which few matter (trees do better). Reference:
    Rahimi and Recht (2007) for the class, Williams and Seeger (2001) for landmarks, Allen (1974) for the residuals.
    """
    drawn, middle = np.random.default_rng(seed).permutation(len(reward)), float(reward.mean())
    rows = np.sort(drawn[:LANDMARKS])
    apart, same = _apart(context, context[rows]), action[:, None] == action[rows][None, :]
    best = min((_fitted(apart, same, rows, width, reward - middle) for width in BANDWIDTHS), key=lambda fit: fit.loss)
    if LANDMARKS < len(reward) <= EXACT:
        rows = np.arange(len(reward))
        apart, same = _apart(context, context), action[:, None] == action[None, :]
        best = _fitted(apart, same, rows, best.width, reward - middle)
    marks, own = context[rows], action[rows]

    def predict(new: Floats) -> Floats:
        near = np.exp(-best.width * _apart(new, marks))
        shared = near @ best.through * SHARED
        return middle + np.column_stack(
            [shared + (near[:, own == a] + LEVEL) @ best.through[own == a] for a in range(actions)]
        )

    return predict


def _fitted(
    apart: Floats, same: np.ndarray[tuple[int, int], np.dtype[np.bool_]], rows: Ints, width: float, y: Floats
) -> _Fit:
    """The penalty with the least loss, for one bandwidth. apart, same: [n, m]; rows: [m] of the landmarks."""
    near = np.exp(-width * apart)
    kernel = near * SHARED + (near + LEVEL) * same
    root = _inverse_root(kernel[rows])
    z = kernel @ root
    values, vectors = np.linalg.eigh(z.T @ z)
    turned = z @ vectors
    squares, along = turned**2, turned.T @ y
    best = _Fit(np.inf, width, np.zeros(len(rows)))
    for penalty in PENALTIES:
        shrunk = 1 / (values.clip(min=0) + penalty)
        residual = (y - turned @ (shrunk * along)) / (1 - squares @ shrunk).clip(min=1e-6)
        loss = float(residual @ residual)
        if loss < best.loss:
            best = _Fit(loss, width, root @ (vectors @ (shrunk * along)))
    return best


def _apart(x: Floats, marks: Floats) -> Floats:
    """[n, m] mean squared difference of columns."""
    squares = (x**2).sum(axis=1)[:, None] + (marks**2).sum(axis=1)[None, :] - 2 * x @ marks.T
    apart: Floats = squares.clip(min=0) / max(x.shape[1], 1)
    return apart


def _inverse_root(kernel: Floats) -> Floats:
    """[m, k] with root root' = inverse; directions without weight are left out."""
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    kept = values > 1e-9 * values[-1]
    root: Floats = vectors[:, kept] / np.sqrt(values[kept])
    return root
