"""What is known of every item at the cuts: how much it sold lately, and where it is promoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl

from mktgen.models._events import EventLog, Floats, Ints
from mktgen.models._states import TARGET_DAYS

RECENT_DAYS: Final = 28  # window of the popularity inputs, as in contracts.ITEM_FEATURES
PLAN: Final = ("mailer_share", "display_share")  # columns of contracts.ITEM_PROMOTIONS
PLAN_FACTS: Final = 2 * len(PLAN)


@dataclass(frozen=True)
class CutFacts:
    """lines: [moments, items] order lines of the RECENT_DAYS days before each cut.

    plan: [moments, items, PLAN_FACTS] share of stores that promote the item (PLAN), in the seven days from the cut on and
    in the 28 days before it; 0 where nothing is known.
    """

    lines: Floats
    plan: Floats


@dataclass(frozen=True)
class VocabularyFacts:
    """The vocabulary's facts, looked up in those of other items: of a million items few have any.

    place: [V] column in `facts` of each item in the order of tokens, -1 where nothing is known.
    """

    facts: CutFacts
    place: Ints

    @classmethod
    def by_code(cls, facts: CutFacts, log: EventLog, vocabulary_size: int) -> Self:
        """From the facts of the log's codes."""
        place = np.full(vocabulary_size, -1, dtype=np.int64)
        known = np.flatnonzero(log.code_item)
        place[log.code_item[known] - 1] = known
        return cls(facts, place)

    @classmethod
    def of_all(cls, facts: CutFacts) -> Self:
        """From facts that are in the order of tokens."""
        return cls(facts, np.arange(facts.lines.shape[1], dtype=np.int64))

    def take(self, items: Ints) -> CutFacts:
        """Of these items (token - 1); 0 where nothing is known."""
        at = self.place[items]
        known = np.flatnonzero(at >= 0)
        lines = np.zeros((self.facts.lines.shape[0], at.size), dtype=np.float32)
        plan = np.zeros((*lines.shape, PLAN_FACTS), dtype=np.float32)
        lines[:, known] = self.facts.lines[:, at[known]]
        plan[:, known] = self.facts.plan[:, at[known]]
        return CutFacts(lines, plan)

    def most_lines(self) -> Floats:
        """[V] lines before the cut that had most of them."""
        most = np.zeros(self.place.size, dtype=np.float32)
        known = np.flatnonzero(self.place >= 0)
        most[known] = self.facts.lines.max(axis=0, initial=0.0)[self.place[known]]
        return most


def recent_lines(log: EventLog, moments: Ints) -> Floats:
    """[moments, codes]: lines of each item in the RECENT_DAYS days before each moment."""
    order = np.argsort(log.day, kind="stable")
    day, code = log.day[order], log.code[order]
    rows = [
        np.bincount(
            code[np.searchsorted(day, moment - RECENT_DAYS) : np.searchsorted(day, moment)],
            minlength=log.item_ids.len(),
        )
        for moment in moments
    ]
    return np.array(rows, dtype=np.float32).reshape(moments.size, log.item_ids.len())


def plans(promotions: pl.DataFrame, ids: pl.Series, moments: Ints) -> Floats:
    """[moments, ids, PLAN_FACTS] from contracts.ITEM_PROMOTIONS; at each moment only what was known on an earlier day.

    A week counts by the share of the span's days that it covers.
    """
    table = np.zeros((moments.size, ids.len(), PLAN_FACTS), dtype=np.float32)
    if not moments.size:
        return table
    places = pl.DataFrame({"item_id": ids, "_place": np.arange(ids.len(), dtype=np.int64)})
    week = pl.col("week_start").to_physical()
    near = promotions.filter(week > int(moments.min()) - RECENT_DAYS - 7, week < int(moments.max()) + TARGET_DAYS)
    found = near.join(places, on="item_id", how="inner").sort("_place", "week_start")
    place, share = found["_place"].to_numpy(), found.select(PLAN).to_numpy().astype(np.float32)
    start, known = (found[name].to_physical().to_numpy().astype(np.int64) for name in ("week_start", "known_on"))
    for row, moment in enumerate(moments):
        spans = ((moment, moment + TARGET_DAYS), (moment - RECENT_DAYS, moment))
        for at, (low, high) in enumerate(spans):
            days = np.minimum(start + 7, high) - np.maximum(start, low)
            here = np.flatnonzero((days > 0) & (known < moment))
            weight = (days[here] / (high - low)).astype(np.float32)
            columns = slice(at * len(PLAN), (at + 1) * len(PLAN))
            np.add.at(table[row, :, columns], place[here], share[here] * weight[:, None])
    return table


def scaled(lines: Floats) -> Floats:
    """Lines of 28 days as the popularity input."""
    logs: Floats = np.log(lines + np.float32(0.5))
    return logs
