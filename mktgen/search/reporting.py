"""Searches and comparisons in words, and as MLflow runs: a parent with the facts, a child per trial or kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

from mktgen.documents import Interval
from mktgen.model_run import PlainRun, RunStatus, bounded
from mktgen.search import comparison, study
from mktgen.search.folds import Past
from mktgen.search.measures import MEASURES, Measure
from mktgen.search.space import overlay
from mktgen.search.study import Answer, Question, Search, State, Tried
from mktgen.steps.runner import Platform
from mktgen.steps.tracked import NOT_TRACKED

if TYPE_CHECKING:
    from mktgen.tracking import Tracking

BEST: Final = "best.yaml"
_STATUS: Final[dict[State, RunStatus]] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
_SHOWN: Final = 15  # trials in a run's description, which MLflow bounds; the whole table is in report.md
_REASON: Final = 1_000  # characters
_METRIC_OF: Final = {measure.name: measure.metric for measure in MEASURES}
Say = Callable[[str], None]


# -- a search ---------------------------------------------------------------------------------------------------------
def search(
    platform: Platform, kind: str, day: date, *, trials: int, folds: int, timeout: float | None, say: Say
) -> Search:
    """study.search, told line by line and logged trial by trial."""
    diary = _Diary(platform)
    found = study.search(
        platform, kind, day, trials=trials, folds=folds, timeout=timeout, say=say, watch=diary.trial
    )  # fmt: skip
    for line in verdict(found):
        say(line)
    say(diary.close(found) or f"{NOT_TRACKED}. Best settings:\n{overlay(found.answer.best.values)}")
    return found


class _Diary:
    """The MLflow side of a search; nothing where MLflow isn't configured."""

    def __init__(self, platform: Platform) -> None:
        self._root = platform.objects.uri("order_lines")
        self._server = _connect(platform)
        self._parent = ""
        self._run: PlainRun | None = None

    def trial(self, question: Question, past: Past, one: Tried) -> None:
        if self._server is None:
            return
        if self._run is None:
            inputs = past.inputs([*question.cuts, question.later], self._root)
            self._run = replace(_facts(question), inputs=inputs)
            self._parent = self._server.open_run(self._run)
        self._server.log_once(_trial(question, one), self._parent)

    def close(self, found: Search) -> str:
        """Gives a line that says where to look; "" where there is no MLflow."""
        if self._server is None or self._run is None:
            return ""
        self._server.close_run(self._parent, _result(self._run, found))
        return f"MLflow: {self._server.page(self._parent)} ({BEST} and report.md among its artefacts)"


def _connect(platform: Platform) -> Tracking | None:
    if not platform.environment.mlflow_uri:
        return None
    from mktgen import tracking  # late: mlflow takes seconds to import

    return tracking.connect(platform.environment.mlflow_uri, tracking.SEARCHES)


def _facts(question: Question) -> PlainRun:
    """What is known before the first trial: the parent run as it is opened."""
    params: dict[str, float | int | str] = {
        "kind": question.kind,
        "objective": f"{question.measures[0].name}, mean over folds of the difference to today's settings",
        "folds": ", ".join(map(str, question.cuts)),
        "later_cut": str(question.later),
        "judged_until": str(study.judged_until(question)),
        "seed": question.seed,
        "sampler": "TPE",
        "pruner": f"median, after each fold, from trial {study.PRUNE_AFTER + 1} on",
        **{f"range.{name}": str(range_) for name, range_ in question.space.items()},
        **{f"today.{name}": value for name, value in question.base.items()},
    }
    return PlainRun(
        name=f"search {question.kind} {question.day}",
        identity={"mktgen.search": question.identity, "mktgen.role": "search"},
        tags={"mktgen.kind": question.kind, "mktgen.training_partition": str(question.day)},
        params=params,
    )


def _trial(question: Question, one: Tried) -> PlainRun:
    metrics = _by_fold([fold.metrics for fold in one.folds], [fold.seconds for fold in one.folds])
    if one.value is not None:
        metrics.append(("difference", one.value, 0))
        objective = question.measures[0].metric
        metrics.append((f"mean.{objective}", sum(fold.metrics[objective] for fold in one.folds) / len(one.folds), 0))
    today = " (today's settings)" if one.number == 0 else ""
    return PlainRun(
        name=f"trial {one.number}{today}",
        identity={"mktgen.search": question.identity, "mktgen.role": "trial", "mktgen.trial": str(one.number)},
        tags={"mktgen.kind": question.kind, "mktgen.state": one.state}
        | ({"mktgen.reason": one.reason[:_REASON]} if one.reason else {}),
        params=dict(one.values),
        metrics=metrics,
        status=_STATUS[one.state],
    )


def _by_fold(folds: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> list[tuple[str, float, int]]:
    """Each fold a step, from 1; the seconds of all folds together as well."""
    metrics = [(name, value, step) for step, fold in enumerate(folds, start=1) for name, value in sorted(fold.items())]
    metrics += [("fold_seconds", value, step) for step, value in enumerate(seconds, start=1)]
    return [*metrics, ("seconds", sum(seconds), 0)]


def _result(opened: PlainRun, found: Search) -> PlainRun:
    """The parent run as it is closed."""
    answer = found.answer
    metrics = [(f"trials.{state}", float(sum(one.state == state for one in found.trials)), 0) for state in _STATUS]
    intervals = {"difference": answer.on_folds, "later_cut.difference": answer.later}
    intervals |= {f"other.{name.replace(' ', '_')}.difference": value for name, value in answer.others.items()}
    for name, value in intervals.items():
        if value is not None:
            metrics += bounded(name, value)
    head, *lines = verdict(found)
    tags = {"mktgen.best_trial": str(answer.best.number), "mktgen.verdict": head}
    text, table = [f"# {opened.name}", "", head, "", *(f"- {line}" for line in lines), ""], _table(found)
    files = {BEST: overlay(answer.best.values), "report.md": "\n".join([*text, *table, ""])}
    note = "\n".join([*text, *table[: _SHOWN + 2]])
    return replace(opened, tags={**opened.tags, **tags}, metrics=metrics, files=files, note=note)


def _table(found: Search) -> list[str]:
    """All trials as Markdown, the best first."""
    names = sorted(found.question.space)
    order = {"complete": 0, "pruned": 1, "failed": 2}
    rows = sorted(found.trials, key=lambda one: (order[one.state], -(one.value or 0.0), one.number))
    head = ["trial", "state", "folds", "difference", *(name.split(".")[-1] for name in names)]
    cells = [
        [str(one.number), one.state, str(len(one.folds)), "" if one.value is None else f"{one.value:+.4f}"]
        + [f"{one.values[name]:.4g}" for name in names]
        for one in rows
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def verdict(found: Search) -> list[str]:
    """What to do, then why. Settings change only where the best trial is surely better twice, and surely worse at nothing."""
    question, answer = found.question, found.answer
    if answer.on_folds is None:
        return [
            f"The settings should stay: none of {len(found.trials) - 1} others was better than today's on the folds."
        ]
    objective = question.measures[0]
    doubts = _doubts(question, answer)
    facts = [
        f"trial {answer.best.number}, {objective.name} against today's settings on {len(question.cuts)} folds: "
        f"{_words(answer.on_folds)}",
        *([f"the same at {question.later}, which no trial saw: {_words(answer.later)}"] if answer.later else []),
        *(f"{name} on the folds: {_words(value)}" for name, value in sorted(answer.others.items())),
    ]
    if doubts:
        return [f"The settings should stay: {'; '.join(doubts)}.", *facts]
    how = f"pass {BEST} as the last file of MKTGEN_CONFIG to learn with them."
    return [f"Trial {answer.best.number} is better than today's settings: {how}", *facts]


def _doubts(question: Question, answer: Answer) -> list[str]:
    objective, *others = question.measures
    found = []
    if answer.on_folds and not _surely(objective, answer.on_folds):
        found.append(f"the interval of the best trial's lead on the folds holds 0 ({_words(answer.on_folds)})")
    if answer.failed:
        found.append(f"at the later cut a model could not be trained: {answer.failed}")
    elif answer.later and not _surely(objective, answer.later):
        found.append(f"the lead is not sure at the later cut, which no trial saw ({_words(answer.later)})")
    for one in others:
        if one.name in answer.others and _surely(one, answer.others[one.name], worse=True):
            found.append(f"{one.name} is surely worse ({_words(answer.others[one.name])})")
    return found


def _surely(measure: Measure, difference: Interval, worse: bool = False) -> bool:
    """Whether an interval lies wholly on the better (or worse) side of 0."""
    up = (measure.sign > 0) != worse
    return difference.low > 0 if up else difference.high < 0


def _words(value: Interval) -> str:
    return f"{value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


# -- a comparison -------------------------------------------------------------------------------------------------------
def crossvalidate(
    platform: Platform, kinds: Sequence[str], day: date, *, folds: int, say: Say
) -> comparison.Comparison:
    """comparison.crossvalidate, told as a table and logged with a child run per kind."""
    found = comparison.crossvalidate(platform, kinds, day, folds=folds, say=say)
    table = comparison_table(found)
    for line in table:
        say(line)
    for kind, why in sorted(found.failed.items()):
        say(f"left out: {kind}: {why}")
    server = _connect(platform)
    if server is None:
        say(NOT_TRACKED)
        return found
    run = _comparison_run(platform, found, table)
    parent = server.open_run(run)
    for kind in found.learned:
        server.log_once(_kind_run(found, kind), parent)
    server.close_run(parent, run)
    say(f"MLflow: {server.page(parent)}")
    return found


def comparison_table(found: comparison.Comparison) -> list[str]:
    """Kinds and folds in columns that line up; measures one after another, the best mean first."""
    width = max(len(line.kind) for line in found.lines)
    rows = []
    for measure in dict.fromkeys(line.measure for line in found.lines):
        rows.append(f"{measure:<{width}}  {'  '.join(map(str, found.cuts))}  mean [95%]")
        down = measure == "spend MAE"
        mine = [line for line in found.lines if line.measure == measure]
        for line in sorted(mine, key=lambda one: (one.mean.value if down else -one.mean.value, one.kind)):
            values = "  ".join(f"{value:10.4f}" for value in line.folds)
            mean = f"{line.mean.value:.4f} [{line.mean.low:.4f}, {line.mean.high:.4f}]"
            rows.append(f"{line.kind:<{width}}  {values}  {mean}")
    return rows


def _comparison_run(platform: Platform, found: comparison.Comparison, table: Sequence[str]) -> PlainRun:
    text = "```\n" + "\n".join(table) + "\n```\n"
    return PlainRun(
        name=f"crossvalidation {found.day}",
        identity={"mktgen.search": found.identity, "mktgen.role": "crossvalidation"},
        tags={"mktgen.training_partition": str(found.day)},
        params={"folds": ", ".join(map(str, found.cuts)), "seed": found.seed, "kinds": ", ".join(found.learned)},
        inputs=found.past.inputs(found.cuts, platform.objects.uri("order_lines")),
        files={"report.md": text},
        note=text,
    )


def _kind_run(found: comparison.Comparison, kind: str) -> PlainRun:
    folds = found.learned[kind]
    metrics = _by_fold([one.metrics for one in folds], [one.seconds for one in folds])
    for line in (one for one in found.lines if one.kind == kind):
        metrics += bounded(f"mean.{_METRIC_OF[line.measure]}", line.mean)
    return PlainRun(
        name=f"{kind} {found.day}",
        identity={"mktgen.search": found.identity, "mktgen.role": "kind", "mktgen.kind": kind},
        metrics=metrics,
    )
