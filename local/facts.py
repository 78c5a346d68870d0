"""What a demo did, read back from where it is recorded: Airflow's API, the store, MLflow's REST API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import Any

import httpx
import polars as pl

from local import parts
from local.airflow import Airflow, Run
from local.parts import BUCKET, PREFIX, Parts
from local.summary import Approval, Champion, Day, Facts, Refused, Step
from mktgen import documents
from mktgen.store import ObjectStore, S3Location, Store

EXPERIMENT = "mktgen-behaviour"
DAGS = ("marketing_loop", "marketing_execution", "marketing_feedback")
GREEN = ("success", "skipped")
LOGGED_UNDER = {"ranking": "ranking", "customer": "churn_28d"}  # task -> the prefix of its metric in MLflow


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
    evaluation = strategies[-1].evaluation
    with MLflow(instance.mlflow_url) as mlflow:
        runs_logged, registered = mlflow.runs(), mlflow.registered()
        champions, comparison = _champions(store, mlflow, days[-1]), mlflow.comparison()
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
        runs=runs_logged,
        registered=registered,
        champions=champions,
        refused=[Refused(refusal.metric, list(refusal.missing)) for refusal in evaluation.refused]
        if evaluation
        else [],
        retraining=_retraining(store, days[-1]),
        links={
            "Airflow": instance.airflow_url,
            "Strategies": f"{instance.airflow_url}/mktgen/",
            "MLflow": comparison,
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


def _champions(store: Store, mlflow: MLflow, day: date) -> list[Champion]:
    """MLflow's champion of each task with its metric there; the reason from the newest promotion up to `day`."""
    days = [found for found in store.partitions("promotion") if found <= day and store.current("promotion", found)]
    if not days:
        return []
    promotion = store.read_document(store.need("promotion", days[-1]), documents.Promotion)
    trained = store.read_document(store.need("model_set", days[-1]), documents.ModelSet)
    return [
        Champion(
            task.task,
            task.champion,
            task.metric,
            mlflow.champion_metric(f"mktgen-{task.task}", f"{LOGGED_UNDER[task.task]}.{task.metric}"),
            task.reason,
            _untrained(trained, f"{LOGGED_UNDER[task.task]}.{task.metric}"),
        )
        for task in (promotion.ranking, promotion.customer)
    ]


def _untrained(trained: documents.ModelSet, metric: str) -> str:
    """The best of the kinds that only count, by this metric."""
    lines = {
        entry.kind: entry.metrics[metric] for entry in trained.models if entry.untrained and metric in entry.metrics
    }
    best = max(sorted(lines), key=lambda kind: lines[kind], default=None)
    return "" if best is None else f"{best} {lines[best]:.4f}"


def _retraining(store: Store, day: date) -> str:
    manifest = store.current("retraining_request", day)
    if manifest is None:
        return "not measured yet"
    request = store.read_document(manifest, documents.RetrainingRequest)
    answer = "retraining asked for" if request.requested else "no reason to train before the turn"
    return ": ".join([str(day), answer, *(["; ".join(request.reasons)] if request.reasons else [])])


class MLflow:
    """What the tracking server shows of registered models and runs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=30)

    def __enter__(self) -> MLflow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def registered(self) -> dict[str, str]:
        """Registered model -> how many versions, and which of them is champion."""
        found = {}
        for model in self._get("/registered-models/search", {"max_results": 200}).get("registered_models", []):
            query = {"filter": f"name='{model['name']}'", "max_results": 1000}
            versions = self._get("/model-versions/search", query).get("model_versions", [])
            champions = [f", champion {a['version']}" for a in model.get("aliases", []) if a["alias"] == "champion"]
            found[model["name"]] = f"{len(versions)} versions{''.join(champions)}"
        return found

    def champion_metric(self, model: str, metric: str) -> float | None:
        """The champion's metric as logged in its run; None: no champion, or a run without that metric."""
        query = {"name": model, "alias": "champion"}
        answer = self._client.get("/registered-models/alias", params=query)
        if answer.status_code == 404:
            return None
        run_id = answer.raise_for_status().json()["model_version"]["run_id"]
        metrics = self._get("/runs/get", {"run_id": run_id})["run"]["data"].get("metrics", [])
        return next((float(entry["value"]) for entry in metrics if entry["key"] == metric), None)

    def comparison(self) -> str:
        """The page that shows our models beside each other; the server's front page where there is no experiment yet."""
        ours = self._models()
        return f"{self._url}/#/experiments/{ours[0]}/runs?workflowType=machine_learning" if ours else self._url

    def runs(self) -> list[str]:
        """Names of all finished runs of models, in order."""
        ours = self._models()
        body = {"experiment_ids": ours, "max_results": 1000}
        found = [run["info"] for run in self._post("/runs/search", body).get("runs", [])] if ours else []
        return sorted(info["run_name"] for info in found if info["status"] == "FINISHED")

    def _models(self) -> list[str]:
        """The id of the models' experiment, where there is one."""
        experiments = self._post("/experiments/search", {"max_results": 100}).get("experiments", [])
        return [found["experiment_id"] for found in experiments if found["name"] == EXPERIMENT]

    def _get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = self._client.get(path, params=query).raise_for_status().json()
        return body

    def _post(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = self._client.post(path, json=query).raise_for_status().json()
        return body
