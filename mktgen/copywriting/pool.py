"""The wordings that a message may be drawn from, and with which chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from mktgen.contracts import WORDING_POOL
from mktgen.copywriting.bank import bank
from mktgen.copywriting.forms import FormName, Language
from mktgen.copywriting.request import Request
from mktgen.copywriting.wording import Tone, Wording

# Of the bank, beside what a model wrote: those of a standing set that are likeliest to be its best, and new ones every week.
# Traits are told apart by wordings that combine them otherwise, so a pool that never changes soon has nothing more to teach.
LEADERS: Final = 3
STANDING: Final = 60
FRESH: Final = 3
# This share of messages is drawn evenly among all wordings, however sure it is which is best: tastes move, and what is
# learned must stay learnable. A share and not a chance of each, so that many wordings don't leave nothing for the best.
EVEN: Final = 0.1
# Wordings -> of each the probability that it is the best of them.
Best = Callable[[Sequence[Wording]], Sequence[float]]


def even(wordings: Sequence[Wording]) -> list[float]:
    """Nothing is known of any."""
    return [1.0 / len(wordings)] * len(wordings)


def standing_wordings(form: FormName, language: Language, tone: Tone, known: frozenset[str]) -> list[Wording]:
    """The bank's wordings that leaders are taken from: the same on all days."""
    return bank(language).wordings(form, tone, known, STANDING, "pool")


@dataclass(frozen=True)
class Pool:
    """Wordings of one form and language.

    drafts: verified wordings of a model. best: what was learned of them (preference.py); chances are drawn towards even ones.
    week: any name of the week, the same for all its days.
    """

    form: FormName
    language: Language
    drafts: Sequence[Wording] = ()
    best: Best = even
    week: str = ""
    _cells: dict[tuple[Tone, frozenset[str]], list[tuple[Wording, float]]] = field(default_factory=dict)

    def chances(self, tone: Tone, known: frozenset[str]) -> list[tuple[Wording, float]]:
        """Wordings whose slots are all known, with their chances, in order of id. Where the discount is known it is said."""
        key = (tone, known)
        if key not in self._cells:
            self._cells[key] = self._weighed(self._usable(tone, known))
        return self._cells[key]

    def drawn(self, tone: Tone, known: frozenset[str], decision_id: str) -> list[tuple[Wording, float]]:
        """All usable wordings, the one drawn for the decision first: the same on every rerun."""
        found = self.chances(tone, known)
        point = int.from_bytes(hashlib.sha256(f"wording:{decision_id}".encode()).digest()[:8], "big") / 2**64
        for place, (_, chance) in enumerate(found):
            point -= chance
            if point < 0:
                return [*found[place:], *found[:place]]
        return found

    def cell(self, tone: Tone, known: frozenset[str]) -> str:
        """Names what a message was drawn from."""
        return Request.of(self.form, self.language, tone, known).key

    def log(self) -> pl.DataFrame:
        """contracts.WORDING_POOL: everything that was drawn from so far, with its chances."""
        rows = []
        for (tone, known), cell in self._cells.items():
            asked = Request.of(self.form, self.language, tone, known)
            of_cell = {"cell": asked.key, "form": self.form, "language": self.language, "tone": tone}
            for one, chance in cell:
                text = {"subject": one.subject, "body": one.body, "wording_id": one.id, "origin": one.origin}
                rows.append({**of_cell, "slots": " ".join(asked.slots), **text, "chance": chance})
        return WORDING_POOL.check(pl.DataFrame(rows, schema=WORDING_POOL.columns).sort("cell", "wording_id"))

    def _usable(self, tone: Tone, known: frozenset[str]) -> list[Wording]:
        ours = [draft for draft in self.drafts if draft.tone == tone and draft.slots <= known]
        if "discount" in known:
            ours = [draft for draft in ours if "discount" in draft.slots]
        standing, fresh = standing_wordings(self.form, self.language, tone, known), self._fresh(tone, known)
        order = sorted(zip(standing, self.best(standing), strict=True), key=lambda pair: -pair[1]) if standing else []
        leaders = [wording for wording, _ in order[:LEADERS]]
        return sorted({one.id: one for one in (*leaders, *fresh, *ours)}.values(), key=lambda wording: wording.id)

    def _fresh(self, tone: Tone, known: frozenset[str]) -> list[Wording]:
        return bank(self.language).wordings(self.form, tone, known, FRESH, f"week {self.week}")

    def _weighed(self, usable: list[Wording]) -> list[tuple[Wording, float]]:
        if not usable:
            return []
        likely = self.best(usable)
        return [(one, EVEN / len(usable) + (1.0 - EVEN) * p) for one, p in zip(usable, likely, strict=True)]
