"""Heads that only some states feed: which there are, and a batch's part for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from mktgen.models._categories import CategoryWeek, category_week
from mktgen.models._events import EventLog, Ints
from mktgen.models._movable import Movable
from mktgen.models._redemption import Mailed, MailedBatch
from mktgen.models._states import States


@dataclass(frozen=True)
class Extras:
    """What further heads read of a Scene. week: at which states the categories are read.

    `labelled`: at the examples, where a week without a purchase is a state too; the other states were kept for having bought.
    """

    categories: int
    mailed: Mailed
    week: Literal["no", "labelled", "all"] = "no"

    @classmethod
    def none(cls, categories: int) -> Self:
        return cls(categories, Mailed.none(categories))

    def batch(self, log: EventLog, states: States, state: Ints, memory: int) -> ExtraBatch:
        """`state`: which of `states` the batch holds; only the last `memory` events count."""
        wanted = {"no": np.zeros(state.size, dtype=np.bool_), "all": np.ones(state.size, dtype=np.bool_)}
        place = np.flatnonzero(wanted.get(self.week, states.example[state] >= 0)).astype(np.int64)
        week = category_week(log, states, state[place], place, (self.categories, memory))
        return ExtraBatch(week, self.mailed.of(state))


@dataclass(frozen=True)
class ExtraBatch(Movable):
    week: CategoryWeek
    mailed: MailedBatch

    @property
    def counts(self) -> Mapping[str, float]:
        return {"category": float(self.week.state.numel()), "redemption": float(self.mailed.state.numel())}
