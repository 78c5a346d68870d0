"""The models behind a strategy, with links to their runs and versions in MLflow.

MLflow is asked over its REST interface: its library takes seconds to import and would stay in Airflow's API server. Where it
does not answer, the models are named without links.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import httpx

from mktgen.steps.runner import Platform
from mktgen.store import Manifest, Store
from mktgen_ui.places import Places

Json = dict[str, Any]
_TIMEOUT_S: Final = 3.0
_WITH_RUNS: Final = ("models", "response_model", "model_set")  # artefacts whose run names a run in MLflow
_ORDER: Final = {"strategy": 0, "campaign": 1}
_EXPERIMENTS: Final = "name LIKE 'mktgen-%'"


@dataclass(frozen=True)
class _Server:
    """MLflow's REST interface. public: the address that a browser uses."""

    client: httpx.Client
    public: str

    def ask(self, path: str, body: Json) -> Json:
        answer = self.client.post(f"/api/2.0/mlflow/{path}", json=body)
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    def look(self, path: str, query: dict[str, str]) -> Json:
        answer = self.client.get(f"/api/2.0/mlflow/{path}", params=query)
        answer.raise_for_status()
        found: Json = answer.json()
        return found


def models(platform: Platform, partition: date, places: Places) -> Json:
    """runs: of the models that the day's decisions rest on, and of the strategy itself. note: why some may be missing."""
    store = platform.store
    named = _named(store, partition)
    if not places.mlflow.startswith(("http://", "https://")):
        return {"artefacts": named, "runs": [], "note": "MLflow is not configured"}
    try:
        with httpx.Client(base_url=places.mlflow, timeout=_TIMEOUT_S, headers=_login()) as client:
            server = _Server(client, places.mlflow_public.rstrip("/"))
            return {"artefacts": named, "runs": _runs(server, [one["run"] for one in named]), "note": ""}
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return {"artefacts": named, "runs": [], "note": f"MLflow does not answer ({type(error).__name__})"}


def _named(store: Store, partition: date) -> list[Json]:
    strategy, decisions = (store.current(name, partition) for name in ("strategy", "decisions"))
    found = [] if strategy is None else [_identity(strategy)]
    parents = () if decisions is None else decisions.parents
    found += [
        {"artefact": parent.artefact, "partition": parent.partition, "run": parent.run}
        for parent in parents
        if parent.artefact in _WITH_RUNS
    ]
    return found


def _identity(manifest: Manifest) -> Json:
    return {"artefact": manifest.artefact, "partition": manifest.partition, "run": manifest.run}


def _login() -> dict[str, str]:
    """MLflow's own variables, where it asks for a login."""
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if not name:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _runs(server: _Server, artefact_runs: list[str]) -> list[Json]:
    """Runs that were logged from these artefacts, with the versions they made: the strategy's first, then the models'."""
    experiments = server.ask("experiments/search", {"filter": _EXPERIMENTS, "max_results": 50}).get("experiments", [])
    ids = [experiment["experiment_id"] for experiment in experiments]
    found: list[Json] = []
    for artefact_run in dict.fromkeys(artefact_runs) if ids else ():
        query = {"experiment_ids": ids, "filter": f"tags.`mktgen.artefact_run` = '{artefact_run}'", "max_results": 50}
        found += [_told(server, run) for run in server.ask("runs/search", query).get("runs", [])]
    for name in sorted({version["name"] for run in found for version in run["versions"]}):
        aliases = _aliases(server, name)
        for version in (version for run in found for version in run["versions"] if version["name"] == name):
            version["aliases"] = aliases.get(version["version"], [])
    return sorted(found, key=lambda run: (_ORDER.get(run["kind"], len(_ORDER)), run["name"]))


def _told(server: _Server, run: Json) -> Json:
    info, tags = run["info"], {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    query = {"filter": f"run_id = '{info['run_id']}'"}
    versions = server.look("model-versions/search", query).get("model_versions", [])
    return {
        "name": info.get("run_name", ""), "kind": tags.get("mktgen.kind", ""),
        "url": f"{server.public}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}",
        "versions": [
            {"name": one["name"], "version": one["version"],
             "url": f"{server.public}/#/models/{one['name']}/versions/{one['version']}"}
            for one in sorted(versions, key=lambda version: str(version["name"]))
        ],
    }  # fmt: skip


def _aliases(server: _Server, name: str) -> dict[str, list[str]]:
    """Version -> its aliases, of a registered model."""
    found = server.look("registered-models/get", {"name": name})["registered_model"].get("aliases", [])
    versions: dict[str, list[str]] = {}
    for one in found:
        versions.setdefault(one["version"], []).append(one["alias"])
    return versions
