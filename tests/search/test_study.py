"""A search that really trains: it repeats, prunes, survives kills and bad settings, and compares with today's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from mktgen.errors import PermanentError
from mktgen.search import space
from mktgen.search.folds import Past, read_past, rolling_cuts
from mktgen.search.learning import TrialFailed, learning
from mktgen.search.space import current
from mktgen.search.study import PRUNE_AFTER, Question, Search, Tried, search
from mktgen.steps.runner import Platform
from tests.search.conftest import CUT, DAY, SearchPlatform, forget

KIND = "gradient_boosting"
TRIALS, FOLDS = 9, 2
ITERATIONS, RATE = (f"{KIND}.ranking.{name}" for name in ("iterations", "learning_rate"))


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges in which boosting takes no time; a rate near 0 learns nothing, so that there is something to prune."""
    ranges = {ITERATIONS: IntDistribution(1, 12), RATE: FloatDistribution(1e-4, 0.5, log=True)}
    monkeypatch.setitem(space._RANGES, KIND, ranges)


@pytest.fixture(scope="module")
def platform(search_platform: SearchPlatform) -> Platform:
    return search_platform()


def searched(platform: Platform, trials: int = TRIALS, say: Callable[[str], None] = lambda line: None) -> Search:
    return search(platform, KIND, DAY, trials=trials, folds=FOLDS, say=say)


def told(found: Search) -> list[tuple[object, ...]]:
    """All of a search that has to repeat: everything but its seconds."""
    return [
        (one.number, one.values, one.state, one.value, one.reason, [fold.metrics for fold in one.folds])
        for one in found.trials
    ]


@pytest.fixture(scope="module")
def whole(platform: Platform) -> Search:
    """A search that nobody disturbed. What it kept is forgotten, so that others begin anew."""
    with pytest.MonkeyPatch.context() as patch:
        ranges = {ITERATIONS: IntDistribution(1, 12), RATE: FloatDistribution(1e-4, 0.5, log=True)}
        patch.setitem(space._RANGES, KIND, ranges)
        found = searched(platform)
    forget(platform)
    return found


def test_todays_settings_go_first_and_the_worse_half_is_pruned(whole: Search, platform: Platform) -> None:
    first, *others = whole.trials
    assert first.values == {name: current(platform.settings.models, name) for name in (ITERATIONS, RATE)}
    assert (first.state, first.value) == ("complete", 0.0)
    assert len(others) == TRIALS - 1
    pruned = [one for one in others if one.state == "pruned"]
    assert pruned
    assert all(one.number >= PRUNE_AFTER and len(one.folds) == 1 for one in pruned)
    for one in pruned:
        before = sorted(
            other.folds[0].metrics["ranking.ndcg_at_10"]
            for other in whole.trials[: one.number]
            if other.state == "complete"
        )
        middle = (before[(len(before) - 1) // 2] + before[len(before) // 2]) / 2
        assert one.folds[0].metrics["ranking.ndcg_at_10"] < middle
    question = whole.question
    assert question.cuts[-1] < question.later
    assert (CUT - question.later).days == 28


def test_the_best_is_compared_with_todays_on_the_folds_and_at_a_later_cut(whole: Search) -> None:
    answer, base = whole.answer, whole.trials[0]
    complete = [one for one in whole.trials if one.state == "complete"]
    assert answer.best.value == max(one.value for one in complete if one.value is not None)
    if answer.best.number == 0:
        assert answer.on_folds is None
        return
    lead = [
        mine.metrics["ranking.ndcg_at_10"] - theirs.metrics["ranking.ndcg_at_10"]
        for mine, theirs in zip(answer.best.folds, base.folds, strict=True)
    ]
    assert answer.on_folds is not None
    assert answer.later is not None
    assert answer.on_folds.value == pytest.approx(sum(lead) / FOLDS)
    assert answer.best.value == pytest.approx(answer.on_folds.value)
    assert answer.on_folds.low <= answer.on_folds.value <= answer.on_folds.high
    # Everybody came back after the first cut, so there is no AUC of churn; only the ranking's settings were searched.
    assert {name: value.value for name, value in answer.others.items()} == {"spend MAE": 0.0}


def test_a_killed_search_goes_on_as_if_nothing_had_happened(whole: Search, platform: Platform) -> None:
    """Killed after a trial, and again in the middle of one; another process asks for more trials at the end."""

    def dies_after(line: str) -> Callable[[str], None]:
        def say(said: str) -> None:
            if said.startswith(line):
                raise Killed

        return say

    for line in ("trial 2 ", "[trial 4, fold 1]"):
        with pytest.raises(Killed):
            searched(platform, say=dies_after(line))
    lines: list[str] = []
    resumed = searched(platform, say=lines.append)
    assert told(resumed) == told(whole)
    assert (resumed.answer, resumed.question) == (replace(whole.answer, best=resumed.answer.best), whole.question)
    learned = {line.split("]")[0] for line in lines if line.startswith("[trial")}
    assert not {f"[trial {number}, fold 1" for number in range(4)} & learned, "what was judged was learned again"
    longer = searched(platform, TRIALS + 1)
    assert told(longer)[:TRIALS] == told(whole)
    assert longer.question.identity == whole.question.identity
    forget(platform)


def test_other_data_seed_or_settings_are_another_search(whole: Search, platform: Platform) -> None:
    settings = platform.settings
    others = [
        settings.model_copy(update={"seed": 5}),
        settings.model_copy(update={"models": settings.models.model_copy(update={"train_cuts": 20})}),
    ]
    for other in others:
        found = search(Platform(other, platform.environment), KIND, DAY, trials=2, folds=FOLDS)
        assert found.question.identity != whole.question.identity
    forget(platform)


def test_a_setting_that_fails_is_a_failed_trial_and_the_search_goes_on(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(space._RANGES, KIND, {RATE: FloatDistribution(0.1, 20.0)})  # the setting ends at 1
    seen: list[Tried] = []

    def watch(question: Question, past: Past, one: Tried) -> None:
        seen.append(one)

    found = search(platform, KIND, DAY, trials=5, folds=1, watch=watch)
    failed = [one for one in found.trials if one.state == "failed"]
    assert failed
    assert all(one.values[RATE] > 1 and "less than or equal to 1" in one.reason for one in failed)
    assert seen == found.trials
    again = search(platform, KIND, DAY, trials=5, folds=1)
    assert [one.reason for one in again.trials] == [one.reason for one in found.trials]
    forget(platform)


def test_a_training_that_dies_fails_alone(platform: Platform) -> None:
    past, models = read_past(platform, DAY), platform.settings.models
    (cut,) = rolling_cuts(past.end, 1, past.first_day)
    with learning(platform, past, lambda line: None) as place:
        place.learn("popularity", models, cut, "[first]")
        assert place._pool is not None
        (process,) = place._pool._processes
        os.kill(process, signal.SIGKILL)
        with pytest.raises(TrialFailed, match="ended from outside"):
            place.learn("personal_frequency", models, cut, "[second]")
        assert place.learn("personal_frequency", models, cut, "[third]").metrics["ranking.customers"] > 0
        room = place._room
    assert not Path(room).exists()
    forget(platform)


def test_no_trial_begins_after_the_time_is_up(platform: Platform) -> None:
    found = search(platform, KIND, DAY, trials=30, folds=1, timeout=0.0)
    assert [one.number for one in found.trials] == [0]
    assert found.answer.on_folds is None
    forget(platform)


def test_what_can_not_be_searched_is_refused(platform: Platform) -> None:
    with pytest.raises(PermanentError, match="recent_spend has no settings to search"):
        search(platform, "recent_spend", DAY)
    with pytest.raises(PermanentError, match="today's settings are the first, so at least two"):
        search(platform, KIND, DAY, trials=1)
    with pytest.raises(PermanentError, match="Take a later day, or at most 3 cuts"):
        search(platform, KIND, DAY, folds=5)
