"""Expected rewards of every action for every decision, never from a model that saw the decision's own customer.

Two families are fitted and combined: kernel ridge (smooth; linear where the bandwidth is wide) and boosted trees (steps and
interactions). The combination is the one with the least variance of the doubly robust correction under the judged policy
("more robust doubly robust": Farajtabar, Chow and Ghavamzadeh 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.kernel_ridge import fit_kernel_ridge
from mktgen.evaluation.off_policy.logged import Floats, Ints, Logged

Predict = Callable[[Floats], Floats]  # context [k, d] -> [k, A]


@dataclass(frozen=True)
class Rows:
    """What a model learns from. context: [n, d], standardised. actions: their number."""

    context: Floats
    action: Ints
    reward: Floats
    actions: int
    seed: int


def cross_fitted(log: Logged, context: Floats, *, seed: int, folds: int = 5) -> Floats:
    """[n, A] expected rewards for `log.q_hat`. context: [n, d] what was known when the action was drawn.

    Each cluster's rows are predicted by models of the other folds. The weights of the combination are the same for all
    rows, so a row has a share of 1/n in them. Rows may come in any order. Raises PermanentError where there are fewer
    clusters than two, or context has other rows or entries that are no numbers.
    """
    if context.ndim != 2 or len(context) != log.rows or not np.isfinite(context).all():
        raise PermanentError(f"context must be finite and [{log.rows}, d] as the log; it is {context.shape}")
    if log.clusters < 2:
        raise PermanentError("expected rewards are learnt from other customers; the log has one")
    order = np.lexsort([log.weight, log.reward, log.action, *context.T[::-1], log.groups])
    scaled = _standardised(context[order])
    rows = Rows(scaled, log.action[order], log.reward[order], log.actions, seed)
    fold = _folds(log.groups[order], folds, seed)
    tables = [_out_of_fold(fit, rows, fold) for fit in FAMILIES]
    q_hat = np.empty_like(tables[0])
    q_hat[order] = _combined(tables, rows, log.weight[order])
    return q_hat


def fit_boosting(rows: Rows) -> Predict:
    """Boosted trees with the action as a category: log loss for rewards of 0 and 1, else squared error."""
    binary = bool(np.isin(rows.reward, (0.0, 1.0)).all()) and len(np.unique(rows.reward)) == 2
    from sklearn.ensemble import (  # late: most steps do without
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    categories = [rows.context.shape[1]] if rows.actions <= _CATEGORIES else None
    model = kind(max_leaf_nodes=15, early_stopping=False, categorical_features=categories, random_state=rows.seed)
    model.fit(np.column_stack([rows.context, rows.action]), rows.reward)

    def predict(context: Floats) -> Floats:
        columns = []
        for action in range(rows.actions):
            x = np.column_stack([context, np.full(len(context), float(action))])
            columns.append(model.predict_proba(x)[:, 1] if binary else model.predict(x))
        return np.column_stack(columns)

    return predict


def fit_smooth(rows: Rows) -> Predict:
    """Kernel ridge; see kernel_ridge.py."""
    return fit_kernel_ridge(rows.context, rows.action, rows.reward, rows.actions, seed=rows.seed)


FAMILIES: Final[tuple[Callable[[Rows], Predict], ...]] = (fit_smooth, fit_boosting)
_CATEGORIES: Final = 255  # of one column that the trees can split


def _out_of_fold(fit: Callable[[Rows], Predict], rows: Rows, fold: Ints) -> Floats:
    """[n, A], within the range of the rewards: beyond it is extrapolation."""
    table = np.empty((len(rows.reward), rows.actions))
    for number in np.unique(fold):
        here = fold == number
        learnt = Rows(rows.context[~here], rows.action[~here], rows.reward[~here], rows.actions, rows.seed)
        table[here] = fit(learnt)(rows.context[here])
    return table.clip(rows.reward.min(), rows.reward.max())


def _combined(tables: list[Floats], rows: Rows, weight: Floats) -> Floats:
    """Non-negative weights and an intercept that leave the least sum of (w (r - q))^2."""
    at = np.arange(len(weight)), rows.action
    low = float(rows.reward.min())  # so that an intercept of either sign is a non-negative weight of a constant
    columns = np.column_stack([*(table[at] - low for table in tables), np.ones(len(weight))])
    shares, _ = nnls(columns * weight[:, None], (rows.reward - low) * weight)
    if not shares[:-1].any():
        shares = np.append(np.full(len(tables), 1 / len(tables)), 0.0)
    mixed: Floats = sum(share * (table - low) for share, table in zip(shares, tables, strict=False)) + low + shares[-1]
    return mixed


def _standardised(context: Floats) -> Floats:
    spread = context.std(axis=0)
    scaled: Floats = (context - context.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _folds(groups: Ints, folds: int, seed: int) -> Ints:
    """[n] fold of each row; rows of a cluster stay together."""
    clusters = int(groups.max()) + 1
    place = np.random.default_rng(seed).permutation(clusters) % min(folds, clusters)
    return place[groups]
