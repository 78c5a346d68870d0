"""Kernel ridge of rewards on context and action, with bandwidth and penalty by leave-one-out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from mktgen.evaluation.off_policy.logged import Floats, Ints

LANDMARKS: Final = 600
BANDWIDTHS: Final = (0.1, 0.5, 1.0)  # times 1 / d, of standardised context
PENALTIES: Final = tuple(float(p) for p in np.geomspace(1e-3, 1e2, 11))
SHARED: Final = 0.3  # how much actions are alike in context, beside their own part
LEVEL: Final = 0.5  # an action's own level, whatever the context


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
    rows = np.sort(np.random.default_rng(seed).permutation(len(reward))[:LANDMARKS])
    marks, own, middle = context[rows], action[rows], float(reward.mean())
    best = min(
        (_leave_one_out(_features(context, action, marks, own, wide), reward - middle, wide) for wide in BANDWIDTHS),
        key=lambda found: found[0],
    )
    _, wide, coefficients = best
    through = _root(_kernel(marks, own, marks, own, wide)) @ coefficients

    def predict(new: Floats) -> Floats:
        near = _gaussian(new, marks, wide)
        columns = [near * SHARED @ through + (near + LEVEL) * (own == a) @ through for a in range(actions)]
        return middle + np.column_stack(columns)

    return predict


def _features(context: Floats, action: Ints, marks: Floats, own: Ints, wide: float) -> Floats:
    mapped: Floats = _kernel(context, action, marks, own, wide) @ _root(_kernel(marks, own, marks, own, wide))
    return mapped


def _leave_one_out(z: Floats, y: Floats, wide: float) -> tuple[float, float, Floats]:
    """Least sum of squares over penalties, the bandwidth, and the coefficients [m] that have it."""
    values, vectors = np.linalg.eigh(z.T @ z)
    turned = z @ vectors
    found = []
    for penalty in PENALTIES:
        shrunk = 1 / (values.clip(min=0) + penalty)
        residual = y - turned @ (shrunk * (turned.T @ y))
        kept = (1 - (turned**2) @ shrunk).clip(min=1e-6)
        found.append((float(((residual / kept) ** 2).sum()), shrunk))
    least, shrunk = min(found, key=lambda pair: pair[0])
    return least, wide, vectors @ (shrunk * (turned.T @ y))


def _kernel(x: Floats, a: Ints, marks: Floats, own: Ints, wide: float) -> Floats:
    near = _gaussian(x, marks, wide)
    return near * SHARED + (near + LEVEL) * (a[:, None] == own[None, :])


def _gaussian(x: Floats, marks: Floats, wide: float) -> Floats:
    apart = (x**2).sum(axis=1)[:, None] + (marks**2).sum(axis=1)[None, :] - 2 * x @ marks.T
    near: Floats = np.exp(-wide / max(x.shape[1], 1) * apart.clip(min=0))
    return near


def _root(kernel: Floats) -> Floats:
    """[m, m] inverse square root; directions without weight are left out."""
    values, vectors = np.linalg.eigh(kernel)
    kept = values > 1e-9 * values[-1]
    root: Floats = vectors[:, kept] / np.sqrt(values[kept])
    return root
