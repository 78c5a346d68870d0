"""A day that was overtaken before it was sent, or before all of it was: by the next day, or by another strategy of its own."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from mktgen import pipeline
from mktgen.errors import NotAllowed, TransientError
from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore
from tests.execution.test_smtp import Mailbox
from tests.steps.test_mail_hours import PLANNED, at, mail
from tests.support.dispatch_world import (
    DAY,
    approve,
    decision,
    decisions,
    dispatch_day,
    document,
    make_day,
    platform_at,
    proven,
    publish,
    strategy,
)

__all__ = ["mail"]
NEXT = DAY + timedelta(days=1)
MORNING = PLANNED + timedelta(hours=22)  # eight in New York, of the day after the planned one


def publish_next(platform: Platform) -> None:
    publish(platform, decisions([decision(0), decision(3)], channel="smtp"), day=NEXT)


@pytest.fixture
def consenting(mail: tuple[Platform, Mailbox]) -> tuple[Platform, Mailbox]:
    platform, mailbox = mail
    platform.clock = lambda: PLANNED + timedelta(hours=3)  # by then all three have consented
    return platform, mailbox


def statuses(platform: Platform, day: date = DAY) -> list[str]:
    sends = platform.store.read_table(platform.store.need("sends", day))
    return sends.sort("customer_id")["status"].to_list()


def test_mail_that_a_person_approved_in_the_evening_leaves_in_the_morning_though_the_next_day_is_published(
    mail: tuple[Platform, Mailbox],
) -> None:
    platform, mailbox = mail
    with pytest.raises(TransientError, match="handed over from 2017-10-05 12:00 UTC on"):
        at(platform, PLANNED + timedelta(hours=11, minutes=30))
    publish_next(platform)
    at(platform, MORNING)
    assert len(mailbox.mails) == 2
    assert proven(platform).holds
    platform.clock = lambda: MORNING + timedelta(hours=3)
    approve(platform, NEXT)
    assert dispatch_day(platform, NEXT)[1:] == ["refused 1 by consent, 1 by frequency_cap"]


def test_what_was_approved_after_the_next_day_was_published_is_not_sent(mail: tuple[Platform, Mailbox]) -> None:
    platform, mailbox = mail
    publish(platform, decisions([decision(0)], channel="smtp"), day=NEXT)
    again = decisions([decision(n, version="2") for n in range(3)], channel="smtp")
    publish(platform, again, run="r2")
    approve(platform)
    with pytest.raises(NotAllowed, match="not the newest published day"):
        at(platform, PLANNED + timedelta(hours=3))
    assert (mailbox.mails, platform.objects.keys("ledger")) == ([], [])


def test_a_dispatch_that_was_cut_off_is_settled_after_the_next_day_was_published(
    consenting: tuple[Platform, Mailbox],
) -> None:
    """Two mails were put off when the next day came. Who was contacted must be on record, and nobody else is now."""
    platform, mailbox = consenting
    mailbox.rcpt = ["451 later", "451 later", "250 OK"]  # the last is given first
    with pytest.raises(TransientError, match="2 of 3 messages were put off"):
        dispatch_day(platform)
    assert platform.store.current("sends", DAY) is None
    publish_next(platform)
    platform.clock = lambda: PLANNED + timedelta(hours=25)
    notes = dispatch_day(platform)
    assert notes == ["sent 1, refused 2; 0 handed over now", "refused 2 by overtaken"]
    assert statuses(platform) == ["sent", "refused", "refused"]
    assert len(mailbox.mails) == 1
    found = proven(platform)
    assert found.holds, found.text
    assert pipeline.run_step("dispatch", DAY, platform=platform).reused


def test_a_day_begun_and_then_stopped_by_a_later_evaluation_is_settled(consenting: tuple[Platform, Mailbox]) -> None:
    platform, mailbox = consenting
    mailbox.rcpt = ["451 later", "250 OK", "250 OK"]
    with pytest.raises(TransientError, match="1 of 3"):
        dispatch_day(platform)
    document(platform, "strategy", strategy(DAY).model_copy(update={"status": "stopped"}), "r2")
    assert dispatch_day(platform) == ["sent 2, refused 1; 0 handed over now", "refused 1 by overtaken"]
    assert len(mailbox.mails) == 2
    assert proven(platform).holds


def test_an_overtaken_day_that_was_never_begun_is_left_alone(mail: tuple[Platform, Mailbox]) -> None:
    platform, mailbox = mail
    publish_next(platform)
    with pytest.raises(NotAllowed, match="not the newest"):
        at(platform, PLANNED + timedelta(hours=24))
    assert (mailbox.mails, platform.objects.keys("ledger")) == ([], [])


def test_a_day_that_is_decided_anew_after_it_was_sent_stays_as_it_was_sent(object_store: ObjectStore) -> None:
    """A second strategy of the day would spend its budget again, on customers the first left alone."""
    platform = platform_at(object_store.location)
    make_day(platform, [decision(0), decision(1)])
    dispatch_day(platform)
    again = [decision(0, version="2"), decision(1, action="22:c1", version="2"), decision(2, version="2")]
    publish(platform, decisions(again), run="r2")
    allowed, why = pipeline.may_dispatch(DAY, platform)
    assert not allowed
    assert "one a day is ever sent" in why
    with pytest.raises(NotAllowed, match="one a day is ever sent"):
        approve(platform)
    assert pipeline.record_approval(DAY, False, "ana", "late", platform=platform).notes == ["rejected by ana: late"]
    assert pipeline.run_step("dispatch", DAY, platform=platform).reused
    found = proven(platform)
    assert found.holds, found.text
    assert found.evidence.proof.counts["sent"] == 2
    assert len(platform.objects.keys(f"outbox/dt={DAY}/")) == 2
