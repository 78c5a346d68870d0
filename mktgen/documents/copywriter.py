"""What a language model learned, was judged by and wrote. The same on every rerun: how long it took is not in it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from mktgen.documents.base import Document, Gate, Interval


class CopyTally(Document):
    """What came of the asking. asked = troubled + malformed + refused + repeated + verified.

    wanted: wordings; troubled: no answer; malformed: not what the schema says; refused: by the verifier (rules: by which, an
    answer may break several); repeated: verified, and there already. fallback_share: of the wordings wanted, those that the
    template bank must give. verbatim_share: of the verified, those that the bank can put together word for word. stopped:
    why asking ended early.
    """

    wanted: int
    asked: int
    troubled: int
    malformed: int
    refused: int
    repeated: int
    verified: int
    tokens: int
    troubles: dict[str, int]
    rules: dict[str, int]
    fallback_share: float
    verbatim_share: float
    stopped: str


class CopywriterTraining(Document):
    """An adapter of the small model, as it was learned. adapter_sha256: "" where none was: `reason` says why.

    prompts_sha256: of all prompts it learned to answer; lessons_sha256: of lessons.jsonl beside the adapter. curves: name ->
    value by step. figures: what was measured afterwards, on what was kept from it.
    """

    training_partition: date
    reason: str
    model: str
    adapter_sha256: str
    prompts_sha256: str
    lessons_sha256: str
    wordings: int
    pairs: int
    parameters: dict[str, float | int | str]
    curves: dict[str, list[float]]
    figures: dict[str, float]


class CopyJudgement(Document):
    """Answers of one adapter for the cells that are kept from training. learned_on: its training day."""

    learned_on: date
    adapter_sha256: str
    tally: CopyTally


class CopyPromotion(Document):
    """Which adapter writes from a training day on. serving: the day it was learned; None: none, the bank alone is used.

    previous: what served before the one that serves. role: of this training day's. verified: difference of the share of
    verified answers, challenger - champion; gain: of click rates, by what was learned on held-out segments; None: not compared.
    """

    training_partition: date
    serving: date | None
    previous: date | None
    role: Literal["champion", "challenger", "none"]
    reason: str
    rule: str
    gates: list[Gate]
    challenger: CopyJudgement | None
    champion: CopyJudgement | None
    verified: Interval | None
    gain: Interval | None


class CopyReport(Document):
    """The wordings that a model proposed on a day. model: "" where none was asked. languages: who writes in each."""

    partition: date
    engine: Literal["template", "embedded", "server"]
    reason: str
    model: str
    learned_on: date | None
    prompts_sha256: str
    languages: dict[str, str]
    cells: int
    tally: CopyTally
