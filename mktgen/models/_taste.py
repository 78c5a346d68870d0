"""Taste: items as factors of who buys what, counted rather than learned step by step.

What: the first right singular vectors of the customers x items matrix of log(1 + 4 d) idf^.5, rows of length 1, with d the
item's purchases decayed with a half-life of 112 days and idf = log(customers / (buyers + 1)). A customer's taste is the sum
of the factors of what was bought, weighted alike, at length 1.
Assumes that customers who bought alike will buy alike. Fails where histories are short: below some tens of customers the
factors tell the customers themselves.
While learning, factors come from what was bought before the first target week alone: factors that have seen the target weeks
would look better than they can be afterwards.
Reference: Cremonesi, Koren, Turrin, "Performance of recommender algorithms on top-n recommendation tasks", RecSys 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from mktgen.models._copying import HALF_LIVES
from mktgen.models._events import EventLog, Floats, Ints

HALF_LIFE: Final = HALF_LIVES.index(112.0)
COUNT_SCALE: Final = 4.0
_OLDEST: Final = 730  # days
_SPARE: Final = 4  # where fewer than one item in so many was bought, the others are left out of the factorisation


@dataclass(frozen=True)
class Taste:
    """factors: [V + 1, rank]; weight: [V + 1] square root of idf. Row 0, of what has no token, is 0."""

    factors: Floats
    weight: Floats

    @classmethod
    def learn(cls, log: EventLog, cut: int, vocabulary_size: int, rank: int, seed: int) -> Self:
        """From the events of the log before `cut` (day number)."""
        token = np.where(log.day < cut, log.code_item[log.code], 0)
        pairs = np.unique(log.owner * (vocabulary_size + 1) + token)
        buyers = np.bincount(pairs % (vocabulary_size + 1), minlength=vocabulary_size + 1)
        weight = np.sqrt(np.maximum(np.log(max(len(log.customers), 1) / (buyers + 1.0)), 0.0))
        weight[0] = 0.0
        return cls(_factors(_rows(log, token, cut, weight), rank, seed), weight.astype(np.float32))


def _rows(log: EventLog, token: Ints, cut: int, weight: NDArray[np.float64]) -> sparse.csr_matrix:
    """[customers, V + 1] of the events that have a token, rows of length 1."""
    known = token > 0
    age = np.clip(cut - log.day[known], 0, _OLDEST)
    decayed = np.power(0.5, age / HALF_LIVES[HALF_LIFE])
    counts = sparse.csr_matrix((decayed, (log.owner[known], token[known])), shape=(len(log.customers), weight.size))
    counts.data = np.log1p(COUNT_SCALE * counts.data)
    table = (counts @ sparse.diags(weight)).tocsr()
    length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    unit: sparse.csr_matrix = (sparse.diags(1.0 / np.maximum(length, 1e-12)) @ table).tocsr()
    return unit


def _factors(table: sparse.csr_matrix, rank: int, seed: int, first: int = 1) -> Floats:
    """[columns, rank]; those before `first` are 0."""
    found = np.zeros((table.shape[1], rank), dtype=np.float32)
    used = np.flatnonzero(table.getnnz(axis=0))
    if used.size * _SPARE < table.shape[1] and used.size:
        # What nobody bought has no factors, and would take as much time as what was.
        found[used] = _factors(table[:, used].tocsr(), rank, seed, first=0)
        return found
    kept = min(rank, *table.shape)
    if kept and table.nnz:
        found[first:, :kept] = randomized_svd(table, kept, random_state=seed)[2].T[first:]
    return found + np.float32(0.0)  # no zero is negative: equal factors have equal bytes
