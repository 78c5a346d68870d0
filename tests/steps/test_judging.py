"""What is handed to another process comes back the same, and how many judge side by side changes nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.config import environment
from mktgen.documents import Gate
from mktgen.errors import TransientError
from mktgen.models import model_class
from mktgen.settings import ModelSettings, Settings
from mktgen.steps import honesty
from mktgen.steps.handover import hand_over, taken_over
from mktgen.steps.judging import Judged, Material, judgement_at, week_at
from mktgen.steps.workers import run_judges
from mktgen.steps.worlds import history_at, sample_customers, scored
from tests.support.shop import Shop, around, make_shop, order_lines
from tests.support.training import session

CUT = date(2017, 6, 4)
KINDS = ["personal_frequency", "popularity", "recent_spend"]
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "MKTGEN_PSEUDONYM_KEY": "none"}
SETTINGS = Settings.model_validate({"models": {"threads": 1, "gate_customers": 12}})


@dataclass(frozen=True)
class Inner:
    on: date
    rows: pl.DataFrame
    again: pl.DataFrame | None


@dataclass(frozen=True)
class Outer:
    inner: list[Inner]
    numbers: dict[str, float]
    words: dict[str, list[str]]
    gates: list[Gate]
    yes: bool


def test_a_value_comes_back_the_same_and_frames_are_written_once(tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": [0.1 + 0.2, math.inf], "d": [CUT, None]})
    other = rows.head(0)
    value = Outer(
        [Inner(CUT, rows, rows), Inner(CUT + timedelta(days=1), other, None)],
        {"a": 0.1 + 0.2, "inf": math.inf},
        {"none": [], "some": ["x"]},
        [Gate(name="g", passed=None, detail="d", value=1 / 3)],
        yes=True,
    )
    hand_over(tmp_path / "v", value)
    assert len(list((tmp_path / "v").glob("*.arrow"))) == 2
    found = taken_over(tmp_path / "v", Outer)
    assert (found.numbers, found.words, found.gates, found.yes) == (value.numbers, value.words, value.gates, True)
    assert [one.on for one in found.inner] == [one.on for one in value.inner]
    assert_frame_equal(found.inner[0].rows, rows, check_exact=True)
    assert found.inner[0].again is found.inner[0].rows
    assert_frame_equal(found.inner[1].rows, other)
    assert found.inner[1].again is None


def test_what_cannot_be_handed_over_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="set can't be handed to another process"):
        hand_over(tmp_path / "v", {"a": {1, 2}})


def job_of(shop: Shop, job: Path) -> Path:
    for name in ("begun", "judged", "models"):
        (job / name).mkdir(parents=True)
    lines, known = order_lines(shop.events), around(shop.events)
    customers = sample_customers(lines, CUT, SETTINGS)
    sample = known.told(history_at(lines.filter(pl.col("customer_id").is_in(customers)), CUT, SETTINGS.features))
    scores = []
    for kind in KINDS:
        model = model_class(kind)()
        model.fit(shop.training_set(CUT), ModelSettings(threads=1), session())
        model.save(job / "models" / kind)
        scores.append(scored(model, sample, customers).with_columns(kind=pl.lit(kind)))
    pl.concat(scores).write_parquet(job / "sample_scores.parquet")
    first_day = lines["business_date"].min()
    assert isinstance(first_day, date)
    among = honesty.worlds(lines, customers, CUT, first_day, SETTINGS).told(known, SETTINGS.seed)
    later = [week_at(lines, CUT + timedelta(days=7), SETTINGS, known)]
    hand_over(job / "material", Material(judgement_at(lines, CUT, SETTINGS, known), later, among))
    return job


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(customers=40, items=50)


def test_one_process_or_two_judge_the_same(shop: Shop, tmp_path: Path) -> None:
    found = []
    for at_once in ("1", "2"):
        job = job_of(shop, tmp_path / at_once)
        run_judges(job, KINDS, environment({**KEYS, "MKTGEN_TRAIN_AT_ONCE": at_once}))
        found.append({kind: taken_over(job / "judged" / kind, Judged) for kind in KINDS})
    for kind in KINDS:
        one, two = found[0][kind], found[1][kind]
        assert one.metrics, kind
        assert (one.metrics, one.gates) == (two.metrics, two.gates)
        for ours, theirs in ((one.ranked, two.ranked), (one.chances, two.chances)):
            if ours is None or theirs is None:
                assert ours is theirs
            else:
                assert_frame_equal(ours, theirs, check_exact=True)
    assert found[0]["personal_frequency"].ranked is not None


def test_a_judge_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="a process that judges ended with status 1"):
        run_judges(tmp_path, KINDS, environment(KEYS))
