"""Execution: the approved strategy to its customers, by the rules of contact, with a proof of it."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import JsonValue

from mktgen.contracts import CAMPAIGNS
from mktgen.documents import Approval, ProofInput, PublishedStrategy
from mktgen.errors import MissingArtefact, NotAllowed, TransientError
from mktgen.execution.channels import channel_class
from mktgen.execution.channels.base import Channel, Connections
from mktgen.execution.contact_book import ContactBook
from mktgen.execution.dispatch import Desk, check_allowed, dispatch
from mktgen.execution.ledger import Ledger
from mktgen.execution.proof import contact_proof
from mktgen.execution.rules import Policy, planned_send_at, quiet_until
from mktgen.settings import Settings
from mktgen.steps.deciding import campaign_types, today
from mktgen.steps.runner import Outcome, Platform, Read, Run, StepResult
from mktgen.steps.training import campaign_reads
from mktgen.store import Manifest, Provenance, parse_uri, sha256

VAULT: Final = "_vault"
DISPATCH_SECTIONS: Final = ("strategy", "execution", "contact")
_STATES: Final = ("sent", "already_sent", "unconfirmed", "refused")


def newest_published(platform: Platform) -> date | None:
    """The newest partition with a published strategy."""
    for day in reversed(platform.store.partitions("published")):
        if platform.store.current("published", day) is not None:
            return day
    return None


def dispatch_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *today(("published",), day, "publish"),
        *today(("approval",), day, "the approval in the Dag marketing_execution"),
        *campaigns_by_type(day, platform),
    ]


def campaigns_by_type(day: date, platform: Platform) -> list[Read]:
    """The campaigns that are known, where a rule speaks of their types."""
    exclusions = platform.settings.contact.exclusions
    if not any(name.startswith("type:") for exclusion in exclusions for name in exclusion.campaigns):
        return []
    return [read for read in campaign_reads(day, platform) if read.artefact == "campaigns"]


def send(run: Run) -> Outcome:
    """Hand the approved messages to the channel, each once. Raises NotAllowed where nothing may be sent.

    Sent is what was published: decisions or messages made since then were neither evaluated nor approved.
    """
    platform, settings = run.platform, run.settings
    newest = newest_published(platform)
    if newest is None:
        raise RuntimeError(f"{run.day} is published, but no published partition was found")
    published = run.document("published", PublishedStrategy)
    superseded = _superseded(platform, published)
    if superseded is not None:
        raise NotAllowed(superseded)
    decisions, messages = (_published_table(platform, uri) for uri in (published.decisions_uri, published.messages_uri))
    connections = Connections(
        platform.objects, settings.execution, lambda who: _address(platform, who), platform.environment.smtp_login
    )
    channel = channel_class(settings.strategy.channel).create(connections)
    policy = contact_policy(run, channel, decisions)
    clock = None if channel.holds_messages else platform.clock
    due = hands_over_from(platform, run.day)
    if clock is not None and due is not None and clock() < due:
        raise TransientError(
            f"messages of {run.day} may be handed over from {due:%Y-%m-%d %H:%M} UTC on, and channel {channel.name} can't hold "
            "them: nothing was sent. Run dispatch from then on (marketing_execution waits for it by itself)."
        )
    done = dispatch(
        decisions, messages, run.document("approval", Approval), published, newest, settings.execution.live_from, run.day,
        Desk(channel, Ledger(platform.objects), ContactBook(platform.objects), policy, clock),
    )  # fmt: skip
    inputs = [_proof_input(run.inputs["published"][-1]), _proof_input(run.inputs["approval"][-1])]
    uris = (published.strategy_uri, published.decisions_uri, published.messages_uri)
    inputs += [_proof_input(_published_manifest(platform, uri)) for uri in uris]
    proof = contact_proof(run.day, decisions, done, channel, policy, inputs, section_values(settings))
    states = ", ".join(f"{status} {count}" for status, count in proof.counts.items() if status in _STATES and count)
    refused = ", ".join(f"{count} by {rule}" for rule, count in proof.refused.items())
    note = f"{states or 'nobody was to be contacted'}; {done.sent_now} handed over now"
    return Outcome(
        tables={"sends": done.sends},
        documents={"contact_proof": proof},
        notes=[note, *([f"refused {refused}"] if refused else [])],
    )


def hands_over_from(platform: Platform, day: date) -> datetime | None:
    """The next moment at which a day's messages may be handed over; None: at any time, the channel holds them.

    The planned hour; later on now, or the end of the shop's quiet hours where it is quiet now and that is not too late.
    """
    strategy, zone = platform.settings.strategy, ZoneInfo(platform.source.timezone)
    if channel_class(strategy.channel).holds_messages:
        return None
    planned = planned_send_at(day, strategy.send_hour_local, zone.key)
    moment = max(planned, platform.clock())
    ends = quiet_until(moment, strategy, zone)
    return ends if ends < planned + timedelta(days=1) else moment


def section_values(settings: Settings) -> dict[str, JsonValue]:
    """The sections of settings that a dispatch depends on, as a proof holds them."""
    return {name: getattr(settings, name).model_dump(mode="json") for name in DISPATCH_SECTIONS}


def contact_policy(run: Run, channel: Channel, decisions: pl.DataFrame) -> Policy:
    """What the rules of contact go by on this day, at the planned hour."""
    settings, zone = run.settings, run.platform.source.timezone
    campaigns = run.table("campaigns") if "campaigns" in run.inputs else CAMPAIGNS.empty()
    planned = planned_send_at(run.day, settings.strategy.send_hour_local, zone)
    return Policy(
        strategy=settings.strategy,
        contact=settings.contact,
        send_at=planned,
        until=planned + timedelta(days=1),
        time_zone=zone,
        purposes=channel.purposes,
        holds_messages=channel.holds_messages,
        held_out=frozenset(decisions.filter("holdout")["customer_id"]),
        campaign_types=campaign_types(campaigns),
    )


def _proof_input(manifest: Manifest) -> ProofInput:
    return ProofInput(name=manifest.artefact, uri=manifest.folder, digest=manifest.digest)


def _published_table(platform: Platform, uri: str) -> pl.DataFrame:
    return platform.store.read_table(_published_manifest(platform, uri))


def _published_manifest(platform: Platform, uri: str) -> Manifest:
    artefact, day, run = parse_uri(uri)
    manifest = platform.store.manifest_of_run(artefact, day, run)
    if manifest is None:
        raise MissingArtefact(f"{uri} is published but gone: run publish of {day} again")
    return manifest


def _superseded(platform: Platform, published: PublishedStrategy) -> str | None:
    """Why a published strategy is not the day's strategy any more: a later evaluation may have stopped it."""
    current = platform.store.current("strategy", published.partition)
    if current is not None and current.digest == _published_manifest(platform, published.strategy_uri).digest:
        return None
    return (
        f"the strategy of {published.partition} was evaluated anew after it was published, and that result is not "
        "published. Nothing is sent; run the day's marketing_loop again, to the end."
    )


def _address(platform: Platform, customer_id: str) -> str | None:
    """The contact vault: direct identifiers live there only, and only execution reads it."""
    raw = platform.objects.get(f"{VAULT}/customer={customer_id}.json")
    return None if raw is None else str(json.loads(raw)["email"])


def refusal(platform: Platform, day: date) -> str | None:
    """Why a day's strategy may not even be put before an approver; None: it may."""
    published = platform.store.current("published", day)
    newest = newest_published(platform)
    if published is None or newest is None:
        return f"no strategy of {day} is published"
    document = platform.store.read_document(published, PublishedStrategy)
    answered = platform.store.current("approval", day)
    if answered is not None and platform.store.read_document(answered, Approval).strategy_run == strategy_run(document):
        return f"this strategy of {day} was answered before: nobody is asked twice, nothing is sent twice"
    wished = Approval(partition=day, approved=True, responder="", strategy_run=strategy_run(document))
    try:
        check_allowed(wished, document, newest, platform.settings.execution.live_from, day)
    except NotAllowed as error:
        return str(error)
    return _superseded(platform, document)


def strategy_run(published: PublishedStrategy) -> str:
    return parse_uri(published.strategy_uri)[2]


def keep_answer(
    platform: Platform, day: date, approved: bool, responder: str, note: str, shown: str = ""
) -> StepResult:
    """Store an answer under the strategy it answers; a later one finds the first and changes nothing."""
    published = platform.store.need("published", day)
    if shown and shown != published.run:
        raise NotAllowed(
            f"the strategy of {day} was published anew (run {published.run}) after run {shown} was shown for approval. "
            "Nothing is sent; answer the approval of the newer run."
        )
    run = strategy_run(platform.store.read_document(published, PublishedStrategy))
    answer = Approval(partition=day, approved=approved, responder=responder, strategy_run=run, note=note)
    identity = sha256(f"approval {day} {run}".encode())[:16]
    source = Provenance("record_approval", identity, "", "", 0, (published.as_parent(),))
    kept = platform.store.manifest_of_run("approval", day, identity)
    manifest = kept or platform.store.write_document("approval", day, answer, source)
    platform.store.point(manifest)  # an attempt may have ended between the answer and its pointer
    first = platform.store.read_document(manifest, Approval)
    said = "approved" if first.approved else "rejected"
    return StepResult(
        step="record_approval", partition=day, run_id=identity, reused=kept is not None,
        artefacts={"approval": platform.objects.uri(manifest.folder)}, rows={"approval": 1},
        digests={"approval": manifest.digest}, seconds=0.0, notes=[f"{said} by {first.responder}"],
    )  # fmt: skip
