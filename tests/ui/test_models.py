"""The links to MLflow lead to what was logged from the artefacts that a strategy rests on."""

from __future__ import annotations

import httpx
import pytest

from mktgen.contracts import DECISIONS
from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore, Provenance
from tests.steps.conftest import platform_on
from tests.support.any_strategy import strategy
from tests.support.pages_world import DAY, SECTIONS

CHOSEN = {"mktgen.kind": "transformer", "mktgen.artefact_run": "m1"}


def decided(objects: ObjectStore) -> Platform:
    """A strategy whose decisions rest on models that were trained."""
    platform = platform_on(objects, **SECTIONS)
    store = platform.store
    models = store.write_files("models", DAY, {"a": b"1"}, Provenance("train", "m1", "", "", 0, ()))
    drawn = Provenance("allocate", "d1", "", "", 0, (models.as_parent(),))
    store.write_table("decisions", DAY, DECISIONS.empty(), drawn)
    store.write_document("strategy", DAY, strategy(DAY), Provenance("evaluate_strategy", "s1", "", "", 0, ()))
    return platform


@pytest.mark.slow
def test_runs_versions_and_aliases_are_found(object_store: ObjectStore, mlflow_uri: str) -> None:
    import mlflow
    from mktgen_ui.models import models
    from mktgen_ui.places import Places

    client = mlflow.MlflowClient(tracking_uri=mlflow_uri)
    behaviour, strategies = (client.create_experiment(f"mktgen-of-pages-{name}") for name in ("models", "strategies"))
    run = client.create_run(behaviour, tags=CHOSEN, run_name="transformer 2017-10-01")
    client.create_run(behaviour, tags={**CHOSEN, "mktgen.artefact_run": "other"})
    made = client.create_run(
        strategies, tags={"mktgen.kind": "strategy", "mktgen.artefact_run": "s1"}, run_name="strategy"
    )
    client.create_registered_model("mktgen-of-pages")
    version = client.create_model_version("mktgen-of-pages", "s3://nowhere/model", run.info.run_id)
    client.set_registered_model_alias("mktgen-of-pages", "champion", version.version)

    places = Places(mlflow=mlflow_uri, mlflow_public="https://mlflow.example/")
    found = models(decided(object_store), DAY, places)
    assert found["note"] == ""
    assert [one["name"] for one in found["runs"]] == ["strategy", "transformer 2017-10-01"]
    assert found["runs"][0]["url"] == f"https://mlflow.example/#/experiments/{strategies}/runs/{made.info.run_id}"
    (link,) = found["runs"][1]["versions"]
    assert (link["name"], link["version"], link["aliases"]) == ("mktgen-of-pages", str(version.version), ["champion"])
    assert link["url"] == f"https://mlflow.example/#/models/mktgen-of-pages/versions/{version.version}"


def test_a_silent_mlflow_leaves_the_names(object_store: ObjectStore) -> None:
    from mktgen_ui.models import models
    from mktgen_ui.places import Places

    found = models(decided(object_store), DAY, Places(mlflow="http://127.0.0.1:9", mlflow_public="http://127.0.0.1:9"))
    assert found["runs"] == []
    assert found["note"] == f"MLflow does not answer ({httpx.ConnectError.__name__})"
    assert [(one["artefact"], one["run"]) for one in found["artefacts"]] == [("strategy", "s1"), ("models", "m1")]
