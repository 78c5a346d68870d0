"""What a message looks like in each channel: its parts, and how much a customer's screen shows of each.

Lengths are counted after the facts were filled in. An SMS is counted as a phone network counts it: in septets of the
GSM 03.38 alphabet while every character is in it, in UTF-16 code units otherwise, with the opt-out text.
Source: 3GPP TS 23.038 (alphabet), TS 23.040 (160/153 and 70/67 a part).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FormName = Literal["email", "sms", "push", "banner"]
Language = Literal["en", "zh"]

GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED: Final = frozenset("^{}\\[~]|€\f")  # each takes two septets


@dataclass(frozen=True)
class Form:
    """Parts and the most characters of each. subject: None where the form has none. sms: must fit into one SMS."""

    name: FormName
    subject: int | None
    body: int
    sms: bool = False


FORMS: Final[dict[FormName, Form]] = {
    form.name: form
    for form in (
        Form("email", subject=78, body=800),  # RFC 5322: a line should be at most 78 characters
        Form("sms", subject=None, body=160, sms=True),
        Form("push", subject=65, body=178),  # what Android shows of a title and iOS of a text
        Form("banner", subject=60, body=120),
    )
}


def is_gsm(text: str) -> bool:
    """Whether a phone network can send the text in its 7-bit alphabet."""
    return all(character in GSM_BASIC or character in GSM_EXTENDED for character in text)


def sms_parts(text: str) -> int:
    """How many SMS a text takes: 160 septets or 70 UTF-16 units alone, 153 or 67 a part where it is cut up."""
    if is_gsm(text):
        length, alone, each = sum(2 if character in GSM_EXTENDED else 1 for character in text), 160, 153
    else:
        length, alone, each = len(text.encode("utf-16-be")) // 2, 70, 67
    return 1 if length <= alone else -(-length // each)
