"""A range of history in one pass, outside the daily loop."""

from __future__ import annotations

import importlib.util
import logging
from datetime import date
from pathlib import Path
from typing import Any, Final

from airflow.sdk import get_current_context, task

from mktgen.errors import PermanentError
from mktgen_airflow.steps import report

log = logging.getLogger(__name__)


def found_sources() -> list[str]:
    """Names of the files in mktgen/sources/, without importing them (they import polars)."""
    spec = importlib.util.find_spec("mktgen")
    places = list(spec.submodule_search_locations or []) if spec else []
    files = [file for place in places for file in Path(place, "sources").glob("*.py")]
    return sorted(file.stem for file in files if not file.stem.startswith("_") and file.stem != "base")


SOURCES: Final = found_sources()


@task(task_id="onboard")
def onboard() -> dict[str, Any]:
    """Bring in the days `from` to `to` (both included) of `source`, from the run's form."""
    from mktgen import pipeline

    params = dict(get_current_context()["params"])
    first, last = date.fromisoformat(params["from"]), date.fromisoformat(params["to"])
    if first > last:
        raise PermanentError(f"from {first} lies after to {last}; exchange them")
    return report(pipeline.onboard(params["source"], first, last, progress=lambda line: log.info("%s", line)))
