"""The benchmark of campaign effects chooses the campaigns it says, and ends in a refusal only where all were refused."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from benchmarks.complete_journey_effect import (
    EARLIER,
    MIN_MAILED,
    SHOWN,
    Judged,
    campaign_line,
    chosen_campaigns,
    show_pooled,
    show_verdict,
)
from benchmarks.coverage_effect import EFFECT, campaign
from mktgen.contracts import CUSTOMER_DAYS
from mktgen.feedback.effect.assess import findings, judge
from mktgen.feedback.effect.cohort import Tables
from mktgen.settings import EffectSettings
from tests.feedback import shop

SETTINGS = EffectSettings(outcome_model="ridge")
FIRST, LAST = date(2017, 1, 1), date(2017, 12, 31)


def judged(hidden: float, effect: float, kind: str) -> Judged:
    made = campaign(np.random.default_rng(5), hidden, effect)
    found = findings(made, SETTINGS, seed=0)
    return Judged(kind, found, judge(made, found, SETTINGS))


def test_it_ends_in_a_refusal_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    refused = [judged(1.0, 0.0, "A"), judged(1.0, 0.0, "B")]
    assert show_verdict(refused)
    figures = show_pooled(refused)
    printed = capsys.readouterr().out
    assert "REFUSED: 2 of 2 campaigns" in printed
    assert "placebo AIPW" in printed
    assert set(figures) == {"A", "B", "all"}
    assert set(figures["all"]) == {name for name, _ in SHOWN}
    assert campaign_line(refused[0]).startswith("A 1")
    assert not show_verdict([*refused, judged(0.0, EFFECT, "A")])  # one was reported


def test_the_earlier_figures_stand_beside_estimates_that_are_made_here() -> None:
    assert set(EARLIER) == {"A", "B", "C", "all"}
    assert all(set(group) <= {name for name, _ in SHOWN} for group in EARLIER.values())


def test_only_campaigns_large_and_long_enough_are_chosen() -> None:
    starts = {
        "1": FIRST + timedelta(days=40), "2": FIRST + timedelta(days=40), "3": LAST - timedelta(days=24),
        "4": LAST - timedelta(days=23), "5": FIRST + timedelta(days=10),
    }  # fmt: skip
    mailed = [(f"c{n}", name, start) for name, start in starts.items() for n in range(MIN_MAILED - (name == "2"))]
    tables = Tables(
        CUSTOMER_DAYS.empty(), shop.exposures(mailed),
        shop.campaigns([(name, start, start) for name, start in starts.items()]), shop.responses([]),
    )  # fmt: skip
    chosen = chosen_campaigns(tables, FIRST, LAST, [])
    assert [name for name, _, _ in chosen] == ["1", "3"]
    assert chosen_campaigns(tables, FIRST, LAST, ["3"]) == [("3", "A", starts["3"])]
