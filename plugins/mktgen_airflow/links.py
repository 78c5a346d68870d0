"""Buttons on a task's page. Made by the worker when the task ends, shown by the API server."""

from __future__ import annotations

import os
from typing import Any

import attrs
from airflow.sdk import conf
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom


@attrs.define()
class MLflowLink(BaseOperatorLink):
    """To MLflow as a browser reaches it: MKTGEN_MLFLOW_PUBLIC_URL, else the tracking URI."""

    @property
    def name(self) -> str:
        return "MLflow"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        base = os.environ.get("MKTGEN_MLFLOW_PUBLIC_URL") or os.environ.get("MLFLOW_TRACKING_URI", "")
        page = "models" if ti_key.task_id in ("promote", "promote_response", "promote_copywriter") else "experiments"
        return f"{base.rstrip('/')}/#/{page}" if base.startswith(("http://", "https://")) else ""


@attrs.define()
class StrategyLink(BaseOperatorLink):
    """To the day's strategy page (plugins/mktgen_ui)."""

    @property
    def name(self) -> str:
        return "Strategy"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        result = XCom.get_value(ti_key=ti_key, key="return_value")
        base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        return f"{base}/mktgen/strategies/{result['partition']}" if result else f"{base}/mktgen/"
