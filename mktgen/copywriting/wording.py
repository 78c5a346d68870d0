"""A message's wording: text with slots in place of facts, where it came from, and what can be learned of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from mktgen.copywriting.facts import SLOTS, Facts
from mktgen.copywriting.forms import FORMS, FormName, Language
from mktgen.copywriting.rulebook import rulebook
from mktgen.copywriting.verifier import Text

Tone = Literal["reward", "win_back", "deal", "everyday"]
Origin = Literal["template", "model"]
TONES: Final[tuple[Tone, ...]] = ("reward", "win_back", "deal", "everyday")
_SLOT: Final = re.compile(r"\{\{([a-z_]+)\}\}")

# Traits of a wording that customers may care for; what is learned of them holds for wordings not yet sent.
TRAITS: Final = ("asks", "exclaims", "thanks", "invites", "recommends", "discount_first", "coupon_first", "short")
_THANKS: Final = re.compile(r"\b(?:thank\w*|grateful|appreciate\w*|glad|pleasure)\b|感谢|谢谢|衷心", re.IGNORECASE)
_INVITES: Final = re.compile(
    r"\b(?:see you|visit|come|back|welcome|missed)\b|光临|来店|再来|期待|好久不见", re.IGNORECASE
)
SHORT: Final = 90  # characters of the body, slots counted by their names


@dataclass(frozen=True)
class Wording:
    """Slots stand as {{name}}. subject: "" where the form has none."""

    form: FormName
    language: Language
    tone: Tone
    subject: str
    body: str
    origin: Origin

    @property
    def id(self) -> str:
        """By content: the same words are the same wording, whoever wrote them."""
        content = "\x1f".join((self.form, self.language, self.tone, self.subject, self.body))
        return f"{self.language}-{self.form}-{self.tone}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(_SLOT.findall(self.subject) + _SLOT.findall(self.body))

    def fill(self, facts: Facts) -> Text:
        """The text that a customer reads, with what a form must end with. Raises KeyError for a slot without a value."""
        unknown = self.slots - set(SLOTS)
        if unknown:
            raise KeyError(f"unknown slots {sorted(unknown)}; known: {', '.join(SLOTS)}")
        values = facts.values
        subject, body = (
            _SLOT.sub(lambda slot: values[slot.group(1)], part).strip() for part in (self.subject, self.body)
        )
        opt_out = rulebook(self.language).opt_out.get(self.form, "")
        return Text(subject, f"{body}{' ' if rulebook(self.language).spaced else ''}{opt_out}" if opt_out else body)

    @property
    def traits(self) -> dict[str, bool]:
        """Name of TRAITS -> whether the wording has it. Computed from the words alone, whoever wrote them."""
        text, first = f"{self.subject}\n{self.body}", self.subject or self.body
        return {
            "asks": bool(re.search(r"[?？]", text)),
            "exclaims": bool(re.search(r"[!！]", text)),
            "thanks": bool(_THANKS.search(text)),
            "invites": bool(_INVITES.search(text)),
            "recommends": "{{also}}" in text,
            "discount_first": "{{discount}}" in first,
            "coupon_first": bool(re.search(r"coupon|优惠券", first, re.IGNORECASE)),
            "short": len(self.body) <= SHORT,
        }


def has_subject(form: FormName) -> bool:
    return FORMS[form].subject is not None
