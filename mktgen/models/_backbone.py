"""The backbone: a causal decoder over packed sequences of events, with rotary clocks and gated blocks.

Attention: softmax(QK')V in which some heads turn queries and keys by the event's position and, where events have days,
the others by its day, so that "two events ago" and "a week ago" are both one product away (Su et al., "RoFormer", 2021).
Gates: what a head gathers passes silu(U), as in HSTU (Zhai et al., ICML 2024), and the feed-forward part is SwiGLU
(Shazeer, 2020). Norms are RMS, before each part. Rows are packed (see _packing.py); nothing is spent on padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mktgen.models._packing import Packing, Rectangle

_POSITION_PERIODS: Final = (4.0, 2_000.0)  # events
_DAY_PERIODS: Final = (4.0, 1_500.0)  # days
_HIDDEN: Final = 2  # feed-forward width over width, each of gate and value


@dataclass(frozen=True)
class Size:
    """`width` is the one dial; depth and heads follow from it unless an ablation says otherwise."""

    width: int
    layers: int
    heads: int
    dropout: float

    @classmethod
    def of(cls, width: int, dropout: float) -> Size:
        """Depth grows with the logarithm of the width: 64 -> 1, 128 -> 2, 256 -> 3, 512 -> 4 ... twice that from 512."""
        layers = max(1, round(math.log2(width / 32)))
        return cls(width, layers if width < 512 else 8, max(1, width // 32), dropout)

    def flops_per_row(self, context: float) -> float:
        """Of a training step, without the output layer. context: see Packing.

        Matrix products of the forward pass, and twice as much for backward; what is computed again is no more work done.
        """
        weights = (5 + 3 * _HIDDEN) * self.width * self.width
        return self.layers * 6.0 * (weights + 2.0 * context * self.width)


class Clocks(nn.Module):
    """Turns of the rotary encoding; half of the heads go by days where events have them."""

    position_frequencies: Tensor
    day_frequencies: Tensor

    def __init__(self, size: Size, timed: bool) -> None:
        super().__init__()
        half = size.width // size.heads // 2
        steps = torch.arange(half) / max(half - 1, 1)
        for name, (low, high) in (("position", _POSITION_PERIODS), ("day", _DAY_PERIODS)):
            self.register_buffer(f"{name}_frequencies", 2.0 * math.pi / (low * (high / low) ** steps), persistent=False)
        self.by_day = (size.heads + 1) // 2 if timed else 0
        self.by_position = size.heads - self.by_day

    def forward(self, position: Tensor, day: Tensor | None) -> Tensor:
        """[N, 1, heads, head / 2] complex numbers of modulus 1. position: [N]; day: [N] since the sequence's first event."""
        angles = [(position[:, None].float() * self.position_frequencies)[:, None, :].expand(-1, self.by_position, -1)]
        if self.by_day:
            if day is None:
                raise ValueError("this backbone has heads that turn by days: give the events' days")
            angles.append((day[:, None].float() * self.day_frequencies)[:, None, :].expand(-1, self.by_day, -1))
        angle = torch.cat(angles, dim=1)[:, None]
        return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """x: [N, any, heads, head] -> the same in float32, neighbouring components turned together."""
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2)


def attend(qk: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """Causal attention within each sequence. qk: [N, 2, heads, head]; v and the result: [N, heads, head].

    On CUDA in half precision by PyTorch's kernel for variable lengths; elsewhere by rectangles of like lengths, in
    float32 (on CPUs the bfloat16 kernel took twice the time).
    """
    if v.is_cuda and v.dtype in (torch.bfloat16, torch.float16):
        # It brings PyTorch's compiler along, which takes as long to import as all the rest of PyTorch.
        from torch.nn.attention.varlen import varlen_attn

        first, (q, k) = packing.first.int(), qk.to(v.dtype).unbind(1)
        found = varlen_attn(q, k, v, first, first, packing.longest, packing.longest, window_size=(-1, 0))
        assert isinstance(found, Tensor)
        return found
    x = torch.cat([qk, v[:, None].float()], dim=1)
    parts = []
    # Backward of a split is one concatenation; of a slice, a whole array of zeros.
    pieces = torch.split(x, [r.rows for r in packing.rectangles])
    for rows, rectangle in zip(pieces, packing.rectangles, strict=True):
        part: Tensor = _ToRectangle.apply(rows, rectangle)  # type: ignore[no-untyped-call]
        q, k, u = part.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, u, is_causal=True)
        parts.append(_FromRectangle.apply(seen.transpose(1, 2), rectangle))  # type: ignore[no-untyped-call]
    return torch.cat(parts)


def _pad(x: Tensor, rectangle: Rectangle) -> Tensor:
    """[rows, ...] -> [sequences, longest, ...]. Right padding needs no mask: no earlier row looks at it."""
    places = rectangle.sequences * rectangle.longest
    if places > rectangle.rows:
        x = x.new_zeros(places, *x.shape[1:]).index_copy_(0, rectangle.slots, x)
    return x.reshape(rectangle.sequences, rectangle.longest, *x.shape[1:])


def _strip(x: Tensor, rectangle: Rectangle) -> Tensor:
    """The inverse of _pad."""
    flat = x.flatten(0, 1)
    return flat if flat.shape[0] == rectangle.rows else flat.index_select(0, rectangle.slots)


class _ToRectangle(torch.autograd.Function):
    """Autograd's own backward of a gather is a scatter-add, many times slower: it can't know that no row repeats."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rectangle: Rectangle) -> Tensor:
        ctx.rectangle = rectangle
        return _pad(x, rectangle)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _strip(grad, ctx.rectangle), None


class _FromRectangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rectangle: Rectangle) -> Tensor:
        ctx.rectangle = rectangle
        return _strip(x, rectangle)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _pad(grad, ctx.rectangle), None


class Block(nn.Module):
    """x + out(norm(attention) * silu(gate)), then x + down(silu(gate) * up)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, self.heads = size.width, size.heads
        self.norm1, self.norm2, self.gathered = nn.RMSNorm(width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkvu, self.out = nn.Linear(width, 4 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * _HIDDEN * width), nn.Linear(_HIDDEN * width, width)
        self.drop = nn.Dropout(size.dropout)
        scale = (2.0 * size.layers) ** -0.5  # so that the residual stream keeps its variance at any depth
        for layer in (self.out, self.down):
            nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)

    def forward(self, x: Tensor, packing: Packing, turns: Tensor) -> Tensor:
        """x: [N, width]."""
        qkvu = self.qkvu(self.norm1(x)).view(x.shape[0], 4, self.heads, -1)
        seen = attend(rotate(qkvu[:, :2], turns), qkvu[:, 2], packing).flatten(1)
        x = x + self.drop(self.out(self.gathered(seen.float()) * functional.silu(qkvu[:, 3].flatten(1))))
        value, gate = self.up(self.norm2(x)).chunk(2, dim=1)
        result: Tensor = x + self.drop(self.down(value * functional.silu(gate)))
        return result


class Backbone(nn.Module):
    """[N, width] embedded events -> [N, width] states; row n sees its own sequence's rows up to n, and nothing else."""

    def __init__(self, size: Size, timed: bool) -> None:
        super().__init__()
        self.clocks = Clocks(size, timed)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.RMSNorm(size.width)
        self.drop = nn.Dropout(size.dropout)

    def forward(self, x: Tensor, packing: Packing, day: Tensor | None = None) -> Tensor:
        turns = self.clocks(packing.position, day)
        x = self.drop(x)
        for block in self.blocks:
            x = block(x, packing, turns)
        result: Tensor = self.norm(x)
        return result
