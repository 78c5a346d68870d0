"""What a demo did, read back from where it is recorded: Airflow's API, the store, MLflow's REST API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import httpx
import polars as pl

from local import parts
from local.airflow import Airflow, Run
from local.parts import BUCKET, PREFIX, Parts
from local.summary import Approval, Champion, Day, Facts, Refused, Step
from mktgen import documents
from mktgen.store import ObjectStore, S3Location, Store

DAGS = ("marketing_loop", "marketing_execution", "marketing_feedback")
GREEN = ("success", "skipped")


def gather(instance: Parts, airflow: Airflow, days: Sequence[date], wall_s: float) -> Facts:
    """Read everything. The process's environment holds the S3 keys (up.start put them there)."""
    store = Store(ObjectStore(S3Location(instance.s3_url, BUCKET, PREFIX)))
    runs = {dag: _latest(airflow.runs(dag), days) for dag in DAGS}
    steps = [
        Step(run.partition, run.dag_id, task.task_id, task.state, round(task.seconds, 3), task.tries)
        for found in runs.values()
        for run in found
        for task in airflow.tasks(run)
    ]
    strategies = [store.read_document(store.need("strategy", day), documents.Strategy) for day in days]
    mlflow = MLflow(instance.mlflow_url)
    return Facts(
        wall_s=round(wall_s, 1),
        source=strategies[-1].source,
        notice=strategies[-1].source_notice,
        days=[
            _day(store, run, [s for s in steps if (s.partition, s.dag) == (run.partition, run.dag_id)], strategy)
            for run, strategy in zip(runs["marketing_loop"], strategies, strict=True)
        ],
        steps=steps,
        approval=_approval(store, airflow, days[-1]),
        models=mlflow.registered(),
        training_runs=mlflow.run_count(),
        champions=_champions(store, days[-1]),
        refused=_refused(store, days[-1]),
        retraining=_retraining(store, days[-1]),
        links={
            "Airflow": instance.airflow_url,
            "Strategies": f"{instance.airflow_url}/mktgen/",
            "MLflow": instance.mlflow_url,
            "S3": f"{instance.s3_url}/{BUCKET} (keys: . {instance.env_file})",
        },
        login=parts.LOGIN,
        password=instance.password,
    )


def _latest(runs: Sequence[Run], days: Sequence[date]) -> list[Run]:
    """The newest run of each day, in the order of the days (`runs` come oldest first)."""
    by_day = {run.partition: run for run in runs}
    return [by_day[day.isoformat()] for day in days if day.isoformat() in by_day]


def _day(store: Store, run: Run, steps: Sequence[Step], strategy: documents.Strategy) -> Day:
    decisions = store.read_table(store.need("decisions", strategy.partition))
    contacts = decisions.filter((pl.col("action") != "no_contact") & ~pl.col("holdout"))
    return Day(
        partition=run.partition,
        state=run.state,
        seconds=round(run.seconds, 1),
        green=sum(step.state in GREEN for step in steps),
        tasks=len(steps),
        status=strategy.status,
        customers=strategy.customers,
        decisions=decisions.height,
        contacts=contacts.height,
        holdout=int(decisions["holdout"].sum()),
        campaigns=len(strategy.campaigns),
        budget_minor=strategy.allocation.budget_minor,
        cost_minor=int(contacts["cost_minor"].sum()),
        messages=len(store.objects.keys(f"outbox/dt={run.partition}/")),
    )


def _approval(store: Store, airflow: Airflow, day: date) -> Approval:
    manifest = store.current("approval", day)
    if manifest is not None:
        answer = store.read_document(manifest, documents.Approval)
        return Approval(day.isoformat(), "approved" if answer.approved else "rejected", answer.responder)
    runs = {run.run_id for run in airflow.runs("marketing_execution") if run.partition == day.isoformat()}
    waiting = any(q.run_id in runs and not q.answered for q in airflow.questions("marketing_execution"))
    return Approval(day.isoformat(), "waiting" if waiting else "none", "")


def _champions(store: Store, day: date) -> list[Champion]:
    """Of the newest promotion up to `day`, with the winner's metric on the evaluation data of that training."""
    trained = [found for found in store.partitions("promotion") if found <= day and store.current("promotion", found)]
    if not trained:
        return []
    promotion = store.read_document(store.need("promotion", trained[-1]), documents.Promotion)
    models = store.read_document(store.need("model_set", trained[-1]), documents.ModelSet).models
    metrics = {entry.kind: entry.metrics for entry in models}
    return [
        Champion(task.task, task.champion, task.metric, metrics.get(task.champion, {}).get(task.metric), task.reason)
        for task in (promotion.ranking, promotion.customer)
    ]


def _refused(store: Store, day: date) -> list[Refused]:
    evaluation = store.read_document(store.need("strategy_evaluation", day), documents.StrategyEvaluation)
    return [Refused(refusal.metric, list(refusal.missing)) for refusal in evaluation.refused]


def _retraining(store: Store, day: date) -> str:
    manifest = store.current("retraining_request", day)
    if manifest is None:
        return "not measured yet"
    request = store.read_document(manifest, documents.RetrainingRequest)
    return f"{day}: {'retraining asked for' if request.requested else 'no retraining'}: {'; '.join(request.reasons)}"


class MLflow:
    """What the tracking server shows of registered models and runs."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=30)

    def registered(self) -> dict[str, str]:
        """Registered model -> newest version, in order."""
        models = self._get("/registered-models/search", {"max_results": 200}).get("registered_models", [])
        return {
            m["name"]: max((v["version"] for v in m.get("latest_versions", [])), key=int, default="-") for m in models
        }

    def run_count(self) -> int:
        found = self._client.post("/experiments/search", json={"max_results": 100}).raise_for_status().json()
        ids = [experiment["experiment_id"] for experiment in found.get("experiments", [])]
        body = {"experiment_ids": ids, "max_results": 1000}
        return len(self._client.post("/runs/search", json=body).raise_for_status().json().get("runs", []))

    def _get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = self._client.get(path, params=query).raise_for_status().json()
        return body
