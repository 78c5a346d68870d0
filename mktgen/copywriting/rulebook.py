"""The reviewed words and rules of a language (words/, rules/): read, validated, cached."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from mktgen.copywriting.forms import FormName, Language
from mktgen.errors import PermanentError

Model = TypeVar("Model", bound=BaseModel)


class Rulebook(BaseModel):
    """Closed: what is not among `words` is refused.

    with_discount: words that stand only beside a discount that is a fact. not_before_, not_after_discount: what would turn an
    amount off into another amount or a price ("up to", "for", "each"); right_around_discount: pairs that don't, for all that
    ("pay ... less"). before_valid_to: what must stand before the last day, not_after_valid_to: what must not follow it ("or
    later"). claims: what harmless words say together. neutral_item: said where a label can't be printed. opt_out: put after
    every message of a form; {} has none. words and with_discount are files of their own: words/<language>.txt and
    words/<language>_discount.txt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Language
    date_format: str
    list_separator: str
    neutral_item: str
    opt_out: dict[FormName, str]
    words: frozenset[str]
    with_discount: frozenset[str]
    not_before_discount: frozenset[str]
    not_after_discount: frozenset[str]
    right_around_discount: tuple[tuple[str, str], ...]
    before_valid_to: frozenset[str]
    not_after_valid_to: frozenset[str]
    claims: frozenset[str]

    @field_validator(
        "not_before_discount", "not_after_discount", "before_valid_to", "not_after_valid_to", "claims", mode="before"
    )
    @classmethod
    def _phrases(cls, text: object) -> object:
        return [phrase.strip() for phrase in text.split(";") if phrase.strip()] if isinstance(text, str) else text

    @property
    def spaced(self) -> bool:
        """Whether words are told apart by spaces; else a text is cut into words by the list (as Chinese is)."""
        return self.language == "en"


@cache
def rulebook(language: str) -> Rulebook:
    """The rules of a language; raises PermanentError where there is no such file or it is not well formed."""
    rules = read_language_file("rules", language)
    words = {name: _words(f"{language}{suffix}") for name, suffix in (("words", ""), ("with_discount", "_discount"))}
    return validated(f"copywriting/rules/{language}.yaml", Rulebook, {**rules, **words})


def _words(name: str) -> list[str]:
    return files("mktgen.copywriting").joinpath("words", f"{name}.txt").read_text(encoding="utf-8").split()


def read_language_file(folder: str, language: str) -> dict[str, Any]:
    """A YAML file of a language; raises PermanentError where there is none or it can't be read."""
    name = f"copywriting/{folder}/{language}.yaml"
    path = files("mktgen.copywriting").joinpath(folder, f"{language}.yaml")
    if not path.is_file():
        raise PermanentError(f"no messages can be written in language {language!r}: {name} is missing")
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise PermanentError(f"{name} is not usable: {error}") from error


def validated(name: str, model: type[Model], values: dict[str, Any]) -> Model:
    """`values` as the model; raises PermanentError naming the file."""
    try:
        return model.model_validate(values)
    except ValueError as error:
        raise PermanentError(f"{name} is not usable: {error}") from error
