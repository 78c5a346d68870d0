"""What a language model is asked for, and what it must answer: one wording, by enumerated facts about form, tone and slots.

It sees no product, no price and no customer: a title or a name that carries an instruction can't reach it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from mktgen.copywriting.facts import SLOTS
from mktgen.copywriting.forms import FormName, Language
from mktgen.copywriting.wording import Tone, Wording, has_subject

_FORMS: Final = {
    "email": "an e-mail",
    "sms": "a text message",
    "push": "a push notification",
    "banner": "a banner on the shop's page",
}
_TONES: Final = {
    "reward": "customers who shop here often and are thanked for it",
    "win_back": "customers who have not been here for a while",
    "deal": "customers who like coupons",
    "everyday": "customers with an ordinary shopping list",
}
_MEANINGS: Final = {
    "item": "the product that the coupon is for",
    "also": "other products that the customer may like",
    "discount": "the amount taken off",
    "valid_to": "the last day of the coupon; write until {{valid_to}}",
}
_LANGUAGES: Final = {"en": "English", "zh": "simplified Chinese; put 「」 around {{item}}"}
MAX_BODY_CHARACTERS: Final = {"email": 420, "sms": 120, "push": 150, "banner": 110}  # slots counted by their names


@dataclass(frozen=True)
class Request:
    """One wording of a form and tone. slots: those that are known, in the order of SLOTS; item and valid_to are among them."""

    form: FormName
    language: Language
    tone: Tone
    slots: tuple[str, ...]

    @classmethod
    def of(cls, form: FormName, language: Language, tone: Tone, known: frozenset[str]) -> Request:
        return cls(form, language, tone, tuple(slot for slot in SLOTS if slot in known))

    @property
    def key(self) -> str:
        """What sets it apart from others, in a line."""
        return f"{self.language} {self.form} {self.tone}: {' '.join(self.slots)}"

    @property
    def prompt(self) -> str:
        """As a model is asked."""
        slots = "\n".join(f"{{{{{slot}}}}}: {_MEANINGS[slot]}" for slot in self.slots)
        parts = '"subject" and "body"' if has_subject(self.form) else '"body"'
        must = " and ".join(f"{{{{{slot}}}}}" for slot in self.slots if slot != "also")
        return (
            f"Write {_FORMS[self.form]} that offers a coupon to {_TONES[self.tone]}. Language: {_LANGUAGES[self.language]}.\n"
            f"Facts stand as slots, written exactly so:\n{slots}\n"
            f"The body has {must} once each. Say nothing that is not in the slots: no numbers, dates, products, names, "
            f"links, codes, claims or promises; plain words, at most {MAX_BODY_CHARACTERS[self.form]} characters.\n"
            f"Answer with a JSON object with {parts}."
        )

    @property
    def short(self) -> str:
        """As the small model is asked, which was trained on just this: a quarter of the tokens."""
        slots = " ".join(f"{{{{{slot}}}}}" for slot in self.slots)
        return f"Write {_FORMS[self.form]} for {_TONES[self.tone]}: {slots}"

    def answer(self, wording: Wording) -> str:
        """The JSON that says a wording: what `parse` takes, and what a model is trained to answer."""
        texts = {"subject": wording.subject, "body": wording.body}
        return json.dumps({name: texts[name] for name in self.schema["required"]}, ensure_ascii=False)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the answer."""
        names = ["subject", "body"] if has_subject(self.form) else ["body"]
        text = {"type": "string", "minLength": 1, "maxLength": MAX_BODY_CHARACTERS[self.form]}
        return {
            "type": "object",
            "properties": dict.fromkeys(names, text),
            "required": names,
            "additionalProperties": False,
        }

    def parse(self, answer: str) -> Wording | None:
        """The wording of an answer; None where it isn't what the schema says. Servers are known to ignore a schema silently."""
        try:
            found = json.loads(answer)
        except ValueError:
            return None
        names = self.schema["required"]
        if not isinstance(found, dict) or sorted(found) != sorted(names):
            return None
        if not all(isinstance(found[name], str) and found[name].strip() for name in names):
            return None
        texts = {name: found[name].strip() for name in names}
        if len(texts["body"]) > MAX_BODY_CHARACTERS[self.form]:
            return None
        return Wording(self.form, self.language, self.tone, texts.get("subject", ""), texts["body"], "model")
