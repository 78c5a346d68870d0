"""Contact records on a real S3: only added, the latest last, nothing guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mktgen.errors import PermanentError
from mktgen.execution.contact_book import ContactBook, Record
from mktgen.execution.dispatch import dispatch
from mktgen.steps.contact_records import moment, read_records
from mktgen.store import ObjectStore
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published
from tests.execution.test_dispatch import outbox, run, statuses

AT = datetime(2017, 10, 1, 9, tzinfo=UTC)


def consent(value: str, hours: float = 0, customer: str = "c1") -> Record:
    return Record("consent", customer, "marketing_post", value, AT + timedelta(hours=hours), "web-form")


def test_records_are_added_and_come_back_with_the_latest_last(objects: ObjectStore) -> None:
    book = ContactBook(objects)
    given, withdrawn = consent("given", 2), consent("withdrawn", 1)
    assert [book.add(given), book.add(withdrawn), book.add(given)] == [True, True, False]
    page = book.page("c1")
    assert page.records == (withdrawn, given)
    assert sorted(page.seen) == objects.keys("_contact/")
    assert book.page("c").records == (), "another customer whose name begins alike"


def test_of_two_at_one_time_the_stricter_is_last(objects: ObjectStore) -> None:
    book = ContactBook(objects)
    for value in ("withdrawn", "given"):
        book.add(consent(value))
    assert [record.value for record in book.page("c1").records] == ["given", "withdrawn"]


def test_strange_customer_ids_stay_in_their_own_folder(objects: ObjectStore) -> None:
    book = ContactBook(objects)
    for who in ("../c1", "c1/consent", "客户 1"):
        book.add(consent("given", customer=who))
        assert [record.customer_id for record in book.page(who).records] == [who]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": "yes"}, "consent is given or withdrawn"),
        ({"about": "Marketing by e-mail"}, "use small letters"),
        ({"customer_id": " "}, "needs a customer id"),
        ({"at": datetime(2017, 10, 1)}, "has no time zone"),
        ({"kind": "suppression", "value": "suppressed"}, "has no purpose"),
        ({"kind": "suppression", "value": "suppressed", "about": "", "note": ""}, "needs its reason"),
        ({"kind": "time_zone", "value": "Mars/Olympus", "about": ""}, "is not a time zone"),
    ],
)
def test_a_record_that_says_nothing_is_refused(objects: ObjectStore, changes: dict[str, Any], words: str) -> None:
    body = {"kind": "consent", "customer_id": "c1", "about": "marketing_post", "value": "given", "at": AT, "note": "n"}
    with pytest.raises(PermanentError, match=words):
        ContactBook(objects).add(Record(**{**body, **changes}))
    assert objects.keys("_contact/") == []


def test_a_record_that_can_not_be_read_stops_the_dispatch(objects: ObjectStore) -> None:
    objects.put("_contact/customer=customer0001/consent/x.json", b'{"kind": "consent"}')
    with pytest.raises(PermanentError, match="is not a contact record"):
        run(objects, decisions([decision(1)]))
    assert outbox(objects) == []


def test_refusals_stand_in_the_ledger_with_the_rule(objects: ObjectStore) -> None:
    book = ContactBook(objects)
    book.add(Record("suppression", "customer0000", "", "suppressed", AT, "complaint"))
    book.add(consent("withdrawn", customer="customer0001"))
    done = run(objects, decisions([decision(n) for n in range(3)]))
    details = dict(done.sends.select("customer_id", "detail").iter_rows())
    assert details["customer0000"] == "suppression: on the suppression list since 2017-10-01 (complaint)"
    assert details["customer0001"] == "consent: marketing_post was withdrawn at 2017-10-01 09:00 UTC"
    assert statuses(done) == {"refused": 2, "sent": 1}
    assert len(outbox(objects)) == 1


def test_a_held_out_customer_is_refused_whatever_the_decision_says(objects: ObjectStore) -> None:
    done = run(objects, decisions([decision(1)]), held_out=frozenset({"customer0001"}))
    assert done.sends["detail"].to_list() == ["holdout: held out, never contacted"]


def test_a_stop_between_a_kill_and_the_rerun_is_heard(objects: ObjectStore) -> None:
    """The verdict was written, the message perhaps not: it is not repeated, and a person looks."""
    frame = decisions([decision(1), decision(2)])
    for number in (1, 2):  # as a dispatcher leaves it that dies before it hands the message over
        run(objects, frame.filter(frame["decision_id"] == f"d1-000{number}"))
        for key in [*objects.keys("outbox/"), f"ledger/customer=customer000{number}/day={DAY}/settled.json"]:
            objects.delete(key)
    ContactBook(objects).add(Record("suppression", "customer0001", "", "suppressed", AT, "complaint"))
    done = dispatch(
        frame, messages_for(frame), approval(), published(), DAY, DAY, DAY, desk(objects)
    )  # fmt: skip
    assert dict(done.sends.select("customer_id", "status").iter_rows()) == {
        "customer0001": "unconfirmed", "customer0002": "sent",
    }  # fmt: skip
    assert [letter["customer_id"] for letter in outbox(objects)] == ["customer0002"]


def test_a_file_of_records_is_all_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "records.csv"
    head = "kind,customer_id,about,value,at,note\n"
    file.write_text(
        head + "consent,c1,profiling,given,2017-10-01T09:00:00Z,web\ntime_zone,c2,,Asia/Tokyo,2017-10-01T09:00:00Z,\n"
    )
    first, second = read_records(file)
    assert (first.kind, first.at, second.value) == ("consent", AT, "Asia/Tokyo")
    file.write_text(head + "consent,c1,profiling,given,2017-10-01,\n")
    with pytest.raises(PermanentError, match="no offset"):
        read_records(file)
    file.write_text(head + "consent,c1,profiling,maybe,2017-10-01T09:00:00Z,\n")
    with pytest.raises(PermanentError, match="line 2: consent is given or withdrawn"):
        read_records(file)
    file.write_text("customer\nc1\n")
    with pytest.raises(PermanentError, match="no column kind"):
        read_records(file)


def test_times_have_an_offset() -> None:
    assert moment("2017-10-01T11:00:00+02:00") == AT
    with pytest.raises(PermanentError, match="is not a time"):
        moment("soon")
