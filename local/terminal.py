"""Lines on a terminal: what is done stays, what goes on is rewritten in place (and left out where nobody watches)."""

from __future__ import annotations

import shutil
import sys
import time


class Terminal:
    """Progress for people. Times are seconds since the start."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._live = sys.stdout.isatty()
        self._last_quiet = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def line(self, text: str = "") -> None:
        self._clear()
        print(text, flush=True)

    def done(self, text: str, seconds: float | None = None) -> None:
        self.line(f"  ✓ {text}" + ("" if seconds is None else f"  {seconds:.1f} s"))

    def going(self, text: str) -> None:
        """What is being waited for: one line in place; without a terminal once every 20 s."""
        stamped = f"  … {text}  ({self.elapsed:.0f} s)"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write("\r\x1b[2K" + stamped[:width])
            sys.stdout.flush()
        elif self.elapsed - self._last_quiet >= 20:
            self._last_quiet = self.elapsed
            print(stamped, flush=True)

    def _clear(self) -> None:
        if self._live:
            sys.stdout.write("\r\x1b[2K")


def clock(seconds: float) -> str:
    """75.2 -> '1:15'."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
