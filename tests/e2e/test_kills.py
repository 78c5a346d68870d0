"""`kill -9` of a part in mid-run, one at a time: the day ends green, and its bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import date, timedelta

import psutil  # type: ignore[import-untyped]
import pytest

from local import demo, processes
from local.airflow import Airflow, Run
from local.demo import FOLLOWERS, LOOP, SHOP_TIMEZONE, Plan
from local.part import marked
from local.parts import Parts
from tests.e2e.instance import digests, objects, unlike, until, watching, without_airflow

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
FIRST = date(2017, 4, 2)  # a Sunday: its run trains, the days after it use that training
PLAN = Plan(FIRST, FIRST + timedelta(days=2))
WORKER = "mktgen.steps.train_worker"


@pytest.fixture(scope="module")
def undisturbed(instance: Parts) -> dict[str, str]:
    """The three days by the command line, with a store of their own: nothing was killed there."""
    return without_airflow(instance, PLAN, "undisturbed")


@pytest.fixture(scope="module")
def airflow(instance: Parts, undisturbed: dict[str, str]) -> Iterator[Airflow]:
    with Airflow.connect(instance) as client:
        demo.bring_in_history(client, watching(client), PLAN)
        yield client


def test_the_training_task_goes_on_from_what_it_had(
    instance: Parts, airflow: Airflow, undisturbed: dict[str, str]
) -> None:
    run = begin(airflow, PLAN.days[0])
    until(lambda: [key for key in objects().keys("_checkpoints/") if key.endswith("done.json")], "a kind is learnt")
    trainer = process_of(instance, "torch.distributed.run")
    worker = process_of(instance, WORKER)
    group = os.getpgid(trainer.pid)
    assert group != os.getpgid(int(processes.states(instance)["airflow-scheduler"]["pid"])), "only the task's own group"
    os.killpg(group, signal.SIGKILL)
    psutil.wait_procs([trainer, worker], timeout=30)
    assert not worker.is_running(), "the learning process outlived its task"

    end(airflow, PLAN.days[0])
    train = next(task for task in airflow.tasks(run) if task.task_id == "train")
    assert train.tries > 1
    log = "\n".join(airflow.log_tail(train, lines=1_000))
    assert "found, finished by an earlier run" in log, log[-2000:]
    assert_as_undisturbed(instance, undisturbed, PLAN.days[0])


def test_a_killed_scheduler_is_restarted_and_takes_the_day_up_again(
    instance: Parts, airflow: Airflow, undisturbed: dict[str, str]
) -> None:
    day = PLAN.days[1]
    decide(airflow, PLAN.days[0])
    run = begin(airflow, day)
    running(airflow, run, "extract_features", "train_due", "train", "validate", "promote", "score")
    killed = kill_part(instance, "airflow-scheduler")
    until(lambda: processes.states(instance)["airflow-scheduler"]["pid"] not in (0, killed), "another scheduler runs")
    end(airflow, day)
    assert_as_undisturbed(instance, undisturbed, day)


def test_a_killed_s3_is_restarted_and_loses_nothing(
    instance: Parts, airflow: Airflow, undisturbed: dict[str, str]
) -> None:
    day = PLAN.days[2]
    for before in PLAN.days[:2]:
        decide(airflow, before)
    run = begin(airflow, day)
    running(airflow, run, "extract_features", "score", "segment", "recommend", "allocate")
    killed = kill_part(instance, "s3")
    until(lambda: processes.states(instance)["s3"]["pid"] not in (0, killed), "another SeaweedFS runs")
    end(airflow, day)
    assert_as_undisturbed(instance, undisturbed, day)


# -- a day's run ------------------------------------------------------------------------------------------------------
def begin(airflow: Airflow, day: date) -> Run:
    """Start the loop for one day, which has not been run before."""
    assert airflow.backfill(LOOP, day, day, SHOP_TIMEZONE, "none"), "another backfill is going on"
    only = Plan(day, day)
    until(lambda: day in only.latest(airflow.runs(LOOP)), f"a run for {day}")
    return only.latest(airflow.runs(LOOP))[day]


def decide(airflow: Airflow, day: date) -> None:
    """The day's run and its followers, found or made, to their end."""
    if day not in Plan(day, day).latest(airflow.runs(LOOP)):
        begin(airflow, day)
    end(airflow, day)


def end(airflow: Airflow, day: date) -> None:
    """Wait for a day's run and its followers; raises Problem where one of them failed."""
    only, watch = Plan(day, day), watching(airflow)
    demo.run_days(airflow, watch, only)
    demo.answer_and_follow(airflow, watch, only, approve=True)  # nothing is live: nobody is asked
    for dag in (LOOP, *FOLLOWERS):
        assert only.latest(airflow.runs(dag))[day].state == "success"
    until(lambda: not airflow.backfilling(LOOP), "the backfill is closed")


def running(airflow: Airflow, run: Run, *names: str) -> None:
    """Wait until one of these tasks is at work."""

    def at_work() -> bool:
        states = {task.task_id: task.state for task in airflow.tasks(run)}
        assert states.get("publish") != "success", "the day was over before anything could be killed"
        return any(states.get(name) == "running" for name in names)

    until(at_work, f"one of {names} is running")


# -- processes --------------------------------------------------------------------------------------------------------
def process_of(instance: Parts, words: str) -> psutil.Process:
    """The instance's process with `words` in its command line; the oldest where there are several."""
    for process in marked(processes.instance_mark(instance)):
        try:
            if words in " ".join(process.cmdline()):
                return process
        except psutil.NoSuchProcess:
            continue  # it ended while we looked
    raise AssertionError(f"no process with {words}")


def kill_part(instance: Parts, name: str) -> int:
    pid = int(processes.states(instance)[name]["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid


def assert_as_undisturbed(instance: Parts, undisturbed: dict[str, str], day: date) -> None:
    """Equal digests of everything of this day and before; later days have not been run yet."""
    wanted = {name: digest for name, digest in undisturbed.items() if name.split()[1] <= day.isoformat()}
    found = {name: digest for name, digest in digests(instance).items() if name.split()[1] <= day.isoformat()}
    assert unlike(wanted, found) == {}
