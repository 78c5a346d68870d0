"""Fails closed: a message says the facts, and besides them only reviewed words. Whatever else it holds is refused by name.

The facts are cut out of the text wherever they stand whole; what is left must be made of the language's reviewed words
(words/<language>.txt) and plain punctuation. So no price, product, day, code, link, name or claim needs to be guessed at:
it has no words to be said with. Rules that speak of such things only name them, for whoever reads why.

It knows nothing of templates or models: it reads what the customer would read.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from mktgen.copywriting.facts import REQUIRED, Facts
from mktgen.copywriting.forms import Form, sms_parts
from mktgen.copywriting.rulebook import Rulebook, rulebook

GAP: Final = "\x00"  # where a fact stood; a text that holds one itself is refused (_shape)
_PLAIN: Final = {
    "en": re.compile(r"[A-Za-z .,!?:;'’\-\n\x00]"),
    "zh": re.compile(r"[\u4e00-\u9fff。，！？：；、「」\n\x00]"),
}
_WORD: Final = re.compile(r"\x00|[A-Za-z]+(?:['’][A-Za-z]+)?")
_SENTENCE: Final = re.compile(r"[.!?。！？\n]+")
_MARK: Final = re.compile(r"[。，！？：；、「」\n]")
_KINDS: Final = (  # what a stray character or word most likely is; only for the reader
    ("slot", re.compile(r"[{}\[\]<>]")),
    ("link", re.compile(r"https?|www|\w\.\w{2,}|[@#/\\]|\b(?:com|net|org)\b", re.IGNORECASE)),
    ("amount", re.compile(r"[$€£¥￥%％]|\b(?:usd|eur|dollars?|cents?|percent)\b|[元折]", re.IGNORECASE)),
    ("number", re.compile(r"\d")),
)
MAX_REPEATED_WORDS: Final = 3  # in a row, that may be said twice


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a message. rule: its name; detail: what and where, for people."""

    rule: str
    detail: str


@dataclass(frozen=True)
class Text:
    """A message as the customer reads it. subject: "" where the form has none; body: with the opt-out text."""

    subject: str
    body: str


def problems(text: Text, facts: Facts, form: Form) -> list[Problem]:
    """Everything wrong with a message; an empty list lets it pass."""
    rules = rulebook(facts.language)
    opt_out = rules.opt_out.get(form.name, "")
    found = _shape(text, form, opt_out)
    body = text.body.removesuffix(opt_out).rstrip() if opt_out else text.body
    said: Counter[str] = Counter()
    lefts = []
    for name, part in (("subject", text.subject), ("body", body)):
        left, counts = _without_facts(part, facts)
        found += [Problem("twice", f"{slot} stands {n} times in the {name}") for slot, n in counts.items() if n > 1]
        found += _characters(left, facts.language, name)
        found += _beside_facts(part, facts, rules, name)
        said += Counter({(slot if name == "body" else f"subject {slot}"): n for slot, n in counts.items()})
        lefts.append(left)
    found += [
        Problem("missing", f"the body does not say {slot}: {facts.values[slot]!r}")
        for slot in REQUIRED
        if not said[slot]
    ]
    discount = bool(said["discount"] or said["subject discount"])
    for name, left in zip(("subject", "body"), lefts, strict=True):
        found += _words(left, rules, discount, name)
    return found + _claims(lefts, rules) + _repetition(lefts, rules)


def _shape(text: Text, form: Form, opt_out: str) -> list[Problem]:
    found = []
    if GAP in text.subject + text.body:
        found.append(Problem("character", "has '\\x00' (U+0000), which is not in the decision"))
    if not text.body.strip() or (form.subject is not None and not text.subject.strip()):
        found.append(Problem("empty", "subject or body is empty"))
    if form.subject is None and text.subject:
        found.append(Problem("form", f"{form.name} has no subject"))
    if "\n" in text.subject:
        found.append(Problem("form", "the subject has more than one line"))
    if form.subject is not None and len(text.subject) > form.subject:
        found.append(Problem("length", f"the subject has {len(text.subject)} characters; {form.subject} are shown"))
    if form.sms and (parts := sms_parts(text.body)) > 1:
        found.append(Problem("length", f"takes {parts} SMS"))
    elif not form.sms and len(text.body) > form.body:
        found.append(Problem("length", f"the body has {len(text.body)} characters; {form.body} are shown"))
    if opt_out and not text.body.endswith(opt_out):
        found.append(Problem("opt_out", f"does not end with {opt_out!r}"))
    return found


def _fact(value: str) -> re.Pattern[str]:
    """A fact where it stands whole: no letter, digit or decimal runs on from it."""
    return re.compile(rf"(?<![A-Za-z0-9$€£¥-])(?<!\d[.,]){re.escape(value)}(?![A-Za-z0-9]|[.,]\d)")


def _without_facts(part: str, facts: Facts) -> tuple[str, dict[str, int]]:
    """The text with a gap where each fact stood, and how often each was said."""
    counts: dict[str, int] = {}
    for slot, value in sorted(facts.values.items(), key=lambda pair: -len(pair[1])):
        part, counts[slot] = _fact(value).subn(GAP, part)
    return part, counts


def _characters(left: str, language: str, name: str) -> list[Problem]:
    strange = sorted({c for c in left if not _PLAIN[language].fullmatch(c)})
    if not strange:
        return []
    where = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in strange[:5])
    kinds = [kind for kind, pattern in _KINDS if pattern.search(left.replace(GAP, " "))]
    return [Problem(kinds[0] if kinds else "character", f"the {name} has {where}, which is not in the decision")]


def _beside_facts(part: str, facts: Facts, rules: Rulebook, name: str) -> list[Problem]:
    """Words next to a discount or a day that would turn its meaning."""
    found = []
    for slot, value in (("discount", facts.discount), ("valid_to", facts.valid_to)):
        for match in _fact(value).finditer(part) if value is not None else ():
            ahead, behind = part[: match.start()], part[match.end() :]
            before = {
                phrase for phrase in rules.not_before_discount | rules.before_valid_to if _ends(ahead, phrase, rules)
            }
            after = {
                phrase
                for phrase in rules.not_after_discount | rules.not_after_valid_to
                if _begins(behind, phrase, rules)
            }
            turned = before & rules.not_before_discount | after & rules.not_after_discount
            if turned and any(
                _ends(ahead, a, rules) and _begins(behind, b, rules) for a, b in rules.right_around_discount
            ):
                turned = set()
            if slot == "valid_to":
                turned = after & rules.not_after_valid_to
                if not before & rules.before_valid_to:
                    turned |= {"no word that says it is the last day"}
            found += (
                [Problem("turned", f"{slot} stands beside {', '.join(sorted(turned))} in the {name}")] if turned else []
            )
    return found


def _ends(text: str, phrase: str, rules: Rulebook) -> bool:
    return re.search(rf"\b{re.escape(phrase)} $", text.lower()) is not None if rules.spaced else text.endswith(phrase)


def _begins(text: str, phrase: str, rules: Rulebook) -> bool:
    return re.match(rf" {re.escape(phrase)}\b", text.lower()) is not None if rules.spaced else text.startswith(phrase)


def tokens(text: str, rules: Rulebook) -> list[str]:
    """Words of a text, lower case; GAP where a fact stood. Of Chinese: the longest reviewed words, else single characters."""
    if rules.spaced:
        return [word.replace("’", "'").lower() for word in _WORD.findall(text)]
    known = rules.words | rules.with_discount
    longest = max(map(len, known))
    found, place = [], 0
    while place < len(text):
        if _MARK.fullmatch(text[place]) or text[place].isspace():
            place += 1
            continue
        size = next((n for n in range(longest, 1, -1) if text[place : place + n] in known), 1)
        found.append(text[place : place + size])
        place += size
    return found


def _words(left: str, rules: Rulebook, discount: bool, name: str) -> list[Problem]:
    known = rules.words | rules.with_discount | {GAP}
    strange = list(dict.fromkeys(word for word in tokens(left, rules) if word not in known))
    found = [Problem("word", f"the {name} says {word!r}, which is not a reviewed word") for word in strange]
    if not discount:
        said = sorted(set(tokens(left, rules)) & rules.with_discount)
        found += [Problem("amount", f"the {name} says {word!r} without the discount") for word in said]
    if rules.spaced:
        odd = [word for word in _WORD.findall(left) if word != GAP and word[1:] != word[1:].lower()]
        found += [Problem("code", f"the {name} has {word!r}, which looks like a code") for word in odd]
    return found


def _claims(lefts: list[str], rules: Rulebook) -> list[Problem]:
    if rules.spaced:
        text = " ".join(f" {' '.join(tokens(left, rules))} " for left in lefts)
        return [Problem("claim", f"says {claim!r}") for claim in rules.claims if f" {claim} " in text]
    return [Problem("claim", f"says {claim!r}") for claim in rules.claims if any(claim in left for left in lefts)]


def _repetition(lefts: list[str], rules: Rulebook) -> list[Problem]:
    found = []
    for left in lefts:
        sentences = [tuple(words) for part in _SENTENCE.split(left) if (words := tokens(part, rules))]
        pairs = [a for sentence in sentences for a, b in pairwise(sentence) if a == b != GAP and len(a) > 1]
        twice = [sentence for sentence, n in Counter(sentences).items() if n > 1]
        words = [word for sentence in sentences for word in sentence]
        runs = Counter(zip(*(words[i:] for i in range(MAX_REPEATED_WORDS + 1)), strict=False))
        found += [(word, word) for word in pairs] + twice + [run for run, n in runs.items() if n > 1]
    return [Problem("repetition", f"repeats {' '.join(words).replace(GAP, '…')!r}") for words in dict.fromkeys(found)]
