"""Each rule by hand, and the four places that know the same rule against one another."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from mktgen import contracts
from mktgen.documents import ContactProof
from mktgen.evaluation.contact_history import campaign_conflict, further_caps
from mktgen.execution import prover_rules
from mktgen.execution.contact_book import Record
from mktgen.execution.prover_ledger import CustomerDay
from mktgen.execution.rules import RULES, Facts, Judgement, OtherContact, judge, planned_send_at
from mktgen.settings import ContactCap, ContactSettings, Exclusion, Settings, StrategySettings
from mktgen.strategy.contact_history import contactable
from tests.execution.conftest import DAY, EVERYBODY, decision, decisions, policy

SEND_AT = datetime(2017, 10, 4, 14, tzinfo=UTC)  # ten o'clock in New York
ASK = ContactSettings()


def said(kind: Any, value: str, hours: float = -1.0, about: str = "", note: str = "complaint") -> Record:
    return Record(kind, "c1", about, value, SEND_AT + timedelta(hours=hours), note)


def both(value: str, hours: float = -1.0) -> list[Record]:
    return [said("consent", value, hours, purpose) for purpose in ("marketing_post", "profiling")]


def verdict(
    *records: Record, others: tuple[tuple[int, str], ...] = (), campaign: str = "18", **changes: Any
) -> Judgement:
    seen = tuple(sorted(records, key=lambda r: r.at))
    contacts = tuple(OtherContact(DAY + timedelta(days=days), name) for days, name in others)
    return judge(Facts("c1", campaign, DAY, changes.pop("has_message", True), seen, contacts), policy(**changes))


def test_the_order_of_the_rules_is_fixed() -> None:
    assert list(RULES) == [
        "no_message", "too_late", "suppression", "holdout", "consent", "quiet_hours", "campaign_conflict", "frequency_cap",
    ]  # fmt: skip
    everything = verdict(said("suppression", "suppressed"), *both("withdrawn"), others=((1, "18"),), has_message=False)
    assert everything.detail == "no_message: no message was written for this decision"
    assert verdict(said("suppression", "suppressed"), *both("withdrawn"), others=((1, "18"),)).rule == "suppression"
    assert verdict(*both("withdrawn"), others=((1, "18"),), held_out=frozenset({"c1"})).rule == "holdout"


def test_nothing_against_it_sends_as_planned() -> None:
    assert verdict() == Judgement("", "", SEND_AT)
    assert planned_send_at(DAY, 10, "America/New_York") == SEND_AT


@pytest.mark.parametrize(
    ("records", "contact", "rule"),
    [
        ([], ASK, "consent"),
        ([], EVERYBODY, ""),
        (both("given"), ASK, ""),
        (both("given")[:1], ASK, "consent"),  # profiling was never asked
        ([*both("given", -2), *both("withdrawn", -1)], EVERYBODY, "consent"),
        ([*both("withdrawn", -2), *both("given", -1)], ASK, ""),
        (both("given", +1), ASK, "consent"),  # too late for this send
        (
            [*both("given", -2), *both("withdrawn", +1)],
            ASK,
            "consent",
        ),  # a stop that is known counts whenever it begins
        ([*both("given", -2), *both("withdrawn", +1), *both("given", +2)], ASK, ""),
        ([said("consent", "withdrawn", about="marketing_email")], EVERYBODY, ""),  # another channel's purpose
    ],
)
def test_consent(records: list[Record], contact: ContactSettings, rule: str) -> None:
    assert verdict(*records, contact=contact).rule == rule


def test_a_channel_without_a_purpose_contacts_nobody() -> None:
    assert verdict(purposes=()).rule == "consent"


def test_the_suppression_list_is_a_hard_stop_until_it_is_lifted() -> None:
    on, off = said("suppression", "suppressed", -3), said("suppression", "lifted", -2)
    assert verdict(on).detail == "suppression: on the suppression list since 2017-10-04 (complaint)"
    assert verdict(on, off).rule == ""
    assert verdict(said("suppression", "suppressed", +9)).rule == "suppression"


@pytest.mark.parametrize(
    ("zone", "arrives"),
    [
        ("America/New_York", "10:00"),
        ("America/Los_Angeles", "08:00"),  # seven in the morning: put off by an hour
        ("Europe/Berlin", "16:00"),
        ("Asia/Shanghai", "08:00"),  # ten in the evening: the next morning
        ("Asia/Kathmandu", "19:45"),
        ("Pacific/Auckland", "08:00"),
    ],
)
def test_quiet_hours_are_the_customers_own(zone: str, arrives: str) -> None:
    found = verdict(said("time_zone", zone))
    assert found.send_at is not None
    local = found.send_at.astimezone(ZoneInfo(zone))
    assert (found.rule, f"{local:%H:%M}") == ("", arrives)
    assert SEND_AT <= found.send_at < SEND_AT + timedelta(days=1)


def test_what_can_not_be_put_off_is_refused() -> None:
    shanghai = said("time_zone", "Asia/Shanghai")
    assert (
        verdict(shanghai, holds_messages=False).detail == "quiet_hours: 22:00 in Asia/Shanghai is quiet (21:00 to 8:00)"
    )
    refuse = ContactSettings(outside_hours="refuse", consent_default="existing_customers")
    assert verdict(shanghai, contact=refuse).rule == "quiet_hours"


@settings(deadline=None)
@given(
    zone=st.sampled_from(["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham", "UTC"]),
    day=st.dates(date(2015, 1, 1), date(2026, 12, 31)),
    hour=st.integers(0, 23),
    quiet=st.tuples(st.integers(0, 23), st.integers(0, 23)),
)
def test_a_deferred_message_never_arrives_in_quiet_hours(
    zone: str, day: date, hour: int, quiet: tuple[int, int]
) -> None:
    """Over days when the clocks change, too: the wall clock that the customer sees counts."""
    strategy = StrategySettings(quiet_from_hour=quiet[0], quiet_to_hour=quiet[1], send_hour_local=hour)
    planned = planned_send_at(day, hour, "America/New_York")
    found = verdict(said("time_zone", zone), strategy=strategy, send_at=planned, until=planned + timedelta(days=1))
    assert found.send_at is not None
    assert not strategy.is_quiet(found.send_at.astimezone(ZoneInfo(zone)).hour)
    assert planned <= found.send_at <= planned + timedelta(days=1)


def test_caps_over_all_campaigns_and_of_one() -> None:
    assert verdict(others=((-7, "22"),)).rule == ""
    assert verdict(others=((-6, "22"),)).detail == "frequency_cap: 1 in 7 days, contacted for 2017-09-27"
    of_one = EVERYBODY.model_copy(update={"further_caps": (ContactCap(days=30, contacts=1, campaign="18"),)})
    assert verdict(others=((-20, "22"),), contact=of_one).rule == ""
    assert "1 of campaign 18 in 30 days" in verdict(others=((-20, "18"),), contact=of_one).words


@pytest.mark.parametrize(
    ("wins", "campaign", "other", "days", "rule"),
    [
        ("first", "18", "22", -9, "campaign_conflict"),
        ("first", "22", "18", -9, "campaign_conflict"),
        ("first", "18", "18", -9, ""),
        ("first", "18", "30", -9, ""),
        ("first", "18", "22", -10, ""),
        ("priority", "18", "22", -9, ""),  # the higher one follows the lower
        ("priority", "22", "18", -9, "campaign_conflict"),
        ("priority", "18", "22", +9, "campaign_conflict"),  # there the lower one would follow
        ("priority", "22", "18", +9, ""),
    ],
)
def test_campaigns_that_exclude_one_another(wins: Any, campaign: str, other: str, days: int, rule: str) -> None:
    contact = EVERYBODY.model_copy(update={"exclusions": (Exclusion(campaigns=("18", "22"), days=10, wins=wins),)})
    assert verdict(others=((days, other),), campaign=campaign, contact=contact).rule == rule


def test_exclusions_by_type() -> None:
    contact = EVERYBODY.model_copy(update={"exclusions": (Exclusion(campaigns=("type:A", "type:B"), days=10),)})
    types = {"18": "A", "22": "B", "23": "B"}
    assert verdict(others=((-9, "22"),), contact=contact, campaign_types=types).rule == "campaign_conflict"
    assert verdict(others=((-9, "23"),), campaign="22", contact=contact, campaign_types=types).rule == ""


def test_the_settings_in_the_documentation_are_settings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "contact-rules.md").read_text()
    given = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    found = Settings.model_validate(given)
    assert found.contact.exclusions[1].wins == "priority"
    assert set(given["contact"]) == set(ContactSettings.model_fields)
    assert all(f"| `{name}` |" in text for name in RULES)


# -- one rule, four places ------------------------------------------------------------------------------------------------
CAMPAIGNS = ("18", "22", "30")
TYPES = {"18": "A", "22": "B", "30": "B"}
caps = st.builds(
    ContactCap, days=st.integers(1, 12), contacts=st.integers(1, 3), campaign=st.sampled_from(["", *CAMPAIGNS])
)
exclusions = st.builds(
    Exclusion,
    campaigns=st.sampled_from([("18", "22"), ("22", "18", "30"), ("type:A", "type:B"), ("30", "type:A")]),
    days=st.integers(1, 12),
    wins=st.sampled_from(["first", "priority"]),
)


@settings(deadline=None, max_examples=60)
@given(
    history=st.dictionaries(st.integers(1, 14), st.sampled_from(CAMPAIGNS), max_size=6),
    campaign=st.sampled_from(CAMPAIGNS),
    further=st.lists(caps, max_size=3).map(tuple),
    rules=st.lists(exclusions, max_size=2).map(tuple),
)
def test_planning_evaluation_dispatch_and_prover_agree(
    history: dict[int, str], campaign: str, further: tuple[ContactCap, ...], rules: tuple[Exclusion, ...]
) -> None:
    """The strategy's own cap is set out of the way; what remains are further caps and exclusions, looking back."""
    contact = ContactSettings(further_caps=further, exclusions=rules, consent_default="existing_customers")
    strategy = StrategySettings(contact_cap=99)
    others = tuple((-days, name) for days, name in sorted(history.items()))
    refused = verdict(others=others, campaign=campaign, contact=contact, strategy=strategy, campaign_types=TYPES).rule

    sends = sent(history)
    candidate = contracts.OFFER_SCORES.empty().select("customer_id", "campaign_id")
    candidate = pl.DataFrame({"customer_id": ["c1"], "campaign_id": [campaign]}, schema=candidate.schema)
    planned = contactable(candidate, sends, contact, TYPES, DAY)
    assert (planned.height == 0) == bool(refused)

    chosen = decisions([decision(1, action=f"{campaign}:c1")]).with_columns(customer_id=pl.lit("c1"))
    gates = [further_caps(chosen, sends, contact, DAY), campaign_conflict(chosen, sends, contact, TYPES, DAY)]
    assert (not all(gate.passed for gate in gates)) == bool(refused)

    scene = made(history, campaign, strategy, contact)
    violations = [*prover_rules.frequency_cap(scene), *prover_rules.campaign_conflict(scene)]
    if refused:
        assert violations, "what dispatch would have refused is no violation"
    within = not any(campaign_breaks(scene, days) for days in history)
    if violations and within:
        assert refused, violations


def campaign_breaks(scene: prover_rules.Scene, days: int) -> bool:
    """Whether the history alone, without today, already breaks a cap: then a window with today may, too."""
    before = DAY - timedelta(days=days)
    entries = [entry for entry in scene.history["c1"] if entry.day != DAY]
    past = prover_rules.Scene(before, scene.proof, {"c1": entries}, {}, frozenset())
    return bool([*prover_rules.frequency_cap(past), *prover_rules.campaign_conflict(past)])


def sent(history: dict[int, str]) -> pl.DataFrame:
    rows = [
        {
            "send_id": f"s{days}", "decision_id": f"d{days}", "customer_id": "c1", "campaign_id": name,
            "offer_id": f"{name}:c1", "channel": "outbox", "sent_for": DAY - timedelta(days=days), "status": "sent",
            "detail": None,
        }
        for days, name in history.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=contracts.SENDS.columns)


def made(
    history: dict[int, str], campaign: str, strategy: StrategySettings, contact: ContactSettings
) -> prover_rules.Scene:
    """The same contacts as the prover finds them in a ledger, today's included."""
    days = {DAY - timedelta(days=days): name for days, name in history.items()} | {DAY: campaign}
    entries = [
        CustomerDay("c1", day, {"campaign_id": name}, settled={"status": "sent"}) for day, name in sorted(days.items())
    ]
    values: dict[str, JsonValue] = {
        "strategy": strategy.model_dump(mode="json"),
        "contact": contact.model_dump(mode="json"),
    }
    proof = ContactProof(
        partition=DAY, channel="outbox", purposes=[], holds_messages=True, planned_send_at=SEND_AT.isoformat(),
        time_zone="America/New_York", inputs=[], settings=values, campaign_types=TYPES, counts={}, refused={}, records=0,
        records_sha256="", contacts=[],
    )  # fmt: skip
    return prover_rules.Scene(DAY, proof, {"c1": entries}, {}, frozenset())
