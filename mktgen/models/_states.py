"""Where sequences are read while learning: (customer, weekly cut) states, grouped into windows of events.

A state sees the customer's events strictly before its cut and nothing else. Its targets are the items of the seven days
from the cut on (next-basket objective: no item of a basket is ever predicted from another one of the same basket) and,
where the cut is one of the examples, the two purchase labels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.models._events import EventLog, Ints

Bools = NDArray[np.bool_]

TARGET_DAYS: Final = 7
LABEL_DAYS: Final = 28  # the longest label of an example
ACTIVE_DAYS: Final = 84
_MIXING: Final = 8  # batches whose windows are sorted by length together


@dataclass(frozen=True)
class States:
    """One entry per state, sorted by customer and cut.

    end: absolute event index one past what the state may see. until: one past the last event of the target week (== end
    without target). example: row in the examples, -1 without. cut: day number.
    """

    customer: Ints
    cut: Ints
    end: Ints
    until: Ints
    example: Ints

    def where(self, chosen: Bools) -> States:
        return States(*(getattr(self, f.name)[chosen] for f in fields(self)))


@dataclass(frozen=True)
class Windows:
    """Windows of consecutive events of one customer: events start:stop serve states first:last."""

    start: Ints
    stop: Ints
    first: Ints
    last: Ints

    @property
    def count(self) -> int:
        return int(self.start.size)


def training_states(log: EventLog, examples: tuple[Ints, Ints], cut: int) -> States:
    """States at every example, and at the weekly cuts since then whose target week ends on or before `cut`.

    `examples`: customer index (-1: no events) and day number of the cut, one entry per row of the examples.
    """
    owners, days = examples
    known = np.flatnonzero(owners >= 0)
    recent = np.arange(cut - TARGET_DAYS, int(days.max(initial=cut - 6 * TARGET_DAYS)), -TARGET_DAYS, dtype=np.int64)
    extra_owner = np.tile(np.arange(len(log.customers), dtype=np.int64), recent.size)
    extra_day = np.repeat(recent, len(log.customers))
    customer = np.concatenate([owners[known], extra_owner])
    day = np.concatenate([days[known], extra_day])
    example = np.concatenate([known, np.full(extra_owner.size, -1, dtype=np.int64)]).astype(np.int64)
    order = np.lexsort((day, customer))
    customer, day, example = customer[order], day[order], example[order]
    end = log.count_before(customer, day)
    # A target week that runs past the cut is incomplete: it is no target at all.
    until = np.where(day + TARGET_DAYS <= cut, log.count_before(customer, day + TARGET_DAYS), end)
    newest = np.where(end > log.first[customer], log.day[np.maximum(end - 1, 0)], -ACTIVE_DAYS)
    keep = (example >= 0) | ((until > end) & (day - newest <= ACTIVE_DAYS))
    return States(customer[keep], day[keep], end[keep], until[keep], example[keep])


def split_by_time(states: States) -> tuple[States, States]:
    """(to learn, to judge by): the newest week that has targets, and the states whose labels were closed when it began."""
    aimed = states.until > states.end
    newest = int(states.cut[aimed].max(initial=-1))
    return states.where(states.cut + LABEL_DAYS <= newest), states.where(aimed & (states.cut == newest))


def windows(log: EventLog, states: States, events: int) -> Windows:
    """Cover all states by windows of at most `events` events.

    Windows start every `events` / 2 events of a customer's history, and a state goes to the first one that holds all
    its newest events: it sees at least half a window, or all there is. Where a window starts for a state follows from
    its own past alone; were it laid out from the newest event, the length of the context would tell what comes later.
    """
    if not states.customer.size:
        return Windows(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
    hop = max(events // 2, 1)
    origin = log.first[states.customer]
    start = origin + hop * np.maximum(-((events - (states.end - origin)) // hop), 0)
    fresh = np.r_[True, (start[1:] != start[:-1]) | (states.customer[1:] != states.customer[:-1])]
    first = np.flatnonzero(fresh).astype(np.int64)
    last = np.r_[first[1:], states.customer.size].astype(np.int64)
    return Windows(start[first], states.end[last - 1], first, last)


def batches(found: Windows, size: int, seed: int, epoch: int) -> list[Ints]:
    """Window indices by batch: a function of (seed, epoch) alone. Windows of like length go together, the longest
    first, as packing wants them."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(found.count)
    length = found.stop - found.start
    result: list[Ints] = []
    for low in range(0, found.count, size * _MIXING):
        chunk = order[low : low + size * _MIXING]
        chunk = chunk[np.argsort(-length[chunk], kind="stable")]
        result.extend(chunk[at : at + size].astype(np.int64) for at in range(0, chunk.size, size))
    return [result[i] for i in generator.permutation(len(result))]
