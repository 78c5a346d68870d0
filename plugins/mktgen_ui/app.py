"""The pages: a list of strategies by day, and one page per strategy. They only read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mktgen.errors import MktgenError

if TYPE_CHECKING:
    from mktgen.store import Store

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# The pages carry no script and load nothing from elsewhere; a value that slipped past escaping could still do nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def open_store() -> Store:
    from mktgen_airflow.artefacts import open_store as opened  # late: brings polars and boto3

    return opened()


def make_app(login: Any, store: Callable[[], Store] = open_store) -> FastAPI:
    """The app. `login` is a FastAPI dependency that lets a request in or answers 401; it guards every route."""
    app = FastAPI(title="mktgen strategies", dependencies=[login], docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    def strategies() -> HTMLResponse:
        from mktgen_ui.strategies import listed

        return _page("strategies.html", rows=listed(store()))

    @app.get("/strategies/{partition}", response_class=HTMLResponse)
    def strategy(partition: date) -> HTMLResponse:
        from mktgen_ui.strategies import detailed, foreseen, interval, money, units

        artefacts = store()
        found = detailed(artefacts, partition)
        if found is None:
            return _page(
                "error.html", 404, title="No strategy", message=f"No strategy was made for {partition.isoformat()}."
            )
        ahead = foreseen(artefacts, partition)
        return _page("strategy.html", page=found, ahead=ahead, money=money, interval=interval, units=units)

    @app.exception_handler(MktgenError)
    def failed(request: Request, error: MktgenError) -> HTMLResponse:
        return _page("error.html", 503, title="The strategies can't be read", message=str(error))

    return app


def _page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(PAGES.get_template(template).render(**values), status_code=status, headers=HEADERS)
