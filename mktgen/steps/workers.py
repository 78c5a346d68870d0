"""The processes that learn and those that judge: started, heard, and ended with the process that started them.

Learning in processes of their own can be killed, run out of memory or hold a GPU without touching the task. One command
of torchrun has `train_processes` ranks, which learn the same kind together; `train_at_once` such commands stand side by
side and share the kinds out between them. Neither their number nor who learns what changes a byte of any model: threads
are a setting (`models.threads`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from mktgen import models
from mktgen.config import Environment
from mktgen.errors import TransientError

_PR_SET_PDEATHSIG: Final = 1


def run_workers(job: Path, kinds: Sequence[str], places: Environment) -> None:
    """Learn all kinds. Raises TransientError when a process ended badly; the others end first, and what is done is kept."""
    shares = shared_out(kinds, places.train_at_once)
    commands = [_learning(job, share, places.train_processes) for share in shares]
    for share, (status, last) in zip(shares, _ends(commands), strict=True):
        if status != 0:
            raise TransientError(
                f"the process that learns {', '.join(share)} ended with status {status} (last line: {last}); it resumes "
                "when run again"
            )


def run_judges(job: Path, kinds: Sequence[str], places: Environment) -> None:
    """Judge all kinds, in at most `train_at_once` processes. Raises TransientError when one of them ended badly."""
    efforts = {kind: models.model_class(kind).effort for kind in kinds}
    ordered = sorted(kinds, key=lambda kind: (-efforts[kind], kind))
    command = [sys.executable, "-m", "mktgen.steps.judge_worker", "--job", str(job), "--kinds", *ordered]
    for status, last in _ends([command] * min(places.train_at_once, len(kinds))):
        if status != 0:
            raise TransientError(f"a process that judges ended with status {status} (last line: {last}); run it again")


def _ends(commands: Sequence[list[str]]) -> list[tuple[int, str]]:
    """Run the commands side by side to their ends: status and last line of each."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_child(command)) for command in commands]
        pool = stack.enter_context(ThreadPoolExecutor(len(workers) or 1))
        return list(pool.map(_heard, workers))


def shared_out(kinds: Sequence[str], at_once: int) -> list[list[str]]:
    """At most `at_once` shares of about the same effort, none empty: the largest first, each to whoever has least.

    Graham, "Bounds on Multiprocessing Timing Anomalies", 1969: at most 4/3 of the best possible time.
    """
    efforts = {kind: models.model_class(kind).effort for kind in kinds}
    shares: list[list[str]] = [[] for _ in range(min(at_once, len(kinds)))]
    for kind in sorted(kinds, key=lambda kind: (-efforts[kind], kind)):
        min(shares, key=lambda share: sum(efforts[each] for each in share)).append(kind)
    return shares


def _learning(job: Path, kinds: Sequence[str], processes: int) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "-m", "mktgen.steps.train_worker", "--job", str(job), "--kinds", *kinds,
    ]  # fmt: skip


def _heard(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Pass on what it says, to its end: its status and its last line."""
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        last = line.rstrip() or last
        print(line, end="", flush=True)
    return process.wait(), last


@contextmanager
def _child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A subprocess that never outlives this one: killed with it by the kernel, or by us when we leave early."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, preexec_fn=die_with_parent,
        # Passive: OpenMP threads that spin at barriers starve each other where cores are shared (seen: 10 times slower).
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()  # does nothing to one that has ended


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere there is no such call, and an orphan ends by itself."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6", use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
