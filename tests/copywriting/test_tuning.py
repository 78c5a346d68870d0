"""What the small model is taught, how, and that it learns it."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest

from mktgen.contracts import WORDING_PAIRS
from mktgen.copywriting._packing import pack
from mktgen.copywriting.bank import bank
from mktgen.copywriting.judging import verified_difference
from mktgen.copywriting.lessons import Pair, cells, in_bank, kept_back, kept_wordings, lessons, pairs, verbatim_share
from mktgen.copywriting.llm import Embedded
from mktgen.copywriting.phrasing import Budget, Phraser, faults
from mktgen.copywriting.request import Request
from mktgen.copywriting.wording import Wording
from mktgen.settings.words import TuningSettings


def test_what_is_kept_back_is_never_taught() -> None:
    told = [lesson for step in lessons("en", 200, 2, 4, seed=1) for lesson in step]
    apart = {cell.short for cell in cells("en") if kept_back(cell.key)}
    assert apart
    assert apart.isdisjoint(lesson.prompt for lesson in told)
    kept_answers = {answer for lesson in kept_wordings("en", each=1_000) for answer in lesson.answers}
    assert kept_answers
    assert kept_answers.isdisjoint(answer for lesson in told for answer in lesson.answers)


def test_every_taught_answer_is_one_that_the_verifier_lets_pass() -> None:
    by_prompt = {cell.short: cell for cell in cells("en")}
    for step in lessons("en", 60, 2, 4, seed=2):
        for lesson in step:
            request = by_prompt[lesson.prompt]
            for answer in lesson.answers:
                wording = request.parse(answer)
                assert wording is not None
                assert faults(wording, request) == []
                assert verbatim_share([wording]) == 1.0


def test_lessons_are_the_same_for_the_same_seed_and_take_turns() -> None:
    assert lessons("en", 20, 2, 4, 1) == lessons("en", 20, 2, 4, 1) != lessons("en", 20, 2, 4, 2)
    prompts = [lesson.prompt for step in lessons("en", 40, 2, 4, 1) for lesson in step]
    taught = {cell.short for cell in cells("en") if not kept_back(cell.key)}
    assert set(prompts[: len(taught)]) == taught, "each once before any comes again"


def test_every_wording_of_the_bank_is_known_as_its_own() -> None:
    known = frozenset({"item", "also", "valid_to"})
    assert all(one.id in in_bank("en") for one in bank("en").wordings("email", "deal", known, 50, "x"))
    assert Wording(
        "sms", "en", "deal", "", "Something new for {{item}} until {{valid_to}}.", "model"
    ).id not in in_bank("en")


def test_pairs_of_cells_kept_back_judge_and_the_others_teach() -> None:
    chosen = next(cell for cell in cells("en") if not kept_back(cell.key))
    apart = next(cell for cell in cells("en") if kept_back(cell.key))
    rows = [
        {
            "form": cell.form, "language": language, "tone": cell.tone, "slots": " ".join(cell.slots), "weight": 0.5,
            "chosen_subject": "A", "chosen_body": "B", "rejected_subject": "C", "rejected_body": "D",
        }
        for cell in (chosen, apart) for language in ("en", "zh")
    ]  # fmt: skip
    learned, judged = pairs(pl.DataFrame(rows, schema=WORDING_PAIRS.columns), "en")
    assert ([pair.prompt for pair in learned], [pair.prompt for pair in judged]) == ([chosen.short], [apart.short])
    assert learned[0].weight == 0.5
    assert learned[0].chosen != learned[0].rejected


def test_an_answer_in_a_row_sees_its_prompt_and_itself_and_nothing_after() -> None:
    row = pack([([1, 2, 3], [[10, 11], [20]]), ([4], [[30, 31]])])
    assert row.ids.tolist() == [1, 2, 3, 10, 11, 20, 4, 30, 31]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 2]
    assert [sorted(row.ids[line].tolist()) for line in row.seen] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 3, 10], [1, 2, 3, 10, 11], [1, 2, 3, 20], [4], [4, 30], [4, 30, 31],
    ]  # fmt: skip
    assert row.ids[row.at].tolist() == [3, 10, 3, 4, 30]
    assert row.labels.tolist() == [10, 11, 20, 30, 31]
    assert row.answer.tolist() == [0, 0, 1, 2, 2]


def test_a_difference_of_copywriters_counts_cells_not_answers() -> None:
    said = Wording("sms", "en", "deal", "", "x", "model")
    asked = list(cells("en")[:4])
    better = {cell: [said, said, said, None] for cell in asked}
    worse = {cell: [said, None, None, None] for cell in asked}
    gain = verified_difference(better, worse)
    assert (gain.value, gain.low, gain.high) == (0.5, 0.5, 0.5)
    mixed = {cell: ([said] * 4 if place % 2 else [None] * 4) for place, cell in enumerate(asked)}
    unsure = verified_difference(mixed, worse)
    assert unsure.low < 0 < unsure.high
    with pytest.raises(ValueError, match="same cells"):
        verified_difference(better, {asked[0]: [said]})


# -- learning: half a minute and more ------------------------------------------------------------------------------------
class Kept:
    """Checkpoints in memory; after `limit` of them the training is killed."""

    def __init__(self, limit: int) -> None:
        self.files: dict[str, bytes] | None = None
        self.limit = limit

    def load(self) -> dict[str, bytes] | None:
        return self.files

    def save(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.limit -= 1
        if self.limit == 0:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_it_learns_goes_on_where_it_was_killed_and_its_adapter_speaks(tmp_path: Path) -> None:
    from mktgen.copywriting.tuning import Tuner

    settings = TuningSettings(steps=12, preference_steps=4, checkpoint_every=3)
    tuner = Tuner(settings, seed=1, threads=1)
    told = lessons("en", 12, 2, 4, seed=1)
    request = told[0][0]
    taught = [
        Pair(lesson.prompt, lesson.answers[0], lesson.answers[-1], 1.0) for step in told[:2] for lesson in step
    ]  # fmt: skip
    before = tuner.likelihood(kept_wordings("en"))
    straight = tuner.learn(told, taught, Kept(-1), lambda line: None)
    wanted, after = tuner.gguf(), tuner.likelihood(kept_wordings("en"))
    assert len(straight.likelihood) == 12
    assert after < before - 0.5, "wordings that were kept back have become likelier"
    assert straight.preference[-1] < straight.preference[0]
    together, alone = tuner.margins(taught), [tuner.margins([pair])[0] for pair in taught]
    assert together == pytest.approx(alone, abs=1e-2), "answers in one row don't see each other"

    for killed_after in (2, 5):  # in the middle of either phase
        kept = Kept(killed_after)
        with pytest.raises(KeyboardInterrupt):
            tuner.learn(told, taught, kept, lambda line: None)
        assert tuner.learn(told, taught, kept, lambda line: None) == straight
        assert tuner.gguf() == wanted, "the same bytes as without the interruption"

    path = tmp_path / "adapter.gguf"
    path.write_bytes(wanted)
    model = Embedded(path, "test")
    asked = next(cell for cell in cells("en") if cell.short == request.prompt)
    phraser = Phraser(model, Budget(), 1, {}, time.monotonic)
    for number in range(8):
        phraser.attempt(asked, number)
    model.close()
    assert phraser.tally.malformed == 0
    assert phraser.tally.verified + phraser.tally.refused >= 6, "it comes to an end, which the bare model does not"


@pytest.mark.slow
def test_preference_steps_make_the_chosen_answers_likelier_than_the_rejected() -> None:
    from mktgen.copywriting.tuning import Tuner

    cell = Request.of("push", "en", "everyday", frozenset({"item", "valid_to"}))
    body = "Use this coupon for {{item}} until {{valid_to}}."
    said = [
        cell.answer(Wording("push", "en", "everyday", subject, body, "template"))
        for subject in (
            "Is {{item}} on your list?",
            "A coupon for {{item}}",
            "Ready for {{item}}?",
            "Your coupon: {{item}}",
        )
    ]
    preferred = [Pair(cell.short, said[0], said[1], 1.0), Pair(cell.short, said[2], said[3], 0.5)]
    settings = TuningSettings(steps=3, preference_steps=10, preference_rate=1e-3)
    tuner = Tuner(settings, seed=1, threads=1)
    told = lessons("en", 3, 2, 4, seed=1)
    tuner.learn(told, [], Kept(-1), lambda line: None)
    before = tuner.margins(preferred)
    tuner.learn(told, preferred, Kept(-1), lambda line: None)
    after = tuner.margins(preferred)
    assert all(later > earlier + 1.0 for earlier, later in zip(before, after, strict=True))
