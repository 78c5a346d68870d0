"""Logistic regression on standardised log1p features, stored as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mktgen.errors import PermanentError
from mktgen.models._interactions import Floats


@dataclass(frozen=True)
class Logistic:
    """P(y = 1 | x) = 1 / (1 + exp(-(intercept + z . coefficients))), z = (slog(x) - mean) / scale.

    slog(x) = sign(x) log(1 + |x|): counts, days and money have long right tails, on which a linear score would be
    ruled by a few customers. Fails where the effect of a feature is not monotone.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, features: tuple[str, ...], values: Floats, target: NDArray[np.bool_], c: float) -> Self:
        """`values`: [rows, features]. Raises PermanentError where only one class is present."""
        if target.all() or not target.any():
            raise PermanentError(f"logistic regression: all {target.size} labels are equal; widen the training period")
        logs = slog(values)
        mean, deviation = logs.mean(axis=0), logs.std(axis=0)
        scale = np.where(deviation > 1e-12, deviation, 1.0)
        # One thread: the order of floating-point sums in BLAS depends on the number of threads.
        with threadpool_limits(limits=1):
            model = LogisticRegression(C=c, max_iter=500, tol=1e-6).fit((logs - mean) / scale, target)
        coefficients = tuple(float(value) for value in model.coef_[0])
        return cls(
            features, tuple(map(float, mean)), tuple(map(float, scale)), coefficients, float(model.intercept_[0])
        )

    def probability(self, values: Floats) -> Floats:
        """[rows, features] -> [rows]."""
        z = (slog(values) - np.array(self.mean)) / np.array(self.scale)
        score = self.intercept + (z * np.array(self.coefficients)).sum(axis=1)
        result: Floats = 1.0 / (1.0 + np.exp(-np.clip(score, -50.0, 50.0)))
        return result

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("features", "mean", "scale", "coefficients", "intercept")}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        lists = {name: tuple(body[name]) for name in ("features", "mean", "scale", "coefficients")}
        return cls(**lists, intercept=float(body["intercept"]))


def slog(values: Floats) -> Floats:
    result: Floats = np.sign(values) * np.log1p(np.abs(values))
    return result
