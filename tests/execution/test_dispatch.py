"""Dispatch on a real S3: fails closed, sends once, survives kill -9."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from mktgen.documents import Approval
from mktgen.errors import NotAllowed
from mktgen.execution.dispatch import Dispatch, check_allowed, dispatch, plan
from mktgen.execution.ledger import Ledger, Verdict
from mktgen.store import ObjectStore
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published


def run(objects: ObjectStore, frame: pl.DataFrame, day: date = DAY, **changes: Any) -> Dispatch:
    return dispatch(
        frame, messages_for(frame), approval(day), published(day), day, DAY, day, desk(objects, day, **changes)
    )


def outbox(objects: ObjectStore) -> list[dict[str, Any]]:
    return [json.loads(objects.get(key) or b"") for key in objects.keys("outbox/")]


def statuses(done: Dispatch) -> dict[str, int]:
    return dict(done.sends["status"].value_counts().sort("status").iter_rows())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"live_from": None}, "live_from is not set"),
        ({"live_from": DAY + timedelta(days=1)}, "lies before"),
        ({"newest": DAY + timedelta(days=1)}, "not the newest"),
        ({"published": published(DAY - timedelta(days=1))}, "published strategy is of"),
        ({"approval": None}, "no approval"),
        ({"approval": approval(approved=False)}, "rejected by ana"),
        ({"approval": approval(run="r2")}, "ask for a new answer"),
        ({"approval": approval(day=DAY - timedelta(days=1))}, "ask for a new answer"),
    ],
)
def test_not_allowed_says_why(given: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {
        "approval": approval(), "published": published(), "newest": DAY, "live_from": DAY, "partition": DAY,
    }  # fmt: skip
    check_allowed(**usual)
    with pytest.raises(NotAllowed, match=words):
        check_allowed(**{**usual, **given})


def test_a_rejected_strategy_leaves_no_trace(objects: ObjectStore) -> None:
    frame = decisions([decision(1)])
    rejected = Approval(partition=DAY, approved=False, responder="ana", strategy_run="r1")
    with pytest.raises(NotAllowed):
        dispatch(frame, messages_for(frame), rejected, published(), DAY, DAY, DAY, desk(objects))
    assert objects.keys("") == []


def test_contacts_are_sent_and_others_are_left_alone(objects: ObjectStore) -> None:
    frame = decisions([decision(1), decision(2, holdout=True), decision(3, action="no_contact"), decision(4)])
    done = run(objects, frame)
    assert statuses(done) == {"sent": 2}
    assert done.sent_now == 2
    assert {message["customer_id"] for message in outbox(objects)} == {"customer0001", "customer0004"}
    assert {message["subject"] for message in outbox(objects)} == {"给您的优惠 ☕"}


def test_a_second_run_gives_the_same_rows_and_sends_nothing(objects: ObjectStore) -> None:
    frame = decisions([decision(number) for number in range(5)])
    first, second = run(objects, frame), run(objects, frame)
    assert first.sends.equals(second.sends)
    assert (first.sent_now, second.sent_now) == (5, 0)
    assert len(outbox(objects)) == 5


def test_new_decisions_of_the_day_can_not_contact_again(objects: ObjectStore) -> None:
    run(objects, decisions([decision(1)]))
    done = run(objects, decisions([decision(1, action="18:c2", version="2")]))
    assert statuses(done) == {"already_sent": 1}
    assert done.sends["decision_id"].to_list() == ["d1-0001"]
    assert done.sends["offer_id"].to_list() == ["18:c1"]
    assert len(outbox(objects)) == 1


@pytest.mark.parametrize(
    ("left", "found"), [("claim", "refused"), ("failed attempt", "refused"), ("open attempt", "unconfirmed")]
)
def test_a_decision_made_anew_meets_what_a_killed_dispatch_of_the_one_before_left(
    objects: ObjectStore, left: str, found: str
) -> None:
    first = decisions([decision(1)])
    [(send, _)] = plan(first, messages_for(first), "outbox", DAY)
    ledger = Ledger(objects)
    ledger.claim(send)
    if left != "claim":
        attempt = ledger.attempt(send, Verdict("", "", "2017-03-02T15:00:00+00:00", {}))
        if left == "failed attempt":
            ledger.fail(send, attempt, "the mail server put it off")
    anew = decisions([decision(1, action="18:c2", version="2")])
    done = run(objects, anew)
    assert statuses(done) == {found: 1}
    assert outbox(objects) == []
    assert [trace.rule for trace in done.traces] == (["superseded"] if found == "refused" else [""])
    assert run(objects, anew).sends.equals(done.sends)
    assert run(objects, first).sends["status"].to_list() == ["refused" if found == "refused" else "sent"]


def test_another_campaign_of_the_day_can_not_contact(objects: ObjectStore) -> None:
    run(objects, decisions([decision(1)]))
    done = run(objects, decisions([decision(1, action="22:c1", version="2")]))
    assert statuses(done) == {"refused": 1}
    assert "campaign 18" in done.sends["detail"][0]
    assert len(outbox(objects)) == 1


def test_contact_cap_counts_the_days_around(objects: ObjectStore) -> None:
    days = [DAY + timedelta(days=offset) for offset in (0, 6, 7, 14)]
    found = [statuses(run(objects, decisions([decision(1)]), day)) for day in days]
    assert found == [{"sent": 1}, {"refused": 1}, {"sent": 1}, {"sent": 1}]
    assert len(outbox(objects)) == 3


def test_a_decision_without_message_is_refused_by_name(objects: ObjectStore) -> None:
    frame = decisions([decision(1), decision(2)])
    done = dispatch(frame, messages_for(frame).head(1), approval(), published(), DAY, DAY, DAY, desk(objects))
    assert statuses(done) == {"refused": 1, "sent": 1}
    assert "no message" in done.sends.filter(pl.col("status") == "refused")["detail"][0]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda d, m: (pl.concat([d, decisions([decision(1, version="2")])]), m), "more than one decision"),
        (lambda d, m: (d.with_columns(pl.lit("smtp").alias("channel")), m), "not for channel outbox"),
        (lambda d, m: (d.with_columns(pl.lit(True).alias("holdout")), m), "a message that no decision asks for"),
        (lambda d, m: (d, m.with_columns(pl.lit("c9").alias("customer_id"))), "a message that no decision asks for"),
    ],
)
def test_tables_that_disagree_send_nothing(
    objects: ObjectStore,
    break_it: Callable[[pl.DataFrame, pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]],
    words: str,
) -> None:
    frame = decisions([decision(1)])
    broken, messages = break_it(frame, messages_for(frame))
    with pytest.raises(NotAllowed, match=words):
        dispatch(broken, messages, approval(), published(), DAY, DAY, DAY, desk(objects))
    assert objects.keys("") == []


def test_no_contact_at_all_is_an_empty_table(objects: ObjectStore) -> None:
    assert run(objects, decisions([decision(1, action="no_contact")])).sends.height == 0


def test_dispatches_at_once_send_each_message_once(objects: ObjectStore) -> None:
    frame = decisions([decision(number) for number in range(12)])
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(objects, frame), range(4)))
    assert len(outbox(objects)) == 12
    assert sum(one.sent_now for one in done) == 12
    assert all(one.sends.equals(done[0].sends) for one in done)


def test_strategies_of_two_campaigns_at_once_contact_each_customer_once(objects: ObjectStore) -> None:
    frames = [decisions([decision(n, action=f"{campaign}:c1") for n in range(12)]) for campaign in (18, 22)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda frame: run(objects, frame), frames))
    assert sorted(message["customer_id"] for message in outbox(objects)) == [f"customer{n:04d}" for n in range(12)]


def test_killed_dispatchers_leave_every_message_exactly_once(objects: ObjectStore) -> None:
    place, customers, chance = objects.location, 40, random.Random(7)
    command = [sys.executable, "-m", "tests.execution.dispatcher", place.endpoint, place.bucket, place.prefix]
    kills = 0
    for _ in range(8):
        process = subprocess.Popen([*command, str(customers)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.25))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.stdout.close()
        process.wait()
        if len(objects.keys("outbox/")) == customers:
            break
    last = subprocess.run([*command, str(customers)], capture_output=True, text=True, check=True)
    assert last.stdout.split()[1] == str(customers)
    assert kills >= 2
    assert sorted(message["customer_id"] for message in outbox(objects)) == [
        f"customer{n:04d}" for n in range(customers)
    ]
    settled = [key for key in objects.keys("ledger/") if key.endswith("settled.json")]
    assert len(settled) == customers
