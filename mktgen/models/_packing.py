"""Sequences of different lengths one after another in one array: no layer but attention ever sees padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LEAST_FILL: Final = 0.75  # a rectangle holds sequences of at least this share of its longest


@dataclass(frozen=True)
class Rectangle:
    """Sequences of like lengths, for kernels that can't read packed ones. slots: [rows] places in sequences * longest."""

    rows: int
    slots: Tensor
    sequences: int
    longest: int

    def to(self, device: torch.device) -> Rectangle:
        return Rectangle(self.rows, self.slots.to(device), self.sequences, self.longest)


@dataclass(frozen=True)
class Packing:
    """Sequence i owns rows first[i]:first[i + 1] of arrays of N rows, longest sequences first.

    position: [N] within its sequence. layout: the same rows in the same order as rectangles, in this machine's memory.
    context: mean number of rows that a row attends to, itself included: (n + 1) / 2 within a sequence of n. Kept as a
    number, for a GPU's answer would have to be waited for.
    """

    first: Tensor
    position: Tensor
    longest: int
    layout: tuple[Rectangle, ...]
    context: float

    @classmethod
    def of(cls, lengths: NDArray[np.int64]) -> Self:
        """From lengths of at least 1 each. Raises ValueError where they are not in descending order."""
        if lengths.size and (np.diff(lengths).max(initial=0) > 0 or lengths[-1] < 1):
            raise ValueError("sequences are packed longest first, and none is empty: sort them by length")
        first = np.r_[0, np.cumsum(lengths)].astype(np.int64)
        rectangles: list[Rectangle] = []
        at = 0
        while at < lengths.size:
            end = at + int(np.searchsorted(-lengths[at:], -_LEAST_FILL * lengths[at], side="right"))
            rectangles.append(_rectangle(lengths[at:end]))
            at = end
        position = _within(lengths)
        context = float(position.mean()) + 1.0 if position.size else 0.0
        longest = int(lengths.max(initial=0))
        return cls(torch.from_numpy(first), torch.from_numpy(position), longest, tuple(rectangles), context)

    @property
    def last(self) -> Tensor:
        """[sequences] row of each sequence's last event."""
        return self.first[1:] - 1

    @cached_property
    def rectangles(self) -> tuple[Rectangle, ...]:
        """`layout` where the packing is; kernels for packed sequences never ask, and nothing is copied for them."""
        return tuple(each.to(self.first.device) for each in self.layout)

    def to(self, device: torch.device) -> Self:
        if device.type == "cpu":
            return self
        first, position = self.first.to(device), self.position.to(device)
        return type(self)(first, position, self.longest, self.layout, self.context)


def _within(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2 ... within each of the runs."""
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.arange(starts.size, dtype=np.int64) - starts


def _rectangle(size: NDArray[np.int64]) -> Rectangle:
    longest = int(size[0])
    slots = np.repeat(np.arange(size.size, dtype=np.int64) * longest, size) + _within(size)
    return Rectangle(slots.size, torch.from_numpy(slots), size.size, longest)
