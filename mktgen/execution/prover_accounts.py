"""The books of a dispatch: what it went by, what the ledger, the outbox and the tables say, and counts that add up.

Each function gives the violations in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import polars as pl

from mktgen.documents import ProofContact
from mktgen.execution.prover_evidence import Evidence
from mktgen.execution.prover_ledger import CustomerDay, hash_of


# -- what the dispatch went by ----------------------------------------------------------------------------------------------
def approval(evidence: Evidence) -> Iterator[str]:
    answer, published = evidence.approval, evidence.published
    if answer is None or published is None:
        yield "there is no approval, or no published strategy, to compare"
        return
    run = next((piece[4:] for piece in published.strategy_uri.split("/") if piece.startswith("run=")), "")
    if not answer.approved:
        yield f"{answer.responder} rejected the strategy, and it was dispatched"
    if answer.partition != evidence.partition or published.partition != evidence.partition:
        yield f"approval of {answer.partition}, strategy of {published.partition}: not those of {evidence.partition}"
    if answer.strategy_run != run:
        yield f"approved was run {answer.strategy_run}, published is run {run or '?'}"


def inputs(evidence: Evidence) -> Iterator[str]:
    named = {given.name for given in evidence.proof.inputs}
    for name in ("published", "approval", "strategy", "decisions", "messages"):
        if name not in named:
            yield f"the proof doesn't name {name}"
    uris = {given.name: given.uri for given in evidence.proof.inputs}
    for name in ("strategy", "decisions", "messages") if evidence.published else ():
        if getattr(evidence.published, f"{name}_uri") != uris.get(name):
            yield f"published is {getattr(evidence.published, f'{name}_uri')}, dispatched was {uris.get(name)}"
    for given in evidence.proof.inputs:
        found = evidence.digests.get(given.name)
        if found != given.digest:
            yield f"{given.uri}: its content is {(found or 'gone')[:12]}, dispatched was {given.digest[:12]}"


# -- ledger and records -----------------------------------------------------------------------------------------------------
def ledger(evidence: Evidence) -> Iterator[str]:
    yield from _unchanged(
        {key: d for contact in evidence.proof.contacts for key, d in contact.ledger.items()}, evidence.ledger
    )
    for who, entry in evidence.today.items():
        asked = evidence.contacts.get(who)
        if entry.claim is None:
            yield f"customer {who} has entries for {evidence.partition} but no claim"
        elif asked is None:
            if entry.status != "none":
                yield f"customer {who} has a {entry.status} contact for {evidence.partition} that no decision asks for"
        elif entry.claim.get("send_id") == evidence.send_id(asked):
            if entry.status == "none":
                yield f"customer {who} was claimed for {evidence.partition} and never decided on: run dispatch again"
            if entry.status == "sent" and not (entry.last or {}).get("go"):
                yield f"customer {who} was sent to, but no verdict in the ledger allows it"


def records(evidence: Evidence) -> Iterator[str]:
    seen = {key: digest for contact in evidence.proof.contacts for key, digest in contact.seen.items()}
    yield from _unchanged(seen, {**evidence.records, **evidence.ledger})
    if hash_of(json.dumps(seen, sort_keys=True).encode()) != evidence.proof.records_sha256:
        yield "the proof's list of records does not give its own hash"
    for contact in evidence.proof.contacts:
        entry = evidence.today.get(contact.customer_id)
        if entry is not None and contact.ledger and contact.rule != "other_campaign" and entry.seen != contact.seen:
            yield f"customer {contact.customer_id}: proof and ledger name different records as read"


def _unchanged(expected: Mapping[str, str], found: Mapping[str, bytes]) -> Iterator[str]:
    for key, digest in sorted(expected.items()):
        if key not in found:
            yield f"{key} is gone"
        elif hash_of(found[key]) != digest:
            yield f"{key} was changed"


# -- decisions, outbox, counts ----------------------------------------------------------------------------------------------
def decisions(evidence: Evidence) -> Iterator[str]:
    """Every decision to contact has its row in proof and sends, with the status that the ledger gives; and nobody else has."""
    proven = {contact.customer_id: contact for contact in evidence.proof.contacts}
    stored = {row["customer_id"]: row["status"] for row in evidence.table("sends").iter_rows(named=True)}
    written = set(evidence.table("messages")["decision_id"])
    for who, row in evidence.contacts.items():
        contact, entry = proven.get(who), evidence.today.get(who)
        if contact is None or entry is None:
            yield f"decision {row['decision_id']} to contact customer {who} has no {'row in the proof' if entry else 'claim'}"
            continue
        found = _status(evidence, row, entry)
        if not found == contact.status == stored.get(who):
            yield (
                f"customer {who}: the ledger says {found}, the proof {contact.status}, the table of sends "
                f"{stored.get(who, 'nothing')}"
            )
        yield from _row(evidence, contact, row, entry)
        claimed_by = (entry.claim or {}).get("decision_id")
        if contact.rule == "superseded" and claimed_by == row["decision_id"]:
            yield f"customer {who} was refused as superseded, and the claim is of this very decision"
        if contact.rule == "no_message" and row["decision_id"] in written:
            yield f"customer {who} was refused for want of a message, and one was written"
    for who in sorted({*proven, *stored} - {*evidence.contacts}):
        yield f"customer {who} is in proof or sends, but no decision asks for a contact"
    decided = evidence.decisions["customer_id"]
    if decided.n_unique() != decided.len():
        yield f"{decided.len() - decided.n_unique()} customers have more than one decision"


def _row(evidence: Evidence, contact: ProofContact, row: Mapping[str, Any], entry: CustomerDay) -> Iterator[str]:
    claim = entry.claim or {}
    if contact.send_id != evidence.send_id(row):
        yield f"customer {contact.customer_id}: send {contact.send_id} is not the identity of this contact"
    if contact.status == "sent" and claim.get("decision_id") != row["decision_id"]:
        yield f"customer {contact.customer_id}: the claim is of decision {claim.get('decision_id')}, not {row['decision_id']}"
    rule = "other_campaign" if claim.get("send_id") != contact.send_id else (entry.settled or {}).get("rule", "")
    if contact.status == "refused" and (contact.rule != rule or not rule):
        yield f"customer {contact.customer_id}: refused by {rule or 'no rule'}, the proof says {contact.rule or 'no rule'}"


def _status(evidence: Evidence, row: Mapping[str, Any], entry: CustomerDay) -> str:
    claim = entry.claim or {}
    if claim.get("send_id") != evidence.send_id(row):
        return "refused"
    if entry.status == "sent":
        return "sent" if claim.get("decision_id") == row["decision_id"] else "already_sent"
    return "refused" if entry.status == "refused" else "unconfirmed"


def outbox(evidence: Evidence) -> Iterator[str]:
    """Where messages are left as files: one for each sent contact, as it was written, and no other."""
    if evidence.proof.channel not in ("outbox", "simulated_market"):
        if evidence.outbox:
            yield f"{len(evidence.outbox)} files in the outbox, but the channel was {evidence.proof.channel}"
        return
    sent = {str((e.claim or {}).get("send_id")): e for e in evidence.today.values() if e.status == "sent"}
    begun = {str((e.claim or {}).get("send_id")) for e in evidence.today.values() if e.status == "open"}
    texts = {row["decision_id"]: row for row in evidence.table("messages").iter_rows(named=True)}
    files = {key.rpartition("/")[2].removesuffix(".json"): key for key in evidence.outbox}
    for send_id, key in sorted(files.items()):
        if send_id not in sent and send_id not in begun:
            yield f"{key} is in the outbox, but the ledger knows no such send"
        elif send_id in sent:
            yield from _file(evidence, key, sent[send_id], texts)
    for send_id, entry in sorted(sent.items()):
        if send_id not in files:
            yield f"customer {entry.customer_id}: sent by the ledger, but outbox file {send_id}.json is not there"


def _file(evidence: Evidence, key: str, entry: CustomerDay, texts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    body, claim, verdict = json.loads(evidence.outbox[key]), entry.claim or {}, entry.last or {}
    decision = str(claim.get("decision_id"))
    expected = {"customer_id": entry.customer_id, "sent_for": entry.day.isoformat(), "send_at": verdict.get("send_at")}
    expected |= {name: claim.get(name) for name in ("send_id", "decision_id", "campaign_id", "offer_id")}
    if decision in texts:
        expected |= {name: texts[decision][name] for name in ("language", "subject", "body")}
    elif evidence.contacts.get(entry.customer_id, {}).get("decision_id") == decision:
        yield f"{key}: no message was written for decision {decision}"
    for name, value in expected.items():
        if body.get(name) != value:
            yield f"{key}: its {name} is not what was decided ({body.get(name)!r})"


def counts(evidence: Evidence) -> Iterator[str]:
    """decisions = contacts + no contact + held out; contacts = sent + already sent + unconfirmed + refused, by rule."""
    decided, said = evidence.decisions, evidence.proof.counts
    held = decided.filter("holdout").height
    found = {"decisions": decided.height, "held_out": held, "contacts": len(evidence.contacts)}
    found["no_contact"] = decided.filter(~pl.col("holdout") & (pl.col("action") == "no_contact")).height
    states = [
        _status(evidence, row, evidence.today[who]) for who, row in evidence.contacts.items() if who in evidence.today
    ]
    found |= {name: states.count(name) for name in ("sent", "already_sent", "unconfirmed", "refused")}
    for name in sorted({*found, *said}):
        if found.get(name) != said.get(name):
            yield f"{name}: found {found.get(name)}, the proof says {said.get(name)}"
    if found["decisions"] != found["contacts"] + found["no_contact"] + held:
        yield "decisions are not contacts + no contact + held out"
    if found["contacts"] != len(states):
        yield f"{found['contacts']} contacts decided, {len(states)} accounted for in the ledger"
    if sum(evidence.proof.refused.values()) != found["refused"]:
        yield f"refused: found {found['refused']}, by rule {sum(evidence.proof.refused.values())}"


ACCOUNTS: Final[dict[str, Callable[[Evidence], Iterator[str]]]] = {
    account.__name__: account for account in (approval, inputs, ledger, records, decisions, outbox, counts)
}
