"""Drafts by a language model: asked for, parsed, verified, counted. What doesn't pass is not repaired.

A draft is verified with stand-in facts here, and once more with the real ones in every message it is used for (writer.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from mktgen.copywriting.facts import REQUIRED, Facts, facts
from mktgen.copywriting.forms import FORMS
from mktgen.copywriting.llm import LanguageModel, Reply
from mktgen.copywriting.request import Request
from mktgen.copywriting.verifier import problems
from mktgen.copywriting.wording import Wording

OVER: Final = "the time of the run was over"
STAND_IN: Final = ("Soft Drinks", ("Pasta Sauce", "Cat Food"), 149, date(2017, 11, 30))


@dataclass(frozen=True)
class Budget:
    """What one run may take. tokens, seconds: in all; answer_tokens, answer_seconds: of one answer; tries: answers asked for
    per wording that is wanted. Tokens bound what is asked, the same on every rerun; seconds are the guard behind them."""

    tokens: int = 200_000
    seconds: float = 300.0
    answer_tokens: int = 160
    answer_seconds: float = 20.0
    tries: float = 2.0


@dataclass
class Tally:
    """What came of the asking. asked = troubled + malformed + refused + repeated + verified.

    All but cached and seconds are the same on every rerun: an answer from the cache counts the tokens that it once took.
    """

    wanted: int = 0
    asked: int = 0
    troubled: int = 0  # no answer: the server, the clock, the token limit
    malformed: int = 0  # an answer that isn't what the schema says
    refused: int = 0  # by the verifier
    repeated: int = 0  # a wording that is there already
    verified: int = 0
    cached: int = 0  # of asked: answered from the cache
    tokens: int = 0
    seconds: float = 0.0
    troubles: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    stopped: str = ""  # why asking ended early

    @property
    def fallback_share(self) -> float:
        """Of the wordings wanted, those that the bank must give."""
        return 1.0 - min(self.verified, self.wanted) / self.wanted if self.wanted else 0.0


class Phraser:
    """Asks a model, within a budget. clock: seconds.

    cache: what came of each question, by content, troubles included, so that a rerun asks for nothing again and comes to the
    same. Of two that set a key, the first may win: what is read back counts.
    """

    def __init__(
        self,
        model: LanguageModel,
        budget: Budget,
        seed: int,
        cache: MutableMapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._model, self._budget, self._seed, self._cache, self._clock = model, budget, seed, cache, clock
        self.tally = Tally()
        self._begun = clock()

    def drafts(self, request: Request, count: int) -> list[Wording]:
        """Up to `count` different verified wordings."""
        self.tally.wanted += count
        found: dict[str, Wording] = {}
        for attempt in range(int(count * self._budget.tries)):
            if len(found) == count or not self._may_ask():
                break
            draft = self.attempt(request, attempt)
            if draft is not None and draft.id in found:
                self.tally.verified -= 1
                self.tally.repeated += 1
            elif draft is not None:
                found[draft.id] = draft
        return list(found.values())

    def attempt(self, request: Request, attempt: int) -> Wording | None:
        """The verified wording of one answer; None where it gave none. The same for the same number."""
        self.tally.asked += 1
        reply = self._answer(request, attempt)
        self.tally.tokens += reply.tokens
        if reply.text is None:
            self.tally.troubled += 1
            self.tally.troubles[reply.trouble] += 1
            if reply.trouble == OVER:
                self.tally.stopped = f"{self._budget.seconds:.0f} s are over"
            return None
        draft = request.parse(reply.text)
        if draft is None:
            self.tally.malformed += 1
            return None
        broken = faults(draft, request)
        if broken:
            self.tally.refused += 1
            self.tally.rules.update(set(broken))
            return None
        self.tally.verified += 1
        return draft

    def _answer(self, request: Request, attempt: int) -> Reply:
        seed = int.from_bytes(hashlib.sha256(f"{self._seed}:{request.key}:{attempt}".encode()).digest()[:4], "big") >> 1
        question = "\x1f".join((self._model.name, request.key, self._model.asks(request), str(seed)))
        key = hashlib.sha256(question.encode()).hexdigest()
        kept = self._cache.get(key)
        if kept is not None:
            self.tally.cached += 1
            return Reply(**json.loads(kept), seconds=0.0)
        if self._clock() - self._begun >= self._budget.seconds:
            reply = Reply(None, 0, 0.0, OVER)
        else:
            reply = self._model.write(request, seed, self._budget.answer_tokens, self._budget.answer_seconds)
        self.tally.seconds += reply.seconds
        said = {"text": reply.text, "tokens": reply.tokens, "trouble": reply.trouble}
        self._cache[key] = json.dumps(said, ensure_ascii=False, sort_keys=True)
        return Reply(**json.loads(self._cache[key]), seconds=reply.seconds)

    def _may_ask(self) -> bool:
        if self.tally.tokens >= self._budget.tokens:
            self.tally.stopped = f"{self.tally.tokens} tokens spent, {self._budget.tokens} allowed"
        return not self.tally.stopped


def faults(draft: Wording, request: Request) -> list[str]:
    """Names of the rules that a draft breaks: slots first, then what the verifier says with stand-in facts."""
    known = set(request.slots)
    if draft.slots - known:
        return ["slot"]
    told = _stand_in(request)
    broken = [found.rule for found in problems(draft.fill(told), told, FORMS[draft.form])]
    required = {*REQUIRED, *({"discount"} & known)}
    broken += ["missing" for slot in sorted(required) if f"{{{{{slot}}}}}" not in draft.body]
    return broken


def _stand_in(request: Request) -> Facts:
    item, also, face, last = STAND_IN
    told = facts(request.language, item, list(also), face, last, "$")
    return replace(
        told,
        also=told.also if "also" in request.slots else None,
        discount=told.discount if "discount" in request.slots else None,
    )
