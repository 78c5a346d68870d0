"""Rolling cuts before a training's cut. At each, a model learns from what lies before it and is judged on what follows.

        learned from            | judged: 7 days' items, 28 days' purchases
fold 1  ........................|====
fold 2  ............................|====
fold 3  ................................|====
        the training's cut                  ^ and after it the frozen evaluation window, which is not read at all
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import contract
from mktgen.errors import PermanentError
from mktgen.model_run import Input
from mktgen.steps.runner import Platform, resolve
from mktgen.steps.training import cut_of, train_reads
from mktgen.steps.worlds import AROUND, Around
from mktgen.store import Manifest, sha256

JUDGED_DAYS: Final = 28  # the longest label; cuts are as far apart, so that no day is judged twice
_MIN_HISTORY: Final = 56  # days before a cut: 28 of history and 28 of labels make the first example


def rolling_cuts(end: date, count: int, first_day: date) -> list[date]:
    """`count` cuts, 28 days apart, the last of which is judged up to `end` (excluded).

    Raises PermanentError where the data begins too late for the first of them.
    """
    if count < 1:
        raise PermanentError(f"{count} folds: at least one is needed")
    cuts = [end - timedelta(days=JUDGED_DAYS * back) for back in range(count, 0, -1)]
    earliest = first_day + timedelta(days=_MIN_HISTORY)
    if cuts[0] < earliest:
        room = sum(end - timedelta(days=JUDGED_DAYS * back) >= earliest for back in range(1, count))
        raise PermanentError(
            f"{count} cuts before {end} would begin on {cuts[0]}, but the data begins on {first_day} and a first cut needs "
            f"{_MIN_HISTORY} days before it. Take a later day, or at most {room} cuts."
        )
    return cuts


@dataclass(frozen=True)
class Past:
    """The order lines before a training's cut: contracts.ORDER_LINES and the manifests they came from, by day.

    around: what is known beside them; promotion plans up to the cut.
    """

    day: date
    lines: pl.DataFrame
    manifests: Sequence[Manifest]
    first_day: date
    around: Around

    @property
    def end(self) -> date:
        """The training's cut: nothing dated on or after it is in here."""
        return date.fromisoformat(self.manifests[-1].partition) + timedelta(days=1)

    def until(self, end: date) -> pl.DataFrame:
        return self.lines.filter(pl.col("business_date") < end)

    def digest(self, end: date) -> str:
        """SHA-256 over the days before `end`."""
        days = [one.digest for one in self.manifests if one.partition < end.isoformat()]
        return sha256("".join(days).encode())

    def inputs(self, cuts: Sequence[date], root: str) -> list[Input]:
        """What each cut is learned from and judged on, as datasets with digests."""
        found = []
        for number, cut in enumerate(cuts, start=1):
            for context, first, end in (
                ("training", date.min, cut),
                ("evaluation", cut, cut + timedelta(days=JUDGED_DAYS)),
            ):
                days = [one for one in self.manifests if first.isoformat() <= one.partition < end.isoformat()]
                span = f"{days[0].partition} to {days[-1].partition}"
                digest = sha256("".join(one.digest for one in days).encode())
                uri = f"{root}/dt={days[0].partition}..{days[-1].partition}"
                rows = sum(one.rows for one in days)
                found.append(Input(f"fold {number} {context} {span}", uri, digest, context, rows))
        return found


def read_past(platform: Platform, day: date) -> Past:
    """What a training of `day` would learn from. Raises MissingArtefact where days of it are not stored."""
    end, reads = cut_of(day, platform.settings), {read.artefact: read for read in train_reads(day, platform)}
    lines = reads["order_lines"]
    before = replace(lines, days=tuple(one for one in lines.days if one < end))
    if not before.days:
        raise PermanentError(f"a training of {day} learns from what lies before {end}: the source has nothing there")
    asked = [before, *(reads[name] for name in AROUND.values())]
    found = resolve("search", day, asked, platform)
    tables = (
        platform.store.read_table(found[name]) if found[name] else contract(name).empty() for name in AROUND.values()
    )
    manifests = found[lines.artefact]
    return Past(day, platform.store.read_table(manifests), manifests, platform.source.first_day, Around(*tables))
