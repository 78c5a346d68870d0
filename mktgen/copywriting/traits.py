"""What can be said of any wording, whoever wrote it and in whichever language: a few traits, each there or not.

A wording that was never sent shares its traits with others that were, so that what they were answered tells something of it
(preference.py). Traits are read from the text and its slots alone: the same words have the same traits for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.copywriting.wording import Wording

_WORDS: Final = {
    "thanks": r"thank|grateful|appreciate|感谢|谢谢|衷心",
    "shop_speaks": r"\b(?:we|us|our|ours)\b|我们",
    "looks_forward": r"see you|look forward|happy|welcome|期待|欢迎|再次光临",
    "asks_to_act": r"(?:^|[.!?:,\n]\s*)(?:take|use|bring|get|enjoy|save|choose|come|have a look)\b|请|购买|选购",
    "a_gift": r"here is|is yours|for you\b|kept|something|送您|送上|为您|心意|惊喜",
}
_SENTENCE: Final = re.compile(r"[.!?。！？]|\n")
_SHORT: Final = 1  # sentences at most
_LONG: Final = 4  # sentences at least


@dataclass(frozen=True)
class Trait:
    """meaning: what is said of a wording that has it, for a report."""

    name: str
    meaning: str


TRAITS: Final = (
    Trait("item_first", "the item is the first thing said"),
    Trait("discount_in_subject", "the subject says the amount taken off"),
    Trait("discount_first", "the text says the amount before the item"),
    Trait("date_first", "the text says the last day before the item"),
    Trait("question", "it asks a question"),
    Trait("exclamation", "it exclaims"),
    Trait("thanks", "it thanks"),
    Trait("shop_speaks", "the shop speaks of itself: we, our"),
    Trait("looks_forward", "it looks forward to a visit, or bids welcome"),
    Trait("asks_to_act", "it asks to do something: use, take, bring"),
    Trait("a_gift", "the coupon is spoken of as something given"),
    Trait("more_items", "it names further items"),
    Trait("short", "one sentence"),
    Trait("long", "four sentences or more"),
)


@cache
def traits(wording: Wording) -> tuple[str, ...]:
    """Names of the traits that a wording has, in the order of TRAITS."""
    has = {name: bool(re.search(pattern, _text(wording), re.IGNORECASE)) for name, pattern in _WORDS.items()}
    sentences = sum(1 for part in _SENTENCE.split(wording.body) if part.strip())
    has |= {
        "item_first": _text(wording).lstrip("「 ").startswith("{{item}}"),
        "discount_in_subject": "{{discount}}" in wording.subject,
        "discount_first": _before(wording.body, "{{discount}}", "{{item}}"),
        "date_first": _before(wording.body, "{{valid_to}}", "{{item}}"),
        "question": bool(re.search("[?？]", _text(wording))),
        "exclamation": bool(re.search("[!！]", _text(wording))),
        "more_items": "also" in wording.slots,
        "short": sentences <= _SHORT,
        "long": sentences >= _LONG,
    }
    return tuple(trait.name for trait in TRAITS if has[trait.name])


def matrix(wordings: Sequence[Wording]) -> NDArray[np.float64]:
    """[N, len(TRAITS)]: 1 where a wording has a trait."""
    rows = [[float(trait.name in traits(wording)) for trait in TRAITS] for wording in wordings]
    return np.array(rows, dtype=np.float64).reshape(len(wordings), len(TRAITS))


def _text(wording: Wording) -> str:
    return f"{wording.subject}\n{wording.body}".strip()


def _before(text: str, first: str, second: str) -> bool:
    """Whether `first` stands in a text, and not after `second`."""
    return first in text and (second not in text or text.index(first) < text.index(second))
