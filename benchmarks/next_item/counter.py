"""The untrained line: what came next after the last five items, counted in what may be learned from."""

from __future__ import annotations

import numpy as np

from benchmarks.next_item.data import Ints, Questions, Sequences
from mktgen.models._transitions import count_transitions, recent_weights

_ROWS = 512  # questions answered at once


def counter_answers(data: Sequences, asked: Questions, k: int) -> Ints:
    """[Q, k] best items, ties by item."""
    learned = data.learn - data.first[:-1]
    owner = np.repeat(np.arange(learned.size), learned)
    event = np.repeat(data.first[:-1] - (np.cumsum(learned) - learned), learned) + np.arange(owner.size)
    counts = count_transitions(owner, event, data.item[event], data.items)
    result = np.zeros((asked.target.size, k), dtype=np.int64)
    for low in range(0, asked.target.size, _ROWS):
        start, stop = asked.start[low : low + _ROWS], asked.stop[low : low + _ROWS]
        size = stop - start
        row = np.repeat(np.arange(size.size), size)
        past = np.repeat(start - (np.cumsum(size) - size), size) + np.arange(row.size)
        weights = recent_weights(row, past, data.item[past], (size.size, data.items))
        scores = np.asarray((weights @ counts).toarray(), dtype=np.float64)
        if not data.repeats:
            scores[row, data.item[past]] = -1.0
        result[low : low + _ROWS] = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return result
