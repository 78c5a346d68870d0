"""Checkpoints of a benchmark in a directory; the product keeps its own on S3."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mktgen.models._checkpoint import Envelope


@dataclass(frozen=True)
class DirectoryCheckpoints:
    """One file, replaced atomically. None: nothing is kept."""

    place: Path | None

    def load(self) -> dict[str, bytes] | None:
        if self.place is None or not self.place.exists():
            return None
        return Envelope.from_bytes(self.place.read_bytes()).files

    def save(self, files: dict[str, bytes]) -> None:
        if self.place is None:
            return
        self.place.parent.mkdir(parents=True, exist_ok=True)
        new = self.place.with_suffix(".new")
        new.write_bytes(Envelope(files).to_bytes())
        os.replace(new, self.place)
