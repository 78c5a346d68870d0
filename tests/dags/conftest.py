"""A throwaway AIRFLOW_HOME with a migrated database, made before anything imports Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mktgen.store import ObjectStore, S3Location
from tests.execution.seaweed import running

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[2]


def airflow_environment(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "for-this-test-session-only-" * 4,
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "AIRFLOW__API__BASE_URL": "http://airflow.test",
    }


@pytest.fixture(scope="session", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Environment first, then one `airflow db migrate`; Airflow reads both when it is first imported."""
    home = tmp_path_factory.mktemp("airflow")
    before = dict(os.environ)
    os.environ.update(airflow_environment(home))
    os.environ.pop("MKTGEN_SOURCE_ENDS", None)
    sys.path.insert(0, str(ROOT / "plugins"))
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=120)
    with warnings.catch_warnings():
        # Airflow's API imports svcs, which imports FastAPI's test client, which wants another HTTP library.
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
        import airflow.api_fastapi.core_api.security  # noqa: F401
    yield home
    sys.path.remove(str(ROOT / "plugins"))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def dagbag(airflow_home: Path) -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))


def run_of(partition_key: str | None) -> Any:
    return SimpleNamespace(dag_id="a_dag", run_id="a_run", partition_key=partition_key)


def as_task(partition_key: str | None, **params: Any) -> AbstractContextManager[Any]:
    """Airflow's own current context, with what our tasks read of it."""
    from airflow.sdk.execution_time.context import OutletEventAccessors
    from airflow.sdk.execution_time.task_runner import set_current_context

    context = {"dag_run": run_of(partition_key), "params": params, "outlet_events": OutletEventAccessors()}
    return set_current_context(context)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Location, dict[str, str]]]:
    with running(tmp_path_factory.mktemp("weed")) as started:
        yield started


@pytest.fixture
def store_environment(
    weed: tuple[S3Location, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ObjectStore:
    """The environment that production's tasks have, on the session's SeaweedFS, with a prefix of its own."""
    where, keys = weed
    values = keys | {
        "MKTGEN_PSEUDONYM_KEY": "a key for tests only",
        "MKTGEN_S3_ENDPOINT": where.endpoint,
        "MKTGEN_S3_BUCKET": where.bucket,
        "MKTGEN_S3_PREFIX": tmp_path.name,
        "MKTGEN_CONFIG": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(S3Location(where.endpoint, where.bucket, tmp_path.name))
