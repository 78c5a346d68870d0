"""Tensors that go to a device together."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch


@dataclass(frozen=True)
class Movable:
    """A dataclass all of whose fields are tensors, or Movable themselves."""

    def to(self, device: torch.device) -> Self:
        return type(self)(*(getattr(self, f.name).to(device) for f in fields(self)))
