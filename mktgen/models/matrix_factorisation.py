"""Matrix factorisation of implicit feedback by alternating least squares.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from mktgen.models import _files
from mktgen.models._interactions import Floats, encode, popularity, rank_dense
from mktgen.models.base import FitReport, History, Session, Task, TrainingSet, VectorModel
from mktgen.settings import ModelSettings

FACTORS = 48
ITERATIONS = 8
REGULARISATION = 5.0
CONFIDENCE = 10.0
HALF_LIFE_DAYS = 112.0
MIN_CUSTOMERS = 5

Factors = NDArray[np.float32]


class MatrixFactorisation(VectorModel):
    """min over x, y: sum of c(u, i) (p(u, i) - x_u . y_i)^2 + lambda (|x|^2 + |y|^2), solved in turns.

    p = 1 where u bought i, else 0; c = 1 + 10 log(1 + decayed purchases), half-life 112 days. Only item factors are
    stored: a customer's vector is the exact least-squares solution for what is known of him when he is scored, so new
    customers need no new training. Assumes that a missing purchase is weak evidence of no interest; fails for items
    with few customers (below 5 they are not ranked).
    """

    kind: ClassVar[str] = "matrix_factorisation"
    effort = 8.0
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking"})

    def __init__(self, items: list[str] | None = None, factors: Factors | None = None) -> None:
        self._items = items or []
        self._factors: Factors = factors if factors is not None else np.empty((0, FACTORS), np.float32)

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        known = encode(data.events, data.cut)
        enough = np.flatnonzero(np.asarray((known.seen > 0).sum(axis=0)).ravel() >= MIN_CUSTOMERS)
        self._items = [known.items[index] for index in enough]
        by_customer = sparse.csr_matrix(_confidence(known.decayed(HALF_LIFE_DAYS))[:, enough])
        by_item = sparse.csr_matrix(by_customer.T)
        rng = np.random.default_rng(session.seed)
        self._factors = (0.05 * rng.standard_normal((enough.size, FACTORS))).astype(np.float32)
        losses: list[float] = []
        for index in range(ITERATIONS):
            customers = _solve(self._factors, by_customer)
            self._factors = _solve(customers, by_item)
            losses.append(_objective(customers, self._factors, by_customer))
            session.progress(f"matrix_factorisation: iteration {index + 1} of {ITERATIONS}, loss {losses[-1]:.4f}")
        parameters: dict[str, float | int | str | bool] = {
            "factors": FACTORS,
            "iterations": ITERATIONS,
            "regularisation": REGULARISATION,
            "confidence": CONFIDENCE,
            "half_life_days": HALF_LIFE_DAYS,
        }
        return FitReport(parameters=parameters, curves={"train.loss": losses}, metrics={"items": float(enough.size)})

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, self._items)
        vectors = self._fold_in(known.decayed(HALF_LIFE_DAYS)).astype(np.float64)
        factors = self._factors.astype(np.float64).T
        popular = popularity(history.items, known.items)
        fill = 1e-9 * popular / max(1.0, float(popular.max(initial=0.0)))  # orders items for customers without events

        def score(low: int, high: int) -> Floats:
            with threadpool_limits(limits=1):
                block: Floats = vectors[low:high] @ factors + fill
            return block

        return rank_dense(known, score, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        raise TypeError(f"{self.kind} only ranks items; it gives no purchase probabilities")

    def vectors(self, history: History, customers: list[str]) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, self._items)
        rows = self._fold_in(known.decayed(HALF_LIFE_DAYS)).astype(np.float32)
        schema = {"customer_id": pl.String(), "vector": pl.List(pl.Float32)}
        return pl.DataFrame({"customer_id": known.customers, "vector": rows.tolist()}, schema=schema)

    def _fold_in(self, decayed: sparse.csr_matrix) -> Factors:
        return _solve(self._factors, _confidence(decayed))

    def save(self, directory: Path) -> None:
        _files.write_meta(directory, self.kind, {"items": self._items, "factors": FACTORS})
        _files.write_arrays(directory / "factors.safetensors", {"items": self._factors})

    @classmethod
    def load(cls, directory: Path) -> Self:
        items: list[str] = _files.read_meta(directory, cls.kind)["items"]
        return cls(items, _files.read_arrays(directory / "factors.safetensors")["items"])


def _confidence(decayed: sparse.csr_matrix) -> sparse.csr_matrix:
    """c - 1 where something was bought; the ones of all other cells are handled in closed form."""
    return sparse.csr_matrix(decayed.log1p() * CONFIDENCE)


def _solve(fixed: Factors, extra: sparse.csr_matrix) -> Factors:
    """Least squares of every row given the other side: (F'F + F'(C - I)F + lambda I)^-1 F' C p, [rows, factors]."""
    with threadpool_limits(limits=1):
        gram = fixed.T @ fixed + REGULARISATION * np.eye(fixed.shape[1], dtype=np.float32)
        systems = np.empty((extra.shape[0], *gram.shape), dtype=np.float32)
        right = np.empty((extra.shape[0], fixed.shape[1], 1), dtype=np.float32)
        for row in range(extra.shape[0]):
            low, high = extra.indptr[row], extra.indptr[row + 1]
            used = fixed[extra.indices[low:high]]
            weight = extra.data[low:high].astype(np.float32)
            systems[row] = gram + (used.T * weight) @ used
            right[row, :, 0] = used.T @ (weight + 1.0)
        solved: Factors = np.linalg.solve(systems, right)[:, :, 0]
    return solved


def _objective(customers: Factors, items: Factors, extra: sparse.csr_matrix) -> float:
    """What is minimised, over all cells, per bought pair. Never rises from one iteration to the next.

    All cells are taken as "not bought" in closed form, |X Y'|^2 = <X'X, Y'Y>, and the bought ones corrected.
    """
    x, y = customers.astype(np.float64), items.astype(np.float64)
    with threadpool_limits(limits=1):
        total = float(((x.T @ x) * (y.T @ y)).sum()) + REGULARISATION * float((x**2).sum() + (y**2).sum())
        for row in range(extra.shape[0]):
            low, high = extra.indptr[row], extra.indptr[row + 1]
            score = y[extra.indices[low:high]] @ x[row]
            total += float(((1.0 + extra.data[low:high]) * (1.0 - score) ** 2 - score**2).sum())
    return total / max(1, extra.nnz)
