"""A person lets an earlier version of the response model serve, or releases it."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import get_current_context, task

from mktgen.errors import PermanentError
from mktgen_airflow.steps import report


@task(task_id="roll_back")
def roll_back() -> dict[str, Any]:
    """Pin or release, as the run's form says, in the name of the user who started the run."""
    from mktgen import pipeline

    context = get_current_context()
    params = context["params"]
    who = getattr(context["dag_run"], "triggering_user_name", None) or "a run without a user"
    to, since = (date.fromisoformat(params[name]) if params[name] else None for name in ("to", "from"))
    if params["release"] and to is not None:
        raise PermanentError(f"both a version ({to}) and release were asked for; choose one")
    return report(pipeline.roll_back_response(who, params["why"], to, since, bool(params["release"])))
