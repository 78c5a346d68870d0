"""Who may see the pages. Apps mounted by a plugin get no authentication from Airflow, so they bring this.

The only import of `airflow.api_fastapi.core_api.security`, which is not formally public: an upgrade that moves it breaks
here and in tests/dags/test_ui_login.py, and nowhere else.
"""

from __future__ import annotations

from typing import Any, Final

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends

DAG: Final = "marketing_loop"


def login_required() -> Any:
    """A FastAPI dependency: 401 without Airflow's session cookie or bearer token, 403 for who may not read the Dag."""
    return Depends(requires_access_dag("GET", param_dag_id=DAG))
