"""`make down`: end exactly what `make up` started, and wait until it is gone. Data and settings stay."""

from __future__ import annotations

import sys

from local import parts, processes
from local.errors import Problem
from local.terminal import Terminal


def main() -> int:
    terminal = Terminal()
    try:
        ended = processes.stop(parts.load(recorded_only=True), progress=terminal.going)
    except Problem as problem:
        terminal.line(f"make down: {problem}")
        return 1
    terminal.line(f"Ended {ended} processes." if ended else "Nothing was running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
