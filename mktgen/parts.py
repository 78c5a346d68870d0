"""Tables that are never whole in memory: read in slices, cut into blocks of whole customers, written as parts.

A table is stored as parquet files of ROWS_PER_PART rows. What a block holds depends on the rows alone, not on the files they
came in; and the parts of a table that came block by block are, byte for byte, those of the whole frame.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from mktgen.contracts import ContractError, contract

ROWS_PER_PART: Final = 2_000_000
_ROWS_READ: Final = 2**16  # of a part, decoded at once: tens of megabytes of the widest table


def divided(frame: pl.DataFrame) -> dict[str, bytes]:
    """Name and content of the parts of a whole frame; one without rows has one part."""
    starts = range(0, max(frame.height, 1), ROWS_PER_PART)
    return {_name(index): _encoded(frame.slice(start, ROWS_PER_PART)) for index, start in enumerate(starts)}


def _encoded(frame: pl.DataFrame) -> bytes:
    """A part's bytes; the same rows give the same bytes, however they lie in memory."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", compression_level=3, statistics=True)
    return buffer.getvalue()


def _name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def slices(part: bytes, rows: int = _ROWS_READ) -> Iterator[pl.DataFrame]:
    """The rows of a part in order, at most `rows` at a time; one empty frame where there are none."""
    table = pl.scan_parquet(io.BytesIO(part))
    height = int(table.select(pl.len()).collect().item())
    for start in range(0, max(height, 1), rows):
        yield table.slice(start, rows).collect()


# -- reading --------------------------------------------------------------------------------------------------------------
def blocks(tables: Mapping[str, Iterator[pl.DataFrame]], by: str, size: int) -> Iterator[dict[str, pl.DataFrame]]:
    """Frames of all tables side by side, for `size` values of the column `by` at a time (the last block may have fewer).

    Each table comes as one or more frames in order of `by`. A value's rows are never split; blocks cover disjoint,
    increasing ranges; a value that only some tables know is in its block all the same. At any time a table holds the rows
    of about one block, and one of its frames. Raises ContractError where a table is not in order.
    """
    streams = [_Stream(name, by, frames) for name, frames in tables.items()]
    while True:
        keys = _complete(streams, by)
        reading = [stream for stream in streams if not stream.ended]
        if keys.len() < size and reading:
            behind = [stream for stream in reading if stream.held.is_empty()]
            (behind[0] if behind else min(reading, key=lambda stream: stream.last)).read()
            continue
        if keys.is_empty():
            return
        last = keys[min(size, keys.len()) - 1]
        yield {stream.name: stream.take(last) for stream in streams}


@dataclass
class _Stream:
    """One table on its way into blocks. held: rows that were read and not yet given."""

    name: str
    by: str
    frames: Iterator[pl.DataFrame]
    held: pl.DataFrame = field(init=False)
    ended: bool = False
    last: Any = None  # the highest value read so far

    def __post_init__(self) -> None:
        self.held = next(self.frames)
        self._check(self.held)

    def read(self) -> None:
        frame = next(self.frames, None)
        if frame is None:
            self.ended = True
            return
        self._check(frame)
        self.held = pl.concat([self.held, frame], rechunk=False)

    def take(self, last: Any) -> pl.DataFrame:
        """The held rows up to and with a value."""
        cut = int((self.held[self.by] <= last).sum())
        taken, self.held = self.held[:cut], self.held[cut:]
        return taken

    def _check(self, frame: pl.DataFrame) -> None:
        keys = frame[self.by]
        if not keys.len():
            return
        if keys.null_count() or not keys.is_sorted() or (self.last is not None and keys[0] < self.last):
            raise ContractError(
                f"{self.name} is not in order of {self.by}, so it can't be read in blocks; "
                "sort it in the step that writes it, and run that again"
            )
        self.last = keys[-1]


def _complete(streams: list[_Stream], by: str) -> pl.Series:
    """Values, in order, of which every table has given all its rows: below the last of each that is still being read."""
    keys = pl.concat([stream.held[by].unique() for stream in streams]).unique().sort()
    for stream in streams:
        if not stream.ended:
            keys = keys.filter(keys < stream.last) if stream.last is not None else keys.clear()
    return keys


# -- writing --------------------------------------------------------------------------------------------------------------
@dataclass
class Parts:
    """A table that is given frame by frame and kept in `folder` as the parts it will be stored as.

    The rows of the one part that is not yet full are in memory, and nothing else.
    """

    artefact: str
    folder: Path
    rows_per_part: int = ROWS_PER_PART
    rows: int = 0
    _last: Any = None
    _names: list[str] = field(default_factory=list)
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _count: int = 0  # rows waiting

    def add(self, frame: pl.DataFrame) -> None:
        """The next rows, checked against the contract.

        Frames cover disjoint, increasing ranges of the key's first column: what is unique in each is unique in all. Raises
        ContractError where they don't.
        """
        schema = contract(self.artefact)
        frame = schema.check(frame)
        if frame.is_empty():
            return
        if schema.key:
            name = schema.key[0]
            low, high = frame.select(low=pl.col(name).min(), high=pl.col(name).max()).row(0)
            if self._last is not None and low <= self._last:
                raise ContractError(
                    f"{self.artefact}: rows of {name} {low!r} came after those of {self._last!r}; frames of a table must "
                    f"follow one another in order of {name}, with all rows of one in one frame"
                )
            self._last = high
        self._waiting.append(frame)
        self._count += frame.height
        self.rows += frame.height
        while self._count >= self.rows_per_part:
            self._write()

    def files(self) -> Mapping[str, bytes]:
        """Name and content of each part, read one at a time. The table is complete: nothing is added from here on."""
        if self._count or not self._names:
            self._write()
        return _Files(self.folder, tuple(self._names))

    def _write(self) -> None:
        rows = pl.concat(self._waiting) if self._waiting else contract(self.artefact).empty()
        part, rest = rows[: self.rows_per_part], rows[self.rows_per_part :]
        name = _name(len(self._names))
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(_encoded(part))
        self._names.append(name)
        self._waiting, self._count = [rest] if rest.height else [], rest.height


@dataclass(frozen=True)
class _Files(Mapping[str, bytes]):
    """Files of a folder by name, each read when it is asked for."""

    folder: Path
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> bytes:
        if name not in self.names:
            raise KeyError(name)
        return (self.folder / name).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


__all__ = ["ROWS_PER_PART", "Parts", "blocks", "divided", "slices"]
