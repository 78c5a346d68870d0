"""Steps as tasks: partition, retry, log, result, links."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mktgen import errors
from mktgen.contracts import ContractError
from mktgen.documents import RetrainingRequest
from mktgen.steps.runner import StepResult
from mktgen.store import ObjectStore, Provenance, Store
from tests.dags.conftest import as_task, run_of

DAY = date(2017, 10, 1)


def test_the_partition_is_the_runs_key_before_any_parameter() -> None:
    from mktgen_airflow.partitions import partition_of

    assert partition_of({"dag_run": run_of("2017-10-01"), "params": {"partition": "2016-01-01"}}) == DAY


def test_without_a_key_the_partition_parameter_counts() -> None:
    from mktgen_airflow.partitions import partition_of

    assert partition_of({"dag_run": run_of(None), "params": {"partition": "2017-10-01"}}) == DAY


@pytest.mark.parametrize("key", [None, "", "oops", "2017-02-30", "2017-10-01T00:00:00"])
def test_a_run_without_a_day_fails_for_good_and_says_what_to_do(key: str | None) -> None:
    from mktgen_airflow.partitions import NoPartition, partition_of

    with pytest.raises(NoPartition, match="2017-10-01") as failure:
        partition_of({"dag_run": run_of(key), "params": {}})
    assert isinstance(failure.value, errors.PermanentError)


def all_permanent() -> list[type[BaseException]]:
    found: list[type[BaseException]] = [errors.PermanentError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return sorted(set(found), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", all_permanent(), ids=lambda kind: kind.__name__)
def test_permanent_errors_fail_at_once(kind: type[BaseException]) -> None:
    from airflow.sdk import RetryAction
    from mktgen_airflow.defaults import RETRY_POLICY

    failure = kind.__new__(kind, "x")  # some have a constructor of their own
    assert RETRY_POLICY.evaluate(failure, try_number=1, max_tries=5).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "error",
    [errors.TransientError("S3"), ConnectionError(), OSError("disk"), TimeoutError(), ValueError("bug")],
    ids=repr,
)
def test_all_other_errors_are_tried_again(error: Exception) -> None:
    from airflow.sdk import RetryAction
    from mktgen_airflow.defaults import RETRY_POLICY

    assert RETRY_POLICY.evaluate(error, try_number=1, max_tries=5).action is RetryAction.DEFAULT


def test_contract_gate_and_quarantine_errors_are_among_the_permanent() -> None:
    assert {ContractError, errors.GateFailed, errors.QuarantineOverflow, errors.NotAllowed} <= set(all_permanent())


def test_a_result_is_logged_for_people_and_returned_small(caplog: pytest.LogCaptureFixture) -> None:
    from mktgen_airflow.steps import report

    result = StepResult(
        step="clean",
        partition=DAY,
        run_id="r1",
        reused=False,
        artefacts={"order_lines": "s3://b/order_lines/dt=2017-10-01/run=r1"},
        rows={"order_lines": 4321},
        digests={"order_lines": "d"},
        seconds=1.23456,
        notes=["two rows went to quarantine: net_not_negative"],
    )
    with caplog.at_level(logging.INFO):
        returned = report(result)
    assert "two rows went to quarantine: net_not_negative" in caplog.text
    assert "s3://b/order_lines/dt=2017-10-01/run=r1 (4,321 rows)" in caplog.text
    assert returned == {
        "partition": "2017-10-01",
        "run_id": "r1",
        "reused": False,
        "artefacts": result.artefacts,
        "rows": result.rows,
        "digests": result.digests,
        "seconds": 1.235,
    }


def test_a_task_runs_its_step_for_its_day(dagbag: Any, store_environment: ObjectStore) -> None:
    """The loop's own `ingest` task, on real rows and a real S3; a second run finds the same artefact."""
    ingest = dagbag.dags["marketing_loop"].task_dict["ingest"]
    with as_task("2017-10-01", recompute="changed"):
        first = ingest.python_callable()
    with as_task("2017-10-01", recompute="changed"):
        second = ingest.python_callable()
    assert first["partition"] == "2017-10-01"
    assert sum(first["rows"].values()) > 1000
    assert all(uri.startswith("s3://") and "dt=2017-10-01" in uri for uri in first["artefacts"].values())
    assert (first["reused"], second["reused"]) == (False, True)
    assert second["artefacts"] == first["artefacts"]
    assert second["digests"] == first["digests"]


@pytest.mark.parametrize("models", [[], ["response"], ["behaviour"]], ids=["nothing", "response", "behaviour"])
def test_retraining_is_announced_only_where_the_behaviour_models_are_asked_for(
    dagbag: Any, store_environment: ObjectStore, models: list[Any]
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException
    from mktgen_airflow import RETRAINING_REQUESTED

    from mktgen import pipeline

    reasons = ["drift"] if models else []
    request = RetrainingRequest(partition=DAY, requested=bool(models), reasons=reasons, models=models)
    provenance = Provenance(step="test", run="r1", code="c", config="c", seed=0, parents=())
    Store(store_environment).write_document("retraining_request", DAY, request, provenance)
    announce = dagbag.dags["marketing_feedback"].task_dict["announce_retraining"].python_callable
    with as_task(DAY.isoformat()) as context:
        if "behaviour" in models:
            announce()
            keys = context["outlet_events"][RETRAINING_REQUESTED].partition_keys
            assert keys == {pipeline.partition_of_request(DAY).isoformat()}
        else:
            with pytest.raises(AirflowSkipException, match="asks for no retraining"):
                announce()


def test_the_mlflow_button_leads_where_a_browser_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    from mktgen_airflow.links import MLflowLink

    task = SimpleNamespace(task_id="train")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert MLflowLink().get_link(task, ti_key=task) == "http://mlflow:5000/#/experiments"
    monkeypatch.setenv("MKTGEN_MLFLOW_PUBLIC_URL", "https://mlflow.example.org/")
    assert MLflowLink().get_link(task, ti_key=task) == "https://mlflow.example.org/#/experiments"
    task.task_id = "promote"
    assert MLflowLink().get_link(task, ti_key=task) == "https://mlflow.example.org/#/models"
    monkeypatch.setenv("MKTGEN_MLFLOW_PUBLIC_URL", "javascript:alert(1)")
    assert MLflowLink().get_link(task, ti_key=task) == ""


def test_the_buttons_are_on_the_tasks_that_have_something_to_show(dagbag: Any) -> None:
    shown = {
        (dag.dag_id, task.task_id, link.name)
        for dag in dagbag.dags.values()
        for task in dag.tasks
        for link in task.operator_extra_links
    }
    trained = {
        (dag_id, task, "MLflow")
        for dag_id in ("marketing_loop", "marketing_retraining")
        for task in ("train", "validate", "promote")
    }
    loop = {("marketing_loop", "publish", "Strategy")}
    loop |= {("marketing_loop", task, "MLflow") for task in ("promote_response", "promote_copywriter")}
    assert shown == trained | loop


def test_a_rollback_is_asked_for_in_the_name_of_who_started_the_run(
    dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mktgen import pipeline

    asked: list[tuple[Any, ...]] = []

    def roll_back(*about: Any) -> StepResult:
        asked.append(about)
        return StepResult("rollback", DAY, "r1", False, {}, {}, {}, 0.0, ["pinned"])

    monkeypatch.setattr(pipeline, "roll_back_response", roll_back)
    task = dagbag.dags["marketing_rollback"].task_dict["roll_back"].python_callable
    form = {"why": "looked wrong", "to": "2017-09-01", "from": None, "release": False}
    with as_task(None, **form) as context:
        context["dag_run"].triggering_user_name = "ada"
        assert task()["partition"] == "2017-10-01"
    with as_task(None, **form | {"to": None, "release": True}):
        task()
    with as_task(None, **form | {"release": True}), pytest.raises(errors.PermanentError, match="choose one"):
        task()
    assert asked == [
        ("ada", "looked wrong", date(2017, 9, 1), None, False),
        ("a run without a user", "looked wrong", None, None, True),
    ]


def test_a_rollback_without_a_reason_is_not_started(dagbag: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = dagbag.dags["marketing_rollback"].params
    with pytest.raises(ParamValidationError):
        params.get_param("why").resolve("")
    assert params.get_param("to").resolve(None) is None
    with pytest.raises(ParamValidationError):
        params.get_param("to").resolve("soon")


def test_onboarding_refuses_a_range_that_runs_backwards(dagbag: Any) -> None:
    onboard = dagbag.dags["marketing_onboarding"].task_dict["onboard"]
    form = {"source": "complete_journey", "from": "2017-02-01", "to": "2017-01-01"}
    with as_task(None, **form), pytest.raises(errors.PermanentError, match="exchange"):
        onboard.python_callable()


# Airflow's reader of .airflowignore uses a deprecated class of pathspec.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_only_the_entry_is_loaded_as_a_plugin(airflow_home: Path) -> None:
    from airflow.plugins_manager import _get_plugins

    plugins, import_errors = _get_plugins()
    ours = [plugin for plugin in plugins if str(plugin.source).startswith("$PLUGINS_FOLDER")]
    assert import_errors == {}
    assert [plugin.name for plugin in ours] == ["mktgen"]
    assert [(view["name"], view["destination"]) for view in ours[0].external_views] == [("Strategies", "nav")]
