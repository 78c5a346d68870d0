"""`make demo`: history, three days by Airflow's own scheduler, a person's answer, feedback; then what came of it.

Everything goes by Airflow's REST API, as an analyst would do it. A second call finds what is there: it starts only what
is missing, answers nothing twice, sends nothing again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from local import facts, parts, simulated, summary, up
from local.airflow import APPROVE, Airflow, Question, Run, Task
from local.errors import Problem
from local.parts import Parts
from local.terminal import Terminal, clock

SHOP_TIMEZONE = ZoneInfo("America/New_York")
LOOP = "marketing_loop"
FOLLOWERS = ("marketing_execution", "marketing_feedback")
POLL_S = 2.0  # the API server shares two cores with the work
STALLED_S = 30 * 60  # longer than any step, training included
FOLLOWER_APPEARS_S = 180
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")
MARKS = {"success": "✓", "skipped": "–", "up_for_retry": "↻"}


@dataclass(frozen=True)
class Plan:
    """What is played: the history up to the eve of the first day, then the days `first` to `last`."""

    first: date
    last: date
    source: str = "complete_journey"
    history_from: date = date(2017, 1, 1)

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))

    @property
    def onboarding(self) -> dict[str, str]:
        """The form of marketing_onboarding."""
        eve = self.first - timedelta(days=1)
        return {"source": self.source, "from": self.history_from.isoformat(), "to": eve.isoformat()}

    def latest(self, runs: Sequence[Run]) -> dict[date, Run]:
        """The newest run of each of the days (`runs` come oldest first)."""
        names = {day.isoformat(): day for day in self.days}
        return {names[run.partition]: run for run in runs if run.partition in names}


DEMO = Plan(date(2017, 10, 1), date(2017, 10, 3))


@dataclass
class Watch:
    """Shows each task once per try as it ends, and what is running now."""

    airflow: Airflow
    terminal: Terminal
    shown: set[tuple[str, str, int, str]] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)  # finished runs that were shown to their end
    changed_at: float = field(default_factory=time.monotonic)

    def look(self, runs: Sequence[Run]) -> None:
        """Print what ended since the last look.

        Raises:
            Problem: a run failed, or nothing has moved for STALLED_S seconds.
        """
        running = []
        for run in runs:
            if run.run_id in self.closed:
                continue
            for task in self.airflow.tasks(run):
                if task.state in (*ENDED, "up_for_retry"):
                    self._show(run, task)
                elif task.state in ("running", "queued", "awaiting_input"):
                    running.append(
                        f"{title(run)} {task.task_id}" + ("" if task.state == "running" else f" ({task.state})")
                    )
        self.closed.update(run.run_id for run in runs if run.finished)
        for run in runs:
            if run.state == "failed":
                raise explain_failure(self.airflow, run)
        self.terminal.going(", ".join(running) or "Airflow is scheduling")
        if time.monotonic() - self.changed_at > STALLED_S:
            raise Problem(f"Nothing has ended for {STALLED_S // 60} minutes ({', '.join(running) or 'nothing runs'}).")

    def already_seen(self, runs: Sequence[Run]) -> None:
        """What ended well before is not news."""
        self.closed.update(run.run_id for run in runs if run.state == "success")

    def _show(self, run: Run, task: Task) -> None:
        if _key(task) in self.shown:
            return
        self.shown.add(_key(task))
        self.changed_at = time.monotonic()
        note = "" if task.state == "success" else f"  {task.state}" + (f" (try {task.tries})" if task.tries > 1 else "")
        mark = MARKS.get(task.state, "✗")
        self.terminal.line(f"  {mark} {title(run):<24}{task.task_id:<20}{task.seconds:>7.1f} s{note}")


def _key(task: Task) -> tuple[str, str, int, str]:
    return task.run_id, task.task_id, task.tries, task.state


def title(run: Run) -> str:
    return f"{run.partition} {run.dag_id.removeprefix('marketing_')}".strip()


def explain_failure(airflow: Airflow, run: Run) -> Problem:
    """Which task failed, the last lines of its log, where to look."""
    failed = [task for task in airflow.tasks(run) if task.state == "failed"]
    page = f"{airflow.url}/dags/{run.dag_id}/runs/{run.run_id}"
    if not failed:
        return Problem(f"{title(run)} failed without a failed task: see {page}")
    task = failed[0]
    lines = tuple(f"    {line[:200]}" for line in airflow.log_tail(task))
    tries = "1 try" if task.tries == 1 else f"{task.tries} tries"
    return Problem(f"task {task.task_id} of {title(run)} failed after {tries}: see {page}/tasks/{task.task_id}", lines)


def bring_in_history(airflow: Airflow, watch: Watch, plan: Plan) -> Run:
    """One finished onboarding of the range; found, joined or started."""
    form = plan.onboarding
    same = [run for run in airflow.runs("marketing_onboarding") if run.conf.items() >= form.items()]
    done = [run for run in same if run.state == "success"]
    if done:
        watch.terminal.done(f"history {form['from']} to {form['to']} is there")
        return done[-1]
    going = [run for run in same if not run.finished]
    run = going[-1] if going else airflow.trigger("marketing_onboarding", form)
    watch.terminal.line(f"History: {plan.source}, {form['from']} to {form['to']}")
    while True:
        run = next(found for found in airflow.runs(run.dag_id) if found.run_id == run.run_id)
        watch.look([run])
        if run.finished:
            return run
        time.sleep(POLL_S)


def run_days(airflow: Airflow, watch: Watch, plan: Plan) -> dict[date, Run]:
    """A finished, green run of the loop for each day, by one backfill where any is missing or failed."""
    runs = plan.latest(airflow.runs(LOOP))
    failed = [day for day, run in runs.items() if run.state == "failed"]
    if failed or set(runs) != set(plan.days):
        watch.terminal.line(f"Backfill of {LOOP}: {plan.first} to {plan.last}")
        watch.changed_at = time.monotonic()
        reprocess = "failed" if failed else "none"
        accepted = False
        replaced = {run.run_id for day, run in runs.items() if day in failed}
        deadline = time.monotonic() + FOLLOWER_APPEARS_S
        while set(runs) != set(plan.days) or any(r.run_id in replaced and r.state == "failed" for r in runs.values()):
            if time.monotonic() > deadline:
                said = "accepted the backfill but" if accepted else "has another backfill going on and"
                raise Problem(f"Airflow {said} created no run for some of the days: see its log.")
            # A backfill whose runs have ended stays open until the scheduler's next look: one more is refused till then.
            accepted = accepted or airflow.backfill(LOOP, plan.first, plan.last, SHOP_TIMEZONE, reprocess)
            time.sleep(POLL_S)
            runs = plan.latest(airflow.runs(LOOP))
    while True:
        runs = plan.latest(airflow.runs(LOOP))
        watch.look([*runs.values(), *(run for dag in FOLLOWERS for run in plan.latest(airflow.runs(dag)).values())])
        if all(run.state == "success" for run in runs.values()):
            watch.terminal.done(f"{plan.first} to {plan.last}: {len(runs)} days decided")
            return runs
        time.sleep(POLL_S)


def answer_and_follow(airflow: Airflow, watch: Watch, plan: Plan, approve: bool, option: str = APPROVE) -> None:
    """Answer the newest day's question once with `option`, then wait for execution and feedback of all days.

    With `approve` False the question stays: done when everything else is, and the question is there.
    """
    deadline = time.monotonic() + FOLLOWER_APPEARS_S
    while True:
        runs = {dag: plan.latest(airflow.runs(dag)) for dag in FOLLOWERS}
        everything = [run for found in runs.values() for run in found.values()]
        watch.look(everything)
        waiting = _open_question(airflow, runs["marketing_execution"].get(plan.last))
        if waiting and approve:
            answered = airflow.answer("marketing_execution", waiting, option)
            said = "approved" if option == APPROVE else "rejected"
            watch.terminal.done(
                f"{plan.last} {said} by {parts.LOGIN}" if answered else f"{plan.last} was answered already"
            )
        open_runs = [run for run in everything if not run.finished]
        if len(everything) == len(plan.days) * len(FOLLOWERS):
            if not open_runs:
                return
            if waiting and not approve and [run.run_id for run in open_runs] == [waiting.run_id]:
                watch.terminal.line(
                    f"  ? {plan.last}: the strategy waits for an answer (APPROVE=no); nothing was sent."
                )
                return
        elif time.monotonic() > deadline:
            there = ", ".join(f"{dag}: {len(found)} of {len(plan.days)} days" for dag, found in runs.items())
            raise Problem(f"Not every published day was taken up ({there}): is one of these Dags paused?")
        time.sleep(POLL_S)


def _open_question(airflow: Airflow, run: Run | None) -> Question | None:
    """The run's unanswered question, once its task has paused: to an answer before that Airflow starts the task anew."""
    if run is None or run.finished or not any(task.state == "awaiting_input" for task in airflow.tasks(run)):
        return None
    return next((q for q in airflow.questions(run.dag_id) if q.run_id == run.run_id and not q.answered), None)


def play(instance: Parts, terminal: Terminal, approve: bool, plan: Plan = DEMO) -> summary.Facts:
    """All of it, from wherever it stands. Raises Problem."""
    with Airflow.connect(instance) as airflow:
        watch = Watch(airflow, terminal)
        before = [run for dag in (LOOP, *FOLLOWERS) for run in plan.latest(airflow.runs(dag)).values()]
        watch.already_seen(before)
        for run in before:
            if run.dag_id in FOLLOWERS and run.state == "failed":
                airflow.clear_failed(run)  # a new call is a new attempt; what ended well stays
                terminal.line(f"  ↻ {title(run)} failed before: again")
        bring_in_history(airflow, watch, plan)
        run_days(airflow, watch, plan)
        answer_and_follow(airflow, watch, plan, approve)
        terminal.going("reading the results")
        return facts.gather(instance, airflow, plan.days, terminal.elapsed)


def main() -> int:
    terminal = Terminal()
    approve = os.environ.get("APPROVE", "yes").lower() not in ("no", "n", "false", "0")
    try:
        instance = up.start(terminal=terminal)
        found = play(instance, terminal, approve)
    except Problem as problem:
        for line in problem.details:
            terminal.line(line)
        terminal.line(f"make demo stopped after {clock(terminal.elapsed)}: {problem}")
        return 1
    except KeyboardInterrupt:
        terminal.line(
            "Interrupted. The parts run on and so do the days; `make demo` joins them, `make down` ends them."
        )
        return 130
    (instance.home / "summary.json").write_text(summary.to_json(found), encoding="utf-8")
    terminal.line()
    for line in summary.render(found):
        terminal.line(line)
    try:
        simulated.show(terminal)
    except Problem as problem:
        for line in (*problem.details, f"{problem}. What is above is complete."):
            terminal.line(line)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
