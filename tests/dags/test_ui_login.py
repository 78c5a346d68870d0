"""Every address of the strategy pages is behind Airflow's own login and the right to read the Dag."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mktgen.store import ObjectStore

PARTS = {
    "partition": "2017-10-03",
    "decision_id": "d1",
    "artefact": "decisions",
    "run": "r1",
    "name": "app.js",
}
DOCUMENTATION = ("/docs", "/redoc", "/openapi.json")


def get(app: Any, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow.test") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


def addresses(app: Any) -> list[str]:
    """One of each route that the app has, whatever kind of route it is."""

    def flat(routes: Any, prefix: str = "") -> Iterator[str]:
        for route in routes:
            inner = getattr(route, "routes", None)
            if inner:
                yield from flat(inner, prefix + route.path)
            else:
                yield prefix + route.path

    return sorted({re.sub(r"{(\w+)}", lambda part: PARTS[part[1]], path) for path in flat(app.routes)})


@pytest.fixture
def guarded(airflow_home: Any, store_environment: ObjectStore) -> Any:
    """The app as the plugin mounts it, behind Airflow's own login, on an empty store."""
    from airflow.api_fastapi.app import init_auth_manager
    from mktgen_ui.app import make_app
    from mktgen_ui.login import login_required
    from mktgen_ui.mktgen_ui_plugin import places

    init_auth_manager()
    return make_app(login_required(), places())


def signed(role: str | None) -> dict[str, str]:
    """The header of someone whom Airflow gave a token."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ana", role=role))
    return {"Authorization": f"Bearer {token}"}


def test_every_route_is_known_here(guarded: Any) -> None:
    found = addresses(guarded)
    assert len(found) >= 17
    for known in ("/", "/learning", "/static/app.js", "/api/strategies", "/api/strategies/2017-10-03/decisions/d1"):
        assert known in found
    assert all("{" not in path for path in found)


def test_anonymous_is_refused_everywhere(guarded: Any) -> None:
    answers = {path: get(guarded, path).status_code for path in addresses(guarded)}
    assert set(answers.values()) == {401}, answers


def test_a_forged_token_is_refused_everywhere(guarded: Any) -> None:
    forged = {"Authorization": "Bearer forged"}
    answers = {path: get(guarded, path, forged).status_code for path in addresses(guarded)}
    assert set(answers.values()) <= {401, 403}, answers


def test_who_may_not_read_the_dag_is_refused_everywhere(guarded: Any) -> None:
    nobody = signed(None)
    answers = {path: get(guarded, path, nobody).status_code for path in addresses(guarded)}
    assert set(answers.values()) == {403}, answers


def test_a_viewer_gets_in_everywhere(guarded: Any) -> None:
    viewer = signed("VIEWER")
    answers = {path: get(guarded, path, viewer).status_code for path in addresses(guarded)}
    # An empty store has no strategy to show; compare and what-if lack their parameters.
    assert set(answers.values()) <= {200, 404, 422}, answers
    assert {path for path, status in answers.items() if status == 200} >= {
        "/", "/learning", "/compare", "/strategies/2017-10-03", "/static/app.js", "/api/strategies", "/api/learning"
    }  # fmt: skip


def test_the_session_cookie_opens_the_pages(guarded: Any) -> None:
    token = signed("VIEWER")["Authorization"].removeprefix("Bearer ")
    assert get(guarded, "/api/strategies", {"Cookie": f"_token={token}"}).json() == {
        "rows": [], "next": None, "total": 0
    }  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENTATION)
def test_nothing_describes_the_app(guarded: Any, path: str) -> None:
    assert get(guarded, path, signed("VIEWER")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(guarded: Any, method: str) -> None:
    viewer = signed("ADMIN")
    answers = {path: get(guarded, path, viewer, method).status_code for path in addresses(guarded)}
    assert set(answers.values()) == {405}, answers


def test_airflow_shows_the_pages_in_its_navigation(guarded: Any) -> None:
    from mktgen_ui.mktgen_ui_plugin import MktgenPlugin

    (view,) = MktgenPlugin.external_views
    assert (view["href"], view["destination"], view["url_route"]) == ("mktgen/", "nav", "strategies")
    (mounted,) = MktgenPlugin.fastapi_apps
    assert mounted["url_prefix"] == "/mktgen"


def test_missing_settings_are_named(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKTGEN_PSEUDONYM_KEY")
    answer = get(guarded, "/api/strategies", signed("VIEWER"))
    assert answer.status_code == 503
    assert "MKTGEN_PSEUDONYM_KEY" in answer.json()["error"]
