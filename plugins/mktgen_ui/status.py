"""How far a strategy came, from the artefacts that say so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from mktgen.contracts import ContractError
from mktgen.documents import Approval, PublishedStrategy, Strategy
from mktgen.store import Manifest, Store, parse_uri


@dataclass(frozen=True)
class Standing:
    """One strategy as it stands. published: the publication's run, where this very strategy was published."""

    manifest: Manifest
    strategy: Strategy
    status: str
    published: str | None
    approval: Approval | None


def standing(store: Store, partition: date, run: str = "") -> Standing | None:
    """A day's current strategy, or the one of a run; None where there is none."""
    current = store.current("strategy", partition)
    manifest = store.manifest_of_run("strategy", partition, run) if run else current
    if manifest is None:
        return None
    strategy = store.read_document(manifest, Strategy)
    release = store.current("published", partition)
    # A strategy that was made anew after the last publication is not the published one.
    if release is not None:
        shown = store.read_document(release, PublishedStrategy).strategy_uri
        release = release if parse_uri(shown)[2] == manifest.run else None
    approval = _answer(store, partition, manifest.run) if release is not None else None
    status = _status(strategy, release is not None, approval)
    if run and current is not None and current.run != run:
        status = "replaced"
    return Standing(manifest, strategy, status, release.run if release else None, approval)


def _answer(store: Store, partition: date, strategy_run: str) -> Approval | None:
    """The answer to this very strategy; one kept under an older contract can't be read, and nothing is sent by it either."""
    manifest = store.current("approval", partition)
    try:
        approval = None if manifest is None else store.read_document(manifest, Approval)
    except ContractError:
        return None
    return approval if approval is not None and approval.strategy_run == strategy_run else None


def _status(strategy: Strategy, published: bool, approval: Approval | None) -> str:
    if strategy.status == "stopped":
        return "stopped"
    if not published:
        return strategy.status
    if approval is None:
        return "published"
    return "approved" if approval.approved else "rejected"
