"""From sums over trials to what is believed of the coefficients.

What: a Bayesian ridge regression whose variances of effects are learned, and are not taken for known.
Formula: coefficient k of component g ~ N(0, h_g^2 / K_g), K_g coefficients in it; log h_g ~ N(log (m_g s), 1), s the size of
mean effects, root of the mean of t_a^2 over actions weighted by information, t_a their plain estimates. So before anything is
known of them, differences between customers are about as large as effects; without effects, s is a standard error. Given
h the posterior is normal; its covariance is the robust one, P^-1 (M + S^-2) P^-1 with P = Z'WZ / v + S^-2, M the sum over
customers of the outer products of their scores (so trials of one customer, and noise that differs between customers, are
counted for what they are). M is drawn towards Z'WZ / v where few trials stand behind a coefficient, by the error of a
variance: rho = (kurtosis - 1) / (kurtosis - 1 + n_eff / 4). h is integrated out: draws around the mode of its marginal
posterior, weighted by it; mean and covariance are those of the mixture.
Assumption: enough trials that sums are normal; effects of a component alike in size. When it fails: a rare outcome with
few events (below about 10 an action) makes tails longer than these; a single large effect among many nulls is shrunk.
Reference: MacKay, Neural Computation 4 (1992); Mueller, Econometrica 81 (2013); Rue, Martino and Chopin, JRSS B 71 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize

from mktgen.response.moments import Errors, Layout, Moments

Matrix = NDArray[np.float64]

# Prior median of the spread of effects between customers (or, of the intercept, between actions), by component, as a share
# of the size of mean effects.
_MEDIANS: Final = {"linear": 0.5, "intercept": 0.5}
_OTHER_MEDIAN: Final = 0.25
_LOG_SPREAD: Final = 1.0
_WIDE: Final = 1.0  # prior sd of the common mean effect, in units of the outcome's noise
_DRAWS: Final = 24
_REACH: Final = 6.0  # log h stays so near its prior median
_HETEROSKEDASTIC: Final = 0.25  # prior variance of true variances over modelled ones


@dataclass(frozen=True)
class Components:
    """The variances of effects at their mode. log_spread [components], precision: minus the Hessian there.

    noise: variance of the outcome given all. scale: sqrt(noise) of the first guess, the unit in which h is told; centre:
    prior medians of log h. mean [D]: of the coefficients there. used: effective number of coefficients.
    """

    log_spread: Matrix
    precision: Matrix
    noise: float
    scale: float
    centre: Matrix
    mean: Matrix
    used: float


@dataclass(frozen=True)
class Posterior:
    """Coefficients ~ N(mean [D], covariance [D, D]), in units of the outcome.

    own_variance [Kd]: of the deviations of an action not tried. noise_sd: of the outcome. spread: component -> h, at the
    mode, in units of the outcome.
    """

    mean: Matrix
    covariance: Matrix
    own_variance: Matrix
    noise_sd: float
    spread: dict[str, float]


def components(layout: Layout, moments: Moments, outcome: int, floor: float) -> Components:
    """Mode of the marginal posterior of the variances. floor: least noise variance that is believed."""
    gram, side = moments.gram.sum(axis=0), moments.side[:, :, outcome].sum(axis=0)
    noise = max(float(moments.square[:, outcome].sum()) / moments.weight, floor)
    scale = float(np.sqrt(noise))
    centre = _centre(layout, _size(layout, gram, side, noise) / scale)
    position, mean, used = centre.copy(), np.zeros(layout.size), 0.0
    for _ in range(2):  # the first guess of the noise still holds the effects
        objective = _Objective(layout, gram / noise, scale * side / noise, scale**2, centre)
        bounds = [(middle - _REACH, middle + _REACH) for middle in centre]
        found = minimize(objective, position, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
        position = np.asarray(found.x, dtype=np.float64)
        mean, used = _solve(layout, position, gram / noise, side / noise, scale)
        explained = float(2 * mean @ side - mean @ gram @ mean)
        left = max(moments.weight - used, 0.1 * moments.weight)
        noise = max(float(moments.square[:, outcome].sum() - explained) / left, floor)
    objective = _Objective(layout, gram / noise, scale * side / noise, scale**2, centre)
    return Components(position, _hessian(objective, position), noise, scale, centre, mean, used)


def held_out_mean(layout: Layout, moments: Moments, outcome: int, found: Components, fold: int) -> Matrix:
    """Mean of the coefficients [D] without the trials of one fold, at the variances of the whole."""
    others = np.arange(len(moments.gram)) != fold
    gram, side = moments.gram[others].sum(axis=0), moments.side[others, :, outcome].sum(axis=0)
    return _solve(layout, found.log_spread, gram / found.noise, side / found.noise, found.scale)[0]


def integrate(
    layout: Layout, moments: Moments, outcome: int, found: Components, errors: Errors, seed: int
) -> Posterior:
    gram, side = moments.gram.sum(axis=0) / found.noise, moments.side[:, :, outcome].sum(axis=0) / found.noise
    spare = moments.weight / max(moments.weight - found.used, 0.1 * moments.weight)  # residuals are a little too small
    meat = spare * _steadied(errors, gram, moments.effective, found.noise)
    positions, weights = _positions(layout, found, gram, side, seed)
    mean, second, own = np.zeros(layout.size), np.zeros((layout.size, layout.size)), np.zeros(len(layout.terms))
    for position, weight in zip(positions, weights, strict=True):
        scales = _scales(layout, position) * found.scale
        inverse, _ = _inverse(gram, scales)
        here = scales * (inverse @ (scales * side))
        core = inverse @ (meat * np.outer(scales, scales)) @ inverse + inverse @ inverse
        mean += weight * here
        second += weight * (core * np.outer(scales, scales) + np.outer(here, here))
        own += weight * scales[layout.deviations(0)] ** 2
    covariance = second - np.outer(mean, mean)
    spread = {name: float(np.exp(found.log_spread[k]) * found.scale) for k, name in enumerate(layout.names)}
    return Posterior(mean, (covariance + covariance.T) / 2, own, float(np.sqrt(found.noise)), spread)


def _size(layout: Layout, gram: Matrix, side: Matrix, noise: float) -> float:
    """Size of mean effects, by the plain estimate of each action's; at least the standard error of all together."""
    first = [layout.deviations(action).start for action in range(layout.actions)]
    estimates = np.linalg.lstsq(gram[np.ix_(first, first)], side[first], rcond=None)[0]
    known = gram[first, first]
    return float(np.sqrt(max(known @ estimates**2, noise) / known.sum()))


def _centre(layout: Layout, size: float) -> Matrix:
    return np.log([size * _MEDIANS.get(name.split()[-1], _OTHER_MEDIAN) for name in layout.names])


def _scales(layout: Layout, position: Matrix) -> Matrix:
    """Prior sd of each coefficient [D], in units of the noise."""
    counts = np.bincount(layout.component[layout.component >= 0], minlength=len(layout.names)).astype(np.float64)
    # Deviations of one action share a variance with those of the others: K_g counts the functions of one action.
    shared = np.array([layout.actions if name.startswith("own") else 1 for name in layout.names])
    counts = counts / shared
    each = np.append(np.exp(position) / np.sqrt(counts), _WIDE)
    scales: Matrix = each[layout.component]
    return scales


def _inverse(gram: Matrix, scales: Matrix) -> tuple[Matrix, float]:
    """Inverse of I + S gram S, and the logarithm of its determinant."""
    factor, failed = lapack.dpotrf(np.eye(len(scales)) + gram * np.outer(scales, scales), lower=1)
    if failed:
        raise np.linalg.LinAlgError(f"the precision of the effects is not positive definite ({failed})")
    inverse, _ = lapack.dpotri(factor, lower=1)
    lower = np.tril(inverse)
    return lower + np.tril(inverse, -1).T, 2.0 * float(np.log(np.diag(factor)).sum())


def _solve(layout: Layout, position: Matrix, gram: Matrix, side: Matrix, scale: float) -> tuple[Matrix, float]:
    """Mean of the coefficients [D], and their effective number: the trace of the share that the trials decide."""
    scales = _scales(layout, position) * scale
    inverse, _ = _inverse(gram, scales)
    return scales * (inverse @ (scales * side)), float(layout.size - np.trace(inverse))


class _Objective:
    """Minus the log marginal posterior of log h, and its gradient. gram, side: over the noise, in units of the scale."""

    def __init__(self, layout: Layout, gram: Matrix, side: Matrix, square: float, centre: Matrix) -> None:
        self._layout, self._gram, self._side, self._centre = layout, gram * square, side, centre
        self._free = layout.component >= 0

    def __call__(self, position: Matrix) -> tuple[float, Matrix]:
        layout = self._layout
        scales = _scales(layout, position)
        inverse, log_determinant = _inverse(self._gram, scales)
        side = scales * self._side
        mean = inverse @ side
        away = (position - self._centre) / _LOG_SPREAD
        value = 0.5 * (log_determinant - side @ mean + away @ away)
        each = 1.0 - np.diag(inverse) - mean**2
        gradient = np.bincount(layout.component[self._free], each[self._free], len(layout.names))
        return float(value), gradient + away / _LOG_SPREAD


def _hessian(objective: _Objective, position: Matrix, step: float = 1e-3) -> Matrix:
    """Of the objective at its minimum, by differences of the gradient; made positive definite."""
    columns = [
        (objective(position + step * unit)[1] - objective(position - step * unit)[1]) / (2 * step)
        for unit in np.eye(len(position))
    ]
    matrix = np.array(columns).reshape(len(position), len(position))
    values, directions = np.linalg.eigh((matrix + matrix.T) / 2)
    # The prior alone gives 1 / _LOG_SPREAD^2; a bound that was hit can leave less.
    raised: Matrix = (directions * np.maximum(values, 0.25 / _LOG_SPREAD**2)) @ directions.T
    return raised


def _positions(
    layout: Layout, found: Components, gram: Matrix, side: Matrix, seed: int
) -> tuple[list[Matrix], list[float]]:
    """Draws of log h around its mode, and their weights: marginal posterior over the density they were drawn from."""
    if not layout.names:
        return [found.log_spread], [1.0]
    objective = _Objective(layout, gram, found.scale * side, found.scale**2, found.centre)
    root = np.linalg.cholesky(np.linalg.inv(found.precision))
    rng = np.random.Generator(np.random.PCG64(seed))
    normal = rng.standard_normal((_DRAWS // 2, len(found.log_spread)))
    normal = np.vstack([np.zeros((1, normal.shape[1])), normal, -normal])
    positions = [np.clip(found.log_spread + root @ z, found.centre - _REACH, found.centre + _REACH) for z in normal]
    logs = np.array([0.5 * z @ z - objective(place)[0] for z, place in zip(normal, positions, strict=True)])
    weights = np.exp(logs - logs.max())
    weights = np.minimum(weights, weights.mean() * np.sqrt(len(weights)))  # no single draw decides
    return positions, [float(weight) for weight in weights / weights.sum()]


def _steadied(errors: Errors, gram: Matrix, effective: Matrix, noise: float) -> Matrix:
    """The robust sum of outer products over noise^2, drawn towards the modelled one where it rests on few trials."""
    doubt = max(errors.kurtosis - 1.0, 1e-9)
    share = doubt / (doubt + _HETEROSKEDASTIC * effective)
    trust, rest = np.sqrt(1.0 - share), np.sqrt(share)
    steadied: Matrix = errors.meat / noise**2 * np.outer(trust, trust) + gram * np.outer(rest, rest)
    return steadied
