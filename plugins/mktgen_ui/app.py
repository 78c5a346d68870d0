"""The app: one page that draws itself from the API, its two files, and the API. All of it only reads."""

from __future__ import annotations

import hashlib
import html
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteError

from mktgen.errors import MissingArtefact, MktgenError
from mktgen_ui.api import make_router
from mktgen_ui.parameters import DayPath, IdPath, explained
from mktgen_ui.places import Places

if TYPE_CHECKING:
    from mktgen.steps.runner import Platform

log = logging.getLogger(__name__)
STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Scripts and styles are the app's own files, nothing is inline and nothing comes from elsewhere: a value that slipped past
# escaping could still do nothing.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PAGE: Final = """<!doctype html>
<html lang="en" data-base="{base}" data-airflow="{airflow}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Strategies</title>
<link rel="icon" href="{base}/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{base}/static/app.css">
<script type="module" src="{base}/static/app.js"></script>
</head>
<body>
<div id="app"></div>
<noscript>These pages need JavaScript; it comes from this server alone.</noscript>
</body>
</html>
"""


def open_platform() -> Platform:
    from mktgen_airflow.artefacts import open_platform as opened  # late: brings polars and boto3

    return opened()


def make_app(login: Any, places: Places = Places(), platform: Callable[[], Platform] = open_platform) -> FastAPI:  # noqa: B008
    """The app. `login` is a FastAPI dependency that lets a request in or answers 401 or 403; it guards every route."""
    app = FastAPI(title="mktgen strategies", dependencies=[login], docs_url=None, redoc_url=None, openapi_url=None)
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in TYPES}

    def page(request: Request) -> HTMLResponse:
        """The same whatever is asked for behind the "?": that is the page's own, which asks the API in turn."""
        base = str(request.scope.get("root_path", "")).rstrip("/")
        return HTMLResponse(PAGE.format(base=html.escape(base), airflow=html.escape(places.airflow)))

    @app.get("/", response_class=HTMLResponse)
    @app.get("/learning", response_class=HTMLResponse)
    @app.get("/compare", response_class=HTMLResponse)
    def top(request: Request) -> HTMLResponse:
        return page(request)

    @app.get("/strategies/{partition}", response_class=HTMLResponse)
    @app.get("/strategies/{partition}/decisions", response_class=HTMLResponse)
    @app.get("/strategies/{partition}/what-if", response_class=HTMLResponse)
    def of_a_day(request: Request, partition: DayPath) -> HTMLResponse:
        return page(request)

    @app.get("/strategies/{partition}/decisions/{decision_id}", response_class=HTMLResponse)
    def of_a_decision(request: Request, partition: DayPath, decision_id: IdPath) -> HTMLResponse:
        return page(request)

    @app.get("/static/{name}")
    def static(request: Request, name: IdPath) -> Response:
        if name not in files:
            raise HTTPException(404, "there is no such file")
        tag = f'"{hashlib.sha256(files[name]).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        return Response(files[name], media_type=TYPES[Path(name).suffix], headers=headers)

    app.include_router(make_router(platform, places))
    _answer_plainly(app)
    return app


def _answer_plainly(app: FastAPI) -> None:
    """Headers on every answer; errors as {"error": one line}, never what went on inside."""

    @app.middleware("http")
    async def headed(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def failed(status: int, message: str, headers: Any = None) -> JSONResponse:
        return JSONResponse({"error": message}, status_code=status, headers={**HEADERS, **(headers or {})})

    @app.exception_handler(StarletteError)
    async def refused(request: Request, error: StarletteError) -> JSONResponse:
        return failed(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return failed(422, explained(error))

    @app.exception_handler(MissingArtefact)
    async def missing(request: Request, error: MissingArtefact) -> JSONResponse:
        return failed(404, str(error))

    @app.exception_handler(MktgenError)
    async def unreadable(request: Request, error: MktgenError) -> JSONResponse:
        log.warning("%s: %s", type(error).__name__, error)
        return failed(503, str(error))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.exception("a page could not be answered", exc_info=error)
        return failed(500, "something went wrong here; the API server's log says what")
