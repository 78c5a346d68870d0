"""Sums over trials that the effects are learned from: one pass for the fit, one for its errors.

The regression is on z_i = (1[drawn = a] - e_a) phi(x_i), for all actions together and, as deviations, for each:

    y_i - sum_b e_ib q_b(x_i) = sum_a (1[A_i = a] - e_ia) tau_a(x_i) + noise,    tau_a(x) = phi(x)'c + phi_d(x)'d_a.

It is the generalised least-squares form of regressing doubly robust pseudo-outcomes on phi: within a trial these have the
covariance sigma^2 (diag(1/e) + 11'/e_0), and where q_a - q_0 is the effect itself, weighting by its inverse gives this
line. No chance is divided by, so rare actions make no huge scores. What is fitted is the best approximation for customers
weighted by how open their draw was; where the basis holds the truth, that is the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.response.basis import GROUPS, Basis
from mktgen.response.trials import Trials

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK: Final = 4_000_000  # numbers of a block of the regression's design


@dataclass(frozen=True)
class Layout:
    """Where coefficients stand: K common ones, then for each of A actions its deviations in `terms` [Kd] of the basis.

    component [D]: which variance each belongs to (-1: the common intercept, which has a fixed wide prior); names: of them.
    """

    basis: int
    actions: int
    terms: Integers
    component: Integers
    names: list[str]

    @property
    def size(self) -> int:
        return self.basis + self.actions * len(self.terms)

    def deviations(self, action: int) -> slice:
        start = self.basis + action * len(self.terms)
        return slice(start, start + len(self.terms))


def lay_out(basis: Basis, actions: int, max_coefficients: int) -> Layout:
    """Deviations in as many groups of functions as `max_coefficients` allows: products go first, the intercept stays."""
    kept = list(GROUPS)
    for dropped in ("", "product", "hinge", "vector", "linear"):
        kept = [name for name in kept if name != dropped]
        terms = np.flatnonzero(np.isin(basis.group, [GROUPS.index(name) for name in kept]))
        if basis.size + actions * len(terms) <= max_coefficients:
            break
    common = [f"common {GROUPS[group]}" if group else "" for group in basis.group]
    own = [f"own {GROUPS[group]}" for group in basis.group[terms]]
    labels = [*common, *(own * actions)]
    names = sorted(set(labels) - {""})
    numbers = {name: number for number, name in enumerate(names)} | {"": -1}
    return Layout(basis.size, actions, terms, np.array([numbers[label] for label in labels], dtype=np.int64), names)


@dataclass(frozen=True)
class Weights:
    """Of each trial [n]: w = age precision.

    age: how much is still believed of it, a power of its likelihood: an old trial is one of fewer, and no quieter.
    precision: the inverse of its noise variance, mean 1: how loud the outcomes of such a customer are.
    """

    age: Matrix
    precision: Matrix

    @property
    def both(self) -> Matrix:
        return self.age * self.precision


@dataclass(frozen=True)
class Moments:
    """By fold of customers: gram [F, D, D] = sum of w z z', side [F, D, outcomes] = sum of w z y, square [F, outcomes].

    effective [D]: Kish's number of trials behind each coefficient, (sum w z^2)^2 / sum age (precision z^2)^2. weight: sum of w.
    """

    gram: Matrix
    side: Matrix
    square: Matrix
    effective: Matrix
    weight: float


def collect(
    layout: Layout, design: Matrix, trials: Trials, outcomes: Matrix, weights: Weights, fold: Integers
) -> Moments:
    """outcomes [n, outcomes]: what is left of each after its prediction. fold [n]: 0 .. F - 1."""
    folds, size, number = int(fold.max()) + 1, layout.size, outcomes.shape[1]
    gram, side, square = np.zeros((folds, size, size)), np.zeros((folds, size, number)), np.zeros((folds, number))
    fourth, contrast, weight = np.zeros(size), trials.contrast, weights.both
    for place in range(folds):
        for rows in _blocks(np.flatnonzero(fold == place), trials.customer, size):
            root = np.sqrt(weight[rows])[:, None]
            regressors = _regressors(layout, design[rows], contrast[rows])
            scaled, values = regressors * root, outcomes[rows] * root
            gram[place] += scaled.T @ scaled
            side[place] += scaled.T @ values
            square[place] += (values**2).sum(axis=0)
            fourth += (weight * weights.precision)[rows] @ (regressors**2) ** 2
    second = np.einsum("fii->i", gram)
    effective = np.divide(second**2, fourth, out=np.zeros(size), where=fourth > 0)
    return Moments(gram, side, square, effective, float(weight.sum()))


@dataclass(frozen=True)
class Errors:
    """Of one outcome after the fit. meat [D, D]: sum over customers of s s', s = sum of sqrt(age) precision z r.

    So M is Z'WZ v where the noise is what the weights say: r^2 is v / precision on average, and age a power of the likelihood.
    kurtosis: fourth moment of the standardised residuals over their squared variance.
    """

    meat: Matrix
    kurtosis: float


def errors(
    layout: Layout, design: Matrix, trials: Trials, outcomes: Matrix, weights: Weights, coefficients: Matrix
) -> list[Errors]:
    """Of each outcome. outcomes [n, outcomes]; coefficients [D, outcomes]: those fitted."""
    size, number, contrast = layout.size, outcomes.shape[1], trials.contrast
    meats, standardised = np.zeros((number, size, size)), np.empty_like(outcomes)
    each = np.sqrt(weights.age) * weights.precision
    for rows in _blocks(np.arange(len(outcomes)), trials.customer, size):
        regressors = _regressors(layout, design[rows], contrast[rows])
        residual = outcomes[rows] - regressors @ coefficients
        standardised[rows] = residual * np.sqrt(weights.precision[rows])[:, None]
        starts = np.flatnonzero(np.diff(trials.customer[rows], prepend=-1))
        for outcome in range(number):
            scores = regressors * (each[rows] * residual[:, outcome])[:, None]
            if len(starts) < len(rows):
                scores = np.add.reduceat(scores, starts, axis=0)
            meats[outcome] += scores.T @ scores
    variance = np.average(standardised**2, axis=0, weights=weights.age)
    fourth = np.average(standardised**4, axis=0, weights=weights.age)
    kurtosis = np.divide(fourth, variance**2, out=np.full(number, 3.0), where=variance > 0)
    return [Errors(meats[k], float(kurtosis[k])) for k in range(number)]


def _regressors(layout: Layout, design: Matrix, contrast: Matrix) -> Matrix:
    """z [rows, D]."""
    own = contrast[:, :, None] * design[:, layout.terms][:, None, :]
    return np.hstack([design * contrast.sum(axis=1, keepdims=True), own.reshape(len(design), -1)])


def _blocks(rows: Integers, customer: Integers, size: int) -> Iterator[Integers]:
    """`rows` in blocks of bounded size that never part a customer; the trials are sorted by customer."""
    if not len(rows):
        return
    starts = np.flatnonzero(np.diff(customer[rows], prepend=-1))
    length = max(_BLOCK // size, 1)
    cuts = [0]
    while cuts[-1] < len(rows):
        later = np.searchsorted(starts, cuts[-1] + length)
        cuts.append(int(starts[later]) if later < len(starts) else len(rows))
    for first, last in pairwise(cuts):
        yield rows[first:last]
