"""The rules of contact at the moment of dispatch. They run in the order of RULES; the first that refuses decides.

Each says in words why it refuses, or None. Decisions kept the policy when they were made; consent, suppression and contacts
may have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mktgen.execution.contact_book import Record
from mktgen.settings import ContactSettings, Exclusion, StrategySettings, contact_caps


@dataclass(frozen=True)
class Policy:
    """What the rules go by in one dispatch.

    send_at: when messages of this day are planned to reach customers; where the channel can't hold a message, the moment at
    which one is judged and handed over. until: from then on it is too late to send. time_zone: the shop's, for customers
    whose own is not known. purposes: what the channel needs consent for. holds_messages: the channel keeps a message until
    its time. held_out: customers of the day's hold-out. campaign_types: campaign id -> type, for exclusions by type.
    """

    strategy: StrategySettings
    contact: ContactSettings
    send_at: datetime
    until: datetime
    time_zone: str
    purposes: tuple[str, ...]
    holds_messages: bool
    held_out: frozenset[str]
    campaign_types: Mapping[str, str]

    @property
    def widest_days(self) -> int:
        """How far from a contact's day others can matter to it."""
        caps = contact_caps(self.strategy, self.contact)
        return max(*(cap.days for cap in caps), *(rule.days for rule in self.contact.exclusions), 1)


@dataclass(frozen=True)
class OtherContact:
    """A day for which the customer was or may be contacted."""

    day: date
    campaign_id: str


@dataclass(frozen=True)
class Facts:
    """One intended contact and what is known of its customer now. records: the latest last, as ContactBook gives them."""

    customer_id: str
    campaign_id: str
    sent_for: date
    has_message: bool
    records: tuple[Record, ...]
    others: tuple[OtherContact, ...]


@dataclass(frozen=True)
class Judgement:
    """`rule`: the one that refuses, with its words; "" where none does, and then `send_at` says when to send."""

    rule: str
    words: str
    send_at: datetime | None

    @property
    def detail(self) -> str:
        return f"{self.rule}: {self.words}" if self.rule else ""


def judge(facts: Facts, policy: Policy) -> Judgement:
    """The verdict of all rules on one contact."""
    for name, rule in RULES.items():
        words = rule(facts, policy)
        if words is not None:
            return Judgement(name, words, None)
    return Judgement("", "", send_time(facts, policy))


def planned_send_at(partition: date, hour: int, time_zone: str) -> datetime:
    """The hour of the day after the partition, in the shop's time, as UTC."""
    return datetime.combine(partition + timedelta(days=1), time(hour), ZoneInfo(time_zone)).astimezone(UTC)


# -- the rules ----------------------------------------------------------------------------------------------------------
def no_message(facts: Facts, policy: Policy) -> str | None:
    return None if facts.has_message else "no message was written for this decision"


def too_late(facts: Facts, policy: Policy) -> str | None:
    if policy.send_at < policy.until:
        return None
    return f"it was to be sent before {policy.until:%Y-%m-%d %H:%M} UTC"


def suppression(facts: Facts, policy: Policy) -> str | None:
    found = _in_force([r for r in facts.records if r.kind == "suppression"], policy.send_at, "suppressed")
    if found is None or found.value != "suppressed":
        return None
    return f"on the suppression list since {found.at:%Y-%m-%d} ({found.note})"


def holdout(facts: Facts, policy: Policy) -> str | None:
    return "held out, never contacted" if facts.customer_id in policy.held_out else None


def consent(facts: Facts, policy: Policy) -> str | None:
    """Every purpose of the channel needs a consent that was given by the time of sending and not withdrawn since."""
    if not policy.purposes:
        return "the channel names no purpose that consent could be given for"
    for purpose in policy.purposes:
        said = [r for r in facts.records if r.kind == "consent" and r.about == purpose]
        found = _in_force(said, policy.send_at, "withdrawn")
        if found is not None and found.value == "withdrawn":
            return f"{purpose} was withdrawn at {found.at:%Y-%m-%d %H:%M} UTC"
        if found is None and policy.contact.consent_default == "refuse":
            return f"{purpose} was never given (contact.consent_default = refuse)"
    return None


def quiet_hours(facts: Facts, policy: Policy) -> str | None:
    """In the customer's own time zone. A channel that can't keep a message can't put it off either."""
    zone, planned = _zone(facts, policy), policy.send_at
    if not policy.strategy.is_quiet(planned.astimezone(zone).hour):
        return None
    if policy.contact.outside_hours == "defer" and policy.holds_messages:
        return None
    return f"{planned.astimezone(zone):%H:%M} in {zone.key} is quiet ({_hours(policy.strategy)})"


def campaign_conflict(facts: Facts, policy: Policy) -> str | None:
    for exclusion in policy.contact.exclusions:
        ours = _place(exclusion, facts.campaign_id, policy)
        for other in facts.others:
            theirs = _place(exclusion, other.campaign_id, policy)
            if ours is None or theirs is None or ours == theirs or not _near(facts, other, exclusion.days):
                continue
            later, earlier = (ours, theirs) if facts.sent_for > other.day else (theirs, ours)
            if exclusion.wins == "first" or later > earlier:
                return (
                    f"campaign {facts.campaign_id} excludes campaign {other.campaign_id}, contacted for {other.day}, "
                    f"within {exclusion.days} days"
                )
    return None


def frequency_cap(facts: Facts, policy: Policy) -> str | None:
    """The days before and after count: where two days' dispatches meet, both may refuse. Too few, never too many."""
    for cap in contact_caps(policy.strategy, policy.contact):
        if cap.campaign and cap.campaign != facts.campaign_id:
            continue
        near = [o.day for o in facts.others if _near(facts, o, cap.days) and cap.campaign in ("", o.campaign_id)]
        if len(near) >= cap.contacts:
            of = f" of campaign {cap.campaign}" if cap.campaign else ""
            days = ", ".join(day.isoformat() for day in sorted(near))
            return f"{cap.contacts}{of} in {cap.days} days, contacted for {days}"
    return None


RULES: Final[dict[str, Callable[[Facts, Policy], str | None]]] = {
    rule.__name__: rule
    for rule in (no_message, too_late, suppression, holdout, consent, quiet_hours, campaign_conflict, frequency_cap)
}
# What a customer told us may stop a message even where an earlier run had begun to send it.
HARD_STOPS: Final = frozenset({"suppression", "consent"})


# -- what they share ------------------------------------------------------------------------------------------------------
def send_time(facts: Facts, policy: Policy) -> datetime:
    """When to send: as planned, or the end of the customer's quiet hours where that falls into them."""
    return quiet_until(policy.send_at, policy.strategy, _zone(facts, policy))


def quiet_until(moment: datetime, strategy: StrategySettings, zone: ZoneInfo) -> datetime:
    """The end of the quiet hours that a moment falls into; the moment itself where it falls into none. UTC."""
    local = moment.astimezone(zone)
    if not strategy.is_quiet(local.hour):
        return moment
    ends = datetime.combine(local.date(), time(strategy.quiet_to_hour), zone)
    if ends <= local:
        ends = datetime.combine(local.date() + timedelta(days=1), time(strategy.quiet_to_hour), zone)
    return ends.astimezone(UTC)


def _in_force(records: list[Record], send_at: datetime, stops: str) -> Record | None:
    """The last record up to the time of sending; but a stop that is the last of all counts whenever it begins."""
    if records and records[-1].value == stops:
        return records[-1]
    return next((record for record in reversed(records) if record.at <= send_at), None)


def _zone(facts: Facts, policy: Policy) -> ZoneInfo:
    own = [record for record in facts.records if record.kind == "time_zone"]
    return ZoneInfo(own[-1].value if own else policy.time_zone)


def _hours(strategy: StrategySettings) -> str:
    return f"{strategy.quiet_from_hour}:00 to {strategy.quiet_to_hour}:00"


def _near(facts: Facts, other: OtherContact, days: int) -> bool:
    return other.day != facts.sent_for and abs(other.day - facts.sent_for) < timedelta(days=days)


def _place(exclusion: Exclusion, campaign_id: str, policy: Policy) -> int | None:
    """Where an exclusion names a campaign, 0 first; by its id, else by its type."""
    names = (campaign_id, f"type:{policy.campaign_types.get(campaign_id, '')}")
    return next((n for n, name in enumerate(exclusion.campaigns) if name in names), None)
