"""What Airflow loads: the app under /mktgen and the entry "Strategies" in the navigation."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from mktgen_ui.app import make_app
from mktgen_ui.login import login_required


class MktgenPlugin(AirflowPlugin):
    name = "mktgen"
    fastapi_apps: list[Any] = [  # noqa: RUF012 (declared so by the base)
        {"app": make_app(login_required()), "url_prefix": "/mktgen", "name": "mktgen strategies"}
    ]
    external_views: list[Any] = [  # noqa: RUF012
        # No leading slash: Airflow puts its own base URL before it.
        {"name": "Strategies", "href": "mktgen/", "destination": "nav", "url_route": "strategies"}
    ]
