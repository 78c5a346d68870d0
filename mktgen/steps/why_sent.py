"""Whether and when a decision reached its customer, or what stopped it on the way."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from mktgen.documents import Approval, ContactProof, PublishedStrategy, Strategy
from mktgen.documents.why import WhySending
from mktgen.store import Manifest, Store
from mktgen.strategy.decision_rows import NO_CONTACT


def sending(
    store: Store, day: date, decision: dict[str, Any], manifest: Manifest, strategy: Strategy | None
) -> WhySending:
    """decision: a row of contracts.DECISIONS in the artefact of `manifest`. strategy: made of it, where it is current."""
    if decision["action"] == NO_CONTACT:
        return _told("not_to_be_sent", "no contact was decided: there was nothing to send")
    return _dispatched(store, day, decision) or _on_the_way(store, day, manifest, strategy)


def _dispatched(store: Store, day: date, decision: dict[str, Any]) -> WhySending | None:
    """By the dispatch of the day; None: it took no decision about this customer and campaign."""
    sends, proof = store.current("sends", day), store.current("contact_proof", day)
    if sends is None:
        return None
    same = (pl.col("customer_id") == decision["customer_id"]) & (pl.col("campaign_id") == decision["campaign_id"])
    rows = store.pick(sends, lambda table: table.filter(same)).to_dicts()
    if not rows:
        return None
    row = next((row for row in rows if row["decision_id"] == decision["decision_id"]), rows[0])
    rule, when = "", ""
    if proof is not None:
        contacts = store.read_document(proof, ContactProof).contacts
        contact = next((contact for contact in contacts if contact.send_id == row["send_id"]), None)
        rule, when = (contact.rule, contact.send_at) if contact else ("", "")
    detail = row["detail"] or "handed over to its channel"
    if row["decision_id"] != decision["decision_id"]:
        detail = f"the contact belongs to decision {row['decision_id']} of the same customer and campaign: {detail}"
    return WhySending(status=row["status"], rule=rule, when=when, detail=f"{detail} ({row['channel']}, for {day})")


def _on_the_way(store: Store, day: date, manifest: Manifest, strategy: Strategy | None) -> WhySending:
    """How far a decision came that no dispatch took."""
    if strategy is not None and strategy.status == "stopped":
        reasons = "; ".join(strategy.evaluation.reasons) if strategy.evaluation else "no reasons stored"
        return _told("stopped", f"the strategy was stopped by its gates: {reasons}")
    release = store.current("published", day)
    published = store.read_document(release, PublishedStrategy) if release else None
    if published is None or published.decisions_uri != manifest.folder:
        return _told("not_published", "no published strategy of the day holds this decision")
    answer = store.current("approval", day)
    if answer is None:
        return _told("not_approved", "nobody has answered whether the strategy may be sent")
    approval = store.read_document(answer, Approval)
    if not approval.approved:
        return _told("rejected", f"rejected by {approval.responder}: {approval.note or 'without a note'}")
    return _told(
        "not_dispatched", f"approved by {approval.responder}, and not dispatched: nothing was sent for the day"
    )


def _told(status: str, detail: str) -> WhySending:
    return WhySending(status=status, rule="", when="", detail=detail)
