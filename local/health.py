"""Wait until every part answers as its users will ask it, not merely until its process exists."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from local import processes
from local.airflow import Airflow
from local.errors import Problem
from local.parts import BUCKET, Parts
from local.terminal import Terminal
from mktgen.store import ObjectStore, S3Location

EXPECTED_DAGS = (
    "marketing_execution",
    "marketing_feedback",
    "marketing_loop",
    "marketing_onboarding",
    "marketing_retraining",
    "marketing_rollback",
)
AIRFLOW_PARTS = {  # name in the health report -> program
    "scheduler": "airflow-scheduler",
    "dag_processor": "airflow-dag-processor",
    "triggerer": "airflow-triggerer",
}


def s3_state(parts: Parts) -> str:
    """'' when a signed listing of our bucket succeeds; else what is missing."""
    try:
        if httpx.get(f"{parts.s3_url}/{BUCKET}", timeout=2).status_code != 403:
            return "no bucket or no access control yet"
        store = ObjectStore(S3Location(parts.s3_url, BUCKET, "health"))
        store.put("ready", b"")  # needs the volume server too, which comes last
        store.delete("ready")
    except httpx.TransportError:
        return "no answer yet"
    except (BotoCoreError, ClientError) as problem:
        return str(problem).splitlines()[0][:100]
    return ""


def mlflow_state(parts: Parts) -> str:
    try:
        answer = httpx.get(f"{parts.mlflow_url}/health", timeout=2)
    except httpx.TransportError:
        return "no answer yet"
    return "" if answer.status_code == 200 else f"HTTP {answer.status_code}"


def airflow_state(parts: Parts) -> str:
    try:
        answer = httpx.get(f"{parts.airflow_url}/api/v2/monitor/health", timeout=5)
    except httpx.TransportError:
        return "no answer yet"
    if answer.status_code != 200:
        return f"HTTP {answer.status_code}"
    body, running = answer.json(), processes.states(parts)
    return ", ".join(
        name for name, program in AIRFLOW_PARTS.items() if not _beats(body.get(name), name, running[program])
    )


def _beats(report: dict[str, str] | None, name: str, program: dict[str, Any]) -> bool:
    """Whether a part reports itself healthy, by a heartbeat of this process rather than of its predecessor."""
    if not report or report["status"] != "healthy":
        return False
    beat = report[f"latest_{name}_heartbeat"]
    return bool(datetime.fromisoformat(beat).timestamp() >= program["start"])


def dags_state(parts: Parts, expected: Sequence[str]) -> str:
    """'' when all expected Dags are parsed.

    Raises:
        Problem: a Dag file does not import: waiting will not help.
    """
    with Airflow.connect(parts) as airflow:
        errors = airflow.import_errors(since=processes.states(parts)["airflow-dag-processor"]["start"])
        if errors:
            name, trace = next(iter(sorted(errors.items())))
            raise Problem(f"Dag file {name} does not import: {trace.strip().splitlines()[-1]}")
        missing = sorted(set(expected) - airflow.dags().keys())
    return f"not parsed yet: {', '.join(missing)}" if missing else ""


def wait(
    name: str, parts: Parts, state: Callable[[], str], terminal: Terminal, timeout_s: float, *programs: str
) -> None:
    """Poll until `state` is ''.

    Raises:
        Problem: one of `programs` gave up, or the time is over; names the log to read.
    """
    begun = time.monotonic()
    while missing := state():
        for program in programs:
            record = processes.states(parts)[program]
            if record["statename"] == "FATAL":
                raise Problem(f"{program} does not start: {last_line(parts, program)} (see {log_of(parts, program)})")
        if time.monotonic() - begun > timeout_s:
            where = log_of(parts, programs[0]) if programs else parts.logs
            raise Problem(f"{name} is not ready after {timeout_s:.0f} s ({missing}): see {where}")
        terminal.going(f"{name}: {missing}")
        time.sleep(0.5)
    terminal.done(name, time.monotonic() - begun)


def log_of(parts: Parts, program: str) -> str:
    return str(parts.logs / f"{program}.log")


def last_line(parts: Parts, program: str) -> str:
    path = parts.logs / f"{program}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:200] if lines else "it wrote nothing"
