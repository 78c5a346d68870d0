"""The only time a step knows: the business day of its run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from mktgen.errors import PermanentError


class NoPartition(PermanentError):
    """A run without a business day: the message says how to start one with it."""


def partition_of(context: Mapping[str, Any]) -> date:
    """The run's partition key, else `params["partition"]` (`airflow dags test` cannot pass a key).

    Raises NoPartition where there is neither, or where it is no day.
    """
    run = context["dag_run"]
    key = getattr(run, "partition_key", None) or dict(context.get("params") or {}).get("partition")
    if not key:
        raise NoPartition(
            f"run {run.run_id} of {run.dag_id} has no business day. Start it from the Backfill tab, or trigger it with "
            'the partition key set, e.g. 2017-10-01 (REST: {"logical_date": null, "partition_key": "2017-10-01"}).'
        )
    try:
        return date.fromisoformat(str(key))
    except ValueError:
        raise NoPartition(
            f"run {run.run_id} of {run.dag_id}: {key!r} is no business day; write it as 2017-10-01"
        ) from None
