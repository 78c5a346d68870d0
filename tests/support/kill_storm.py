"""Dispatches killed at random moments, several at once, while old days are decided anew; and the books of it all."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from mktgen import pipeline
from mktgen.execution.contact_book import ContactBook, Record
from mktgen.steps.runner import Platform
from mktgen.store import S3Location, parallel
from tests.support.dispatch_worker import Worker, backfill, dispatch, start
from tests.support.dispatch_world import decision, make_day, platform_at, proven

FIRST = date(2017, 3, 1)
APART = timedelta(days=4)  # so that the cap of 1 in 7 days refuses who was contacted the time before
POOL, PER_DAY = 60, 36


@dataclass
class Books:
    """What was planned and what came of it, over all days.

    midway: kills that left some of a day's messages in the outbox, and not all. backfilled_sends: messages that only an old
    day's new decisions can have brought about, and second runs that sent. unproven: what `prove` says where it fails.
    """

    starts: int = 0
    kills: int = 0
    midway: int = 0
    backfills: int = 0
    days: int = 0
    decided: int = 0
    planned: int = 0  # decisions that rules of contact allow, counted by the storm itself
    sent: int = 0
    refused: int = 0
    unconfirmed: int = 0
    outbox: int = 0
    settled: int = 0
    duplicates: int = 0
    lost: int = 0
    backfilled_sends: int = 0
    unproven: list[str] = field(default_factory=list)

    def as_row(self) -> str:
        names = [name for name in self.__dict__ if name != "unproven"]
        return "  ".join(f"{name} {getattr(self, name)}" for name in names) + f"  proofs that fail {len(self.unproven)}"


def storm(
    place: S3Location, keys: Mapping[str, str], kills: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> Books:
    """Days one after the other until `kills` processes were killed at work; each day is then run to its end."""
    chance, platform, books = random.Random(seed), platform_at(place), Books()
    contacted: dict[int, date] = {}
    stopped: set[int] = set()
    day, work_s = FIRST, 0.0
    while books.kills < kills:
        stopped |= _opt_out(platform, chance, day)
        chosen = sorted(chance.sample(range(POOL), PER_DAY))
        allowed = [n for n in chosen if n not in stopped and (day - contacted.get(n, date.min)).days >= 7]
        make_day(platform, [decision(n) for n in chosen], day)
        if work_s:
            _rounds(platform, keys, day, len(allowed), chance, kills, work_s, books)
        whole = _to_the_end(platform, keys, day, books)
        work_s = work_s or whole  # the first day is not disturbed: it says how long a dispatch takes
        contacted |= dict.fromkeys(allowed, day)
        books.days += 1
        books.decided += PER_DAY
        books.planned += len(allowed)
        _account(platform, day, {f"customer{n:04d}" for n in allowed}, books)
        say(books.as_row())
        day += APART
    return books


def _opt_out(platform: Platform, chance: random.Random, day: date) -> set[int]:
    """One customer who says stop before the day: a suppression, or a consent taken back."""
    who = chance.randrange(POOL)
    at = datetime.combine(day, datetime.min.time(), UTC)
    kind: Any = chance.choice(["suppression", "consent"])
    value, about = ("suppressed", "") if kind == "suppression" else ("withdrawn", "profiling")
    ContactBook(platform.objects).add(Record(kind, f"customer{who:04d}", about, value, at, "test"))
    return {who}


def _rounds(
    platform: Platform,
    keys: Mapping[str, str],
    day: date,
    planned: int,
    chance: random.Random,
    kills: int,
    work_s: float,
    books: Books,
) -> None:
    """Kill dispatches of a day, up to three at once, now and then beside a backfill of the days before."""
    place = platform.objects.location
    for _ in range(chance.randint(4, 9)):
        workers = [start(dispatch, place, keys, day) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
        books.starts += len(workers)
        if chance.random() < 0.3:
            old = [day - APART * n for n in (1, 2) if day - APART * n >= FIRST]
            workers.append(start(backfill, place, keys, old, f"{books.backfills + 2}"))
            books.backfills += 1
        for worker in workers:
            worker.wait_until_ready()
        killed = _kill_each(workers, chance, work_s, kills - books.kills)
        books.kills += killed
        books.midway += killed * (0 < len(platform.objects.keys(f"outbox/dt={day}/")) < planned)
        if books.kills >= kills:
            break


def _kill_each(workers: list[Worker], chance: random.Random, work_s: float, most: int) -> int:
    """Most die early in the work, some anywhere in it, so that its end is reached in several tries."""
    moments = sorted((chance.uniform(0, work_s * chance.choice([0.2, 0.5, 1.0])), n) for n in range(len(workers)))
    begun, killed = time.monotonic(), 0
    for moment, n in moments:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if killed < most:
            killed += workers[n].kill()
        else:
            workers[n].end()
    return killed


def _to_the_end(platform: Platform, keys: Mapping[str, str], day: date, books: Books) -> float:
    """One dispatch that nobody disturbs; returns its seconds."""
    books.starts += 1
    last = start(dispatch, platform.objects.location, keys, day)
    last.wait_until_ready()
    started = time.monotonic()
    said = last.end()
    if not said or said.startswith("transient"):
        raise RuntimeError(f"the last dispatch of {day} did not end well: {said or last.process.exitcode}")
    return time.monotonic() - started


def _account(platform: Platform, day: date, allowed: set[str], books: Books) -> None:
    """Sends, ledger, outbox and proof of a day that has ended, each counted from its own objects."""
    again = pipeline.run_step("dispatch", day, platform=platform, recompute="day")  # other bytes would be an error
    sends = platform.store.read_table(platform.store.need("sends", day))
    states = Counter(sends["status"].to_list())
    books.sent += states["sent"] + states["already_sent"]
    books.refused += states["refused"]
    books.unconfirmed += states["unconfirmed"]
    letters = [
        json.loads(raw or b"{}") for raw in parallel(platform.objects.get, platform.objects.keys(f"outbox/dt={day}/"))
    ]
    reached = Counter(str(letter["customer_id"]) for letter in letters)
    books.outbox += len(letters)
    books.duplicates += sum(count - 1 for count in reached.values())
    books.lost += len(allowed - set(reached))
    keys = [key for key in platform.objects.keys("ledger/") if f"/day={day}/settled" in key]
    books.settled += sum(json.loads(raw or b"{}")["status"] == "sent" for raw in parallel(platform.objects.get, keys))
    books.backfilled_sends += len(set(reached) - allowed) + (not again.notes[0].endswith("0 handed over now"))
    found = proven(platform, day)
    if not found.holds:
        books.unproven.append(found.text)
