"""Dispatches and backfills as processes that can be killed. They are forked from a server that has everything imported:
what a kill then hits is the work, not the start of Python.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from mktgen import pipeline
from mktgen.errors import NotAllowed, TransientError
from mktgen.steps.runner import Platform
from mktgen.store import S3Location
from tests.support.dispatch_world import decision, decisions, platform_at, publish

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
READY = "ready"


@dataclass
class Worker:
    """A process at work; it says READY when it begins, and how it ended if it was let."""

    process: ForkServerProcess
    words: Connection

    def wait_until_ready(self, timeout_s: float = 300) -> None:
        if not self.words.poll(timeout_s) or self.words.recv() != READY:
            raise RuntimeError("a worker did not begin")

    def kill(self) -> bool:
        """SIGKILL. True: it was at work."""
        alive = self.process.is_alive()
        self.process.kill()
        self.process.join()
        if self.process.exitcode not in (0, -9):
            raise RuntimeError(f"a worker failed by itself, exit {self.process.exitcode}: its traceback is on stderr")
        return alive and self.process.exitcode == -9

    def end(self, timeout_s: float = 300) -> str:
        """Let it finish; its last words, "" where it was killed."""
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            raise RuntimeError(f"a worker did not end in {timeout_s:.0f} s")
        try:
            return str(self.words.recv()) if self.words.poll() else ""
        except EOFError:
            return ""


def start(job: Callable[..., str], place: S3Location, keys: Mapping[str, str], *arguments: Any) -> Worker:
    """`job(platform, *arguments)` in a process of its own."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(job, place, dict(keys), theirs, arguments), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _work(
    job: Callable[..., str], place: S3Location, keys: dict[str, str], words: Connection, arguments: tuple[Any, ...]
) -> None:
    os.environ.update(keys)
    platform = platform_at(place)
    platform.objects.keys("nothing/")  # connected: from here on it is the job that is killed
    words.send(READY)
    words.send(job(platform, *arguments))


def dispatch(platform: Platform, day: date) -> str:
    """The step as Airflow runs it, once."""
    try:
        return "; ".join(pipeline.run_step("dispatch", day, platform=platform).notes)
    except TransientError as error:
        return f"transient: {error}"


def backfill(platform: Platform, days: list[date], version: str) -> str:
    """Decide old days anew, publish them, and try to send them: none of them may be."""
    said = []
    for day in days:
        rows = [decision(n, version=version) for n in range(8)]
        publish(platform, decisions(rows), run=f"again-{version}", day=day)
        try:
            pipeline.run_step("dispatch", day, platform=platform, recompute="day")
            said.append(f"{day} was sent")
        except NotAllowed:
            continue
    return "; ".join(said)
