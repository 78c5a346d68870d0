"""Execution: the approved strategy to its customers, by the rules of contact, with a proof of it."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import JsonValue

from mktgen.contracts import CAMPAIGNS
from mktgen.documents import ProofInput, PublishedStrategy
from mktgen.errors import NotAllowed, TransientError
from mktgen.execution.channels import channel_class
from mktgen.execution.channels.base import Channel, Connections
from mktgen.execution.contact_book import ContactBook
from mktgen.execution.dispatch import NO_CONTACT, Desk, check_allowed, dispatch
from mktgen.execution.ledger import Ledger, Release
from mktgen.execution.proof import contact_proof
from mktgen.execution.rules import Policy, planned_send_at, quiet_until
from mktgen.settings import Settings
from mktgen.steps import auditing, released
from mktgen.steps.deciding import campaign_types, today
from mktgen.steps.released import answer_run, part_of
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads
from mktgen.store import Manifest

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
    """What was published and approved; on a day that was begun, what it was begun with, whatever was published since."""
    begun = Ledger(platform.objects).begun(day)
    if begun is None:
        released = [
            *today(("published",), day, "publish"),
            *today(("approval",), day, "the approval in the Dag marketing_execution"),
        ]
    else:
        runs = (("published", begun.published_run), ("approval", answer_run(day, begun.strategy_run)))
        found = ((name, platform.store.manifest_of_run(name, day, run)) for name, run in runs)
        released = [Read(name, (), manifests=(kept,)) for name, kept in found if kept is not None]
    return [*released, *campaigns_by_type(day, platform)]


def campaigns_by_type(day: date, platform: Platform) -> list[Read]:
    """The campaigns that are known, where a rule speaks of their types."""
    exclusions = platform.settings.contact.exclusions
    if not any(name.startswith("type:") for exclusion in exclusions for name in exclusion.campaigns):
        return []
    return [read for read in campaign_reads(day, platform) if read.artefact == "campaigns"]


def send(run: Run) -> Outcome:
    """Hand the approved messages to the channel, each once. Raises NotAllowed where nothing may be sent, and the audit trail
    tells why.

    Sent is what was published and approved, to the byte: decisions or messages made or changed since then are not. A day
    that a later one overtook is settled where it was begun, so that it is known who was contacted, and nothing more is sent;
    what leaves at once may still go, within its time, where it was the newest when a person approved it.
    """
    with auditing.refusals_told(run.platform, run.day, auditing.DISPATCH):
        return _send(run)


def _send(run: Run) -> Outcome:
    platform, settings = run.platform, run.settings
    newest = newest_published(platform)
    if newest is None:
        raise RuntimeError(f"{run.day} is published, but no published partition was found")
    approval, approved = released.as_approved(run)
    published = approved.published
    decisions, messages = (_table(platform, approved.parts[name]) for name in ("decisions", "messages"))
    connections = Connections(
        platform.objects, settings.execution, lambda who: _address(platform, who), platform.environment.smtp_login
    )
    channel = channel_class(settings.strategy.channel).create(connections)
    policy = contact_policy(run, channel, decisions)
    clock = None if channel.holds_messages else platform.clock
    ledger, release = Ledger(platform.objects), Release(approved.manifest.run, approved.run)
    in_time = clock is not None and approval.newest_published == run.day and clock() < policy.until
    overtaken = "" if newest == run.day or in_time else f"{newest} was published before it was sent"
    over = superseded(platform, published) or overtaken
    finishing = bool(over) and ledger.begun(run.day) is not None
    as_newest, live_from = run.day if in_time or finishing else newest, settings.execution.live_from
    check_allowed(approval, published, as_newest, live_from, run.day)
    if over and not finishing:
        raise NotAllowed(over)
    if not finishing:
        _take_day(platform, run.day, release, channel, decisions.filter(pl.col("action") != NO_CONTACT).height)
    begun = auditing.begun(platform, run.day, approved, approval)
    desk = Desk(channel, ledger, ContactBook(platform.objects), policy, clock, over)
    done = dispatch(decisions, messages, approval, published, as_newest, live_from, run.day, desk)
    manifests = (approved.manifest, run.inputs["approval"][-1], *approved.parts.values())
    inputs = [_proof_input(manifest) for manifest in manifests]
    inputs.append(ProofInput(name="audit", uri=begun.key, digest=begun.hash))
    proof = contact_proof(run.day, decisions, done, channel, policy, inputs, section_values(settings))
    states = ", ".join(f"{status} {count}" for status, count in proof.counts.items() if status in _STATES and count)
    refused = ", ".join(f"{count} by {rule}" for rule, count in proof.refused.items())
    note = f"{states or 'nobody was to be contacted'}; {done.sent_now} handed over now"
    return Outcome(
        tables={"sends": done.sends},
        documents={"contact_proof": proof},
        notes=[note, *([f"refused {refused}"] if refused else [])],
    )


def _take_day(platform: Platform, day: date, release: Release, channel: Channel, contacts: int) -> None:
    """The day for this strategy, once its hour has come and the channel answers; else it is left free."""
    due = hands_over_from(platform, day)
    if due is not None and platform.clock() < due:
        raise TransientError(
            f"messages of {day} may be handed over from {due:%Y-%m-%d %H:%M} UTC on, and channel {channel.name} can't hold "
            "them: nothing was sent. Run dispatch from then on (marketing_execution waits for it by itself)."
        )
    if contacts:
        channel.open()
        taken = taken_by_another(Ledger(platform.objects).begin(day, release), release.strategy_run, day)
        if taken is not None:
            raise NotAllowed(taken)


def taken_by_another(begun: Release | None, ours: str, day: date) -> str | None:
    if begun is None or begun.strategy_run == ours:
        return None
    return (
        f"another strategy of {day} (run {begun.strategy_run}) was sent or begun to be: one a day is ever sent, or its budget "
        "would be spent twice. What was decided since goes out with a later day."
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


def _table(platform: Platform, part: Manifest) -> pl.DataFrame:
    with released.unchanged(part.artefact, part.partition):
        return platform.store.read_table(part)


def _proof_input(manifest: Manifest) -> ProofInput:
    return ProofInput(name=manifest.artefact, uri=manifest.folder, digest=manifest.digest)


def superseded(platform: Platform, published: PublishedStrategy) -> str | None:
    """Why a published strategy is not the day's strategy any more: a later evaluation may have stopped it."""
    current = platform.store.current("strategy", published.partition)
    if current is not None and current.digest == part_of(platform, published.strategy_uri).digest:
        return None
    return (
        f"the strategy of {published.partition} was evaluated anew after it was published, and that result is not "
        "published. Nothing is sent; run the day's marketing_loop again, to the end."
    )


def _address(platform: Platform, customer_id: str) -> str | None:
    """The contact vault: direct identifiers live there only, and only execution reads it."""
    raw = platform.objects.get(f"{VAULT}/customer={customer_id}.json")
    return None if raw is None else str(json.loads(raw)["email"])
