"""`make up`: start the parts that are not running, wait until all of them are healthy, unpause our Dags."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from local import checks, health, parts, processes
from local.airflow import Airflow
from local.errors import Problem
from local.parts import Parts
from local.terminal import Terminal


def migrate(instance: Parts, terminal: Terminal) -> None:
    """Bring both databases to the installed versions' schema, side by side. Nothing is running that uses them."""
    begun = time.monotonic()
    commands = {
        "airflow": ["airflow", "db", "migrate"],
        "mlflow": ["mlflow", "db", "upgrade", processes.mlflow_database(instance)],
    }
    running = {}
    for name, command in commands.items():
        with open(instance.logs / f"{name}-migrate.log", "wb") as log:
            running[name] = subprocess.Popen(
                command, env=instance.environment(), cwd=instance.home, stdout=log, stderr=subprocess.STDOUT
            )
    while any(process.poll() is None for process in running.values()):
        terminal.going("databases: creating or upgrading their tables")
        time.sleep(0.3)
    for name, process in running.items():
        if process.returncode != 0:
            raise Problem(f"`{' '.join(commands[name][:3])}` failed: see {instance.logs / f'{name}-migrate.log'}")
    terminal.done("databases", time.monotonic() - begun)


def check_same(instance: Parts, outer: Mapping[str, str]) -> None:
    """A setting of the environment that the running parts don't have would be ignored silently."""
    for name, port in instance.ports.items():
        wanted = outer.get(parts.port_variable(name))
        if wanted and wanted != str(port):
            raise Problem(f"The parts are running with {name} on port {port}: `make down` first, then start them anew.")


def start(names: Sequence[str] | None = None, terminal: Terminal | None = None) -> Parts:
    """Start what is not running of `names` (all of them by default); a second call restarts nothing.

    Raises:
        Problem: one line that says what to do.
    """
    terminal = terminal or Terminal()
    instance = parts.load(recorded_only=True)
    everything = processes.programs(instance)
    wanted = [program.name for program in everything if names is None or program.name in names]
    if processes.is_running(instance):
        check_same(instance, os.environ)
    else:
        instance = parts.load()
        processes.end_leftovers(instance)
        checks.check_all(instance)
        processes.prepare(instance)
        with_airflow = any(name.startswith("airflow") for name in wanted)
        if with_airflow:
            migrate(instance, terminal)
        processes.start_supervisor(instance)
    os.environ.update(instance.environment())
    processes.start_parts(instance, wanted)
    wait_healthy(instance, wanted, terminal)
    return instance


def wait_healthy(instance: Parts, names: Sequence[str], terminal: Terminal) -> None:
    if "s3" in names:
        health.wait(f"S3       {instance.s3_url}", instance, lambda: health.s3_state(instance), terminal, 120, "s3")
    if "mlflow" in names:
        title = f"MLflow   {instance.mlflow_url}"
        health.wait(title, instance, lambda: health.mlflow_state(instance), terminal, 240, "mlflow")
    airflow_names = [name for name in names if name.startswith("airflow")]
    if airflow_names:
        title = f"Airflow  {instance.airflow_url}"
        health.wait(title, instance, lambda: health.airflow_state(instance), terminal, 300, *airflow_names)
        expected = health.EXPECTED_DAGS
        title = f"Dags     {len(expected)} parsed"
        health.wait(
            title, instance, lambda: health.dags_state(instance, expected), terminal, 240, "airflow-dag-processor"
        )
        with Airflow.connect(instance) as airflow:
            airflow.ensure_pool("gpu", 1, "training: one at a time")
            paused = [dag_id for dag_id, is_paused in airflow.dags().items() if is_paused and dag_id in expected]
            for dag_id in paused:  # before anything is triggered: paused asset consumers miss events silently
                airflow.unpause(dag_id)


def main() -> int:
    terminal = Terminal()
    try:
        instance = start(terminal=terminal)
    except Problem as problem:
        terminal.line(f"make up: {problem}")
        return 1
    terminal.line(f"Running. Airflow: {instance.airflow_url}  login {parts.LOGIN} / {instance.password}")
    terminal.line(f"`make down` ends it; settings for a shell: . {instance.env_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
