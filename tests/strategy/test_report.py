"""The HTML reports: whole, bare of scripts and of anything to fetch, the same bytes, and nothing in them becomes markup."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from mktgen.documents import (
    ClassSummary,
    Comparison,
    EffectLine,
    Gate,
    Interval,
    LaunchEvidence,
    OfferLine,
    Refusal,
    Strategy,
    StrategyEvaluation,
)
from mktgen.strategy.report import Line, Realised, chart, realised_report, strategy_report
from tests.support.strategy_day import make_day

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }}'
SOME = Interval(value=120.0, low=-30.0, high=270.0)


class Reader(HTMLParser):
    """Tags with their attributes, and the text; whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def full(text: str = "words") -> Strategy:
    base = make_day().strategy
    evaluation = StrategyEvaluation(
        partition=base.partition, metrics={}, stopped=False, reasons=[],
        gates=[Gate(name=text, passed=state, detail=text) for state in (True, False, None)],
        refused=[Refusal(metric=text, missing=[text], reason=text)],
    )  # fmt: skip
    launch = LaunchEvidence(
        partition=base.partition, standing="experiment", reason=text, value=None, logged=None, facts={},
        comparisons=[
            Comparison(incumbent=text, difference=SOME, gate=Gate(name="g", passed=True, detail="")),
            Comparison(incumbent="nobody", difference=None, gate=Gate(name="g", passed=None, detail="")),
        ],
    )  # fmt: skip
    one = ClassSummary(
        name="persuadable", meaning=text, customers=3, contacted=2, held_out=1, effect=SOME, effect_minor=SOME
    )
    campaign = base.campaigns[0].model_copy(
        update={
            "name": {"en": text},
            "audience": {"en": text},
            "offers": [OfferLine(offer_id="o", label=text, customers=3)],
        }
    )
    return base.model_copy(
        update={
            "evaluation": evaluation, "launch": launch, "classes": [one], "campaigns": [campaign, *base.campaigns[1:]],
            "source_notice": text, "assumptions": [text], "versions": {"policy": text},
        }
    )  # fmt: skip


def realised(text: str = "words") -> Realised:
    day = make_day().strategy.partition
    lines = [
        EffectLine(campaign_id=name, wave=day, contacts=3, controls=3, matured=True, incremental=True, predicted_minor=99.0,
                   realised=found, shortfall=False, reason=text)
        for name, found in (("", SOME), (text, None))
    ]  # fmt: skip
    metrics = {"cvr": 0.2, "cvr_low": 0.1, "cvr_high": 0.3, "decisions_sent": 40.0}
    return Realised(day, day + timedelta(days=28), metrics, [Refusal(metric=text, missing=[text], reason=text)], lines)


def pages(text: str = "words") -> list[str]:
    trail = [Line("2017-10-04T12:00:00+00:00", "approved", text, text, "ab" * 32)]
    return [strategy_report(full(text), "approved", trail), realised_report(realised(text), text, text)]


def test_a_report_needs_nothing_else_and_is_the_same_every_time() -> None:
    for page, again in zip(pages(), pages(), strict=True):
        assert page == again
        read = Reader(page)
        assert read.open == []
        assert {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object", "form", "a"} == set()
        assert not re.search(r"https?:|url\(|@import|src=", page)
        assert "prefers-color-scheme: dark" in page
        assert any(tag == "svg" and facts["role"] == "img" and facts["aria-label"] for tag, facts in read.tags)


def test_nothing_in_a_strategy_becomes_markup() -> None:
    for plain, hostile in zip(pages(), pages(HOSTILE), strict=True):
        tags, same = ([(tag, sorted(facts)) for tag, facts in Reader(page).tags] for page in (hostile, plain))
        assert tags == same
        assert HOSTILE in Reader(hostile).words


def test_a_report_says_what_matters() -> None:
    strategy = full()
    words = Reader(pages()[0]).words
    for said in (
        strategy.campaigns[1].name["en"], strategy.campaigns[1].audience["en"], "1.2 (-0.3 to 2.7)", "approved", "words",
        f"{strategy.customers:,}",
    ):  # fmt: skip
        assert said in words
    came = Reader(pages()[1]).words
    for said in (
        "cvr",
        "0.2000 (0.1000 to 0.3000)",
        "all campaigns: predicted",
        "all campaigns: realised",
        "1.2 (-0.3 to 2.7)",
    ):
        assert said in came


def test_a_day_without_contacts_and_a_wave_that_is_not_over_have_reports() -> None:
    nobody = make_day().strategy.model_copy(update={"campaigns": [], "evaluation": None})
    read = Reader(strategy_report(nobody, "draft", []))
    assert "Nobody is contacted." in read.words
    assert "not evaluated" in read.words
    assert "nothing yet" in read.words
    early = Realised(nobody.partition, nobody.partition, {}, [], [])
    assert "the wave is not over" in Reader(realised_report(early, "s", "n")).words


@pytest.mark.parametrize(
    ("low", "value", "high"), [(-30.0, 120.0, 270.0), (5.0, 6.0, 7.0), (-9.0, -8.0, -7.0), (0.0, 0.0, 0.0)]
)
def test_intervals_are_drawn_in_order_and_inside_the_picture(low: float, value: float, high: float) -> None:
    drawn = chart("t", [("x" * 99, Interval(value=value, low=low, high=high)), ("unknown", None)], 1.0)
    (row,) = drawn["rows"]
    assert drawn["left"] <= row["low"] <= row["value"] <= row["high"] <= drawn["right"]
    assert (row["low"] <= drawn["zero"]) == (low <= 0)
    assert (row["high"] >= drawn["zero"]) == (high >= 0)
    assert len(row["label"]) <= 32
