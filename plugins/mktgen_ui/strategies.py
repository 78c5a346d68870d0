"""One strategy with all that lies beside it: segments, copy, what is to come, lineage."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import polars as pl

from mktgen.contracts import ContractError
from mktgen.execution import audit
from mktgen.steps.dispatched import stored_runs
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, Store
from mktgen_ui.figures import expected, gate_counts, is_incremental, is_simulated, ledger, realised
from mktgen_ui.lineage import told
from mktgen_ui.status import standing
from mktgen_ui.words import briefs, stored

Json = dict[str, Any]
ROWS_SHOWN: Final = 10  # categories, and customers at risk
_GROUP: Final = ("campaign_id", "form", "language")


def detailed(platform: Platform, partition: date, run: str = "") -> Json | None:
    """A day's strategy, or another of its runs; None where there is none."""
    store = platform.store
    found = standing(store, partition, run)
    if found is None:
        return None
    made, window = found.strategy, platform.settings.feedback.window_days
    beside = _parents(store, found.manifest)
    return {
        "day": partition, "run": found.manifest.run, "status": found.status, "published": found.published,
        "approval": None if found.approval is None else found.approval.model_dump(mode="json"),
        "simulated": is_simulated(made), "incremental": is_incremental(made), "expected": expected(made),
        "realised": realised(ledger(store), partition, window), "gates": gate_counts(made),
        "strategy": made.model_dump(mode="json"), "segments": _segments(store, beside),
        "copy": _copy(store, partition, beside.get("messages")), "ahead": _ahead(store, partition),
        "lineage": told(found.manifest), "steps": {name: own.step for name, own in beside.items()},
        "audit": _audit(store, partition), "curves": store.current("what_if", partition) is not None,
        "decisions_run": beside["decisions"].run if "decisions" in beside else "",
        "runs": sorted(other.run for other in stored_runs(store, "strategy", partition)),
    }  # fmt: skip


def _parents(store: Store, manifest: Manifest) -> dict[str, Manifest]:
    """The artefacts of the day that a strategy was made from, as they were then."""
    found = {}
    for parent in manifest.parents:
        own = store.manifest_of_run(parent.artefact, date.fromisoformat(parent.partition), parent.run)
        if own is not None:
            found[parent.artefact] = own
    return found


def _segments(store: Store, beside: dict[str, Manifest]) -> list[Json]:
    """contracts.SEGMENTS of the strategy's day, the largest first."""
    decisions = beside.get("decisions")
    manifest = store.current("segments", date.fromisoformat(decisions.partition)) if decisions else None
    if manifest is None:
        return []
    return store.read_table(manifest).sort("customers", descending=True).to_dicts()


def _copy(store: Store, partition: date, messages: Manifest | None) -> Json | None:
    """How many messages by origin, one of each campaign, form and language as it reads, and the campaigns' briefs."""
    if messages is None:
        return None
    try:
        facts = store.pick(messages, lambda table: table.select("decision_id", "origin", *_GROUP))
    except ContractError:
        return None
    origins = dict(facts.group_by("origin").len().sort("origin").iter_rows())
    first = facts.group_by(_GROUP).agg(pl.col("decision_id").min(), messages=pl.len()).sort(_GROUP)
    ids = first["decision_id"].to_list()
    texts = store.pick(
        messages,
        lambda table: table.filter(pl.col("decision_id").is_in(ids)).select("decision_id", "subject", "body", "origin"),
    )
    return {
        "origins": origins, "examples": first.join(texts, on="decision_id").sort(_GROUP).to_dicts(),
        "briefs": briefs(store, partition, messages.run), "drafts": stored(store, "copy_report", partition),
    }  # fmt: skip


def _audit(store: Store, partition: date) -> Json:
    """Who did what to the day's strategies; `broken` says where the trail was tampered with."""
    try:
        trail = audit.verified(store.objects, partition)
    except audit.BrokenTrail as error:
        return {"entries": [], "broken": str(error)}
    kept = ("seq", "at", "what", "who", "strategy_run", "note", "previous", "hash")
    return {"entries": [{name: getattr(entry, name) for name in kept} for entry in trail], "broken": ""}


def _ahead(store: Store, partition: date) -> Json:
    """The day's demand forecast and churn warnings, the largest first; empty where they were not made."""
    sold, warned = (_table(store, name, partition) for name in ("demand_forecast", "churn_warnings"))
    totals = sorted((row for row in sold if row["level"] == "all"), key=lambda row: row["horizon_days"])
    week, month = (
        {row["category"]: row for row in sold if row["level"] == "category" and row["horizon_days"] == days}
        for days in (7, 28)
    )
    largest = sorted(month, key=lambda name: (-month[name]["units"], name))[:ROWS_SHOWN]
    demand = [{"category": name, "week": week.get(name), "month": month[name]} for name in largest]
    warnings = sorted(warned, key=lambda row: row["rank"])[:ROWS_SHOWN]
    return {"totals": totals, "demand": demand, "warnings": warnings, "warned": len(warned)}


def _table(store: Store, name: str, partition: date) -> list[Json]:
    manifest = store.current(name, partition)
    return [] if manifest is None else store.read_table(manifest).to_dicts()
