"""Who may see the pages. Apps mounted by a plugin get no authentication from Airflow, so they bring this.

The only import of `airflow.api_fastapi.core_api.security`, which is not formally public: an upgrade that moves it breaks
here and in tests/dags/test_ui.py, and nowhere else.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends


def login_required() -> Any:
    """A FastAPI dependency: 401 for anyone without Airflow's session cookie or bearer token."""
    return Depends(get_user)
