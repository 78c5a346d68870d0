"""`python -m local.part NAME -- COMMAND...`: become one part, after its killed predecessor's children are gone.

When a part is killed with -9, what it had forked lives on: uvicorn's workers hold the port, LocalExecutor's workers
keep a task that the new scheduler will start again. supervisord restarts the part but knows only the process it had
started itself. So each start first ends what carries this instance's and this part's mark in its environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import psutil  # type: ignore[import-untyped]

INSTANCE = "MKTGEN_INSTANCE"  # set for supervisord alone, inherited by all that it starts, and by nothing else
PART = "MKTGEN_PART"


def marked(instance: str, part: str | None = None) -> list[psutil.Process]:
    """Processes that carry the instance's mark (and the part's, if given), oldest first, without the callers' own line."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # gone, or another user's: not ours in either case
        mine = environment.get(INSTANCE) == instance and part in (None, environment.get(PART))
        if mine and process.pid not in own:
            found.append(process)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def end(processes: Iterable[psutil.Process], *, patience_s: float) -> list[psutil.Process]:
    """Terminate, wait, kill, wait; returns what could not be ended. psutil never signals a reused process id."""
    remaining = list(processes)
    for signal_name in ("terminate", "kill"):
        for process in remaining:
            try:
                getattr(process, signal_name)()
            except psutil.NoSuchProcess:
                continue
        _, remaining = psutil.wait_procs(remaining, timeout=patience_s)
    return remaining


def main(arguments: list[str]) -> None:
    part, command = arguments[0], arguments[2:]
    leftovers = marked(os.environ[INSTANCE], part)
    if leftovers:
        print(f"local.part: ending {len(leftovers)} processes left by the last {part}", flush=True)
        end(leftovers, patience_s=5)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
