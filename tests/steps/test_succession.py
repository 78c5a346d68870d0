"""A version of the response model a day: who serves, a rollback that pins, and what a request for retraining changes."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from mktgen import pipeline
from mktgen.__main__ import main
from mktgen.documents import ResponsePromotion, ResponseReport, RetrainingRequest
from mktgen.errors import NotAllowed
from mktgen.steps.responding import trials_behind, value_note
from mktgen.steps.runner import Platform
from tests.steps.conftest import PlatformOf
from tests.steps.test_responding import (
    BY,
    CUSTOMERS,
    DECIDED,
    MATURED,
    NONE,
    OFFER,
    TODAY,
    bought,
    dispatched,
    features,
    reading,
    scores,
)  # fmt: skip

DAYS = [TODAY + timedelta(days=n) for n in range(5)]


def promotion(platform: Platform, day: date) -> ResponsePromotion:
    return platform.store.read_document(platform.store.need("response_promotion", day), ResponsePromotion)


def report(platform: Platform, day: date) -> ResponseReport:
    return platform.store.read_document(platform.store.need("response_report", day), ResponseReport)


def decide(platform: Platform, day: date) -> ResponsePromotion:
    for step in ("learn_response", "promote_response"):
        pipeline.run_step(step, day, platform=platform)
    return promotion(platform, day)


def more_trials(platform: Platform, number: int) -> None:
    """The trials of one more day: the same customers and effect, drawn anew."""
    rng = np.random.default_rng(100 + number)
    drawn = rng.random(len(CUSTOMERS)) < 0.5
    spent = rng.poisson(300, len(CUSTOMERS)) + drawn * 2_000 * scores()["p_churn_28d"].to_numpy()
    first = platform.store.read_table(platform.store.need("trials", MATURED)).sort("customer_id")
    later = first.with_columns(
        pl.col("decision_id") + f"-{number}",
        pl.col("decided_on") + timedelta(days=number),
        action=pl.Series([OFFER if one else NONE for one in drawn]),
        reward_minor=pl.Series(0.3 * spent - 40.0 * drawn),
    )
    platform.store.write_table("trials", MATURED + timedelta(days=number), later, BY)
    decided = DECIDED + timedelta(days=number)
    platform.store.write_table("customer_features", decided, features(decided), BY)
    platform.store.write_table("customer_scores", decided, scores(), BY)


@pytest.fixture
def platform(platform_of: PlatformOf) -> Platform:
    return tried(platform_of())


def tried(made: Platform) -> Platform:
    """Trials that a first version learns from on DAYS[0], and new ones for the day after."""
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(made, drawn)
    bought(made, drawn, effect_minor=1_000)
    pipeline.run_step("collect_trials", MATURED, platform=made)
    more_trials(made, 1)
    return made


def test_versions_succeed_one_another_and_one_serves_on_where_nothing_is_new(platform: Platform) -> None:
    assert decide(platform, DAYS[0]).serving == DAYS[0]
    second = decide(platform, DAYS[1])
    assert (second.serving, second.role, second.previous) == (DAYS[1], "champion", DAYS[0])
    against = report(platform, DAYS[1]).against
    assert against is not None
    assert (against.champion, against.trials) == (DAYS[0], len(CUSTOMERS))
    third = decide(platform, DAYS[2])
    assert (third.serving, third.role, third.previous) == (DAYS[1], "challenger", DAYS[0])
    assert "0 trials matured since" in third.reason
    note = value_note(reading(platform, DAYS[2]))
    assert note.startswith("values are incremental: learned from 3000 randomised decisions, 1 offers tried (version of")
    assert "goes on" in note
    assert pipeline.run_step("promote_response", DAYS[1], platform=platform).reused


def test_a_rollback_pins_what_allocation_reads_until_it_is_released(platform: Platform) -> None:
    for day in DAYS[:2]:
        decide(platform, day)
    done = pipeline.roll_back_response("ada", "effects looked wrong", platform=platform)
    assert done.notes == [
        f"response model pinned to the version of {DAYS[0]} from {DAYS[2]} on, by ada: effects looked wrong"
    ]
    assert pipeline.run_step("promote_response", DAYS[1], platform=platform).reused, "no day that was decided changes"
    more_trials(platform, 2)
    pinned = decide(platform, DAYS[2])
    assert (pinned.serving, pinned.previous) == (DAYS[0], DAYS[1])
    run = reading(platform, DAYS[2])
    assert [manifest.partition for manifest in run.inputs["response_model"]] == [str(DAYS[0])]
    assert f"Pinned to the version of {DAYS[0]} by ada since {DAYS[2]}: effects looked wrong" in value_note(run)
    assert decide(platform, DAYS[3]).serving == DAYS[0], "until it is released"
    released = pipeline.roll_back_response("ada", "explained", release=True, platform=platform)
    assert released.partition == DAYS[4]
    after = decide(platform, DAYS[4])
    assert after.pin is None
    assert report(platform, DAYS[4]).against.champion == DAYS[0]  # type: ignore[union-attr]
    assert promotion(platform, DAYS[3]).pin is not None, "earlier days keep their pin"


def test_a_rollback_that_makes_no_sense_is_refused_by_name(platform: Platform) -> None:
    def refused(match: str, by: str = "ada", why: str = "why", **wanted: object) -> None:
        with pytest.raises(NotAllowed, match=match):
            pipeline.roll_back_response(by, why, platform=platform, **wanted)  # type: ignore[arg-type]

    refused("nothing to roll back")
    decide(platform, DAYS[0])
    refused("no earlier version served")
    refused("was learned on 2016-01-01", to=date(2016, 1, 1))
    refused("nothing to release", release=True)
    refused("who asked for it and why", why=" ")
    refused("who asked for it and why", by="")
    pipeline.run_step("learn_response", date(2017, 1, 5), platform=platform)  # before anything was tried
    refused("can't serve: no decision of ours", to=date(2017, 1, 5))


def test_one_command_rolls_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Platform, "from_environment", classmethod(lambda cls: platform))
    for day in DAYS[:2]:
        decide(platform, day)
    assert main(["rollback", "response", "--to", str(DAYS[0]), "--by", "ada", "--why", "looked wrong"]) == 0
    assert f"pinned to the version of {DAYS[0]} from {DAYS[2]} on, by ada" in capsys.readouterr().out
    assert main(["rollback", "response", "--release", "--why", "explained"]) == 0
    assert main(["rollback", "response", "--release", "--why", "again"]) == 1
    assert "nothing to release" in capsys.readouterr().err


def test_a_doubt_counts_whichever_version_serves(platform: Platform) -> None:
    """A pinned version was learned before feedback came to doubt what it rests on: the doubt stays in force."""
    decide(platform, DAYS[0])
    assert trials_behind(reading(platform, DAYS[0])) > 1_000  # type: ignore[operator]
    pipeline.roll_back_response("ada", "under suspicion", to=DAYS[0], platform=platform)
    doubted = DECIDED + timedelta(days=1)
    asked = RetrainingRequest(
        partition=DAYS[0], requested=True, reasons=["effect drift"], models=["response"], doubted_before=doubted
    )
    platform.store.write_document("retraining_request", DAYS[0], asked, BY)
    pinned = decide(platform, DAYS[1])
    assert (pinned.serving, pinned.doubted_before) == (DAYS[0], doubted)
    assert trials_behind(reading(platform, DAYS[1])) == 0, "exploration is whole again"


def test_a_request_for_retraining_makes_earlier_trials_count_for_little(platform: Platform) -> None:
    decide(platform, DAYS[0])
    doubted = DECIDED + timedelta(days=1)
    asked = RetrainingRequest(
        partition=DAYS[0], requested=True, reasons=["effect drift"], models=["response"], doubted_before=doubted
    )
    platform.store.write_document("retraining_request", DAYS[0], asked, BY)
    result = pipeline.run_step("learn_response", DAYS[1], platform=platform)
    assert f"feedback asked for it: trials decided before {doubted} count for little" in result.notes
    found = report(platform, DAYS[1])
    assert found.doubted_before == doubted
    # two days of as many trials each, one of them at an eighth: (1 + 1/8)^2 / (1 + 1/64) days' worth
    assert found.facts["trials_effective"] == pytest.approx(len(CUSTOMERS) * 1.125**2 / (1 + 1 / 64), rel=0.02)
