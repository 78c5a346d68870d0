"""An instance of all parts for one test module, and what several modules ask of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from local import demo, down, parts, processes, up
from local.airflow import Airflow, Run
from local.demo import FOLLOWERS, LOOP, Plan, Watch
from local.part import marked
from local.parts import BUCKET, PREFIX, REPOSITORY, Parts
from local.terminal import Terminal
from mktgen.store import ObjectStore, S3Location, Store
from tests.support.s3_server import free_ports

KINDS = ("popularity", "personal_frequency", "logistic_regression", "transformer")
# Everything the loop does, on a tenth of its work: few kinds, a Transformer of one narrow layer, few labelled weeks.
SMALL: Mapping[str, Any] = {
    "models": {
        "kinds": list(KINDS),
        "train_cuts": 3,
        "bootstrap": 50,
        "checkpoint_every": 5,
        "transformer": {"width": 16, "events": 48, "memory_events": 96, "epochs": 1},
    },
    "contact": {"consent_default": "existing_customers"},
}
# What `python -m mktgen loop` never writes: it asks nobody and sends nothing.
BY_A_PERSON = ("approval", "sends", "contact_proof")
CLI_TIMEOUT_S = 600
AGAIN_TIMEOUT_S = 900
UNTIL_S = 300.0


@contextmanager
def own_instance(home: Path, **sections: Mapping[str, Any]) -> Iterator[Parts]:
    """All parts, started as `make up` does, with small settings plus `sections`, and ended as `make down` does."""
    home.mkdir(parents=True, exist_ok=True)
    overlay = home / "small.yaml"
    overlay.write_text(yaml.safe_dump({**SMALL, **sections}))
    before = dict(os.environ)
    os.environ.update({parts.port_variable(name): str(port) for name, port in free_ports().items()})
    os.environ.update({"MKTGEN_HOME": str(home / "home"), "MKTGEN_CONFIG": str(overlay)})
    try:
        # The start reads where it belongs from the environment, and leaves the instance's keys there.
        try:
            yield up.start()
        finally:
            status = down.main()
        left = marked(processes.instance_mark(parts.load(recorded_only=True)))
        assert (status, left) == (0, []), f"`make down` left {left}"
    finally:
        os.environ.clear()
        os.environ.update(before)


def objects(prefix: str = PREFIX) -> ObjectStore:
    """The running instance's store; its keys are in the environment (up.start put them there)."""
    return ObjectStore(S3Location(os.environ["MKTGEN_S3_ENDPOINT"], BUCKET, prefix))


def store(prefix: str = PREFIX) -> Store:
    return Store(objects(prefix))


def mktgen(instance: Parts, *arguments: str, prefix: str = PREFIX) -> str:
    """Standard output of `python -m mktgen ARGUMENTS`, a process of its own without Airflow, under `prefix`."""
    environment = instance.environment() | {"MKTGEN_S3_PREFIX": prefix}
    command = [sys.executable, "-m", "mktgen", *arguments]
    done = subprocess.run(
        command,
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=CLI_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def without_airflow(instance: Parts, plan: Plan, prefix: str) -> dict[str, str]:
    """The same history and days by the command line; digests of all that it wrote."""
    history = plan.onboarding
    mktgen(instance, "onboard", "--from", history["from"], "--to", history["to"], prefix=prefix)
    mktgen(instance, "loop", "--from", str(plan.first), "--to", str(plan.last), prefix=prefix)
    return digests(instance, prefix)


def digests(instance: Parts, prefix: str = PREFIX, since: date = date(2017, 1, 1)) -> dict[str, str]:
    """`python -m mktgen digests`: "<artefact> <day>" -> "<rows> <content hash>"."""
    lines = mktgen(instance, "digests", "--from", since.isoformat(), prefix=prefix).splitlines()
    return {" ".join(words[:2]): " ".join(words[2:]) for words in (line.split() for line in lines)}


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What differs between two sets of digests, a missing artefact included."""
    names = sorted({*one, *other})
    pairs = {name: (one.get(name, "missing"), other.get(name, "missing")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def decided_by_the_loop(found: Mapping[str, str]) -> dict[str, str]:
    """Digests without what only a person's answer brings about."""
    return {name: digest for name, digest in found.items() if not name.startswith(BY_A_PERSON)}


def contents(prefix: str) -> dict[str, bytes]:
    """Every object below a folder of the instance's store (`outbox/`, `ledger/`)."""
    where = objects()
    return {key: where.get(key) or b"" for key in where.keys(prefix)}


def run_ids(airflow: Airflow) -> set[str]:
    return {run.run_id for dag in (LOOP, *FOLLOWERS) for run in airflow.runs(dag)}


def wait_for_new_runs(airflow: Airflow, watch: Watch, days: Sequence[date], before: set[str]) -> dict[str, list[Run]]:
    """Dag -> its new runs, one per day, when all of them have ended well. Raises Problem where one failed."""
    wanted = sorted(day.isoformat() for day in days)
    deadline = time.monotonic() + AGAIN_TIMEOUT_S
    while True:
        fresh = {
            dag: [run for run in airflow.runs(dag) if run.run_id not in before and run.partition in wanted]
            for dag in (LOOP, *FOLLOWERS)
        }
        everything = [run for found in fresh.values() for run in found]
        watch.look(everything)
        complete = all(sorted(run.partition for run in found) == wanted for found in fresh.values())
        if complete and all(run.finished for run in everything):
            return fresh
        assert time.monotonic() < deadline, f"not finished in {AGAIN_TIMEOUT_S} s: {everything}"
        time.sleep(demo.POLL_S)


def watching(airflow: Airflow) -> Watch:
    return Watch(airflow, Terminal())


def until(condition: Callable[[], object], what: str, timeout_s: float = UNTIL_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:.0f} s: {what}"
        time.sleep(0.2)
