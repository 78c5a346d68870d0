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

from mktgen.store import ObjectStore
from tests.support.s3_server import S3Server, object_store, s3_server

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

__all__ = ["object_store", "s3_server"]  # fixtures

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


@pytest.fixture(scope="package", autouse=True)
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Environment first, then one `airflow db migrate`; Airflow reads both when it is first imported."""
    home = tmp_path_factory.mktemp("airflow")
    before = dict(os.environ)
    os.environ.update(airflow_environment(home))
    os.environ.pop("MKTGEN_SOURCE_ENDS", None)
    sys.path.insert(0, str(ROOT / "plugins"))
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=300)
    with warnings.catch_warnings():
        # Airflow's API imports svcs, which imports FastAPI's test client, which wants another HTTP library.
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
        import airflow.api_fastapi.core_api.security  # noqa: F401
    yield home
    sys.path.remove(str(ROOT / "plugins"))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="package")
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


@pytest.fixture
def store_environment(s3_server: S3Server, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The environment that production's tasks have, on the tests' SeaweedFS, with a prefix of its own."""
    values = {
        **s3_server.environment,
        "MKTGEN_PSEUDONYM_KEY": "a key for tests only",
        "MKTGEN_S3_PREFIX": object_store.location.prefix,
        "MKTGEN_CONFIG": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return object_store
