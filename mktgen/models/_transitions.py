"""The untrained transition counter: what came next, counted. Works on any sequences of baskets, no model around it.

A basket may hold one item: then these are plain item sequences (films rated one after the other, clicks of a session).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ints = NDArray[np.int64]

LAST_BASKETS: Final = 5
DECAY: Final = 0.6


def count_transitions(sequence: Ints, basket: Ints, item: Ints, items: int) -> sparse.csr_matrix:
    """[items, items] Int64: entry (i, j) is how often a sequence had i in one basket and j in its next one.

    One entry per event, in order of time within a sequence and with each sequence in one piece; `basket` only has to
    change from one basket of a sequence to its next. An item counts once in a basket, however often it is in it.
    """
    owner, number = _baskets(sequence, basket)
    held = _binary(number, item, (owner.size, items))
    before = np.flatnonzero(owner[1:] == owner[:-1])
    return sparse.csr_matrix(held[before].T @ held[before + 1])


def recent_weights(sequence: Ints, basket: Ints, item: Ints, shape: tuple[int, int]) -> sparse.csr_matrix:
    """[sequences, items]: 0.6 ** age for the items of a sequence's last 5 baskets (age 0: the last one), summed.

    Events as in `count_transitions`, `sequence` in 0 .. shape[0] - 1. The score of a candidate is this times the counts.
    """
    owner, number = _baskets(sequence, basket)
    first_after = np.searchsorted(owner, np.arange(shape[0]), side="right")
    age = first_after[owner] - 1 - np.arange(owner.size)
    recent = np.flatnonzero(age < LAST_BASKETS)
    held = _binary(number, item, (owner.size, shape[1]))[recent]
    decayed = (np.power(DECAY, age[recent]), (owner[recent], np.arange(recent.size)))
    return sparse.csr_matrix(sparse.csr_matrix(decayed, shape=(shape[0], recent.size)) @ held)


def _baskets(sequence: Ints, basket: Ints) -> tuple[Ints, Ints]:
    """The sequence of each basket, and the running number of the basket of each event."""
    if not sequence.size:
        return sequence, sequence
    new = np.r_[True, (sequence[1:] != sequence[:-1]) | (basket[1:] != basket[:-1])]
    return sequence[new], np.cumsum(new) - 1


def _binary(row: Ints, column: Ints, shape: tuple[int, int]) -> sparse.csr_matrix:
    """1 at each (row, column) that occurs."""
    cells: Any = np.unique(row * shape[1] + column)
    ones = np.ones(cells.size, dtype=np.int64)
    return sparse.csr_matrix((ones, (cells // shape[1], cells % shape[1])), shape=shape)
