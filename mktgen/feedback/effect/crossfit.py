"""Nuisance predictions for customers left out of the fit: who would be treated, and what each arm would have spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from mktgen.errors import PermanentError
from mktgen.feedback.effect.estimate import Bools, Ints, Matrix, Vector
from mktgen.feedback.effect.sample import Sample

OutcomeModel = Literal["ridge", "boosting", "mean"]

_PENALTIES: Final = tuple(10.0**power for power in range(-2, 5))
_BOOSTING: Final[dict[str, Any]] = {
    "max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 20, "early_stopping": False,
}  # fmt: skip


@dataclass(frozen=True)
class Nuisance:
    """[rows] each, predicted by models that saw no row of the same customer.

    propensity: P(treated | x). control, treated: E(y | x, arm). either: E(y | x), whatever the arm.
    """

    propensity: Vector
    control: Vector
    treated: Vector
    either: Vector


def nuisance(sample: Sample, folds: int, outcome_model: OutcomeModel, seed: int) -> Nuisance:
    """Cross-fitted predictions: logistic regression for the treatment, ridge and/or boosting for the outcome.

    Formula: customers are dealt into `folds` parts, within those ever treated and never treated; each part is predicted
    by models fitted on the others. ridge: penalty by generalised cross-validation; "mean": of ridge and boosting.
    Assumption: customers are independent. When it fails: arms so small that a part has none of it (refused).
    Reference: Chernozhukov et al., Econometrics Journal 21 (2018).
    Raises PermanentError where an arm has fewer customers than two per fold, or there is no covariate.
    """
    if not sample.names:
        raise PermanentError(
            "adjusting for nothing: every covariate is constant; give what was known of customers before"
        )
    from sklearn.linear_model import LogisticRegression  # late: most steps do without

    part = fold_of(sample, folds, seed)
    x, y, treated = sample.covariates, sample.outcome, sample.treated
    result = Nuisance(*(np.zeros(sample.rows) for _ in range(4)))
    with threadpool_limits(limits=1):  # sums in floating point depend on the number of threads
        for fold in range(folds):
            held, rest = part == fold, part != fold
            centre, scale = x[rest].mean(axis=0), np.maximum(x[rest].std(axis=0), 1e-12)
            learn, ask = (x[rest] - centre) / scale, (x[held] - centre) / scale
            arm = treated[rest]
            logistic = LogisticRegression(C=1.0, max_iter=2_000).fit(learn, arm)
            result.propensity[held] = logistic.predict_proba(ask)[:, 1]
            for target, chosen in ((result.control, ~arm), (result.treated, arm), (result.either, arm | ~arm)):
                target[held] = _predict(learn[chosen], y[rest][chosen], ask, outcome_model, seed)
    return result


def fold_of(sample: Sample, folds: int, seed: int) -> Ints:
    """[rows] part of each row's customer; a customer's rows stay together."""
    ever = sample.by_customer(sample.treated.astype(np.float64)) > 0
    rng = np.random.default_rng(seed)
    part = np.zeros(ever.size, dtype=np.int64)
    for name, members in (("treated", np.flatnonzero(ever)), ("control", np.flatnonzero(~ever))):
        if members.size < 2 * folds:
            raise PermanentError(
                f"{members.size} {name} customers can't be dealt into {folds} folds, two each: take fewer folds or more days"
            )
        part[rng.permutation(members)] = np.arange(members.size) % folds
    return part[sample.cluster]


def _predict(x: Matrix, y: Vector, ask: Matrix, outcome_model: OutcomeModel, seed: int) -> Vector:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    predictions = []
    if outcome_model in ("ridge", "mean"):
        predictions.append(RidgeCV(alphas=_PENALTIES).fit(x, y).predict(ask))
    if outcome_model in ("boosting", "mean"):
        predictions.append(HistGradientBoostingRegressor(random_state=seed, **_BOOSTING).fit(x, y).predict(ask))
    result: Vector = np.mean(predictions, axis=0)
    return result


def within(propensity: Vector, trim: float) -> Bools:
    """[rows] whether trim < e < 1 - trim: both arms could have been drawn."""
    result: Bools = (propensity > trim) & (propensity < 1 - trim)
    return result
