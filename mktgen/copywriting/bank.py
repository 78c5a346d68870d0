"""The template bank: sentences of a language, and the wordings that can be put together from them.

It is what every message falls back to, and what the language model's first training is seeded from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from mktgen.copywriting.facts import SLOTS
from mktgen.copywriting.forms import FormName, Language
from mktgen.copywriting.rulebook import read_language_file, rulebook, validated
from mktgen.copywriting.wording import TONES, Tone, Wording, has_subject

# Which pieces a form's body is made of; how they are joined.
_BODY: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "email": (("opener", "ask", "closer"), "\n"),
    "sms": (("ask",), " "),
    "push": (("opener", "ask"), " "),
    "banner": (("ask",), " "),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Piece(_Frozen):
    text: str
    tones: tuple[Tone, ...] = TONES

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(slot for slot in SLOTS if f"{{{{{slot}}}}}" in self.text)


class Plain(_Frozen):
    """What needs nothing but the item and the last day, and fits everywhere."""

    subject: str
    ask: str


class Bank(_Frozen):
    language: Language
    plain: Plain
    subjects: tuple[Piece, ...] = Field(min_length=1)
    openers: tuple[Piece, ...] = Field(min_length=1)
    asks: tuple[Piece, ...] = Field(min_length=1)
    closers: tuple[Piece, ...] = Field(min_length=1)

    def fallback(self, form: FormName, tone: Tone) -> Wording:
        """The plain wording, for where every other one was refused."""
        subject = self.plain.subject if has_subject(form) else ""
        return Wording(form, self.language, tone, subject, self.plain.ask, "template")

    def wordings(self, form: FormName, tone: Tone, known: frozenset[str], count: int, seed: str) -> list[Wording]:
        """Up to `count` different wordings whose slots are all `known`, in an order that `seed` alone decides.

        Where the discount is known, it is said.
        """
        found = list(self._all(form, tone, known))
        return sorted(found, key=lambda wording: hashlib.sha256(f"{seed}{wording.id}".encode()).digest())[:count]

    def _all(self, form: FormName, tone: Tone, known: frozenset[str]) -> Iterator[Wording]:
        usable = {
            name: [piece for piece in getattr(self, f"{name}s") if tone in piece.tones and piece.slots <= known]
            for name in ("subject", "opener", "ask", "closer")
        }
        stating = [piece for piece in usable["ask"] if "discount" in piece.slots]
        usable["ask"] = stating or usable["ask"]
        pieces, joint = _BODY[form]
        joint = joint if rulebook(self.language).spaced else joint.strip(" ")
        bodies = [""]
        for name in pieces:
            bodies = [f"{body}{joint if body else ''}{piece.text}" for body in bodies for piece in usable[name]]
        for subject in [piece.text for piece in usable["subject"]] if has_subject(form) else [""]:
            for body in bodies:
                yield Wording(form, self.language, tone, subject, body, "template")


@cache
def bank(language: str) -> Bank:
    """The bank of a language; raises PermanentError where there is no such file or it is not well formed."""
    rulebook(language)  # a language without rules can't be verified
    return validated(f"copywriting/sentences/{language}.yaml", Bank, read_language_file("sentences", language))
