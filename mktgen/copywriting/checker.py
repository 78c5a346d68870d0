"""Fails closed: a message may say only what the decision and the catalogue say.

The permitted facts (names, last day, discount) are cut out of the text; whatever then still looks like a number, an
amount, a date, a product of the catalogue or a strong claim was made up, and the message is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_SUBJECT: Final = 120
MAX_BODY: Final = 800
MAX_WORDS_OF_A_NAME: Final = 6
MIN_NAME: Final = 4  # shorter catalogue names ("ICE", "GUM") are also plain words
# Words of the trade that some catalogues also use as an item's name.
TRADE_WORDS: Final = frozenset({"coupon", "coupons", "offer", "offers", "discount", "promotion", "promo"})
CLAIMS: Final = (
    "free",
    "guarantee",
    "guaranteed",
    "cheapest",
    "lowest",
    "best price",
    "only today",
    "last chance",
    "risk-free",
    "half price",
    "half off",
    "buy one",
    "two for one",
    "半价",
    "买一送一",
    "免费",
    "保证",
    "最低",
    "最便宜",
    "仅限今天",
    "最后机会",
    "全网",
)
_DIGIT: Final = re.compile(r"\d")
_MONEY: Final = re.compile(r"[$€£¥￥%％]|\b(?:usd|eur|cny|dollars?|cents?|percent)\b|[元折]", re.IGNORECASE)
# "May" and "March" are left out: they are verbs too.
_DAY: Final = re.compile(
    r"\b(?:january|february|april|june|july|august|september|october|november|december|today|tonight|tomorrow"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|星期|周[一二三四五六日末]|今[天日]|明[天日]|[一二三四五六七八九十]月",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[a-z0-9&'/+.\-]+")


@dataclass(frozen=True)
class Facts:
    """What one message may say. `item` must be said, and so must `valid_to`; `discount` is None where unknown."""

    item: str
    also: tuple[str, ...]
    category: str
    brand: str | None
    valid_to: str
    discount: str | None

    @property
    def allowed(self) -> list[str]:
        named = [self.item, *self.also, self.category, self.brand, self.valid_to, self.discount]
        return sorted({text for text in named if text}, key=lambda text: (-len(text), text))


def catalogue_names(labels: list[str]) -> frozenset[str]:
    """Names that a message could wrongly mention, in the form `problems` compares: lower case, single spaces."""
    cleaned = {" ".join(_WORD.findall(label.lower())) for label in labels}
    return frozenset(name for name in cleaned if len(name) >= MIN_NAME and name not in TRADE_WORDS)


def problems(subject: str, body: str, facts: Facts, catalogue: frozenset[str]) -> list[str]:
    """Everything wrong with a message; an empty list lets it pass."""
    text = f"{subject}\n{body}"
    found = []
    if not subject.strip() or not body.strip():
        found.append("subject or body is empty")
    if len(subject) > MAX_SUBJECT or len(body) > MAX_BODY or "\n" in subject:
        found.append(f"longer than {MAX_SUBJECT} (subject, one line) or {MAX_BODY} (body) characters")
    if "{" in text or "}" in text:
        found.append("a slot is not filled")
    if facts.item not in text:
        found.append("does not name the item of the offer")
    if facts.valid_to not in text:
        found.append("does not say until when the offer is valid")
    rest = text
    for allowed in facts.allowed:
        rest = rest.replace(allowed, "\n")
    if _DIGIT.search(rest):
        found.append(f"has a number that is not in the decision: {_around(_DIGIT, rest)!r}")
    if _MONEY.search(rest):
        found.append(f"has an amount that is not in the decision: {_around(_MONEY, rest)!r}")
    if _DAY.search(rest):
        found.append(f"has a day that is not in the decision: {_around(_DAY, rest)!r}")
    lowered = rest.lower()
    found += [f"makes the claim {claim!r}" for claim in CLAIMS if _says(lowered, claim)]
    found += [f"names {name!r}, which is not in the decision" for name in _named(lowered, catalogue)]
    return found


def _says(text: str, claim: str) -> bool:
    return re.search(rf"\b{re.escape(claim)}\b", text) is not None if claim.isascii() else claim in text


def _named(text: str, catalogue: frozenset[str]) -> list[str]:
    """Catalogue names among the word sequences of the remaining text."""
    found = set()
    for line in text.splitlines():
        words = [word.strip(".'-") for word in _WORD.findall(line)]
        for start in range(len(words)):
            for end in range(start + 1, min(start + MAX_WORDS_OF_A_NAME, len(words)) + 1):
                phrase = " ".join(words[start:end])
                if phrase in catalogue:
                    found.add(phrase)
    return sorted(found)


def _around(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return text[max(0, match.start() - 10) : match.end() + 10].strip() if match else ""
