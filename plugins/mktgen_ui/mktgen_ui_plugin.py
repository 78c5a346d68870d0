"""What Airflow loads: the app under /mktgen and the entry "Strategies" in the navigation."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from mktgen_ui.app import make_app
from mktgen_ui.login import login_required
from mktgen_ui.places import Places


def places() -> Places:
    """Airflow's path as a browser sees it, and MLflow's address: as the pages' links need them."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    inside = os.environ.get("MLFLOW_TRACKING_URI", "")
    return Places(airflow=f"{base}/", mlflow=inside, mlflow_public=os.environ.get("MKTGEN_MLFLOW_PUBLIC_URL") or inside)


class MktgenPlugin(AirflowPlugin):
    name = "mktgen"
    fastapi_apps: list[Any] = [  # noqa: RUF012 (declared so by the base)
        {"app": make_app(login_required(), places()), "url_prefix": "/mktgen", "name": "mktgen strategies"}
    ]
    external_views: list[Any] = [  # noqa: RUF012
        # No leading slash: Airflow puts its own base URL before it.
        {"name": "Strategies", "href": "mktgen/", "destination": "nav", "url_route": "strategies"}
    ]
