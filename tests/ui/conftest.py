"""The pages without Airflow: on a real S3, for someone who is logged in. tests/dags/test_ui_login.py has the login itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore
from tests.steps.conftest import platform_on
from tests.support.pages_world import SECTIONS, fill
from tests.support.s3_server import S3Server

Get = Callable[..., httpx.Response]


@pytest.fixture(scope="package", autouse=True)
def plugins() -> Iterator[None]:
    """The plugins' folder is found, as Airflow lets it be found."""
    folder = str(Path(__file__).parents[2] / "plugins")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="package")
def world(s3_server: S3Server) -> Iterator[Platform]:
    """Filled once, for tests that only look."""
    with s3_server.keys():
        yield fill(platform_on(ObjectStore(s3_server.location("pages")), **SECTIONS))


def mounted(platform: Platform) -> FastAPI:
    """As Airflow mounts them, under /mktgen."""
    from mktgen_ui.app import make_app

    app = FastAPI(openapi_url=None)
    app.mount("/mktgen", make_app(Depends(lambda: None), platform=lambda: platform))
    return app


@pytest.fixture(scope="package")
def app(world: Platform) -> FastAPI:
    return mounted(world)


def asked(app: FastAPI, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        # An exception inside would reach a caller of the transport; over a network it ends as a 500, as here.
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://pages.test") as client:
            return await client.get(f"/mktgen{path}", headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def get(app: FastAPI) -> Get:
    """get(path, **parameters): what the app answers."""

    def ask(path: str, headers: dict[str, str] | None = None, **parameters: Any) -> httpx.Response:
        query = str(httpx.QueryParams(parameters))
        return asked(app, f"{path}?{query}" if query else path, headers)

    return ask


@pytest.fixture
def empty(object_store: ObjectStore) -> FastAPI:
    """The app on a store in which nothing was ever written."""
    return mounted(platform_on(object_store, **SECTIONS))
