"""The document that says what a dispatch went by and what came of it. Every later run over the same ledger gives the same."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import polars as pl
from pydantic import JsonValue

from mktgen.documents import ContactProof, ProofContact, ProofInput
from mktgen.execution.channels.base import Channel
from mktgen.execution.dispatch import NO_CONTACT, Dispatch
from mktgen.execution.rules import Policy


def contact_proof(
    partition: date,
    decisions: pl.DataFrame,
    done: Dispatch,
    channel: Channel,
    policy: Policy,
    inputs: list[ProofInput],
    settings: dict[str, JsonValue],
) -> ContactProof:
    """decisions: contracts.DECISIONS that `done` took. inputs, settings: as ContactProof says."""
    rows = {row["send_id"]: row for row in done.sends.iter_rows(named=True)}
    contacts = [
        ProofContact(
            **{name: rows[trace.send_id][name] for name in _OF_SENDS},
            rule=trace.rule,
            send_at=trace.send_at,
            ledger={entry.key: entry.sha256 for entry in trace.entries},
            seen=trace.seen,
        )
        for trace in done.traces
    ]
    seen = {key: digest for contact in contacts for key, digest in contact.seen.items()}
    return ContactProof(
        partition=partition,
        channel=channel.name,
        purposes=list(channel.purposes),
        holds_messages=channel.holds_messages,
        planned_send_at=policy.send_at.isoformat(),
        time_zone=policy.time_zone,
        inputs=inputs,
        settings=settings,
        campaign_types=dict(policy.campaign_types),
        counts=_counts(decisions, contacts),
        refused=_tally([contact.rule for contact in contacts if contact.status == "refused"]),
        records=len(seen),
        records_sha256=hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest(),
        contacts=contacts,
    )


_OF_SENDS = ("send_id", "decision_id", "customer_id", "campaign_id", "status")


def _counts(decisions: pl.DataFrame, contacts: list[ProofContact]) -> dict[str, int]:
    held = int(decisions["holdout"].sum())
    nothing = decisions.filter((pl.col("action") == NO_CONTACT) & ~pl.col("holdout")).height
    ends = _tally([contact.status for contact in contacts])
    return {
        "decisions": decisions.height,
        "no_contact": nothing,
        "held_out": held,
        "contacts": decisions.height - held - nothing,
        **{status: ends.get(status, 0) for status in ("sent", "already_sent", "unconfirmed", "refused")},
    }


def _tally(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}
