"""Effects by linear regression: outcome on treatment a(u) with covariates, errors clustered by customer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf, sqrt
from typing import Final

import numpy as np
from scipy.linalg import qr
from threadpoolctl import ThreadpoolController

from mktgen.errors import PermanentError
from mktgen.feedback.effect.estimate import Estimate, Ints, Matrix, Vector, sums
from mktgen.feedback.effect.sample import CONTROL, Sample

# Beyond so many pairs of rows within customers the small-sample correction costs gigabytes and changes nothing.
MAX_PAIRS: Final = 20_000_000
_SINGULAR: Final = 1e-8  # a customer that determines a coefficient alone


@dataclass(frozen=True)
class Regression:
    """Least squares with what is needed for the clustered error of any combination of its coefficients."""

    beta: Vector
    design: Matrix
    cluster: Ints
    inverse: Matrix  # (X'X)^-1
    adjusted: Vector  # [rows] A_g e_g
    adjustment: Adjustment

    def influence(self, contrast: Vector) -> Vector:
        """[customers] what each moved the combination by: c' (X'X)^-1 X_g' A_g e_g."""
        lever = self.design @ (self.inverse @ contrast)
        return sums(self.cluster, lever * self.adjusted)

    def df(self, contrast: Vector) -> float:
        """Degrees of freedom of the combination: see `least_squares`."""
        v = self.adjustment.apply(self.design @ (self.inverse @ contrast))
        length = sums(self.cluster, v**2)
        moved = np.column_stack([sums(self.cluster, v * column) for column in self.design.T])
        spent = np.einsum("gp,pq,gq->g", moved, self.inverse, moved)
        cross = self.inverse @ (moved.T @ moved)
        total = float((length**2).sum() - 2 * (length * spent).sum() + np.trace(cross @ cross))
        return float((length - spent).sum() ** 2 / total) if total > 0 else inf

    def estimate(
        self, contrast: Vector, customers: tuple[str, ...], method: str, further: Vector | None = None
    ) -> Estimate:
        """The combination with its standard error; `further` [customers] is added to the influences."""
        influence = self.influence(contrast) + (0.0 if further is None else further)
        se = sqrt(float((influence**2).sum()))
        name = f"{method}, {self.adjustment.name} by customer"
        return Estimate(float(contrast @ self.beta), se, max(self.df(contrast), 1.0), name, customers, influence)


@dataclass(frozen=True)
class Adjustment:
    """A_g of every customer: matrices by customers with as many rows each (CR2), or one number for all (CR1)."""

    name: str
    blocks: tuple[tuple[Ints, Matrix], ...] = ()
    scale: float = 1.0

    def apply(self, values: Vector) -> Vector:
        """[rows] A_g v_g."""
        result: Vector = self.scale * values
        for rows, matrices in self.blocks:
            result[rows] = np.einsum("gij,gj->gi", matrices, values[rows])
        return result


def least_squares(design: Matrix, outcome: Vector, cluster: Ints) -> Regression:
    """Ordinary least squares with standard errors that let a customer's rows depend on each other.

    design: [rows, coefficients] of full rank; cluster: [rows] customer numbers from 0.
    Formula (CR2): V = M (sum_g X_g' A_g e_g e_g' A_g X_g) M, M = (X'X)^-1, A_g = (I - X_g M X_g')^(-1/2), unbiased where
    errors are independent and alike; degrees of freedom of c'b by Satterthwaite, (sum of eigenvalues)^2 / sum of their
    squares of the quadratic form that c'Vc is under such errors. With one row per customer and two arms the error
    is Welch's. Beyond MAX_PAIRS pairs of rows: CR1, A_g = sqrt(G / (G - 1) (n - 1) / (n - k)) I, same df.
    Assumption: customers are independent. When it fails: few customers in an arm (the df say so: below about 5 they are
    a guess), one that has most of the outcome.
    Reference: Bell & McCaffrey, Survey Methodology 28 (2002); Pustejovsky & Tipton, JBES 36 (2018).
    Raises PermanentError where a coefficient isn't identified or there are fewer than two customers.
    """
    groups = int(cluster.max()) + 1
    rank = int(np.linalg.matrix_rank(design / np.maximum(np.abs(design).max(axis=0), 1e-300)))
    if rank < design.shape[1] or groups < 2:
        raise PermanentError(
            f"{design.shape[1]} coefficients, of which {rank} are identified by {outcome.size} rows of {groups} customers: "
            "leave out covariates that repeat each other, or bring more customers"
        )
    with _threads().limit(limits=1):  # a product split over threads may differ in the last digit
        inverse: Matrix = np.asarray(np.linalg.inv(design.T @ design), dtype=np.float64)
        beta = inverse @ (design.T @ outcome)
        adjustment = _adjustment(design, inverse, cluster)
        adjusted = adjustment.apply(outcome - design @ beta)
    return Regression(beta, design, cluster, inverse, adjusted, adjustment)


@cache
def _threads() -> ThreadpoolController:
    """Found once: looking for the libraries takes longer than most fits."""
    return ThreadpoolController()


def _adjustment(design: Matrix, inverse: Matrix, cluster: Ints) -> Adjustment:
    order, sizes = np.argsort(cluster, kind="stable"), np.bincount(cluster)
    n, k, groups = cluster.size, design.shape[1], sizes.size
    if int((sizes.astype(np.int64) ** 2).sum()) > MAX_PAIRS:
        return Adjustment("CR1", scale=sqrt(groups / (groups - 1) * (n - 1) / max(n - k, 1)))
    starts = np.cumsum(sizes) - sizes
    blocks = []
    for size in np.unique(sizes).tolist():
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        part = design[rows]
        blocks.append((rows, _inverse_root(np.eye(size) - part @ inverse @ part.transpose(0, 2, 1))))
    return Adjustment("CR2", tuple(blocks))


def _inverse_root(blocks: Matrix) -> Matrix:
    """Symmetric inverse square roots; directions in which a customer determines its own fit are left out."""
    if blocks.shape[1] == 1:
        root: Matrix = np.where(blocks > _SINGULAR, np.maximum(blocks, _SINGULAR) ** -0.5, 0.0)
        return root
    values, vectors = np.linalg.eigh(blocks)
    powers = np.where(values > _SINGULAR, np.maximum(values, _SINGULAR) ** -0.5, 0.0)
    result: Matrix = (vectors * powers[:, None, :]) @ vectors.transpose(0, 2, 1)
    return result


@dataclass(frozen=True)
class Effects:
    """control: mean outcome per row of the control (at the mean covariates of everyone). effects: by treated arm."""

    control: Estimate
    effects: dict[str, Estimate]


def difference_of_means(sample: Sample) -> Effects:
    """Mean outcome per row of each arm less that of the control, as drawn; see `least_squares` for the error.

    Assumption: the arms were drawn at random; one customer's treatment doesn't reach another. When it fails: everywhere
    else it is the difference of two groups of customers, not an effect.
    Reference: Imbens & Rubin, Causal Inference (2015), ch. 7.
    """
    return _effects(sample, _arm_columns(sample), "difference of means")


def cuped(sample: Sample) -> Effects:
    """Difference of means of y - (x - mean x)' theta, theta the pooled slope on what was known before the draw.

    Formula: coefficients of the arms in y ~ 1 + arms + x (the same numbers; their errors then hold that of theta).
    Assumption: as `difference_of_means`; x is dated before the draw. When it fails: slopes that differ by arm, with arms
    of unequal size, can make it less precise than the plain difference: then take `interacted`.
    Reference: Deng, Xu, Kohavi & Walker, WSDM 2013; Freedman, Advances in Applied Mathematics 40 (2008).
    """
    return _effects(sample, np.column_stack([_arm_columns(sample), identified(sample)]), "CUPED")


def interacted(sample: Sample) -> Effects:
    """Mean effects by delta(u, a) = theta0 + theta1 a(u) + eps with centred covariates, interacted with the arms.

    Formula: y = theta0 + (x - mean x)' b + sum_a 1[a(u) = a] (theta_a + (x - mean x)' g_a) + eps; theta_a is the effect at
    the mean customer. To each customer's influence (see `least_squares`) it adds (x - mean x)' g_a / n: the customers
    are a sample of those to come. Assumption: the arm is drawn at random, or given x (then also: the form is linear).
    When it fails: many covariates beside few customers of an arm; without randomisation, whatever x doesn't hold.
    Reference: Lin, Annals of Applied Statistics 7 (2013).
    """
    centred, columns = identified(sample), _arm_columns(sample)
    by_arm = [columns[:, [1 + k]] * centred for k in range(len(sample.arms))]
    return _effects(sample, np.column_stack([columns, centred, *by_arm]), "interacted regression (Lin)", centred)


def _effects(sample: Sample, design: Matrix, method: str, centred: Matrix | None = None) -> Effects:
    """Coefficients of the arms; `centred`: covariates whose slopes follow the arms in the design, one block per arm."""
    fit, arms = least_squares(design, sample.outcome, sample.cluster), len(sample.arms)

    def found(place: int) -> Estimate:
        unit = np.zeros(fit.beta.size)
        unit[place] = 1.0
        if centred is None:
            return fit.estimate(unit, sample.customers, method)
        slopes = fit.beta[1 + arms + place * centred.shape[1] :][: centred.shape[1]]
        return fit.estimate(unit, sample.customers, method, sample.by_customer(centred @ slopes / sample.rows))

    return Effects(found(0), {arm: found(1 + place) for place, arm in enumerate(sample.arms)})


def identified(sample: Sample) -> Matrix:
    """[rows, <= covariates] centred and scaled covariates of full rank within every arm, so that each has its slopes.

    Columns are dropped by pivoted QR. Raises PermanentError where an arm has fewer than two customers per column kept.
    """
    table = sample.covariates
    if not table.shape[1]:
        return table
    scaled: Matrix = (table - table.mean(axis=0)) / table.std(axis=0)
    kept = np.arange(table.shape[1])
    for arm in (CONTROL, *sample.arms):
        rows = sample.in_arm(arm)
        part = scaled[rows][:, kept]
        part = part - part.mean(axis=0) if part.shape[0] else part
        _, triangle, order = qr(part, mode="economic", pivoting=True)
        size = np.abs(np.diag(triangle))
        independent = order[: size.size][size > 1e-7 * max(sqrt(float(rows.sum())), 1.0)]
        kept = kept[np.sort(independent)]
        if sample.customers_in(rows) < 2 * (kept.size + 1):
            raise PermanentError(
                f"arm {arm!r} has {sample.customers_in(rows)} customers for {kept.size} covariates: give fewer covariates, "
                "at most one for two customers"
            )
    result: Matrix = scaled[:, kept]
    return result


def _arm_columns(sample: Sample) -> Matrix:
    """[rows, 1 + arms]: intercept and indicators. Raises PermanentError unless there are a control and a treated arm."""
    if not sample.arms or not sample.in_arm(CONTROL).any():
        raise PermanentError(f"an effect needs {CONTROL!r} and another arm; arms given: {sorted(set(sample.arm))}")
    return np.column_stack([np.ones(sample.rows), *(sample.in_arm(arm).astype(np.float64) for arm in sample.arms)])
