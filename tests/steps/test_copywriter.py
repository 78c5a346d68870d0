"""The copywriter as steps: who is asked, what is kept, who may write; and the same bytes on every rerun."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from mktgen import contracts, pipeline
from mktgen.copywriting._adapter_file import to_gguf
from mktgen.copywriting.serving import ADAPTER
from mktgen.documents import CopyPromotion, CopyReport, CopywriterTraining, Interval, TrainingPlan
from mktgen.errors import PermanentError
from mktgen.settings.words import CopySettings
from mktgen.steps.runner import Platform
from mktgen.steps.training_words import _verdict
from mktgen.store import sha256
from tests.steps.conftest import PlatformOf
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import BY, prepare, run
from tests.support.llm_server import Server, said

WORDS = ("Use this coupon for", "Bring this coupon for", "Here is your coupon for", "You have a coupon for")
SERVED = {"engine": "server", "model": "some-model", "drafts": 2, "tries": 2}
# A model that was never tuned, and hardly any answers: what it says doesn't matter here.
BARE = {
    "engine": "embedded", "drafts": 1, "tries": 1, "answer_tokens": 20, "judged_answers": 2, "min_well_formed": 0.0,
    "min_verified": 0.0,
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def well_said(asked: dict[str, Any]) -> tuple[int, bytes]:
    """A true answer in other words for another seed."""
    prompt = asked["messages"][1]["content"]
    if "Chinese" in prompt:
        return said("not an object")
    discount = " and take {{discount}} off" if "{{discount}}" in prompt else ""
    body = f"{WORDS[asked['seed'] % len(WORDS)]} {{{{item}}}} until {{{{valid_to}}}}{discount}."
    return said(json.dumps({"subject": "A coupon for {{item}}", "body": body}))


def planned(platform: Platform, training: date = PARTITION) -> None:
    span = {"training_partition": training, "evaluation_from": training, "evaluation_to": training}
    plan = TrainingPlan(partition=PARTITION, reason="test", **span)
    platform.store.write_document("training_plan", PARTITION, plan, replace(BY, run=f"r{training}"))


def offered(platform: Platform, *faces: int | None) -> None:
    columns = contracts.OFFERS.columns
    rows = [
        dict.fromkeys(columns)
        | {
            "offer_id": str(n),
            "campaign_id": "1",
            "face_value_minor": face,
            "valid_from": PARTITION,
            "valid_to": PARTITION,
        }
        for n, face in enumerate(faces)
    ]
    frame = pl.DataFrame(rows, schema=columns).with_columns(
        pl.col(name).fill_null("") for name, kind in columns.items() if kind == pl.String
    )
    platform.store.write_table("offers", PARTITION, frame, replace(BY, run=f"r{len(faces)}"))


def copied(platform: Platform, recompute: Any = "changed") -> CopyReport:
    for step in ("train_copywriter", "promote_copywriter", "write_copy"):
        pipeline.run_step(step, PARTITION, platform=platform, recompute=recompute)
    return platform.store.read_document(platform.store.need("copy_report", PARTITION), CopyReport)


def wordings(platform: Platform) -> pl.DataFrame:
    return platform.store.read_table(platform.store.need("wordings", PARTITION))


def test_nobody_is_asked_where_the_template_bank_writes(platform_of: PlatformOf) -> None:
    platform = platform_of()
    planned(platform)
    offered(platform, None)
    report = copied(platform)
    assert (report.engine, report.model, report.tally.asked, wordings(platform).height) == ("template", "", 0, 0)
    assert "no model is asked" in report.reason
    trained = platform.store.read_document(platform.store.need("copywriter_training", PARTITION), CopywriterTraining)
    assert (trained.adapter_sha256, trained.wordings) == ("", 0)


def test_what_a_server_writes_is_verified_counted_and_drawn_from(platform_of: PlatformOf, server: Server) -> None:
    server.script = [well_said]
    platform = platform_of(strategy={"budget_minor": 9_000}, copywriting={**SERVED, "base_url": server.url})
    prepare(platform)
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    platform.store.write_table("reasons", PARTITION, contracts.REASONS.empty(), BY)
    run(platform, "learn_wording")
    report, found = copied(platform), wordings(platform)
    assert 0 < found.height <= report.tally.verified
    assert set(found["language"]) == {"en"}
    assert report.tally.malformed > 0, "the Chinese answers are no objects"
    assert set(report.languages) == {"en", "zh"}
    assert "Soft" not in json.dumps(server.asked), "no product reaches a model"
    run(platform, "write_briefs")
    messages = platform.store.read_table(platform.store.need("messages", PARTITION))
    assert set(messages["origin"]) >= {"model", "template"}
    ours = messages.filter(origin="model")
    assert set(ours["wording_id"]) <= set(found["wording_id"])


def test_a_rerun_asks_nothing_again_and_comes_to_the_same(platform_of: PlatformOf, server: Server) -> None:
    server.script = [well_said, (401, b""), well_said, said("nonsense"), well_said]
    platform = platform_of(copywriting={**SERVED, "base_url": server.url})
    planned(platform)
    offered(platform, None)
    first, asked = copied(platform), len(server.asked)
    assert first.tally.troubles == {"server answered 401": 1}
    server.script = [well_said]
    assert copied(platform, "all") == first, "the trouble too: else the same inputs would give other bytes"
    assert len(server.asked) == asked
    # Another derivation asks again only what was never answered.
    offered(platform, None, None)
    later = copied(platform)
    assert len(server.asked) == asked + 1
    assert later.tally.troubles == {}


def test_a_run_without_time_or_tokens_says_so_and_leaves_it_to_the_bank(
    platform_of: PlatformOf, server: Server
) -> None:
    server.script = [well_said]
    for limit, words in (({"seconds": 0}, "0 s are over"), ({"tokens": 0}, "0 tokens spent, 0 allowed")):
        platform = platform_of(f"-{words[:4]}", copywriting={**SERVED, "base_url": server.url, **limit})
        planned(platform)
        offered(platform, None)
        report = copied(platform)
        assert (report.tally.stopped, report.tally.fallback_share) == (words, 1.0)
        assert copied(platform, "all") == report
    assert server.asked == []


def test_a_server_without_a_model_is_refused_by_name(platform_of: PlatformOf) -> None:
    platform = platform_of(copywriting={"engine": "server"})
    planned(platform)
    offered(platform, None)
    with pytest.raises(PermanentError, match=r"copywriting\.base_url and copywriting\.model"):
        copied(platform)


def adapter(scale: float) -> bytes:
    """An adapter that turns every value of the first layer by `scale`; 0 changes nothing."""
    a = np.full((1, 576), scale, dtype=np.float32)
    return to_gguf({(0, "v_proj", "a"): a, (0, "v_proj", "b"): np.full((192, 1), scale, dtype=np.float32)}, 1.0)


def learned(platform: Platform, day: date, content: bytes) -> None:
    """As train_copywriter would leave it."""
    platform.store.write_files("copywriter", day, {ADAPTER: content}, BY)
    report = CopywriterTraining(
        training_partition=day, reason="test", model="test", adapter_sha256=sha256(content), prompts_sha256="",
        lessons_sha256="0" * 64,
        wordings=0, pairs=0, parameters={}, curves={}, figures={},
    )  # fmt: skip
    platform.store.write_document("copywriter_training", day, report, BY)


def promoted(platform: Platform, day: date) -> CopyPromotion:
    planned(platform, day)
    pipeline.run_step("promote_copywriter", PARTITION, platform=platform)
    return platform.store.read_document(platform.store.need("copy_promotion", day), CopyPromotion)


def test_the_first_adapter_serves_and_an_equal_one_does_not_take_over(platform_of: PlatformOf) -> None:
    platform, before = platform_of(copywriting=BARE), PARTITION - timedelta(days=7)
    learned(platform, before, adapter(0.0))
    learned(platform, PARTITION, adapter(0.0))
    first = promoted(platform, before)
    assert (first.serving, first.role, first.verified) == (before, "champion", None)
    assert first.challenger is not None
    assert first.challenger.tally.asked == 18
    again = promoted(platform, PARTITION)
    assert (again.serving, again.role) == (before, "challenger")
    assert again.verified is not None
    assert (again.verified.low, again.verified.high) == (0.0, 0.0)
    assert "not shown to be better" in again.reason
    assert again.champion == first.challenger
    offered(platform, None)
    report = platform.store.read_document(written(platform), CopyReport)
    assert (report.learned_on, report.languages["zh"][:13]) == (before, "template bank")
    assert report.tally.asked > 0


def written(platform: Platform) -> Any:
    pipeline.run_step("write_copy", PARTITION, platform=platform)
    return platform.store.need("copy_report", PARTITION)


def test_an_adapter_that_fails_its_checks_never_writes(platform_of: PlatformOf) -> None:
    platform = platform_of(copywriting={**BARE, "min_verified": 0.5})
    learned(platform, PARTITION, adapter(0.0))
    found = promoted(platform, PARTITION)
    assert (found.serving, found.role) == (None, "challenger")
    assert "0% of 18 answers are let pass by the verifier, 50% are needed" in found.reason
    offered(platform, None)
    report = platform.store.read_document(written(platform), CopyReport)
    assert (report.model, report.tally.asked) == ("", 0)
    assert report.reason.startswith("no adapter serves")


@pytest.mark.parametrize(
    ("failed", "verified", "gain", "wins", "words"),
    [
        ([], None, None, True, "the first adapter"),
        (["too few answers"], None, None, False, "may not write: too few answers"),
        ([], (0.2, 0.1, 0.3), None, True, "shown to be better than the one that serves by its verified share"),
        ([], (0.05, -0.1, 0.2), None, False, "not shown to be better"),
        ([], (0.0, -0.2, 0.2), (0.004, 0.001, 0.007), True, "by its expected click rate on held-out segments"),
        ([], (0.3, 0.2, 0.4), (0.001, -0.002, 0.004), False, "not shown to be better"),
        ([], (-0.05, -0.09, -0.01), (0.004, 0.001, 0.007), False, "its fallback rate has risen"),
        ([], (-0.11, -0.4, 0.2), (0.004, 0.001, 0.007), False, "its fallback rate has risen"),
    ],
)
def test_who_writes_is_decided_by_intervals(
    failed: list[str],
    verified: tuple[float, float, float] | None,
    gain: tuple[float, float, float] | None,
    wins: bool,
    words: str,
) -> None:
    told = [
        Interval(value=one[0], low=one[1], high=one[2]) if one is not None else None for one in (verified, gain)
    ]  # fmt: skip
    decided, reason = _verdict(failed, told[0], told[1], CopySettings())
    assert (decided, words in reason) == (wins, True), reason


def test_an_adapter_that_is_none_is_refused(platform_of: PlatformOf) -> None:
    platform = platform_of(copywriting=BARE)
    learned(platform, PARTITION, b"no adapter")
    with pytest.raises(PermanentError, match=r"llama\.cpp can't load .* Train the adapter again"):
        promoted(platform, PARTITION)
