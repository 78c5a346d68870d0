"""The Dag files as Airflow sees them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

TASKS = {
    "marketing_loop": [
        "ingest", "clean", "extract_features", "train_due", "train", "validate", "promote",
        "train_copywriter", "promote_copywriter", "forecast_demand",
        "score", "warn_churn", "segment", "recommend", "learn_response", "promote_response", "estimate_response",
        "judge_policy", "allocate", "explain", "learn_wording", "write_copy", "write_briefs", "evaluate_strategy", "publish",
    ],
    "marketing_execution": ["is_newest", "approve", "record_approval", "wait_for_hour", "dispatch"],
    "marketing_feedback": [
        "collect_outcomes", "attribute", "collect_trials", "collect_clicks", "judge_forecasts", "judge_effects",
        "assess_campaigns", "measure", "detect_drift", "request_retraining", "announce_retraining",
    ],
    "marketing_retraining": ["train_due", "train", "validate", "promote"],
    "marketing_onboarding": ["onboard"],
    "marketing_rollback": ["roll_back"],
}  # fmt: skip
LEARN = ("train", "train_copywriter")
# Tasks that ask, announce or take a range; all others are steps of the pipeline.
NOT_STEPS = {"is_newest", "approve", "record_approval", "wait_for_hour", "announce_retraining", "onboard", "roll_back"}


def test_every_file_is_read_and_holds_the_expected_dag(dagbag: Any) -> None:
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == set(TASKS)


@pytest.mark.parametrize("dag_id", TASKS)
def test_tasks_run_one_after_the_other_in_the_expected_order(dagbag: Any, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]
    assert [task.task_id for task in dag.topological_sort()] == TASKS[dag_id]
    for before, after in zip(TASKS[dag_id], TASKS[dag_id][1:], strict=False):
        assert after in dag.task_dict[before].downstream_task_ids


def test_the_steps_are_those_of_the_pipeline_in_its_order(dagbag: Any) -> None:
    from mktgen import pipeline

    for dag_id, group in (
        ("marketing_loop", "loop"), ("marketing_execution", "execution"), ("marketing_feedback", "feedback"),
    ):  # fmt: skip
        of_group = [name for name, step in pipeline.STEPS.items() if step.dag == group]
        assert [task for task in TASKS[dag_id] if task not in NOT_STEPS] == [
            name for name in of_group if name not in NOT_STEPS
        ]
    assert set(TASKS["marketing_retraining"]) <= set(TASKS["marketing_loop"])


@pytest.mark.parametrize("dag_id", TASKS)
def test_every_dag_says_what_it_does_and_bounds_its_runs(dagbag: Any, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]
    assert dag.doc_md.strip().startswith("## ")
    assert "mktgen" in dag.tags
    assert dag.catchup is False
    assert dag.max_active_runs == (8 if dag_id == "marketing_execution" else 1)


@pytest.mark.parametrize("dag_id", sorted(set(TASKS) - {"marketing_onboarding"}))
def test_an_analyst_is_told_how_to_backfill(dagbag: Any, dag_id: str) -> None:
    assert "backfill" in dagbag.dags[dag_id].doc_md.lower()


def test_the_loop_says_that_a_backfill_contacts_nobody(dagbag: Any) -> None:
    assert "A backfill contacts nobody" in dagbag.dags["marketing_loop"].doc_md


@pytest.mark.parametrize("dag_id", TASKS)
def test_every_task_has_an_owner_and_outlives_a_minute_without_s3(dagbag: Any, dag_id: str) -> None:
    for task in dagbag.dags[dag_id].tasks:
        assert task.owner == "mktgen"
        assert task.retries >= 3
        assert task.retry_policy is not None
        # Airflow's wait before retry n is at least delay * multiplier**(n-1), bounded by max_retry_delay
        waits = [
            min(
                task.retry_delay.total_seconds() * task.retry_exponential_backoff**tried,
                task.max_retry_delay.total_seconds(),
            )
            for tried in range(task.retries)
        ]
        assert sum(waits) >= 120
        assert waits == sorted(waits)


def test_training_goes_to_the_gpu_queue_and_pool_and_nothing_else_does(dagbag: Any) -> None:
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert (task.queue == "gpu", task.pool == "gpu") == ((task.task_id in LEARN),) * 2
            if task.task_id in LEARN:
                assert task.execution_timeout > dag.task_dict["validate"].execution_timeout


def test_a_person_is_asked_in_the_execution_dag_only(dagbag: Any) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator

    asking = [
        (dag.dag_id, task.task_id)
        for dag in dagbag.dags.values()
        for task in dag.tasks
        if isinstance(task, HITLOperator)
    ]
    assert asking == [("marketing_execution", "approve")]
    question = dagbag.dags["marketing_execution"].task_dict["approve"]
    assert question.options == ["Approve", "Reject"]
    assert question.defaults == ["Reject"], "silence must never send"
    assert question.response_timeout is not None


def test_consumers_follow_by_partition(dagbag: Any) -> None:
    from mktgen_airflow import DAY_DECIDED, RETRAINING_REQUESTED, STRATEGY_PUBLISHED

    emitted = {
        (dag.dag_id, task.task_id): [asset.name for asset in task.outlets]
        for dag in dagbag.dags.values()
        for task in dag.tasks
        if task.outlets
    }
    assert emitted == {
        ("marketing_loop", "allocate"): [DAY_DECIDED.name],
        ("marketing_loop", "publish"): [STRATEGY_PUBLISHED.name],
        ("marketing_feedback", "announce_retraining"): [RETRAINING_REQUESTED.name],
    }
    for dag_id, asset in (
        ("marketing_execution", STRATEGY_PUBLISHED),
        ("marketing_feedback", DAY_DECIDED),
        ("marketing_retraining", RETRAINING_REQUESTED),
    ):
        timetable = dagbag.dags[dag_id].timetable
        assert type(timetable).__name__ == "PartitionedAssetTimetable"
        assert timetable.asset_condition == asset
        assert timetable.default_partition_mapper.to_downstream("2017-10-01") == "2017-10-01"


def test_backfilled_keys_are_the_days_asked_for_across_clock_changes(dagbag: Any) -> None:
    """2017-11-05 has 25 hours in New York and 2017-03-12 has 23; each is one partition, as is any other day."""
    import pendulum
    from airflow.serialization.encoders import coerce_to_core_timetable

    timetable = coerce_to_core_timetable(dagbag.dags["marketing_loop"].timetable)
    for first, last in (((2017, 10, 1), (2017, 10, 3)), ((2017, 11, 4), (2017, 11, 6)), ((2017, 3, 11), (2017, 3, 13))):
        infos = timetable.iter_partition_dagrun_infos(
            earliest=pendulum.datetime(*first, tz="UTC"), latest=pendulum.datetime(*last, tz="UTC")
        )
        assert [info.partition_key for info in infos] == [
            pendulum.date(*first).add(days=offset).isoformat() for offset in range(3)
        ]


def test_the_loops_form_offers_what_the_pipeline_takes(dagbag: Any) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    params = dagbag.dags["marketing_loop"].params
    assert params.get_param("recompute").schema["enum"] == ["changed", "day", "all"]
    assert params["recompute"] == "changed"
    with pytest.raises(ParamValidationError):
        params.get_param("recompute").resolve("everything")


def test_onboarding_offers_the_sources_that_exist(dagbag: Any) -> None:
    found = dagbag.dags["marketing_onboarding"].params.get_param("source").schema["enum"]
    assert "complete_journey" in found
    assert all(importlib.util.find_spec("mktgen").origin for _ in found)  # type: ignore[union-attr]
    assert all((ROOT / "mktgen" / "sources" / f"{name}.py").is_file() for name in found)
    assert not {"base", "__init__"} & set(found)


PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
started = time.process_time()
bag = DagBag(sys.argv[1])
heavy = ["polars", "torch", "mlflow", "sklearn", "boto3", "pandas", "matplotlib", "mktgen.pipeline", "mktgen.store"]
print(json.dumps([time.process_time() - started, sorted(bag.import_errors), [m for m in heavy if m in sys.modules]]))
"""


def test_parsing_is_quick_and_imports_nothing_heavy() -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    seconds, errors, heavy = json.loads(done.stdout.strip().splitlines()[-1])
    assert errors == []
    assert heavy == []
    assert seconds < 10  # of CPU: a busy machine is no slow Dag


@pytest.mark.parametrize("file", sorted((ROOT / "dags").glob("*.py")), ids=lambda file: file.stem)
def test_dag_files_are_a_docstring_a_schedule_and_arrows(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) < 70
    for word in ("now(", "today(", "uuid", "random", "Variable.get", "import polars", "from mktgen "):
        assert word not in text


def test_two_parses_give_the_same_dags(dagbag: Any) -> None:
    """A Dag that differs between parses gets a new version every few seconds."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    again = DagBag(str(ROOT / "dags"))
    for dag_id, dag in dagbag.dags.items():
        one, other = (json.dumps(DagSerialization.to_dict(each), sort_keys=True) for each in (dag, again.dags[dag_id]))
        assert one == other


def test_a_source_that_ends_ends_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    from mktgen_airflow.defaults import source_ends

    assert source_ends() is None
    monkeypatch.setenv("MKTGEN_SOURCE_ENDS", "2017-12-31")
    ends = source_ends()
    assert ends is not None
    assert ends.isoformat() == "2018-01-01T00:00:00-05:00"
