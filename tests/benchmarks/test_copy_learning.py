"""The benchmark of learning which words work, on a small market: its bounds are bounds, and learning goes up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import copy_learning
from mktgen.copywriting.wording import Wording
from mktgen.market_sim.scenario import load


def test_what_is_learned_lies_between_blind_choice_and_the_best_by_segment() -> None:
    strong = load("strong")
    run = copy_learning.waves(strong, copies=1, count=4)
    beside, found = copy_learning.beside(run), copy_learning.study(run, strong, seed=0)
    assert found["learned"][0] == found["uniform"][0], "the first wave knows nothing"
    assert (np.array(found["learned"]) < np.array(beside["best by segment"])).all()
    assert (np.array(beside["best fixed"]) <= np.array(beside["best by segment"]) + 1e-12).all()
    assert found["learned"][-1] > found["uniform"][-1]


def test_drafts_are_judged_by_the_truth_of_the_held_out_segments(tmp_path: Path) -> None:
    strong = load("strong")
    wave = copy_learning.waves(strong, copies=1, count=1)[0]
    drafts = [
        Wording("email", "en", "everyday", subject, "{{item}} until {{valid_to}}.", "model")
        for subject in ("x", "{{discount}}")
    ]
    plain, amount = (copy_learning.true_rate(wave, [draft], strong) for draft in drafts)
    assert amount > plain > 0
    path = tmp_path / "drafts.jsonl"
    rows = [
        {"form": one.form, "language": one.language, "tone": one.tone, "subject": one.subject, "body": one.body}
        for one in drafts
    ]
    path.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "language": "zh"}])) + "\n", encoding="utf-8")
    read = copy_learning.drafts_of(path)
    assert read == drafts
    assert copy_learning.true_rate(wave, read, strong) == pytest.approx((plain + amount) / 2)
