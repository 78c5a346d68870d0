"""Find a decision among the stored ones, and all that was stored about it: `python -m mktgen why`. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

import polars as pl

from mktgen.contracts import ContractError
from mktgen.documents import AllocationReport, ResponseReport, Strategy
from mktgen.documents.why import WhyDecision
from mktgen.errors import MissingArtefact
from mktgen.steps.dispatched import stored_runs
from mktgen.steps.runner import Platform
from mktgen.steps.why_sent import sending
from mktgen.store import Manifest, Store
from mktgen.strategy.why import Trace, explain

_SHOWN_DAYS: Final = 3


def why(platform: Platform, decision_id: str, partition: date | None = None) -> WhyDecision:
    """Explain one decision. partition: the day to look at; None: all, the newest first.

    Raises MissingArtefact where no such decision is stored, with what to try.
    """
    store = platform.store
    manifest, decision = _find(store, decision_id, partition)
    day = date.fromisoformat(manifest.partition)
    about = pl.col("customer_id") == decision["customer_id"]
    report = _parent_document(store, manifest, "response_report")
    excluded = _beside(store, manifest, "excluded_offers")
    strategy, plan = strategy_of(store, manifest), _plan(store, manifest)
    notes = [] if strategy else ["no strategy that was made of these decisions is stored as the day's current one"]
    return explain(
        Trace(
            partition=day,
            decision=decision,
            offers=_rows(store, _beside(store, manifest, "offer_scores"), about),
            excluded=None if excluded is None else _rows(store, excluded, about),
            effects=_rows(store, _effects(store, manifest), about),
            learned=report.usable if report else False,
            allocation=plan.allocation,
            day_notes=plan.notes,
            reasons=_reasons(store, day, decision),
            seed=manifest.seed,
            source=strategy[1].source if strategy else platform.source.name,
            notice=strategy[1].source_notice if strategy else platform.source.notice,
            versions=_versions(manifest, decision),
            sending=sending(store, day, decision, manifest, strategy[1] if strategy else None),
            notes=notes,
        )
    )


# -- finding it -------------------------------------------------------------------------------------------------------
def _find(store: Store, decision_id: str, partition: date | None) -> tuple[Manifest, dict[str, Any]]:
    days = store.partitions("decisions")
    chosen = [day for day in reversed(days) if partition in (None, day)]
    unreadable = 0
    for manifests in (_currents(store, chosen), _others(store, chosen)):
        for manifest in manifests:
            try:
                found = store.pick(manifest, lambda table: table.filter(pl.col("decision_id") == decision_id))
            except ContractError:
                unreadable += 1
                continue
            if found.height:
                return manifest, found.row(0, named=True)
    raise MissingArtefact(_not_found(store, decision_id, partition, days, unreadable))


def _currents(store: Store, days: list[date]) -> Iterator[Manifest]:
    return (manifest for day in days if (manifest := store.current("decisions", day)) is not None)


def _others(store: Store, days: list[date]) -> Iterator[Manifest]:
    """Decisions of the days that were made anew since: what was sent may have been among them."""
    for day in days:
        current = store.current("decisions", day)
        yield from (
            found for found in stored_runs(store, "decisions", day) if current is None or found.run != current.run
        )


def _not_found(store: Store, decision_id: str, partition: date | None, days: list[date], unreadable: int) -> str:
    if not days:
        return (
            f"no decisions are stored at all (looked in {store.objects.uri('decisions')}): run step allocate for a day"
        )
    if partition is not None and partition not in days:
        near = ", ".join(str(day) for day in sorted(days, key=lambda day: abs(day - partition))[:_SHOWN_DAYS])
        return f"no decisions of {partition} are stored; there are decisions of {near}"
    where = f"of {partition}" if partition else f"of {len(days)} days, {days[0]} to {days[-1]}"
    gone = f"; {unreadable} runs were written under another contract and can't be read" if unreadable else ""
    return (
        f"no decision {decision_id!r} among those {where}{gone}. Decision ids are in the artefacts decisions, messages and "
        "sends, column decision_id (32 characters); take one from there"
    )


# -- what lies beside it ----------------------------------------------------------------------------------------------
def _beside(store: Store, manifest: Manifest, artefact: str) -> Manifest | None:
    """Another output of the same derivation."""
    return store.manifest_of_run(artefact, date.fromisoformat(manifest.partition), manifest.run)


def _rows(store: Store, manifest: Manifest | None, about: pl.Expr) -> list[dict[str, Any]]:
    return [] if manifest is None else store.pick(manifest, lambda table: table.filter(about)).to_dicts()


def _plan(store: Store, manifest: Manifest) -> AllocationReport:
    plan = _beside(store, manifest, "allocation")
    if plan is None:
        raise MissingArtefact(f"{manifest.folder}: the allocation of the same run is gone; its price can't be told")
    return store.read_document(plan, AllocationReport)


def _parent_document(store: Store, manifest: Manifest, artefact: str) -> ResponseReport | None:
    parent = next((parent for parent in manifest.parents if parent.artefact == artefact), None)
    if parent is None:
        return None
    found = store.manifest_of_run(artefact, date.fromisoformat(parent.partition), parent.run)
    return None if found is None else store.read_document(found, ResponseReport)


def _effects(store: Store, manifest: Manifest) -> Manifest | None:
    """The effects by the response model that these decisions went by; None where those stored are of another one."""
    ours = {parent.run for parent in manifest.parents if parent.artefact == "response_model"}
    found = store.current("response_scores", date.fromisoformat(manifest.partition))
    theirs = {parent.run for parent in found.parents if parent.artefact == "response_model"} if found else set()
    return found if ours and ours == theirs else None


def _reasons(store: Store, day: date, decision: dict[str, Any]) -> list[dict[str, Any]]:
    churn = (pl.col("about") == "churn") & (pl.col("customer_id") == decision["customer_id"])
    ours = pl.col("decision_id") == decision["decision_id"]
    return _rows(store, store.current("reasons", day), ours.fill_null(False) | churn)


def strategy_of(store: Store, manifest: Manifest) -> tuple[Manifest, Strategy] | None:
    """The day's strategy, if it was made of these decisions."""
    found = store.current("strategy", date.fromisoformat(manifest.partition))
    if found is None or not any((p.artefact, p.run) == ("decisions", manifest.run) for p in found.parents):
        return None
    return found, store.read_document(found, Strategy)


def _versions(manifest: Manifest, decision: dict[str, Any]) -> dict[str, str]:
    learned = [parent for parent in manifest.parents if parent.artefact == "response_model"]
    return {
        "models": decision["model_version"],
        "response model": f"{learned[0].partition}/{learned[0].digest[:12]}" if learned else "none",
        "policy": decision["policy_version"],
        "settings": decision["config_version"],
        "code": f"{manifest.code[:12]} (commit {manifest.info.get('git_commit', '')[:12] or 'unknown'})",
        "decisions": manifest.folder,
    }
