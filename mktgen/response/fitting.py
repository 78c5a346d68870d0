"""From trials and covariates to a response model, and to what it foretold of customers that it had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mktgen.response.basis import KEYS, Basis, UnusableCovariates, fit_basis
from mktgen.response.boosted import binned, boosted_effects
from mktgen.response.held_out import HeldOut, HeldOutOutcome, expected, imbalance, scores
from mktgen.response.model import Coefficients, ResponseModel
from mktgen.response.moments import Layout, Moments, Weights, collect, errors, lay_out
from mktgen.response.noise import precision
from mktgen.response.nuisance import Nuisance, cross_fit
from mktgen.response.posterior import Components, Posterior, components, held_out_mean, integrate
from mktgen.response.trials import NOT_CONTACTED, TooFewTrials, Trials, admit
from mktgen.settings import ResponseSettings

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_PRIOR_VARIANCE: Final = 0.25  # of a standardised logistic coefficient of the base conversion
_CONTINUOUS_FLOOR: Final = 1e-12  # of the noise, as a share of the outcome's variance


@dataclass(frozen=True)
class Alike:
    """Effects are taken to be the same for all customers; by how much they may still differ (standard deviations over
    customers, minor units and probability) widens what is said of a single one."""

    reward_sd: float = 0.0
    conversion_sd: float = 0.0


def fit_response(
    trials: pl.DataFrame,
    covariates: pl.DataFrame,
    settings: ResponseSettings,
    partition: date,
    seed: int,
    holdout_share: float | None = None,
    doubted_before: date | None = None,
    alike: Alike | None = None,
) -> tuple[ResponseModel, HeldOut]:
    """Learn effects on reward and conversion as of `partition`.

    trials: contracts.TRIALS, decided before it. covariates: customer_id, decided_on and numeric columns (nulls allowed) as
    known at the decision, optionally `vector` (a list of numbers); further rows are ignored. holdout_share: admits
    held-out trials, see trials.py. doubted_before: trials decided earlier count for little (settings.doubted_weight).
    alike: the mean effect of each action for everyone; None: effects may differ between customers. The order of rows changes
    nothing.
    Raises NotRandomised, TooFewTrials, UnusableCovariates: each says what to do.
    """
    with threadpool_limits(limits=1):  # same bytes whatever the number of cores
        admitted = admit(trials, partition, holdout_share)
        _require_enough(admitted, settings)
        known = covariates_of(admitted, covariates)
        weight = admitted.age_weight(partition, settings.half_life_days, doubted_before, settings.doubted_weight)
        return _fit(admitted, known, weight, settings, seed, alike)


def _fit(
    trials: Trials, known: pl.DataFrame, weight: Matrix, settings: ResponseSettings, seed: int, alike: Alike | None
) -> tuple[ResponseModel, HeldOut]:
    reward = trials.frame["reward_minor"].to_numpy().astype(np.float64)
    converted = trials.frame["converted"].to_numpy().astype(np.float64)
    fold = _folds(trials, settings.folds, seed)
    basis = fit_basis(known, reward, settings)
    design = basis.design(known)
    bins = binned(design[:, basis.plain])
    outcomes = (reward, converted)
    guessed = [
        cross_fit(design, bins, y, trials.drawn, len(trials.actions), weight, fold, settings, seed) for y in outcomes
    ]
    left = np.column_stack([y - expected(nuisance.q, trials) for y, nuisance in zip(outcomes, guessed, strict=True)])
    within = basis if alike is None else basis.constant
    varying = design[:, : within.size]
    layout = lay_out(within, len(trials.actions), settings.max_coefficients)
    # One effect for all is the mean over customers: then each counts alike, however noisy.
    quiet = precision(design, left[:, 0], weight) if alike is None else np.ones(len(weight))
    weights = Weights(weight, quiet)
    moments = collect(layout, varying, trials, left, weights, fold)
    floors = (_CONTINUOUS_FLOOR * float(reward.var()), _least_noise(converted, weight))
    found = [components(layout, moments, number, floor) for number, floor in enumerate(floors)]
    wrong = errors(layout, varying, trials, left, weights, np.column_stack([each.mean for each in found]))
    learned = [integrate(layout, moments, k, found[k], wrong[k], seed + 1 + k) for k in range(2)]
    spreads = (0.0, 0.0) if alike is None else (alike.reward_sd, alike.conversion_sd)
    known_reward, known_conversion = (
        _over_basis(each, basis.size, within.size, sd) for each, sd in zip(learned, spreads, strict=True)
    )
    base = _base_conversion(design, converted, trials, weight)
    facts = _facts(trials, guessed, learned, weight)
    model = ResponseModel(trials.actions, basis, layout.terms, known_reward, known_conversion, base, facts)
    unseen = [_unseen(layout, within, varying, moments, k, found[k], fold) for k in range(2)]
    boosted = (
        boosted_effects(bins, left[:, 0], trials, weights.both, fold, seed)
        if len(fold) >= settings.boosting_from
        else None
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


def covariates_of(trials: Trials, covariates: pl.DataFrame) -> pl.DataFrame:
    """The covariates of each trial, in its row order. Raises UnusableCovariates where one is missing or there twice."""
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
    from sklearn.linear_model import LogisticRegression  # late: most steps do without

    model = LogisticRegression(C=_PRIOR_VARIANCE, solver="newton-cholesky", max_iter=100)
    model.fit(np.hstack([design[:, 1:], arms]), converted, sample_weight=weight)
    return np.concatenate([model.intercept_, model.coef_[0, : design.shape[1] - 1]])


def _over_basis(learned: Posterior, size: int, within: int, spread: float) -> Coefficients:
    """Coefficients over the whole basis of `size` functions, of which those beyond the first `within` were not learned.

    They are 0 in the mean; their variances add up to spread^2 for the mean customer, functions having variance 1.
    """
    place = np.concatenate([np.arange(within), np.arange(size, size + len(learned.mean) - within)])
    mean = np.zeros(size + len(learned.mean) - within)
    mean[place] = learned.mean
    covariance = np.zeros((len(mean), len(mean)))
    covariance[np.ix_(place, place)] = learned.covariance
    rest = np.arange(within, size)
    covariance[rest, rest] = spread**2 / max(len(rest), 1)
    return Coefficients(mean, covariance, learned.own_variance, learned.noise_sd)


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
