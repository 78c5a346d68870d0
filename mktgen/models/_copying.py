"""What a customer's own past says about buying an item again: features of (state, item) for the copy part.

Repeat purchases make up about half of a grocery week, and recency-weighted counts predict them best (Hu et al., SIGIR
2020). The counts at several half-lives are inputs here, so the network learns the decay instead of assuming one.
Fails where a history is cut short: counts are over the last `memory` events, in learning and in scoring alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mktgen.models._events import EventLog, Floats, Ints
from mktgen.models._item_facts import PLAN_FACTS, CutFacts

Doubles = NDArray[np.float64]

HALF_LIVES: Final = (7.0, 14.0, 28.0, 56.0, 112.0)  # days
_MAX_AGE: Final = 730  # days; older purchases count as this old
_FLOOR: Final = 0.02  # of a decayed count under the logarithm: a purchase 5.6 half-lives ago
FEATURES: Final = len(HALF_LIVES) + 9 + PLAN_FACTS
DECAYED_56: Final = HALF_LIVES.index(56.0)
_DECAY: Final = np.power(0.5, np.arange(_MAX_AGE + 1)[:, None] / np.array(HALF_LIVES)[None, :])


@dataclass(frozen=True)
class Candidates:
    """Items bought before, per state. state: index into the states asked for; code: the log's item code.

    features: [candidates, FEATURES]. Sorted by state, then code.
    """

    state: Ints
    code: Ints
    features: Floats


def candidates(
    log: EventLog, customer: Ints, cut: Ints, end: Ints, memory: int, facts: CutFacts, moment: Ints
) -> Candidates:
    """Candidates of states (customer, cut, end); only events before `end` count.

    facts: of the log's codes at each cut; moment: the row of each state in them.
    """
    state, event = _pairs(log, customer, end, memory)
    if not state.size:
        none = np.zeros(0, dtype=np.int64)
        return Candidates(none, none, np.zeros((0, FEATURES), dtype=np.float32))
    code = log.code[event]
    start = np.flatnonzero(np.r_[True, (state[1:] != state[:-1]) | (code[1:] != code[:-1])])
    age = np.minimum(cut[state] - log.day[event], _MAX_AGE)
    decayed = np.add.reduceat(_DECAY[age], start, axis=0)
    count = np.diff(np.r_[start, state.size]).astype(np.float64)
    recency = np.minimum.reduceat(age, start).astype(np.float64)
    oldest = np.maximum.reduceat(age, start).astype(np.float64)
    promoted = np.add.reduceat(log.promoted[event].astype(np.float64), start) / count
    state, code = state[start], code[start]
    gap = (oldest - recency) / np.maximum(count - 1.0, 1.0)
    share, in_category = _shares(log, state, code, decayed[:, DECAYED_56], customer.size)
    features = np.column_stack(
        [
            np.log(decayed + _FLOOR),
            np.log(count),
            np.log(recency),
            count > 1,
            np.log1p(gap),
            np.minimum(recency / (1.0 + gap), 4.0) * (count > 1),
            share,
            in_category,
            promoted,
            0.3 * np.log1p(facts.lines[moment[state], code]),
            facts.plan[moment[state], code],
        ]
    )
    return Candidates(state, code, features.astype(np.float32))


def decayed_counts(features: Tensor, half_life: int) -> Tensor:
    """[candidates] purchases decayed by one of HALF_LIVES, read back from FEATURES."""
    return (features[:, half_life].exp() - _FLOOR).clamp_min(0.0)


def _pairs(log: EventLog, customer: Ints, end: Ints, memory: int) -> tuple[Ints, Ints]:
    """(state, event) for the last `memory` events before each state's end, grouped by state and item."""
    low, high = log.first[customer], log.first[customer + 1]
    size = high - low
    state = np.repeat(np.arange(customer.size, dtype=np.int64), size)
    within = np.arange(state.size, dtype=np.int64) - np.repeat(np.cumsum(size) - size, size)
    event = log.by_item[np.repeat(low, size) + within]
    known = (event < end[state]) & (event >= end[state] - memory)
    return state[known], event[known]


def _shares(log: EventLog, state: Ints, code: Ints, decayed: Doubles, states: int) -> tuple[Doubles, Doubles]:
    """Log share of the item in the customer's decayed purchases, and log decayed purchases of its category."""
    total = np.bincount(state, weights=decayed, minlength=states)
    width = int(log.code_category.max(initial=0)) + 1
    key = state * width + log.code_category[code]
    category = np.bincount(key, weights=decayed, minlength=states * width)
    return np.log(decayed / total[state] + 1e-4), np.log(category[key] + _FLOOR)
