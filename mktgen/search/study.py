"""The search: optuna's TPE proposes settings, each fold judges them, the median of the others prunes.

A search is a function of the data, today's settings, the folds and the seed. It keeps no state of its own: run again, it
proposes the same trials, finds what was judged (see learning.py) and goes on behind it. That is exact, which a journal
would not be: a sampler taken up from a journal has lost its place in its random numbers.

What is reported to the pruner, and maximised, is the mean over folds of the difference to today's settings: months differ
more than settings do, and the difference is free of that. The best of many trials is flattered by having been chosen, so it
is compared with today's settings once more at a later cut that no trial saw.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

import optuna
from optuna.trial import Trial, TrialState

from mktgen import config, models
from mktgen.documents import Interval
from mktgen.errors import PermanentError
from mktgen.search.folds import JUDGED_DAYS, Past, read_past, rolling_cuts
from mktgen.search.learning import PREFIX, Learned, Learning, TrialFailed, learning
from mktgen.search.measures import Measure, measures_of
from mktgen.search.space import Space, Value, current, space, with_values
from mktgen.steps.runner import Platform

State = Literal["complete", "pruned", "failed"]
PRUNE_AFTER: Final = 4  # trials completed before the first may be pruned
_CODE: Final = (
    "search.study", "search.space", "search.measures", "search.learning", "search.folds", "steps.worlds",
    "steps.judging", "models", "features", "evaluation",
)  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """One trial. folds: as far as it came. value: mean difference to today's settings, on those folds."""

    number: int
    values: dict[str, Value]
    state: State
    folds: list[Learned]
    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Question:
    """What is searched: all that decides which trials there will be. cuts: of the folds. later: the cut kept for the end."""

    kind: str
    day: date
    cuts: list[date]
    later: date
    space: Space
    base: dict[str, Value]
    seed: int
    identity: str

    @property
    def measures(self) -> list[Measure]:
        return measures_of(models.model_class(self.kind).tasks)


@dataclass(frozen=True)
class Answer:
    """The best trial against today's settings: on the folds, at the later cut, and in the kind's other measures (folds).

    Intervals are None where the best trial is today's settings. failed: why there is no model of the later cut.
    """

    best: Tried
    on_folds: Interval | None = None
    later: Interval | None = None
    others: dict[str, Interval] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True)
class Search:
    question: Question
    trials: list[Tried]
    answer: Answer


Watch = Callable[[Question, Past, Tried], None]


def search(
    platform: Platform,
    kind: str,
    day: date,
    *,
    trials: int = 20,
    folds: int = 3,
    timeout: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch = lambda question, past, tried: None,
) -> Search:
    """Search the settings of a kind for a training of `day`. `timeout`: seconds after which no new trial begins.

    `watch` is told of each trial that ended. Raises PermanentError where the kind has nothing to search, there is too little
    history, or today's settings themselves can't be trained; MissingArtefact where days are not stored.
    """
    if trials < 2:
        raise PermanentError(f"{trials} trials: today's settings are the first, so at least two are needed")
    ranges, past = space(kind, platform.settings.models), read_past(platform, day)
    question = _question(platform, kind, past, ranges, folds)
    say(f"{kind} of {day}: {len(question.cuts)} folds from {question.cuts[0]}, search {question.identity}")
    with learning(platform, past, say) as place:
        tried = _try_all(place, question, trials, timeout, lambda one: watch(question, past, one))
        try:
            return Search(question, tried, _answer(place, question, tried))
        except ValueError as error:
            raise PermanentError(f"the best trial can't be compared with today's settings: {error}") from error


def _question(platform: Platform, kind: str, past: Past, ranges: Space, folds: int) -> Question:
    settings = platform.settings
    cuts = rolling_cuts(past.end, folds + 1, past.first_day)
    base = {name: current(settings.models, name) for name in ranges}
    facts = [
        kind, past.day.isoformat(), [cut.isoformat() for cut in cuts], {name: repr(ranges[name]) for name in ranges}, base,
        settings.seed, config.config_version((settings.models, settings.features)), past.digest(past.end),
        config.code_version(_CODE), optuna.__version__,
    ]  # fmt: skip
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return Question(kind, past.day, cuts[:-1], cuts[-1], ranges, base, settings.seed, identity)


def _try_all(
    place: Learning, question: Question, trials: int, timeout: float | None, ended: Callable[[Tried], None]
) -> list[Tried]:
    started, tried = time.monotonic(), list[Tried]()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=question.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER),
    )
    study.enqueue_trial(question.base)
    while len(tried) < trials and (timeout is None or not tried or time.monotonic() - started < timeout):
        trial = study.ask(question.space)
        one = _try(place, question, trial, tried[0].folds if tried else None)
        if not tried and one.state != "complete":
            raise PermanentError(f"{question.kind} can't be trained with today's settings: {one.reason}")
        if one.state == "complete":
            study.tell(trial, one.value)
        else:
            study.tell(trial, state=TrialState.PRUNED if one.state == "pruned" else TrialState.FAIL)
        tried.append(one)
        place.say(told(one, question))
        ended(one)
    return tried


def _try(place: Learning, question: Question, trial: Trial, base: list[Learned] | None) -> Tried:
    """One trial, fold by fold. `base`: today's settings on the folds; None: this is them."""
    number, values = trial.number, dict(trial.params)
    objective = question.measures[0]
    failure = f"{PREFIX}/failed/{question.identity}-{number:04d}.txt"
    known = place.platform.objects.get(failure)
    if known is not None and base is not None:
        return Tried(number, values, "failed", [], None, known.decode())
    folds, total, value = list[Learned](), 0.0, 0.0
    for index, cut in enumerate(question.cuts):
        label = f"[trial {number}, fold {index + 1}]"
        try:
            settings = with_values(place.platform.settings.models, values)
            folds.append(place.learn(question.kind, settings, cut, label))
            lead = objective.value(folds[-1].households)
            lead -= objective.value(base[index].households) if base else lead
            if not math.isfinite(lead):
                raise ValueError(f"{objective.name} is {lead}")
        except (TrialFailed, ValueError) as error:
            if base is not None:  # today's settings may be tried again
                place.platform.objects.put(failure, str(error).encode())
            return Tried(number, values, "failed", folds, None, str(error))
        total += objective.sign * lead
        value = total / len(folds)
        trial.report(value, index)
        if len(folds) < len(question.cuts) and trial.should_prune():
            return Tried(number, values, "pruned", folds, value, f"below the median after fold {index + 1}")
    return Tried(number, values, "complete", folds, value)


def told(one: Tried, question: Question) -> str:
    """A trial in a line."""
    objective = question.measures[0].name
    values = ", ".join(f"{name.split('.')[-1]} {value:.4g}" for name, value in sorted(one.values.items()))
    lead = "" if one.value is None else f" {objective} {one.value:+.4f} against today's"
    return f"trial {one.number} {one.state}{lead}{f' ({one.reason})' if one.reason else ''}: {values}"


# -- the best against today's -----------------------------------------------------------------------------------------
def _answer(place: Learning, question: Question, tried: Sequence[Tried]) -> Answer:
    whole = [one for one in tried if one.state == "complete"]
    best, base = max(whole, key=lambda one: (one.value or 0.0, -one.number)), tried[0]
    if best.number == base.number:
        return Answer(base)
    settings = place.platform.settings.models

    def difference(measure: Measure, mine: Sequence[Learned], theirs: Sequence[Learned]) -> Interval:
        return measure.difference(
            [one.households for one in mine], [one.households for one in theirs],
            resamples=settings.bootstrap, seed=question.seed,
        )  # fmt: skip

    objective, *others = question.measures
    on_folds = difference(objective, best.folds, base.folds)
    watched = {}
    for one in others:
        with suppress(ValueError):  # not defined on these households, e.g. an AUC where all of them came back
            watched[one.name] = difference(one, best.folds, base.folds)
    try:
        last = [
            place.learn(
                question.kind, with_values(settings, one.values), question.later, f"[trial {one.number}, later cut]"
            )
            for one in (best, base)
        ]
    except TrialFailed as error:
        return Answer(best, on_folds, None, watched, str(error))
    return Answer(best, on_folds, difference(objective, last[:1], last[1:]), watched)


def judged_until(question: Question) -> date:
    """The last day that anything of a search looked at."""
    return date.fromordinal(question.later.toordinal() + JUDGED_DAYS - 1)
