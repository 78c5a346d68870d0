"""The rules of contact once more, from ledger, records and decisions alone; execution/rules.py is not looked at.

Each function gives the violations in words, for every contact that was made or may have been made, and for every refusal
that had no ground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from mktgen.documents import ContactProof
from mktgen.execution.prover_ledger import CustomerDay, Said, moment


@dataclass(frozen=True)
class Scene:
    """What the rules are checked on. history: all days of a customer in the ledger, in order; records: by customer.

    proof: its settings, hour, zone and purposes are taken as they are; steps/proving.py compares them with their origin.
    """

    day: date
    proof: ContactProof
    history: Mapping[str, Sequence[CustomerDay]]
    records: Mapping[str, Sequence[Said]]
    held_out: frozenset[str]

    def setting(self, section: str, name: str) -> Any:
        values: Any = self.proof.settings[section]
        return values[name]

    @property
    def today(self) -> list[CustomerDay]:
        return [entry for who in sorted(self.history) for entry in self.history[who] if entry.day == self.day]

    @property
    def contacted(self) -> list[CustomerDay]:
        return [entry for entry in self.today if entry.contacted]

    def refused_by(self, rule: str) -> list[CustomerDay]:
        return [
            entry for entry in self.today if entry.status == "refused" and (entry.settled or {}).get("rule") == rule
        ]

    @property
    def planned(self) -> datetime:
        found = moment(self.proof.planned_send_at)
        if found is None:
            raise ValueError(f"the proof's planned_send_at is no time: {self.proof.planned_send_at!r}")
        return found


# -- what customers said --------------------------------------------------------------------------------------------------
def suppression(scene: Scene) -> Iterator[str]:
    yield from _stopped(scene, "suppression", "", lambda state: state == "suppressed")


def consent(scene: Scene) -> Iterator[str]:
    legal_basis = scene.setting("contact", "consent_default") == "existing_customers"
    for purpose in scene.proof.purposes:
        yield from _stopped(
            scene, "consent", purpose, lambda state: state != "given" and not (legal_basis and not state)
        )
    for entry in scene.refused_by("consent"):
        when = _judged_at(scene, entry)
        states = [_state(_seen(scene, entry), "consent", purpose, when) for purpose in scene.proof.purposes]
        if all(state == "given" or (legal_basis and not state) for state in states):
            yield f"customer {entry.customer_id} was refused for want of consent, but what was seen allows the contact"
    if not scene.proof.purposes:
        yield "the channel names no purpose, so nobody's consent can be looked up"


def _stopped(scene: Scene, kind: str, about: str, stops: Callable[[str], bool]) -> Iterator[str]:
    """Contacts that a customer's word forbids: the word that was seen, or one that began before the time of sending."""
    words = {"": f"{kind} {about} never given"} | {s: f"{kind} {about} {s}" if about else s for s in _STATES}
    for entry in scene.contacted:
        seen, send_at = _seen(scene, entry), entry.send_at or scene.planned
        state = _state(seen, kind, about, _judged_at(scene, entry))
        if stops(state):
            yield f"customer {entry.customer_id} was contacted, but what dispatch read says: {words[state]}"
            continue
        known = set(entry.seen)
        later = [s for s in scene.records.get(entry.customer_id, ()) if s.key in known or s.at <= send_at]
        state = _state(later, kind, about, send_at)
        if stops(state):
            since = max(s.at for s in later if s.kind == kind and s.about == about)
            yield (
                f"customer {entry.customer_id}: {words[state]} at {since:%Y-%m-%d %H:%M} UTC, before the send at "
                f"{send_at:%Y-%m-%d %H:%M} UTC and after dispatch read it: take send {(entry.claim or {}).get('send_id')} back"
            )
    if kind == "suppression":
        for entry in scene.refused_by(kind):
            if not stops(_state(_seen(scene, entry), kind, about, _judged_at(scene, entry))):
                yield f"customer {entry.customer_id} was refused by suppression, but was not on the list that was seen"


_STATES: Final = ("given", "withdrawn", "lifted", "suppressed")


def _seen(scene: Scene, entry: CustomerDay) -> list[Said]:
    known = set(entry.seen)
    return [said for said in scene.records.get(entry.customer_id, ()) if said.key in known]


def _state(said: Sequence[Said], kind: str, about: str, send_at: datetime) -> str:
    """What holds at the time of sending; a stop that is the last word counts whenever it begins. "": nothing was said."""
    words = [s for s in said if s.kind == kind and s.about == about]
    if words and words[-1].value in ("withdrawn", "suppressed"):
        return words[-1].value
    until = [s.value for s in words if s.at <= send_at]
    return until[-1] if until else ""


def _judged_at(scene: Scene, entry: CustomerDay) -> datetime:
    """The moment that the rules went by: as planned, or the clock's where the channel hands over at once."""
    return scene.planned if scene.proof.holds_messages else entry.send_at or scene.planned


def holdout(scene: Scene) -> Iterator[str]:
    for entry in scene.contacted:
        if entry.customer_id in scene.held_out:
            yield f"customer {entry.customer_id} is held out and was contacted"
    for entry in scene.refused_by("holdout"):
        if entry.customer_id not in scene.held_out:
            yield f"customer {entry.customer_id} was refused as held out and is not"


# -- time -----------------------------------------------------------------------------------------------------------------
def quiet_hours(scene: Scene) -> Iterator[str]:
    """The hour in the customer's zone, as it was known; and nothing is sent before the planned time, or a day after it."""
    planned = scene.planned
    shop = datetime.combine(
        scene.day + timedelta(days=1),
        time(scene.setting("strategy", "send_hour_local")),
        ZoneInfo(scene.proof.time_zone),
    )
    if shop != planned:
        yield f"the proof's planned time {planned.isoformat()} is not the planned hour of the day after {scene.day}"
    may_defer = scene.proof.holds_messages and scene.setting("contact", "outside_hours") == "defer"
    for entry in scene.contacted:
        if entry.send_at is None:
            yield f"customer {entry.customer_id}: the verdict in the ledger has no time of sending"
            continue
        zone = _zone(scene, entry)
        local = entry.send_at.astimezone(zone)
        if _quiet(scene, local.hour):
            yield f"customer {entry.customer_id} is contacted at {local:%H:%M} in {zone.key}, in the quiet hours"
        moved = entry.send_at != planned and not may_defer and scene.proof.holds_messages
        if not planned <= entry.send_at < planned + timedelta(days=1) or moved:
            yield f"customer {entry.customer_id} is contacted at {entry.send_at.isoformat()}, planned was {planned.isoformat()}"
    for entry in scene.refused_by("quiet_hours"):
        if not _quiet(scene, _judged_at(scene, entry).astimezone(_zone(scene, entry)).hour):
            yield f"customer {entry.customer_id} was refused by quiet hours, but the hour was not quiet"
    for entry in scene.refused_by("too_late"):
        if _judged_at(scene, entry) < planned + timedelta(days=1):
            yield f"customer {entry.customer_id} was refused as too late, and was judged within a day of the planned time"


def _zone(scene: Scene, entry: CustomerDay) -> ZoneInfo:
    own = [said.value for said in _seen(scene, entry) if said.kind == "time_zone"]
    return ZoneInfo(own[-1] if own else scene.proof.time_zone)


def _quiet(scene: Scene, hour: int) -> bool:
    begins, ends = scene.setting("strategy", "quiet_from_hour"), scene.setting("strategy", "quiet_to_hour")
    return hour in [(begins + n) % 24 for n in range((ends - begins) % 24)]


# -- other contacts -------------------------------------------------------------------------------------------------------
def frequency_cap(scene: Scene) -> Iterator[str]:
    """No window of so many days that holds this day has more contacts than the cap."""
    for cap in _caps(scene):
        days, most, campaign = int(cap["days"]), int(cap["contacts"]), str(cap["campaign"])
        words = f"{most} in {days} days" + (f" of campaign {campaign}" if campaign else "")
        for entry in scene.contacted:
            if campaign not in ("", entry.campaign_id):
                continue
            made = [o.day for o in scene.history[entry.customer_id] if o.contacted and campaign in ("", o.campaign_id)]
            for first in (scene.day - timedelta(days=n) for n in range(days)):
                inside = [day for day in made if first <= day < first + timedelta(days=days)]
                if len(inside) > most:
                    listed = ", ".join(day.isoformat() for day in inside)
                    yield f"customer {entry.customer_id} is contacted for {listed}; the cap is {words}"
                    break
    least = min(int(cap["contacts"]) for cap in _caps(scene))
    for entry in scene.refused_by("frequency_cap"):
        if sum(key.endswith("/claim.json") for key in entry.seen) < least:
            yield f"customer {entry.customer_id} was refused by the cap, but fewer other contacts were seen than it allows"


def _caps(scene: Scene) -> list[dict[str, Any]]:
    days, contacts = scene.setting("strategy", "contact_cap_days"), scene.setting("strategy", "contact_cap")
    return [{"days": days, "contacts": contacts, "campaign": ""}, *scene.setting("contact", "further_caps")]


def campaign_conflict(scene: Scene) -> Iterator[str]:
    """Of campaigns that exclude one another a customer gets one, or by priority a higher one after a lower one."""
    for rule in scene.setting("contact", "exclusions"):
        for entry in scene.contacted:
            for other in scene.history[entry.customer_id]:
                apart = abs((other.day - entry.day).days)
                if not other.contacted or not 0 < apart < int(rule["days"]):
                    continue
                early, late = sorted((entry, other), key=lambda one: one.day)
                ranks = [_rank(scene, rule["campaigns"], one.campaign_id) for one in (early, late)]
                if None in ranks or ranks[0] == ranks[1]:
                    continue
                if rule["wins"] == "first" or ranks[1] > ranks[0]:  # type: ignore[operator]
                    yield (
                        f"customer {entry.customer_id} is contacted for campaign {early.campaign_id} on {early.day} and for "
                        f"campaign {late.campaign_id} on {late.day}, which exclude one another within {rule['days']} days"
                    )
    for entry in scene.refused_by("campaign_conflict"):
        if not any(key.endswith("/claim.json") for key in entry.seen):
            yield f"customer {entry.customer_id} was refused by a conflict of campaigns, but no other contact was seen"


def _rank(scene: Scene, campaigns: Sequence[str], campaign_id: str) -> int | None:
    kind = f"type:{scene.proof.campaign_types.get(campaign_id, '')}"
    found = [n for n, name in enumerate(campaigns) if name in (campaign_id, kind)]
    return found[0] if found else None


RULES: Final[dict[str, Callable[[Scene], Iterator[str]]]] = {
    rule.__name__: rule for rule in (suppression, holdout, consent, quiet_hours, campaign_conflict, frequency_cap)
}
