"""Who serves: the rule over its cases, and the comparison on trials that neither version had seen."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from mktgen.documents import Interval, ResponseComparison, ResponsePin, ResponsePromotion, ResponseReport
from mktgen.response.fitting import fit_response
from mktgen.response.held_out import HeldOut
from mktgen.response.model import ResponseModel
from mktgen.response.succession import RULE, against_champion, succession
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, TrialWorld, make_trials

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=0, boosting_from=100_000)
DAY, EARLIER = date(2024, 6, 1), date(2024, 5, 31)


# -- the comparison -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def world() -> TrialWorld:
    return make_trials(3_000, 31)


@pytest.fixture(scope="module")
def version(world: TrialWorld) -> tuple[ResponseModel, HeldOut]:
    return fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 7)


def champion_of(effect: Any, seed: int = 99) -> ResponseModel:
    """Learned elsewhere, so that it saw none of the world's trials."""
    other = make_trials(3_000, seed, effect)
    return fit_response(other.trials, other.covariates, SETTINGS, PARTITION, 7)[0]


def backwards(x: np.ndarray) -> np.ndarray:
    return np.column_stack([40 - 60 * x[:, 0] + 30 * x[:, 1], 30 - 20 * x[:, 0]])


def truly(x: np.ndarray) -> np.ndarray:
    return np.column_stack([40 + 60 * x[:, 0] - 30 * x[:, 1], 30 + 20 * x[:, 0]])


def test_a_champion_that_foretells_the_opposite_is_replaced(world: TrialWorld, version: tuple[Any, HeldOut]) -> None:
    found = against_champion(version[1], world.covariates, champion_of(backwards), PARTITION, SETTINGS)
    assert found.gain is not None
    assert found.gain.low > 0
    assert found.replaces
    assert "better than the champion of 2024-06-01 on 3000 trials" in found.reason


def test_a_version_as_good_is_not_shown_to_be_worse(world: TrialWorld, version: tuple[Any, HeldOut]) -> None:
    found = against_champion(version[1], world.covariates, champion_of(truly), PARTITION, SETTINGS)
    assert found.replaces
    assert "not shown to be worse" in found.reason


def test_a_version_that_is_worse_does_not_replace(world: TrialWorld) -> None:
    swapped = world.covariates.with_columns(pl.col("x0").shuffle(3), pl.col("x1").shuffle(4))
    poor = fit_response(world.trials, swapped, SETTINGS, PARTITION, 7)[1]
    found = against_champion(poor, world.covariates, champion_of(truly), PARTITION, SETTINGS)
    assert found.gain is not None
    assert found.gain.high < 0
    assert not found.replaces
    assert "worse than the champion" in found.reason


def test_only_trials_that_matured_since_are_looked_at(world: TrialWorld, version: tuple[Any, HeldOut]) -> None:
    """The trials were decided a day before the partition; a champion of 9 days later had them all, with windows of 7 days."""
    later = PARTITION + timedelta(days=SETTINGS.window_days)
    found = against_champion(version[1], world.covariates, champion_of(backwards), later, SETTINGS)
    assert (found.trials, found.gain, found.replaces) == (0, None, False)
    on_the_day = PARTITION + timedelta(days=SETTINGS.window_days - 1)
    assert against_champion(version[1], world.covariates, champion_of(backwards), on_the_day, SETTINGS).trials == 3_000


def test_a_champion_that_lacks_its_covariates_gives_way(world: TrialWorld, version: tuple[Any, HeldOut]) -> None:
    other = make_trials(3_000, 5, covariates=6)
    champion = fit_response(other.trials, other.covariates, SETTINGS, PARTITION, 7)[0]
    found = against_champion(version[1], world.covariates, champion, PARTITION, SETTINGS)
    assert found.replaces
    assert "are missing" in found.reason


# -- the rule ---------------------------------------------------------------------------------------------------------------
def report(usable: bool = True, trials: int = 900, against: ResponseComparison | None = None) -> ResponseReport:
    return ResponseReport(
        partition=DAY, usable=usable, reason="all checks passed" if usable else "placebo: failed", trials=trials,
        actions=[], facts={}, gates=[], against=against,
    )  # fmt: skip


def compared(replaces: bool, champion: date = EARLIER) -> ResponseComparison:
    gain = Interval(value=1.0, low=0.5, high=1.5) if replaces else Interval(value=-1.0, low=-1.5, high=-0.5)
    return ResponseComparison(
        champion=champion, trials=50, gain=gain, reason="better" if replaces else "worse", replaces=replaces
    )


def promotion(serving: date | None, previous: date | None = None, pin: ResponsePin | None = None) -> ResponsePromotion:
    return ResponsePromotion(
        partition=EARLIER, serving=serving, role="champion", previous=previous, reason="", rule=RULE, pin=pin
    )


def decided(*about: Any, settings: ResponseSettings = SETTINGS) -> tuple[date | None, str, date | None]:
    found = succession(*about, settings)
    assert found.rule == RULE
    return found.serving, found.role, found.previous


def test_the_first_version_that_passes_serves() -> None:
    assert decided(report(), None, None) == (DAY, "champion", None)
    assert decided(report(), promotion(None), None) == (DAY, "champion", None)
    assert decided(report(usable=False), None, None) == (None, "shadow", None)
    assert decided(report(usable=False, trials=0), None, None) == (None, "none", None)


def test_a_challenger_takes_over_unless_it_is_shown_to_be_worse() -> None:
    before = promotion(EARLIER, date(2024, 5, 20))
    assert decided(report(against=compared(True)), before, None) == (DAY, "champion", EARLIER)
    assert decided(report(against=compared(False)), before, None) == (EARLIER, "challenger", date(2024, 5, 20))
    assert decided(report(against=compared(True, date(2024, 5, 1))), before, None)[0] == EARLIER
    assert decided(report(), before, None)[0] == EARLIER


def test_a_version_that_failed_its_checks_leaves_the_champion_and_says_why() -> None:
    before = promotion(EARLIER, date(2024, 5, 20))
    assert decided(report(usable=False, against=compared(True)), before, None)[:2] == (EARLIER, "shadow")
    assert "goes on: placebo: failed" in succession(report(usable=False), before, None, SETTINGS).reason


def test_an_old_champion_retires() -> None:
    old = promotion(DAY - timedelta(days=SETTINGS.memory_days + 1))
    assert decided(report(usable=False, trials=0), old, None)[0] is None
    assert decided(report(against=compared(False)), old, None) == (DAY, "champion", None)
    assert "retires" in succession(report(), old, None, SETTINGS).reason


def test_a_pin_serves_until_it_is_released_and_is_then_what_a_challenger_must_match() -> None:
    pinned = date(2024, 5, 20)
    pin = ResponsePin(partition=DAY, version=pinned, by="ada", why="effects looked wrong")
    found = succession(report(against=compared(True)), promotion(EARLIER), pin, SETTINGS)
    assert (found.serving, found.role, found.previous, found.pin) == (pinned, "challenger", EARLIER, pin)
    assert found.reason == "pinned to the version of 2024-05-20 by ada since 2024-06-01: effects looked wrong"
    again = succession(report(against=compared(True, pinned)), found, pin, SETTINGS)
    assert (again.serving, again.previous) == (pinned, EARLIER)
    released = ResponsePin(partition=DAY, version=None, by="ada", why="explained")
    assert decided(report(against=compared(False, pinned)), again, released) == (pinned, "challenger", EARLIER)
    assert decided(report(against=compared(True, pinned)), again, released) == (DAY, "champion", pinned)
