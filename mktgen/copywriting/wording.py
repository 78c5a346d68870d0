"""A message's wording: text with slots in place of facts, and where it came from."""

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


def has_subject(form: FormName) -> bool:
    return FORMS[form].subject is not None
