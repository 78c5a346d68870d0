"""Where sequences are read while learning: (customer, weekly cut) states, grouped into windows of events.

A state sees the customer's events strictly before its cut and nothing else. Its targets are the items of the seven days
from the cut on (next-basket objective: no item of a basket is ever predicted from another one of the same basket) and,
where the cut is one of the examples, the two purchase labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from mktgen.models._events import EventLog, Ints

TARGET_DAYS: Final = 7
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


def windows(log: EventLog, states: States, events: int) -> Windows:
    """Cover all states by windows of at most `events` events, newest first within a customer.

    A state shares a window only where it keeps at least half of the events it could see, or all there are.
    """
    rows: list[tuple[int, int, int, int]] = []
    position = states.customer.size - 1
    while position >= 0:
        owner = int(states.customer[position])
        stop = int(states.end[position])
        start = max(int(log.first[owner]), stop - events)
        whole = start == int(log.first[owner])
        low = position
        while low > 0 and states.customer[low - 1] == owner and (whole or states.end[low - 1] - start >= events // 2):
            low -= 1
        rows.append((start, stop, low, position + 1))
        position = low - 1
    table = np.array(rows[::-1], dtype=np.int64).reshape(-1, 4)
    return Windows(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def batches(found: Windows, size: int, seed: int, epoch: int) -> list[Ints]:
    """Window indices by batch: a function of (seed, epoch) alone. Windows of like length go together to save padding."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(found.count)
    length = found.stop - found.start
    result: list[Ints] = []
    for low in range(0, found.count, size * _MIXING):
        chunk = order[low : low + size * _MIXING]
        chunk = chunk[np.argsort(length[chunk], kind="stable")]
        result.extend(chunk[at : at + size].astype(np.int64) for at in range(0, chunk.size, size))
    return [result[i] for i in generator.permutation(len(result))]
