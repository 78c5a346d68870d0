"""Dispatches killed at random moments, up to three at once: how many contacts were planned, sent, doubled, lost.

    python -m benchmarks.exactly_once [--kills 200] [--seed 7] [--messages 300] [--json FILE]

A SeaweedFS of its own; days with 36 decisions each; processes ended by SIGKILL; old days are decided anew meanwhile. Every day
ends with one undisturbed dispatch, and with `prove`. Then `--messages` contacts are dispatched by one thread and by eight, in
one run, with the requests to S3 that a message takes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mktgen.execution import dispatch as dispatching
from mktgen.execution.dispatch import dispatch
from mktgen.store import ObjectStore, S3Location
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published
from tests.support.kill_storm import storm
from tests.support.s3_server import serve


class Counting:
    """An object store that counts the requests made of it."""

    def __init__(self, place: S3Location) -> None:
        self._objects = ObjectStore(place)
        self.requests: Counter[str] = Counter()

    def put_once(self, key: str, body: bytes) -> bool:
        self.requests["put"] += 1
        return self._objects.put_once(key, body)

    def get(self, key: str) -> bytes | None:
        self.requests["get"] += 1
        return self._objects.get(key)

    def keys(self, prefix: str) -> list[str]:
        self.requests["list"] += 1
        return self._objects.keys(prefix)


def speed(place: S3Location, messages: int, threads: int) -> dict[str, Any]:
    """One dispatch, and the rerun that finds all done."""
    objects, frame = Counting(place), decisions([decision(n) for n in range(messages)])
    dispatching._THREADS = threads  # type: ignore[misc]
    row: dict[str, Any] = {"threads": threads, "messages": messages}
    for name in ("first", "rerun"):
        objects.requests.clear()
        started = time.monotonic()
        dispatch(frame, messages_for(frame), approval(), published(), DAY, DAY, DAY, desk(objects))
        row[f"{name}_s"] = round(time.monotonic() - started, 2)
        row[f"{name}_requests_per_message"] = {kind: n / messages for kind, n in sorted(objects.requests.items())}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mktgen-exactly-once-") as home, serve(Path(home)) as server:
        os.environ.update(server.environment)
        rows = [speed(server.location(f"speed-{n}"), arguments.messages, n) for n in (1, 8)]
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        started = time.monotonic()
        books = storm(server.location("storm"), server.environment, arguments.kills, arguments.seed)
        print(f"{books.as_row()}  seconds {time.monotonic() - started:.0f}")
        for text in books.unproven:
            print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps({"speed": rows, "storm": books.__dict__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
