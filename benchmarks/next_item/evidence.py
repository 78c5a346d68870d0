"""What like sequences held, counted: the answers of neighbours and the transitions around the last items.

Neighbours are weighted by recency of the shared items (Ludewig and Jannach, "Evaluation of session-based recommendation
algorithms", 2018) and by their own place in time (Garg et al., "STAN", SIGIR 2019). Sequences are in order of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.next_item.data import Ints, Questions, Sequences

Doubles = NDArray[np.float64]

AGES: Final = 3  # last items whose transitions are looked up one by one
_MATCH_DECAY: Final = 0.6  # of a shared item's weight per event before the last
_REACH: Final = 8  # events between two items that still count as a transition
_REACH_DECAY: Final = 0.8
_FADE: Final = 0.3  # share of the file in which a sequence's weight halves
_FADE_POPULARITY: Final = 0.03
_FLOOR: Final = 1e-4  # of a share under the logarithm


@dataclass(frozen=True)
class Table:
    """A sparse matrix that is asked for single cells. key: row * width + column, ascending."""

    key: Ints
    value: Doubles
    width: int

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Self:
        """Each row scaled to sum to 1."""
        cells = sparse.csr_matrix(matrix, copy=True)
        cells.sum_duplicates()
        row = np.repeat(np.arange(cells.shape[0], dtype=np.int64), np.diff(cells.indptr))
        total = np.bincount(row, cells.data, cells.shape[0])
        return cls(row * cells.shape[1] + cells.indices, cells.data / np.maximum(total, 1e-12)[row], cells.shape[1])

    def at(self, row: Ints, column: Ints) -> Doubles:
        """The cells' values, 0 where either index is below 0."""
        if not self.key.size:
            return np.zeros(np.broadcast(row, column).shape)
        key = row * self.width + column
        place = np.minimum(np.searchsorted(self.key, key), self.key.size - 1)
        found = (self.key[place] == key) & (row >= 0) & (column >= 0)
        return np.where(found, self.value[place], 0.0)


@dataclass(frozen=True)
class Evidence:
    """Counts of the sequences that may be learned from.

    held: [S, items] 0 or 1, and its transpose. plain, faded: [S] weights of neighbours. rarity, recent, often: [items].
    """

    held: sparse.csr_matrix
    holders: sparse.csr_matrix
    plain: Doubles
    faded: Doubles
    rarity: Doubles
    recent: Doubles
    often: Doubles
    next: Table
    after: Table
    before: Table

    @classmethod
    def of(cls, data: Sequences) -> Self:
        known = np.flatnonzero(data.learn > data.first[:-1])
        size = data.learn[known] - data.first[known]
        owner = np.repeat(np.arange(known.size), size)
        event = np.repeat(data.first[known] - (np.cumsum(size) - size), size) + np.arange(owner.size)
        item = data.item[event]
        held = sparse.csr_matrix((np.ones(item.size), (owner, item)), shape=(known.size, data.items))
        held.data[:] = 1.0
        age = 1.0 - np.arange(known.size) / max(known.size, 1)
        fade = 0.5 ** (age / _FADE)
        length = np.maximum(np.asarray(held.sum(1)).ravel(), 1.0)
        often = np.asarray(held.sum(0)).ravel()
        reached = [_transitions(owner, item, fade, data.items, distance) for distance in range(1, _REACH + 1)]
        after = sum(reached[1:], reached[0])
        return cls(
            held=held,
            holders=sparse.csr_matrix(held.T),
            plain=length**-0.5,
            faded=length**-0.7 * fade,
            rarity=np.log(known.size / np.maximum(often, 1.0)),
            recent=np.bincount(item, 0.5 ** (age[owner] / _FADE_POPULARITY), data.items).astype(np.float64),
            often=often,
            next=Table.of(reached[0]),
            after=Table.of(sparse.csr_matrix(after)),
            before=Table.of(sparse.csr_matrix(after.T)),
        )

    def neighbours(self, data: Sequences, asked: Questions) -> list[sparse.csr_matrix]:
        """Two [Q, items] scores: what sequences held that share items with the question's; likeness counts once, squared."""
        row, event = past(asked)
        weight = _MATCH_DECAY ** (asked.stop[row] - 1 - event) * self.rarity[data.item[event]]
        own = sparse.csr_matrix((weight, (row, data.item[event])), shape=(asked.target.size, self.often.size))
        like = sparse.csr_matrix(own @ self.holders)
        squared = sparse.csr_matrix((like.data**2, like.indices, like.indptr), shape=like.shape)
        pairs = ((like, self.plain), (squared, self.faded))
        return [sparse.csr_matrix(likeness @ sparse.diags(by) @ self.held) for likeness, by in pairs]

    def features(
        self, data: Sequences, asked: Questions, item: Ints, scores: list[sparse.csr_matrix]
    ) -> NDArray[np.float32]:
        """[Q, K, F] of candidates `item` [Q, K] (-1: none); `scores` as from `neighbours`."""
        question = np.arange(asked.target.size)[:, None]
        ago = asked.stop[:, None] - 1 - np.arange(AGES)
        last = np.where(ago >= asked.start[:, None], data.item[np.maximum(ago, 0)], -1)
        shares = [Table.of(each).at(question, item) for each in scores]
        shares.append(self.next.at(last[:, :1], item))
        for age in range(AGES):
            shares += [table.at(last[:, age : age + 1], item) for table in (self.after, self.before)]
        row, event = past(asked)
        own = sparse.csr_matrix(
            (np.ones(row.size), (row, data.item[event])), shape=(asked.target.size, self.often.size)
        )
        held = _cells(own, item)
        again = [item == last[:, age : age + 1] for age in range(AGES)]
        size = np.broadcast_to(np.log(asked.stop - asked.start)[:, None], item.shape)
        usual = np.broadcast_to(np.log1p(self.often[last[:, :1]]), item.shape)
        known = np.maximum(item, 0)
        logs = [np.log(share + _FLOOR) - np.log(_FLOOR) for share in shares]
        popular = [np.log(self.recent[known] + 0.1), np.log1p(self.often[known])]
        columns = [*logs, *again, held > 0, held > 1, *popular, size, usual]
        return np.stack(columns, axis=2, dtype=np.float32, casting="unsafe")


def _transitions(owner: Ints, item: Ints, weight: Doubles, items: int, distance: int) -> sparse.csr_matrix:
    """[items, items]: how much weight of owners has column `distance` events after row."""
    low = np.flatnonzero(owner[distance:] == owner[:-distance])
    value = weight[owner[low]] * _REACH_DECAY ** (distance - 1)
    return sparse.csr_matrix((value, (item[low], item[low + distance])), shape=(items, items))


def past(asked: Questions) -> tuple[Ints, Ints]:
    """(question, event) of all events of all questions."""
    size = asked.stop - asked.start
    row = np.repeat(np.arange(size.size), size)
    return row, np.repeat(asked.start - (np.cumsum(size) - size), size) + np.arange(row.size)


def best(scores: sparse.csr_matrix, k: int) -> Ints:
    """[Q, k] columns of each row's largest entries, ties by column; -1 where a row has fewer."""
    cells = sparse.csr_matrix(scores, copy=True)
    cells.sum_duplicates()
    row = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    order = np.lexsort((cells.indices, -cells.data, row))
    rank = np.arange(row.size) - cells.indptr[row[order]]
    kept = rank < k
    found = np.full((cells.shape[0], k), -1, dtype=np.int64)
    found[row[order][kept], rank[kept]] = cells.indices[order][kept]
    return found


def _cells(matrix: sparse.csr_matrix, item: Ints) -> Doubles:
    """[Q, K] entries of the rows' own candidates, as they are."""
    table = Table.of(matrix)
    total = np.asarray(matrix.sum(1)).ravel()[:, None]
    found: Doubles = np.rint(table.at(np.arange(item.shape[0])[:, None], item) * total)
    return found
