"""The list of strategies by day."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

import polars as pl

from mktgen.contracts import ContractError
from mktgen.errors import CorruptArtefact
from mktgen.steps.runner import Platform
from mktgen.store import Store, parallel
from mktgen_ui.figures import expected, gate_counts, is_simulated, ledger, realised
from mktgen_ui.status import standing

Json = dict[str, Any]


def listed(platform: Platform, before: date | None, limit: int) -> Json:
    """The newest `limit` days before a day, newest first, and the day to ask for the next ones before."""
    store, window = platform.store, platform.settings.feedback.window_days
    days = [day for day in reversed(store.partitions("strategy")) if before is None or day < before]
    known = ledger(store)
    rows = parallel(partial(_row, store, known, window), days[:limit])
    return {
        "rows": [row for row in rows if row is not None],
        "next": days[limit - 1] if len(days) > limit else None,
        "total": len(store.partitions("strategy")),
    }


def _row(store: Store, known: pl.DataFrame, window_days: int, day: date) -> Json | None:
    try:
        found = standing(store, day)
    except (ContractError, CorruptArtefact) as error:
        return {"day": day, "status": "unreadable", "note": str(error)}
    if found is None:
        return None
    made = found.strategy
    return {
        "day": day, "status": found.status, "customers": made.customers, "contacted": made.contacted,
        "holdout": made.holdout, "gates": gate_counts(made), "expected": expected(made),
        "realised": realised(known, day, window_days), "simulated": is_simulated(made),
        "stopped_by": made.evaluation.reasons if made.evaluation and made.evaluation.stopped else [],
    }  # fmt: skip
