"""The facts of a demo: their shape, one screen of them (at most 30 lines of 110 columns), and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from local.terminal import clock

WIDTH = 110
MAX_LINES = 30


@dataclass(frozen=True)
class Step:
    """One task of one run. `seconds`: of its last try."""

    partition: str
    dag: str
    task: str
    state: str
    seconds: float
    tries: int


@dataclass(frozen=True)
class Day:
    """One business day: its run of the loop, and what the store holds of it.

    `seconds`: wall time of the loop's run. `green` of `tasks` tasks of the loop ended well (skipped ones included).
    `messages`: files in the outbox. `budget_minor`, `cost_minor`: minor units of the shop's currency.
    """

    partition: str
    state: str
    seconds: float
    green: int
    tasks: int
    status: str
    customers: int
    decisions: int
    contacts: int
    holdout: int
    campaigns: int
    budget_minor: int
    cost_minor: int
    messages: int


@dataclass(frozen=True)
class Champion:
    """The winner of one task. `value`: its metric on the frozen evaluation data; None where MLflow has none.

    `untrained`: the line of plain counting beside it, "transition_counter 0.1470"; "" where there is none.
    """

    task: str
    model: str
    metric: str
    value: float | None
    reason: str
    untrained: str = ""


@dataclass(frozen=True)
class Refused:
    metric: str
    missing: list[str]


@dataclass(frozen=True)
class Approval:
    """`state`: approved | rejected | waiting | none."""

    partition: str
    state: str
    responder: str


@dataclass(frozen=True)
class Facts:
    """Everything the summary says. `wall_s`: this call of `make demo` after the install."""

    wall_s: float
    source: str
    notice: str
    days: list[Day]
    steps: list[Step]
    approval: Approval
    runs: list[str]  # MLflow's runs, "<kind of model> <training day>"
    registered: dict[str, str]  # registered model -> its versions and champion
    champions: list[Champion]
    refused: list[Refused]
    retraining: str
    links: dict[str, str]
    login: str
    password: str


def to_json(facts: Facts) -> str:
    """The facts without the password, which stays in the env file."""
    body = {key: value for key, value in asdict(facts).items() if key != "password"}
    return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def render(facts: Facts) -> list[str]:
    lines = [
        f" mktgen: {facts.source}, {len(facts.days)} days, this call {clock(facts.wall_s)} ".center(WIDTH, "─"),
        *_days(facts.days),
        "",
        *_wrap("Slowest   ", [f"{s.task} {s.partition[5:]} {s.seconds:.0f} s" for s in slowest(facts.steps)], ", ", 1),
        f"Tasks     {_tasks(facts.steps)}",
        f"Approval  {_approval(facts.approval)}",
        *_wrap("Models    ", [f"{len(facts.runs)} runs in MLflow", *(run.split()[0] for run in facts.runs)], ", ", 2),
        *_wrap("Registry  ", [f"{name}: {what}" for name, what in facts.registered.items()], "; ", 2),
        *(
            line
            for champion in facts.champions[:2]
            for line in _wrap("Champion  ", _champion(champion).split(), " ", 2)
        ),
        *_wrap("Refused   ", [f"{r.metric} (needs {' + '.join(r.missing)})" for r in facts.refused], "; ", 3),
        f"Feedback  {facts.retraining}"[:WIDTH],
        *_wrap("Notice    ", facts.notice.split(), " ", 2),
        "",
        *(f"{name:<11}{link}" for name, link in facts.links.items()),
        f"Login      {facts.login} / {facts.password}",
    ]
    return lines[:MAX_LINES]


def slowest(steps: Sequence[Step], count: int = 6) -> list[Step]:
    return sorted(steps, key=lambda step: (-step.seconds, step.partition, step.task))[:count]


def _days(days: Sequence[Day]) -> list[str]:
    head = (
        f"{'Day':<12}{'loop':<9}{'tasks':>7}{'wall':>7}{'customers':>11}{'decisions':>11}{'contacts':>10}{'holdout':>9}"
    )
    rows = [
        f"{day.partition:<12}{day.state:<9}{f'{day.green}/{day.tasks}':>7}{clock(day.seconds):>7}{day.customers:>11,}"
        f"{day.decisions:>11,}{day.contacts:>10,}{day.holdout:>9,}{day.campaigns:>11}"
        f"{day.cost_minor / 100:>10,.2f}{day.messages:>9,}"
        for day in days
    ]
    return [f"{head}{'campaigns':>11}{'cost':>10}{'outbox':>9}", *rows]


def _tasks(steps: Sequence[Step]) -> str:
    by_dag: dict[str, list[Step]] = {}
    for step in steps:
        by_dag.setdefault(step.dag.removeprefix("marketing_"), []).append(step)
    return ", ".join(
        f"{dag} {sum(step.state in ('success', 'skipped') for step in found)}/{len(found)}"
        for dag, found in by_dag.items()
    )


def _approval(approval: Approval) -> str:
    if approval.state == "waiting":
        return f"{approval.partition} waits for an answer: Airflow > Required Actions. Nothing was sent."
    if approval.state == "none":
        return f"{approval.partition}: nobody was asked, nothing was sent"
    return f"{approval.partition} {approval.state} by {approval.responder}"


def _champion(champion: Champion) -> str:
    value = "" if champion.value is None else f" = {champion.value:.4f}"
    line = f" (untrained: {champion.untrained})" if champion.untrained else ""
    return f"{champion.task}: {champion.model}, {champion.metric}{value}{line}. {champion.reason}"


def _wrap(label: str, pieces: Sequence[str], separator: str, max_lines: int) -> list[str]:
    """Pieces joined into at most `max_lines` lines of WIDTH columns; what does not fit is counted."""
    if not pieces:
        return [f"{label}none"]
    lines, indent = [label + pieces[0]], " " * len(label)
    for index, piece in enumerate(pieces[1:], start=1):
        longer = lines[-1] + separator + piece
        room = WIDTH - (len(" … and 999 more") if len(lines) == max_lines else 0)
        if len(longer) <= room:
            lines[-1] = longer
        elif len(lines) < max_lines:
            lines[-1] += separator.rstrip()
            lines.append(indent + piece)
        else:
            lines[-1] += " …" if separator == " " else f" … and {len(pieces) - index} more"
            break
    return [line[:WIDTH] for line in lines]
