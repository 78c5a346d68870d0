"""The template bank: one file per language, read and validated; a template that can't be used is refused at load."""

from __future__ import annotations

import string
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from mktgen.errors import PermanentError

Tone = Literal["reward", "win_back", "deal", "everyday"]
Language = Literal["en", "zh"]
SLOTS = frozenset({"item", "also", "category", "brand", "valid_to", "discount"})


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wording(_Frozen):
    """Subject and body with slots in braces."""

    id: str
    subject: str
    body: str

    @field_validator("subject", "body")
    @classmethod
    def _known_slots(cls, text: str) -> str:
        unknown = _slots(text) - SLOTS
        if unknown:
            raise ValueError(f"unknown slots {sorted(unknown)}; known: {sorted(SLOTS)}")
        return text

    @property
    def slots(self) -> frozenset[str]:
        return _slots(self.subject) | _slots(self.body)

    def fill(self, values: dict[str, str]) -> tuple[str, str]:
        """Subject and body; raises KeyError for a slot without a value."""
        return self.subject.format(**values).strip(), self.body.format(**values).strip()


class Template(Wording):
    tone: Tone


class Bank(_Frozen):
    """All templates of a language. `fallback` needs nothing but the item and the last day."""

    language: Language
    date_format: str
    list_separator: str
    fallback: Wording
    templates: list[Template]


@cache
def bank(language: str) -> Bank:
    """The bank of a language; raises PermanentError where there is no such file or it is not well formed."""
    path = files("mktgen.copywriting").joinpath("templates", f"{language}.yaml")
    if not path.is_file():
        raise PermanentError(
            f"no message templates for language {language!r}: add copywriting/templates/{language}.yaml"
        )
    try:
        loaded = Bank.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        raise PermanentError(f"copywriting/templates/{language}.yaml is not usable: {error}") from error
    names = [template.id for template in loaded.templates]
    if len(set(names)) < len(names):
        raise PermanentError(f"copywriting/templates/{language}.yaml: template ids are not unique: {sorted(names)}")
    return loaded


def _slots(text: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)
