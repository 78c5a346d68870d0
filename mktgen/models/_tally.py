"""Sums over the steps between two points of the learning curves, kept where the steps are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Tally:
    """Named sums in float64 on a device. Adding waits for nothing; reading waits for all steps so far.

    The sums are those of adding one step's number after another, whenever they are read in between.
    """

    def __init__(self, names: Sequence[str], device: torch.device, start: Mapping[str, float]) -> None:
        """start: what `read` gave in an earlier process, or nothing."""
        self.names = (*names, "steps")
        began = [start.get(name, 0.0) for name in self.names]
        self.sums = torch.tensor(began, dtype=torch.float64, device=device)
        self.one = torch.ones(1, dtype=torch.float64, device=device)

    def add(self, *parts: Tensor) -> None:
        """One step's numbers; together as many as there are names, in their order."""
        self.sums += torch.cat([*(part.detach().double().reshape(-1) for part in parts), self.one])

    def read(self) -> dict[str, float]:
        """The sums and the number of `steps`; empty where there was none."""
        found = dict(zip(self.names, self.sums.tolist(), strict=True))
        return found if found["steps"] else {}

    def clear(self) -> None:
        self.sums.zero_()
