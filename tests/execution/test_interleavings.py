"""Any interleaving of two dispatchers, and any crash point, contacts a customer at most once.

The store here is the ledger's own protocol as a dictionary, so that hypothesis can decide which dispatcher makes the
next request and where one dies; test_dispatch.py holds the same against SeaweedFS.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar, Literal, Self, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.errors import TransientError
from mktgen.execution.channels.base import Channel, Connections, Message, Receipt
from mktgen.execution.dispatch import Dispatch, dispatch
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published

T = TypeVar("T")
Move = tuple[int, Literal["step", "die_before", "die_after"]]


class Died(BaseException):
    """kill -9, as far as Python can say it."""


class Worker(threading.Thread):
    """Runs a dispatch, one request at a time, when told."""

    def __init__(self, job: Callable[[Worker], Dispatch]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self._go, self._waiting = threading.Semaphore(0), threading.Semaphore(0)
        self._move: str = "step"
        self.letters: list[str] = []  # decisions whose message this worker's channel delivered
        self.done = False
        self.result: Dispatch | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._job(self)
        except (Died, TransientError) as end:
            self.failure = end
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.done = True
            self._waiting.release()

    def request(self, effect: Callable[[], T]) -> T:
        self._waiting.release()
        self._go.acquire()
        move = self._move
        if move == "die_before":
            raise Died
        result = effect()
        if move == "die_after":
            raise Died
        return result

    def advance(self, move: str) -> None:
        """Let one request happen; returns when the next is about to be made, or the work has ended."""
        if self.ident is None:
            self.start()
            self._waiting.acquire()
        if not self.done:
            self._move = move
            self._go.release()
            self._waiting.acquire()


class Objects:
    def __init__(self, kept: dict[str, bytes], worker: Worker) -> None:
        self._kept, self._worker = kept, worker

    def put_once(self, key: str, body: bytes) -> bool:
        return self._worker.request(lambda: self._kept.setdefault(key, body) is body)

    def get(self, key: str) -> bytes | None:
        return self._worker.request(lambda: self._kept.get(key))

    def keys(self, prefix: str) -> list[str]:
        return self._worker.request(lambda: sorted(key for key in self._kept if key.startswith(prefix)))


class Post(Channel):
    """Delivers for good at each send, as a mail server does; `answers` may put messages off."""

    name: ClassVar[str] = "outbox"
    idempotent: ClassVar[bool] = False
    needs_address: ClassVar[bool] = False
    purposes: ClassVar[tuple[str, ...]] = ("marketing_post",)
    holds_messages: ClassVar[bool] = True

    def __init__(self, delivered: list[str], answers: list[str], worker: Worker) -> None:
        self._delivered, self._answers, self._worker = delivered, answers, worker

    @classmethod
    def create(cls, connections: Connections) -> Self:
        raise TypeError("made by hand in this test")

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send(self, message: Message) -> Receipt:
        return self._worker.request(lambda: self._deliver(message))

    def _deliver(self, message: Message) -> Receipt:
        answer = self._answers.pop() if self._answers else "sent"
        if answer == "deferred":
            return Receipt("deferred", "451")
        self._delivered.append(message.customer_id)
        self._worker.letters.append(message.decision_id)
        return Receipt("unknown", "lost") if answer == "unknown" else Receipt("sent", "250")


class IdempotentPost(Post):
    idempotent: ClassVar[bool] = True

    def _deliver(self, message: Message) -> Receipt:
        if message.customer_id not in self._delivered:
            self._delivered.append(message.customer_id)
        return Receipt("sent", "file")


class World:
    def __init__(self, post: type[Post], answers: list[str]) -> None:
        self.kept: dict[str, bytes] = {}
        self.delivered: list[str] = []
        self.answers = list(answers)
        self.post = post

    def worker(self, campaign: str = "18", version: str = "1", days_later: int = 0) -> Worker:
        frame = decisions([decision(n, action=f"{campaign}:c1", version=version) for n in range(2)])
        day = DAY + timedelta(days=days_later)

        def job(worker: Worker) -> Dispatch:
            return dispatch(
                frame, messages_for(frame), approval(day), published(day), day, DAY, day,
                desk(Objects(self.kept, worker), day, self.post(self.delivered, self.answers, worker)),
            )  # fmt: skip

        return Worker(job)

    def play(self, workers: list[Worker], moves: list[Move]) -> None:
        for who, move in moves:
            workers[who % len(workers)].advance(move)
        for worker in workers:
            self.finish(worker)

    def finish(self, worker: Worker) -> Worker:
        while not worker.done:
            worker.advance("step")
        assert worker.failure is None or isinstance(worker.failure, Died | TransientError)
        return worker


moves = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["step"] * 10 + ["die_before", "die_after"])), max_size=40
)
answers = st.lists(st.sampled_from(["sent", "deferred", "unknown"]), max_size=8)


@settings(max_examples=100, deadline=None)
@given(moves=moves, answers=answers)
def test_mail_is_never_delivered_twice(moves: list[Move], answers: list[str]) -> None:
    world = World(Post, answers)
    world.play([world.worker(), world.worker()], moves)
    for _ in range(4):
        world.finish(world.worker())
    assert len(world.delivered) == len(set(world.delivered))
    last = world.finish(world.worker()).result
    assert last is not None
    sent = set(last.sends.filter(last.sends["status"] == "sent")["customer_id"])
    assert sent <= set(world.delivered)
    known = set(last.sends.filter(last.sends["status"] != "unconfirmed")["customer_id"])
    assert set(world.delivered) & known <= sent


@settings(max_examples=60, deadline=None)
@given(moves=moves)
def test_outbox_holds_each_message_exactly_once_after_a_rerun(moves: list[Move]) -> None:
    world = World(IdempotentPost, [])
    world.play([world.worker(), world.worker()], moves)
    last = world.finish(world.worker()).result
    assert last is not None
    assert sorted(world.delivered) == ["customer0000", "customer0001"]
    assert last.sends["status"].to_list() == ["sent", "sent"]


@settings(max_examples=100, deadline=None)
@given(moves=moves, other=st.sampled_from([{"campaign": "22", "version": "3"}, {"version": "2"}, {"days_later": 1}]))
def test_two_strategies_contact_a_customer_at_most_once(moves: list[Move], other: dict[str, object]) -> None:
    world = World(Post, [])
    first, second = world.worker(), world.worker(**other)  # type: ignore[arg-type]
    world.play([first, second], moves)
    workers = [first, second, world.worker(), world.worker(**other)]  # type: ignore[arg-type]
    for worker in workers:
        world.finish(worker)
    assert len(world.delivered) == len(set(world.delivered))
    letters = {letter for worker in workers for letter in worker.letters}
    for worker in workers[2:]:
        assert worker.result is not None
        rows = worker.result.sends
        assert set(rows.filter(rows["status"].is_in(["sent", "already_sent"]))["decision_id"]) <= letters
