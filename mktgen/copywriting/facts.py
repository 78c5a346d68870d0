"""What one message may say: facts from the decision and the catalogue, in the words of a language.

A label of the catalogue is a stranger's text: it may hold a link, a claim or an instruction. One that can't be printed as it
is isn't repaired; the message names `neutral_item` in its place, which is true of every product.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

from mktgen.copywriting.forms import Language
from mktgen.copywriting.rulebook import rulebook

SLOTS: Final = ("item", "also", "discount", "valid_to")
REQUIRED: Final = ("item", "valid_to")
MAX_LABEL: Final = 40  # characters
MAX_LABEL_WORDS: Final = 6
_LABEL: Final = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ0-9\u4e00-\u9fff &'/+.,()\-]+")
# Words of an offer, an instruction or an address, which the name of a product has no need of.
_NOT_A_NAME: Final = re.compile(
    r"\b(?:free(?!\s+(?:range|from)\b)|off|save|saving|discount\w*|cash|win\w*|prize\w*|gift ?card|guarant\w*|cheap\w*"
    r"|lowest|best|buy|bogo|code|promo\w*|coupon\w*|voucher\w*|refund\w*|ignore|disregard|forget|instruction\w*|previous|prompt|system"
    r"|assistant|user|output|respond|reply|write|visit|click|http\w*|www|com|net|org|script|select|drop|insert|delete|union)\b"
    r"|免费|半价|折扣|最|第一|保证|赠|忽略|指令|点击|访问|优惠券",
    re.IGNORECASE,
)
_FREE_FROM: Final = re.compile(
    r"\b(?:gluten|sugar|fat|dairy|lactose|caffeine|alcohol|egg|nut)[ -]free\b", re.IGNORECASE
)
_DOMAIN: Final = re.compile(r"\w\.\w{2,}|\d[ %]*(?:%|x\b|for\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """Slot values of one message, each as it is printed. discount: None where the offer's value is not known."""

    language: Language
    item: str
    also: str | None
    discount: str | None
    valid_to: str

    @property
    def values(self) -> dict[str, str]:
        """Slot -> text, only for what is known."""
        return {slot: text for slot in SLOTS if (text := getattr(self, slot)) is not None}


def printable(label: str) -> bool:
    """Whether a catalogue's label may stand in a message as it is."""
    plain = _FREE_FROM.sub("", label)
    return (
        label == unicodedata.normalize("NFC", label)
        and label == " ".join(label.split())
        and 0 < len(label) <= MAX_LABEL
        and len(label.split()) <= MAX_LABEL_WORDS
        and _LABEL.fullmatch(label) is not None
        and any(character.isalpha() for character in label)
        and _DOMAIN.search(plain) is None
        and _NOT_A_NAME.search(plain) is None
    )


def facts(
    language: Language, item: str, also: list[str], face_value_minor: int | None, valid_to: date, currency_symbol: str
) -> Facts:
    """Facts of one offer. item, also: labels of the catalogue; face_value_minor: minor units, None: not known."""
    rules = rulebook(language)
    named = list(dict.fromkeys(label for label in also if printable(label) and label != item))
    discount = (
        None if face_value_minor is None else f"{currency_symbol}{face_value_minor // 100}.{face_value_minor % 100:02d}"
    )
    return Facts(
        language=language,
        item=item if printable(item) else rules.neutral_item,
        also=rules.list_separator.join(named) or None,
        discount=discount,
        valid_to=valid_to.strftime(rules.date_format),
    )
