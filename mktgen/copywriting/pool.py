"""The wordings that a message may be drawn from, and with which chance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mktgen.copywriting.bank import bank
from mktgen.copywriting.forms import FormName, Language
from mktgen.copywriting.wording import Tone, Wording

TEMPLATES: Final = 6  # of the bank, beside what a model wrote
LEAST: Final = (
    0.05  # chance of every wording, or equal parts where there are more than 20: what is learned must stay learnable
)


@dataclass(frozen=True)
class Pool:
    """Wordings of one form and language.

    drafts: verified wordings of a model. weights: wording id -> how much likelier it is than one of weight 1, by what was
    learned of its segment's answers; one that isn't named has 1.
    """

    form: FormName
    language: Language
    drafts: Sequence[Wording] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
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

    def _usable(self, tone: Tone, known: frozenset[str]) -> list[Wording]:
        ours = [draft for draft in self.drafts if draft.tone == tone and draft.slots <= known]
        if "discount" in known:
            ours = [draft for draft in ours if "discount" in draft.slots]
        templates = bank(self.language).wordings(self.form, tone, known, TEMPLATES, "pool")
        return sorted({wording.id: wording for wording in (*templates, *ours)}.values(), key=lambda wording: wording.id)

    def _weighed(self, usable: list[Wording]) -> list[tuple[Wording, float]]:
        if not usable:
            return []
        floor = min(LEAST, 1.0 / len(usable))
        weights = [max(self.weights.get(wording.id, 1.0), 0.0) for wording in usable]
        total = sum(weights) or 1.0
        shares = [weight / total if sum(weights) else 1.0 / len(usable) for weight in weights]
        return [(one, floor + (1.0 - floor * len(usable)) * share) for one, share in zip(usable, shares, strict=True)]
