"""What an effect may depend on: covariates as basis functions, each of mean 0 and variance 1 on the trials.

What: phi(x) = 1, then every covariate, the level of logged ones, hinges and products of the strongest, principal components of
the customer vector. A covariate is logged where it is skewed and never negative, cut at its 1% and 99% quantiles,
standardised; a null is the mean, with an indicator where nulls are not rare. Strongest: largest correlation with the
outcome, whatever the action. That choice never looks at how an action and the outcome go together, so it doesn't make
intervals too narrow; a covariate that moves the effect alone and not the outcome gets its straight line only.
Assumption: effects are smooth enough for this basis. When it fails: steps and deep interactions are smoothed over,
and the intervals don't know; a boosted final stage is compared for that reason (checks.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.errors import PermanentError
from mktgen.settings import ResponseSettings

Matrix = NDArray[np.float64]

VECTOR: Final = "vector"
KEYS: Final = ("customer_id", "decided_on")
GROUPS: Final = ("intercept", "linear", "hinge", "product", "vector")
_CUT: Final = 0.01  # winsorised on both sides
_SKEWED: Final = 1.0
_RARE: Final = 0.01  # a null less (or a value) often than this gets no indicator
_KNOTS: Final = (0.2, 0.5, 0.8)  # quantiles
_LEVELS: Final = 3  # logged covariates whose level, too, is crossed with the others
_CONSTANT: Final = 1e-9  # a basis function of smaller spread says nothing


class UnusableCovariates(PermanentError):
    """Covariates that lack a column, repeat a customer, or aren't numbers."""


@dataclass(frozen=True)
class Basis:
    """How a frame of covariates becomes phi(x). p covariates, K functions, q components of a vector of length d.

    logged, low, high, centre, scale [p]; indicated: covariates with an indicator of null; hinges: (covariate, knot);
    products: pairs, see _products; vector_mean [d]; components [q, d]; means, scales [K], kept [K] of all made; group [K] in
    GROUPS.
    """

    columns: list[str]
    logged: Matrix
    low: Matrix
    high: Matrix
    centre: Matrix
    scale: Matrix
    indicated: list[int]
    hinges: list[tuple[int, float]]
    products: list[tuple[int, int]]
    vector_mean: Matrix
    components: Matrix
    kept: list[int]
    group: NDArray[np.int64]
    means: Matrix
    scales: Matrix

    @property
    def size(self) -> int:
        return len(self.kept)

    @property
    def plain(self) -> NDArray[np.bool_]:
        """[K]: neither hinge nor product, which trees make by themselves."""
        return np.isin(self.group, [GROUPS.index("linear"), GROUPS.index("vector")])

    def design(self, frame: pl.DataFrame) -> Matrix:
        """phi [rows, K] of a frame with the columns (and `vector`) of the fit, in its row order.

        Raises UnusableCovariates where one is missing or no number, or a vector has another length.
        """
        made = self._functions(frame)
        result: Matrix = (made[:, self.kept] - self.means) / self.scales
        result[:, 0] = 1.0
        return result

    def _functions(self, frame: pl.DataFrame) -> Matrix:
        """All functions before they are standardised [rows, made]: 1, linear, indicators, hinges, products, components."""
        raw = _numbers(frame, self.columns)
        space = _space(raw, self.logged, self.low, self.high, self.centre, self.scale)
        levels = _levels(raw, self.logged, self.low, self.high)
        both = np.hstack([space, levels])
        parts = [np.ones((frame.height, 1)), space, np.isnan(raw[:, self.indicated]).astype(np.float64), levels]
        parts += [np.maximum(space[:, [column]] - knot, 0.0) for column, knot in self.hinges]
        parts += [both[:, [first]] * both[:, [second]] for first, second in self.products]
        if len(self.components):
            vectors = _vectors(frame, len(self.vector_mean))
            parts.append(np.where(np.isnan(vectors), 0.0, vectors - self.vector_mean) @ self.components.T)
        return np.hstack(parts)


def loop_covariates(features: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Covariates of the loop's customers: numbers of contracts.CUSTOMER_FEATURES, and of contracts.CUSTOMER_SCORES the chances
    of a purchase and the vector, where a customer has them. One row per customer of `features`.

    The caller adds `decided_on` for training. p_churn_28d is left out: it is 1 - p_purchase_28d.
    """
    known = features.drop([name for name, kind in features.schema.items() if kind == pl.String and name != KEYS[0]])
    told = scores.select("customer_id", "p_purchase_7d", "p_purchase_28d", VECTOR)
    return known.join(told, on="customer_id", how="left", maintain_order="left")


def fit_basis(frame: pl.DataFrame, outcome: Matrix, settings: ResponseSettings) -> Basis:
    """The basis of the trials' covariates: `frame` [n rows], all columns but KEYS. outcome [n]: to find the strongest.

    Raises UnusableCovariates where there is no covariate, one is no number, or vectors differ in length.
    """
    columns = sorted(name for name in frame.columns if name not in (*KEYS, VECTOR))
    if not columns and VECTOR not in frame.columns:
        raise UnusableCovariates("no covariates: give at least one numeric column per customer and day")
    raw = _numbers(frame, columns)
    logged, low, high, centre, scale = _ranges(raw)
    space = _space(raw, logged, low, high, centre, scale)
    nulls = np.isnan(raw).mean(axis=0) if len(raw) else np.zeros(len(columns))
    indicated = [column for column in range(len(columns)) if _RARE <= nulls[column] <= 1 - _RARE]
    strongest = _strongest(space, outcome)
    hinges = [
        (column, float(knot)) for column in strongest[: settings.hinged_covariates] for knot in _knots(space[:, column])
    ]
    products = _products(strongest[: settings.crossed_covariates], logged)
    mean, components = _principal(frame, settings.vector_components)
    counts = (1, len(columns) + len(indicated) + int(logged.sum()), len(hinges), len(products), len(components))
    group = np.repeat(np.arange(len(GROUPS)), counts)
    shape = (columns, logged, low, high, centre, scale, indicated, hinges, products, mean, components)
    everything = Basis(*shape, list(range(len(group))), group, np.zeros(len(group)), np.ones(len(group)))
    made = everything._functions(frame)
    spread = made.std(axis=0)
    kept = [0, *(number for number in range(1, len(group)) if spread[number] > _CONSTANT)]
    return Basis(*shape, kept, group[kept], made[:, kept].mean(axis=0), np.where(spread > _CONSTANT, spread, 1.0)[kept])


def _numbers(frame: pl.DataFrame, columns: list[str]) -> Matrix:
    """[rows, p] with NaN for null, NaN and infinity."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UnusableCovariates(f"covariates {missing} are missing; the effects were learned with them")
    wrong = [name for name in columns if not (frame.schema[name].is_numeric() or frame.schema[name] == pl.Boolean)]
    if wrong:
        raise UnusableCovariates(f"covariates {wrong} are no numbers: drop them or encode them before")
    values = frame.select(pl.col(name).cast(pl.Float64) for name in columns).to_numpy().astype(np.float64)
    finite: Matrix = np.where(np.isfinite(values), values, np.nan)
    return finite.reshape(frame.height, len(columns))


def _ranges(raw: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    """logged, low, high, centre, scale of each covariate, by its values that are there."""
    rows = []
    for column in raw.T:
        values = np.sort(column[~np.isnan(column)])
        if not values.size:
            rows.append((0.0, 0.0, 0.0, 0.0, 1.0))
            continue
        logged = float(values[0] >= 0 and _skewness(np.clip(values, *np.quantile(values, [_CUT, 1 - _CUT]))) > _SKEWED)
        values = np.log1p(values) if logged else values
        low, high = np.quantile(values, [_CUT, 1 - _CUT])
        cut = np.clip(values, low, high)
        if cut.std() <= _CONSTANT:  # nearly always the same: the rare values are all it has to say
            low, high, cut = values[0], values[-1], values
        spread = float(cut.std())
        rows.append((logged, float(low), float(high), float(cut.mean()), spread if spread > _CONSTANT else 1.0))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4]


def _skewness(values: Matrix) -> float:
    spread = values.std()
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > _CONSTANT else 0.0


def _space(raw: Matrix, logged: Matrix, low: Matrix, high: Matrix, centre: Matrix, scale: Matrix) -> Matrix:
    """Covariates in standard form [rows, p]; 0 (the mean) for what is not there."""
    values = np.where(logged > 0, np.log1p(np.maximum(raw, 0.0)), raw)
    return np.nan_to_num((np.clip(values, low, high) - centre) / scale, nan=0.0)


def _levels(raw: Matrix, logged: Matrix, low: Matrix, high: Matrix) -> Matrix:
    """Logged covariates as they are, within the same bounds, as shares of them [rows, logged]; half for what is not there.

    What an offer moves is often a share of what a customer spends anyway: a straight line in money, not in its logarithm.
    """
    chosen = np.flatnonzero(logged > 0)
    values = np.log1p(np.maximum(raw[:, chosen], 0.0))
    first, last = np.expm1(low[chosen]), np.expm1(high[chosen])
    share = (np.expm1(np.clip(values, low[chosen], high[chosen])) - first) / np.maximum(last - first, _CONSTANT)
    return np.asarray(np.where(np.isnan(values), 0.5, share), dtype=np.float64)


def _products(crossed: list[int], logged: Matrix) -> list[tuple[int, int]]:
    """Pairs of the strongest covariates, and of the levels of the first few logged ones with all of them.

    Numbers from len(logged) on are levels, in the order of the logged covariates.
    """
    best = sorted(crossed)
    pairs = [(first, second) for place, first in enumerate(best) for second in best[place + 1 :]]
    place = {int(column): number for number, column in enumerate(np.flatnonzero(logged > 0))}
    levelled = [column for column in crossed if column in place][:_LEVELS]
    return pairs + [(other, len(logged) + place[column]) for column in sorted(levelled) for other in best]


def _strongest(space: Matrix, outcome: Matrix) -> list[int]:
    """Covariates by falling |correlation| with the outcome; equal ones in order of name."""
    deviation = outcome - outcome.mean()
    spread = space.std(axis=0)
    strength = np.abs(deviation @ space) / np.where(spread > _CONSTANT, spread, np.inf)
    return [int(column) for column in np.argsort(-strength, kind="stable")]


def _knots(values: Matrix) -> list[float]:
    inner = np.unique(np.quantile(values, _KNOTS))
    return [float(knot) for knot in inner if values.min() < knot < values.max()]


def _vectors(frame: pl.DataFrame, length: int | None) -> Matrix:
    """[rows, d]; NaN where a vector is null or has a value that isn't finite."""
    if VECTOR not in frame.columns:
        raise UnusableCovariates("the customer vector is missing; the effects were learned with it")
    kind = frame.schema[VECTOR]
    if not isinstance(kind, pl.List) or not kind.inner.is_numeric():
        raise UnusableCovariates(f"`vector` is {kind}: it must be a list of numbers")
    series = frame[VECTOR]
    lengths = sorted(series.drop_nulls().list.len().unique().to_list())
    if len(lengths) > 1 or (lengths and length is not None and lengths[0] != length):
        raise UnusableCovariates(f"customer vectors have {lengths} numbers; one length, {length or 'any'}, is needed")
    size = length if length is not None else (lengths[0] if lengths else 0)
    values = np.full((frame.height, size), np.nan)
    there = series.is_not_null().to_numpy()
    if there.any() and size:
        values[there] = series.drop_nulls().list.to_array(size).to_numpy().reshape(-1, size).astype(np.float64)
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return values


def _principal(frame: pl.DataFrame, count: int) -> tuple[Matrix, Matrix]:
    """Mean [d] and leading principal directions [q, d] of the vectors; the largest loading of each is positive."""
    if VECTOR not in frame.columns or not count:
        return np.zeros(0), np.zeros((0, 0))
    vectors = _vectors(frame, None)
    there = vectors[~np.isnan(vectors).any(axis=1)]
    if len(there) < 2 or not there.shape[1]:
        return np.zeros(vectors.shape[1]), np.zeros((0, vectors.shape[1]))
    mean = there.mean(axis=0)
    values, directions = np.linalg.eigh((there - mean).T @ (there - mean) / len(there))
    leading = directions[:, ::-1][:, : min(count, int((values > _CONSTANT * values.max()).sum()))].T
    signs = np.sign(leading[np.arange(len(leading)), np.abs(leading).argmax(axis=1)])
    return mean, np.ascontiguousarray(leading * signs[:, None])
