"""From trials and covariates to a response model, and to what it foretold of customers that it had not seen."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mktgen.response.basis import KEYS, Basis, UnusableCovariates, fit_basis
from mktgen.response.boosted import binned, boosted_effects
from mktgen.response.held_out import HeldOut, HeldOutOutcome, expected, imbalance, scores
from mktgen.response.model import Coefficients, ResponseModel
from mktgen.response.moments import Layout, Moments, collect, errors, lay_out
from mktgen.response.noise import precision
from mktgen.response.nuisance import Nuisance, cross_fit
from mktgen.response.posterior import Components, Posterior, components, held_out_mean, integrate
from mktgen.response.trials import NOT_CONTACTED, TooFewTrials, Trials, admit
from mktgen.settings import ResponseSettings

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_PRIOR_VARIANCE: Final = 0.25  # of a standardised logistic coefficient of the base conversion
_CONTINUOUS_FLOOR: Final = 1e-12  # of the noise, as a share of the outcome's variance


def fit_response(
    trials: pl.DataFrame,
    covariates: pl.DataFrame,
    settings: ResponseSettings,
    partition: date,
    seed: int,
    holdout_share: float | None = None,
) -> tuple[ResponseModel, HeldOut]:
    """Learn effects on reward and conversion as of `partition`.

    trials: contracts.TRIALS, decided before it. covariates: customer_id, decided_on and numeric columns (nulls allowed) as
    known at the decision, optionally `vector` (a list of numbers); further rows are ignored. holdout_share: admits
    held-out trials, see trials.py. The order of rows changes nothing.
    Raises NotRandomised, TooFewTrials, UnusableCovariates: each says what to do.
    """
    with threadpool_limits(limits=1):  # same bytes whatever the number of cores
        admitted = admit(trials, partition, holdout_share)
        _require_enough(admitted, settings)
        known = _covariates(admitted, covariates)
        return _fit(admitted, known, settings, partition, seed)


def _fit(
    trials: Trials, known: pl.DataFrame, settings: ResponseSettings, partition: date, seed: int
) -> tuple[ResponseModel, HeldOut]:
    reward = trials.frame["reward_minor"].to_numpy().astype(np.float64)
    converted = trials.frame["converted"].to_numpy().astype(np.float64)
    weight = trials.age_weight(partition, settings.half_life_days)
    fold = _folds(trials, settings.folds, seed)
    basis = fit_basis(known, reward, settings)
    design = basis.design(known)
    bins = binned(design[:, basis.plain])
    outcomes = (reward, converted)
    guessed = [
        cross_fit(design, bins, y, trials.drawn, len(trials.actions), weight, fold, settings, seed) for y in outcomes
    ]
    left = np.column_stack([y - expected(nuisance.q, trials) for y, nuisance in zip(outcomes, guessed, strict=True)])
    layout = lay_out(basis, len(trials.actions), settings.max_coefficients)
    precise = weight * precision(design, left[:, 0], weight)
    moments = collect(layout, design, trials, left, precise, fold)
    floors = (_CONTINUOUS_FLOOR * float(reward.var()), _least_noise(converted, weight))
    found = [components(layout, moments, number, floor) for number, floor in enumerate(floors)]
    wrong = errors(layout, design, trials, left, precise, np.column_stack([each.mean for each in found]))
    learned = [integrate(layout, moments, k, found[k], wrong[k], seed + 1 + k) for k in range(2)]
    known_reward, known_conversion = (
        Coefficients(each.mean, each.covariance, each.own_variance, each.noise_sd) for each in learned
    )
    base = _base_conversion(design, converted, trials, weight)
    facts = _facts(trials, guessed, learned, weight)
    model = ResponseModel(trials.actions, basis, layout.terms, known_reward, known_conversion, base, facts)
    unseen = [_unseen(layout, basis, design, moments, k, found[k], fold) for k in range(2)]
    boosted = (
        boosted_effects(bins, left[:, 0], trials, precise, fold, seed) if len(fold) >= settings.boosting_from else None
    )
    told = [
        HeldOutOutcome(unseen[k], scores(y, guessed[k].q, trials), guessed[k].q, left[:, k], trees)
        for k, (y, trees) in enumerate(zip(outcomes, (boosted, None), strict=True))
    ]
    return model, HeldOut(trials, weight, fold, imbalance(design, trials, weight), *told)


def _require_enough(trials: Trials, settings: ResponseSettings) -> None:
    """Enough trials, two actions drawn often enough, and a reward that varies."""
    number = len(trials.drawn)
    names = [*trials.actions, "no_contact"]
    drawn = {name: int((trials.drawn == k).sum()) for k, name in enumerate(trials.actions)}
    drawn["no_contact"] = int((trials.drawn == NOT_CONTACTED).sum())
    often = [name for name in names if drawn[name] >= settings.min_drawn]
    if number < settings.min_trials or len(often) < 2:
        raise TooFewTrials(
            f"{number} randomised trials, drawn {drawn}; needed: {settings.min_trials}, and two actions drawn "
            f"{settings.min_drawn} times: wait for more outcomes to mature"
        )
    if trials.frame["reward_minor"].n_unique() < 2:
        raise TooFewTrials(
            f"the reward of all {number} trials is {trials.frame['reward_minor'][0]}: nothing varies to learn from; check how "
            "outcomes were joined"
        )


def _covariates(trials: Trials, covariates: pl.DataFrame) -> pl.DataFrame:
    """The covariates of each trial, in its row order."""
    lacking = [name for name in KEYS if name not in covariates.columns]
    if lacking:
        raise UnusableCovariates(f"covariates lack {lacking}")
    keys = covariates.select(KEYS)
    if keys.is_duplicated().any():
        example = keys.filter(keys.is_duplicated()).sort(KEYS).row(0)
        raise UnusableCovariates(f"covariates have several rows of one customer and day, e.g. {example}")
    known = trials.frame.select(KEYS).join(
        covariates.with_columns(pl.lit(True).alias("_known")), on=KEYS, how="left", maintain_order="left"
    )
    unknown = known.filter(pl.col("_known").is_null())
    if unknown.height:
        raise UnusableCovariates(
            f"{unknown.height} of {known.height} trials have no covariates, e.g. {unknown.select(KEYS).row(0)}: give those "
            "known on the day of the decision"
        )
    return known.drop("_known")


def _folds(trials: Trials, folds: int, seed: int) -> Integers:
    """[n]: a fold of whole customers, drawn; the trials are sorted, so the order given has no say."""
    customers = int(trials.customer[-1]) + 1
    order = np.random.Generator(np.random.PCG64(seed)).permutation(customers)
    return (order % min(folds, customers))[trials.customer]


def _least_noise(converted: Matrix, weight: Matrix) -> float:
    """Variance of a conversion by a rate that is never taken for 0 or 1 (half an event is added on both sides)."""
    rate = (float(weight @ converted) + 0.5) / (float(weight.sum()) + 1.0)
    return 0.5 * rate * (1.0 - rate)


def _base_conversion(design: Matrix, converted: Matrix, trials: Trials, weight: Matrix) -> Matrix:
    """Logistic coefficients [K] of converting without contact: logit p = phi(x)'w + an offset per action."""
    rate = (float(weight @ converted) + 0.5) / (float(weight.sum()) + 1.0)
    flat = np.zeros(design.shape[1])
    flat[0] = np.log(rate / (1.0 - rate))
    if converted.min() == converted.max():
        return flat
    arms = np.equal.outer(trials.drawn, np.arange(len(trials.actions))).astype(np.float64)
    model = LogisticRegression(C=_PRIOR_VARIANCE, solver="newton-cholesky", max_iter=100)
    model.fit(np.hstack([design[:, 1:], arms]), converted, sample_weight=weight)
    return np.concatenate([model.intercept_, model.coef_[0, : design.shape[1] - 1]])


def _unseen(
    layout: Layout, basis: Basis, design: Matrix, moments: Moments, outcome: int, found: Components, fold: Integers
) -> Matrix:
    """Effects [n, A] of each trial's customer, from the trials of the other folds."""
    result = np.empty((len(design), layout.actions))
    for number in range(len(moments.gram)):
        coefficients = held_out_mean(layout, moments, outcome, found, number)
        each = np.repeat(coefficients[: basis.size, None], layout.actions, axis=1)  # [K, A]
        for action in range(layout.actions):
            each[layout.terms, action] += coefficients[layout.deviations(action)]
        rows = fold == number
        result[rows] = design[rows] @ each
    return result


def _facts(trials: Trials, guessed: list[Nuisance], learned: list[Posterior], weight: Matrix) -> dict[str, float | str]:
    facts: dict[str, float | str] = {
        "trials": float(len(weight)),
        "trials_effective": float(weight.sum() ** 2 / (weight**2).sum()),
        "customers": float(trials.customer[-1] + 1),
        "first_day": str(trials.frame["decided_on"].min()),
        "last_day": str(trials.frame["decided_on"].max()),
    }
    facts |= {f"dropped: {reason}": float(rows) for reason, rows in trials.dropped.items()}
    drawn = [int((trials.drawn == k).sum()) for k in range(len(trials.actions))]
    facts |= {f"drawn: {name}": float(number) for name, number in zip(trials.actions, drawn, strict=True)}
    for name, nuisance, part in zip(("reward", "conversion"), guessed, learned, strict=True):
        facts[f"{name} predicted by"] = nuisance.kind
        facts |= {f"{name} loss of {kind}": loss for kind, loss in nuisance.losses.items()}
        facts[f"{name} noise sd"] = part.noise_sd
        facts |= {f"{name} spread, {component}": value for component, value in part.spread.items()}
    return facts
