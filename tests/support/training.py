"""Training sessions for tests: checkpoints kept in memory, progress lines in a list."""

from __future__ import annotations

from dataclasses import dataclass, field

from mktgen.models.base import Session


@dataclass
class MemoryCheckpoints:
    """The Checkpoints protocol without S3: the state lives as long as the object."""

    files: dict[str, bytes] | None = None
    saves: int = 0

    def load(self) -> dict[str, bytes] | None:
        return self.files

    def save(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.saves += 1


@dataclass
class Lines:
    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)


def session(seed: int = 7, checkpoints: MemoryCheckpoints | None = None) -> Session:
    return Session(seed, checkpoints if checkpoints is not None else MemoryCheckpoints(), Lines())
