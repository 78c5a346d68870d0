"""Airflow's REST API as a client sees it: everything the demo does, an analyst can do by the UI or by curl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from local.errors import Problem
from local.parts import LOGIN, Parts

PATIENCE_S = 90  # a supervised API server is back within that
APPROVE, REJECT = "Approve", "Reject"


@dataclass(frozen=True)
class Run:
    """A Dag run. `partition` is its business day, '' where it has none."""

    dag_id: str
    run_id: str
    state: str
    partition: str
    seconds: float
    begun: str
    conf: dict[str, Any]

    @property
    def finished(self) -> bool:
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class Task:
    """A task instance. `seconds` is 0 until it started; `tries` counts from 1."""

    dag_id: str
    run_id: str
    task_id: str
    state: str
    seconds: float
    tries: int
    ended: str


@dataclass(frozen=True)
class Question:
    """Something a person is asked, or was asked."""

    run_id: str
    task_id: str
    map_index: int
    subject: str
    answered: bool
    responder: str
    chosen: list[str]


class Airflow:
    """A logged-in client. Calls are repeated while the API server is restarting or its database is locked."""

    def __init__(self, url: str, login: str, password: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=60)
        self._login = {"username": login, "password": password}

    @classmethod
    def connect(cls, parts: Parts) -> Airflow:
        return cls(parts.airflow_url, LOGIN, parts.password)

    def __enter__(self) -> Airflow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    # -- calls --------------------------------------------------------------------------------------------------------
    def _authenticate(self) -> None:
        answer = self._client.post("/auth/token", json=self._login)
        if answer.status_code == 401:
            raise Problem("Airflow refuses the generated login: `make down up` renews it.")
        answer.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, *, accept: tuple[int, ...] = (), **arguments: Any) -> Any:
        """The JSON answer ({} for an empty one).

        Args:
            accept: HTTP errors to hand back as {"status": code, "detail": ...} instead of raising.

        Raises:
            Problem: refused, or no answer for PATIENCE_S seconds. A POST that was cut off is not repeated.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if "Authorization" not in self._client.headers:
                    self._authenticate()
                answer = self._client.request(method, f"/api/v2{path}", **arguments)
            except httpx.TransportError as problem:
                sent = method == "POST" and not isinstance(problem, httpx.ConnectError)
                if sent or time.monotonic() > deadline:
                    raise Problem(f"Airflow does not answer ({method} {path}: {problem!r})") from problem
                time.sleep(1)
                continue
            if answer.status_code == 401:
                del self._client.headers["Authorization"]  # the token ran out
            elif answer.status_code not in (500, 502, 503, 504) or (method == "POST" and answer.status_code == 500):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        if answer.status_code in accept:
            return {"status": answer.status_code, "detail": answer.text}
        if answer.is_error:
            raise Problem(f"Airflow refused {method} {path}: HTTP {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else {}

    # -- Dags ---------------------------------------------------------------------------------------------------------
    def dags(self) -> dict[str, bool]:
        """Dag id -> paused?"""
        return {dag["dag_id"]: dag["is_paused"] for dag in self.call("GET", "/dags?limit=100")["dags"]}

    def import_errors(self, since: float) -> dict[str, str]:
        """File -> traceback, of parses after `since` (epoch seconds): older ones may be of a file that is mended."""
        found = self.call("GET", "/importErrors")["import_errors"]
        return {e["filename"]: e["stack_trace"] for e in found if _epoch(e["timestamp"]) >= since}

    def unpause(self, dag_id: str) -> None:
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        self.call("POST", "/pools", json=body, accept=(409,))

    # -- runs ---------------------------------------------------------------------------------------------------------
    def runs(self, dag_id: str) -> list[Run]:
        """All runs of a Dag, oldest first."""
        found, offset = [], 0
        while True:
            query = f"/dags/{dag_id}/dagRuns?limit=100&offset={offset}&order_by=run_after"
            page = self.call("GET", query)["dag_runs"]
            found += [_run(body) for body in page]
            if len(page) < 100:
                return found
            offset += 100

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> Run:
        return _run(self.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}))

    def backfill(
        self,
        dag_id: str,
        first: date,
        last: date,
        timezone: ZoneInfo,
        reprocess: str,
        conf: Mapping[str, Any] | None = None,
    ) -> bool:
        """Create a backfill of the days `first` to `last` (inclusive), one at a time.

        Args:
            timezone: of the Dag's schedule: a partition begins at that zone's midnight.
            reprocess: days that have a run: "none" leaves them, "failed" runs the failed ones again, "completed" all.
            conf: values for the Dag's form.

        Returns:
            False where a backfill of this Dag is going on already.
        """
        begins = [datetime.combine(day, datetime.min.time(), timezone).isoformat() for day in (first, last)]
        body = {
            "dag_id": dag_id,
            "from_date": begins[0],
            "to_date": begins[1],
            "max_active_runs": 1,
            "reprocess_behavior": reprocess,
            "dag_run_conf": dict(conf or {}),
        }
        return "status" not in self.call("POST", "/backfills", json=body, accept=(409,))

    def backfilling(self, dag_id: str) -> bool:
        """Whether a backfill of this Dag is going on: another would be refused."""
        found = self.call("GET", "/backfills", params={"dag_id": dag_id})["backfills"]
        return any(backfill["completed_at"] is None for backfill in found)

    def clear_failed(self, run: Run) -> None:
        """Let the failed tasks of a finished run, and those that waited for them, run again."""
        body = {"dry_run": False, "dag_run_id": run.run_id, "only_failed": True, "reset_dag_runs": True}
        self.call("POST", f"/dags/{run.dag_id}/clearTaskInstances", json=body)

    def tasks(self, run: Run) -> list[Task]:
        body = self.call("GET", f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances?limit=100")
        return sorted(
            (_task(task) for task in body["task_instances"]), key=lambda task: (task.ended or "~", task.task_id)
        )

    def log_tail(self, task: Task, lines: int = 8) -> list[str]:
        """The last lines of a task's last try."""
        path = f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/logs/{max(task.tries, 1)}"
        answer = self.call(
            "GET", path, params={"full_content": True}, headers={"Accept": "application/json"}, accept=(404,)
        )
        entries = answer.get("content", [])
        texts = [entry if isinstance(entry, str) else _log_text(entry) for entry in entries]
        # Lines that begin with :: fold the log in the UI.
        return [line for text in texts for line in text.splitlines() if line.strip() and line[:2] != "::"][-lines:]

    # -- approvals ----------------------------------------------------------------------------------------------------
    def questions(self, dag_id: str) -> list[Question]:
        body = self.call("GET", f"/dags/{dag_id}/dagRuns/~/hitlDetails?limit=100")
        return [_question(detail) for detail in body["hitl_details"]]

    def answer(self, dag_id: str, question: Question, option: str) -> bool:
        """Answer as the logged-in person; False: somebody had answered before."""
        path = f"/dags/{dag_id}/dagRuns/{question.run_id}/taskInstances/{question.task_id}"
        body = {"chosen_options": [option], "params_input": {}}
        answered = self.call("PATCH", f"{path}/{question.map_index}/hitlDetails", json=body, accept=(409,))
        return "status" not in answered


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _seconds(body: dict[str, Any]) -> float:
    if body.get("duration") is not None:
        return float(body["duration"])
    if body.get("start_date") and body.get("end_date"):
        begun, ended = (datetime.fromisoformat(body[key]) for key in ("start_date", "end_date"))
        return (ended - begun).total_seconds()
    return 0.0


def _run(body: dict[str, Any]) -> Run:
    return Run(
        dag_id=body["dag_id"],
        run_id=body["dag_run_id"],
        state=body["state"],
        partition=body.get("partition_key") or "",
        seconds=_seconds(body),
        begun=body.get("start_date") or "",
        conf=body.get("conf") or {},
    )


def _task(body: dict[str, Any]) -> Task:
    return Task(
        dag_id=body["dag_id"],
        run_id=body["dag_run_id"],
        task_id=body["task_id"],
        state=body["state"] or "none",
        seconds=_seconds(body),
        tries=body["try_number"],
        ended=body.get("end_date") or "",
    )


def _question(detail: dict[str, Any]) -> Question:
    task = detail["task_instance"]
    return Question(
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        subject=detail["subject"],
        answered=bool(detail.get("response_received")),
        responder=(detail.get("responded_by_user") or {}).get("name", ""),
        chosen=detail.get("chosen_options") or [],
    )


def _log_text(entry: dict[str, Any]) -> str:
    """One structured log entry; of an error the exception's own words, which say what to do."""
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []]
    return "\n".join([str(entry.get("event", "")), *errors])
