"""E-mail can't be held: it is judged by the clock at the moment it is handed over, on a real mail server, and proven so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller

from mktgen import pipeline
from mktgen.errors import TransientError
from mktgen.execution.contact_book import ContactBook, Record
from mktgen.steps.runner import Platform
from mktgen.steps.sending import VAULT
from mktgen.store import ObjectStore
from tests.execution.test_smtp import Mailbox, free_port
from tests.support.dispatch_world import DAY, approve, decision, decisions, dispatch_day, platform_at, proven, publish

PLANNED = datetime(2017, 10, 4, 14, tzinfo=UTC)  # ten in New York
CUSTOMERS = [f"customer{n:04d}" for n in range(3)]


@pytest.fixture
def mail(object_store: ObjectStore) -> Iterator[tuple[Platform, Mailbox]]:
    """Three contacts by e-mail, published and approved: one in Denver, one who will consent after the planned hour."""
    mailbox, port = Mailbox(), free_port()
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    platform = platform_at(
        object_store.location,
        strategy={"channel": "smtp"},
        execution={
            "live_from": DAY,
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_sender": "Shop <a@shop.invalid>",
        },
        contact={"consent_default": "refuse"},
    )
    book = ContactBook(platform.objects)
    for n, customer in enumerate(CUSTOMERS):
        platform.objects.put(f"{VAULT}/customer={customer}.json", json.dumps({"email": f"p{n}@example.com"}).encode())
        given = PLANNED + timedelta(hours=2) if n == 2 else PLANNED - timedelta(days=30)
        for purpose in ("marketing_email", "profiling"):
            book.add(Record("consent", customer, purpose, "given", given, "test"))
    book.add(Record("time_zone", CUSTOMERS[1], "", "America/Denver", PLANNED - timedelta(days=30), "test"))
    publish(platform, decisions([decision(n) for n in range(3)], channel="smtp"))
    approve(platform)
    yield platform, mailbox
    server.stop()


def at(platform: Platform, moment: datetime) -> list[str]:
    platform.clock = lambda: moment
    return dispatch_day(platform)


def test_nothing_is_sent_before_the_planned_hour(mail: tuple[Platform, Mailbox]) -> None:
    platform, mailbox = mail
    with pytest.raises(TransientError, match="handed over from 2017-10-04 14:00 UTC on"):
        at(platform, PLANNED - timedelta(minutes=1))
    assert (mailbox.mails, platform.objects.keys("ledger/")) == ([], [])
    assert pipeline.hands_over_from(DAY, platform) == PLANNED


@pytest.mark.parametrize(
    ("later", "sent", "refused"),
    [
        (timedelta(0), 2, "refused 1 by consent"),  # who consents two hours later has not consented yet
        (timedelta(hours=3), 3, ""),
        (timedelta(hours=22), 2, "refused 1 by quiet_hours"),  # eight in New York, six in Denver
        (timedelta(hours=24), 0, "refused 3 by too_late"),
    ],
)
def test_the_hour_that_counts_is_the_one_of_handing_over(
    mail: tuple[Platform, Mailbox], later: timedelta, sent: int, refused: str
) -> None:
    platform, mailbox = mail
    notes = at(platform, PLANNED + later)
    assert len(mailbox.mails) == sent
    assert notes[1:] == ([refused] if refused else [])
    found = proven(platform)
    assert found.holds, found.text
    moments = {contact.send_at for contact in found.evidence.proof.contacts}
    assert moments == {(PLANNED + later).isoformat()}, "sent or refused: the moment is kept"


def test_who_approves_in_the_evening_sends_in_the_morning(mail: tuple[Platform, Mailbox]) -> None:
    """Half past nine in New York: refused for good would be the whole day's mail, and it is in time until ten tomorrow."""
    platform, mailbox = mail
    with pytest.raises(TransientError, match="handed over from 2017-10-05 12:00 UTC on"):
        at(platform, PLANNED + timedelta(hours=11, minutes=30))
    assert (mailbox.mails, platform.objects.keys("ledger/")) == ([], [])
    assert pipeline.hands_over_from(DAY, platform) == PLANNED + timedelta(hours=22)
    at(platform, PLANNED + timedelta(hours=22))
    assert len(mailbox.mails) == 2


def test_a_mail_that_left_in_quiet_hours_is_no_proof(mail: tuple[Platform, Mailbox]) -> None:
    platform, _ = mail
    at(platform, PLANNED + timedelta(hours=3))
    for key in platform.objects.keys("ledger/"):
        if key.endswith("attempt-0.json"):
            body = json.loads(platform.objects.get(key) or b"")
            platform.objects.put(key, json.dumps(body | {"send_at": "2017-10-05T02:00:00+00:00"}).encode())
    assert "in the quiet hours" in proven(platform).text
