"""What the small model is taught, and what is kept from it so that it can be judged.

Kept back, by hash, the same in every training: a fifth of the cells (form, tone, slots), of which nothing is taught, and a
fifth of the bank's wordings of the other cells. So what it writes for a cell that is kept back shows what it has understood,
and a wording that is kept back but written shows that it puts sentences together rather than recite them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

import polars as pl

from mktgen.copywriting.bank import bank
from mktgen.copywriting.facts import REQUIRED, SLOTS
from mktgen.copywriting.forms import FORMS, FormName, Language
from mktgen.copywriting.request import Request
from mktgen.copywriting.wording import TONES, Tone, Wording

KEPT_BACK: Final = 5  # one in so many


@dataclass(frozen=True)
class Lesson:
    """Answers to one prompt."""

    prompt: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Of two answers to one prompt, the one that customers answered to better. weight: how sure that is, above 0."""

    prompt: str
    chosen: str
    rejected: str
    weight: float


def slot_sets(form: FormName, language: Language) -> list[frozenset[str]]:
    """Sets of known slots that make a difference: with and without each optional slot that a wording of the form may hold."""
    every = frozenset(SLOTS)
    used = {slot for tone in TONES for wording in _wordings(form, language, tone, every) for slot in wording.slots}
    optional = [slot for slot in SLOTS if slot in used and slot not in REQUIRED]
    return [frozenset({*REQUIRED, *more}) for n in range(len(optional) + 1) for more in combinations(optional, n)]


@cache
def cells(language: Language) -> tuple[Request, ...]:
    """All that may be asked for in a language, in order."""
    return tuple(
        Request.of(form, language, tone, known)
        for form in FORMS
        for tone in TONES
        for known in slot_sets(form, language)
    )


def kept_back(key: str) -> bool:
    """Whether a cell (Request.key) is kept from training, or a text (`_text`): the same words are kept back for every tone."""
    return hashlib.sha256(f"kept back:{key}".encode()).digest()[0] % KEPT_BACK == 0


@cache
def in_bank(language: Language) -> frozenset[str]:
    """Ids of all wordings that the bank can put together."""
    return frozenset(
        wording.id
        for request in cells(language)
        for wording in _wordings(request.form, language, request.tone, frozenset(request.slots))
    )


def lessons(language: Language, steps: int, prompts: int, answers: int, seed: int) -> list[list[Lesson]]:
    """For each step, `prompts` lessons of up to `answers` wordings of the bank; the same for the same seed.

    Cells take turns, in an order of their own in each round; so do a cell's wordings.
    """
    taught = [cell for cell in cells(language) if not kept_back(cell.key)]
    told = {cell: [one for one in _of(cell) if not kept_back(_text(one))] for cell in taught}
    found: list[Lesson] = []
    turn = 0
    while len(found) < steps * prompts:
        for cell in sorted(taught, key=lambda cell: _order(seed, turn, cell.key)):
            mine = told[cell]
            chosen = [mine[(turn * answers + place) % len(mine)] for place in range(min(answers, len(mine)))]
            found.append(Lesson(cell.short, tuple(cell.answer(wording) for wording in chosen)))
        turn += 1
    return [found[step * prompts : (step + 1) * prompts] for step in range(steps)]


def kept_wordings(language: Language, each: int = 1) -> list[Lesson]:
    """Up to `each` of the wordings that are kept back, for every cell that is taught."""
    found = []
    for cell in cells(language):
        mine = [one for one in _of(cell) if kept_back(_text(one))][:each]
        if mine and not kept_back(cell.key):
            found.append(Lesson(cell.short, tuple(cell.answer(wording) for wording in mine)))
    return found


def pairs(frame: pl.DataFrame, language: Language) -> tuple[list[Pair], list[Pair]]:
    """Preferences (contracts.WORDING_PAIRS) to learn from, and those of the cells that are kept back, to judge by; in order of
    the frame. Rows of other languages are left out."""
    learned: list[Pair] = []
    judged: list[Pair] = []
    for row in frame.filter(pl.col("language") == language).iter_rows(named=True):
        request = Request.of(row["form"], row["language"], row["tone"], frozenset(row["slots"].split()))
        said = [
            Wording(request.form, language, request.tone, row[f"{side}_subject"], row[f"{side}_body"], "model")
            for side in ("chosen", "rejected")
        ]
        pair = Pair(request.short, request.answer(said[0]), request.answer(said[1]), row["weight"])
        (judged if kept_back(request.key) else learned).append(pair)
    return learned, judged


def verbatim_share(drafts: Sequence[Wording]) -> float:
    """Of the drafts, those that the bank can put together word for word; 0 of none."""
    return sum(draft.id in in_bank(draft.language) for draft in drafts) / len(drafts) if drafts else 0.0


def _of(cell: Request) -> list[Wording]:
    return _wordings(cell.form, cell.language, cell.tone, frozenset(cell.slots))


def _wordings(form: FormName, language: Language, tone: Tone, known: frozenset[str]) -> list[Wording]:
    return bank(language).wordings(form, tone, known, 1_000_000, "lessons")


def _text(wording: Wording) -> str:
    return f"{wording.subject}\n{wording.body}"


def _order(seed: int, turn: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{turn}:{key}".encode()).digest()
