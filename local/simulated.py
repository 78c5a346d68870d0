"""The last part of the demo: the product's decisions in a market that is made up, because only there is the truth known."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from local.errors import Problem
from local.parts import REPOSITORY
from local.terminal import Terminal

HOUSEHOLD_COPIES: Final = 3
WAVES: Final = 5
COMMAND: Final = (
    *(sys.executable, "-m", "benchmarks.closed_loop", "--scenario", "strong", "--seeds", "0"),
    *("--copies", str(HOUSEHOLD_COPIES), "--waves", str(WAVES)),
)
TIMEOUT_S: Final = 600


def show(terminal: Terminal) -> None:
    """Run the waves and print what they print. Raises Problem: they ended in an error."""
    terminal.line()
    terminal.line("-- SIMULATED from here on: how the loop learns, in a market whose truth is known --")
    terminal.line("Real households of The Complete Journey, copied with changes; how they answer offers is made up.")
    terminal.going(f"{WAVES} weekly waves of decisions, outcomes and learning, beside other ways to decide")
    try:
        done = subprocess.run(COMMAND, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        command = " ".join(("python", *COMMAND[1:]))
        raise Problem(
            f"The simulated part did not end within {TIMEOUT_S // 60} minutes; all that came before it is done and stays",
            (f"On a busy machine run it by itself, later: {command}",),
        ) from None
    if done.returncode:
        raise Problem("The simulated part failed", tuple(done.stderr.splitlines()[-5:]))
    for line in done.stdout.splitlines():
        terminal.line(line)
