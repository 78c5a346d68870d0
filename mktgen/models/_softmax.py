"""The partition sum over a catalogue in bounded memory: a few thousand rows' logits at a time, never all of them.

log Z_n = log sum_j exp(<query_n, item_j> + b_j), over all items j but those excluded for row n. Where only a sample of the
items is given, drawn with inclusion probabilities pi_j, b_j - log pi_j in place of b_j makes Z an unbiased estimate of the
full sum (Horvitz and Thompson, 1952); that is what keeps sampled training honest about its negatives.
Backward computes the logits again instead of keeping them (compare Hsu et al., "Liger Kernel", 2024), except where they
are few: then their exponentials are kept, and backward is two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_CHUNK: Final = 2**21  # logits held at once: 8 MB in float32, which stay in a processor's cache
_CUDA_CHUNK: Final = 2**27  # there: 512 MB, products large enough to fill a GPU
_ALIGNED: Final = 8  # numbers in 16 bytes of half precision; cuBLAS is at its fastest where rows start at a multiple
_KEPT: Final = 2**25  # exponentials that may be kept for backward: 64 MB in bfloat16, 128 in float32


@dataclass(frozen=True)
class Pairs:
    """(row, item) pairs sorted by row; both [P]. host: `row` in this machine's memory, where it was there before.

    Where a chunk's pairs begin is looked up in `host`: on a GPU the answer would have to be waited for.
    """

    row: Tensor
    item: Tensor
    host: Tensor | None = None

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.row.to(device), self.item.to(device), self.on_host)

    @property
    def on_host(self) -> Tensor:
        return self.row.cpu() if self.host is None else self.host


def catalogue_logsumexp(queries: Tensor, table: Tensor, bias: Tensor, excluded: Pairs | None = None) -> Tensor:
    """[N] log Z, float32; -inf for a row whose items are all excluded. queries: [N, D]; table: [V, D]; bias: [V].

    Products are taken in autocast's type where it is on.
    """
    kind = queries.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else queries.dtype
    pairs = (None, None) if excluded is None else (excluded.row, excluded.item)
    step = max(1, (_CUDA_CHUNK if kind == "cuda" else _CHUNK) // max(table.shape[0], 1))
    chunks = _chunks(queries.shape[0], step, excluded)
    result: Tensor = _LogSumExp.apply(queries, table, bias, *pairs, chunks, dtype)  # type: ignore[no-untyped-call]
    return result


def output_flops(rows: int, items: int, width: int) -> float:
    """Floating-point operations of `catalogue_logsumexp` in a training step: one product forward and two backward. Logits
    that backward computes again are no more work done."""
    return 6.0 * rows * items * width


def _chunks(rows: int, step: int, excluded: Pairs | None) -> list[tuple[slice, slice]]:
    """Rows of each chunk, and its part of the excluded pairs."""
    starts = list(range(0, rows, step))
    edges = torch.tensor([*starts, rows])
    at = [0] * edges.numel() if excluded is None else torch.searchsorted(excluded.on_host, edges).tolist()
    return [(slice(first, min(first + step, rows)), slice(at[i], at[i + 1])) for i, first in enumerate(starts)]


@dataclass(frozen=True)
class _Catalogue:
    """What all chunks share; table in the type of the products."""

    table: Tensor
    bias: Tensor
    excluded: tuple[Tensor, Tensor] | None

    def logits(self, part: Tensor, rows: slice, own: slice) -> Tensor:
        logits = (part @ self.table.T).float().add_(self.bias)
        if self.excluded is not None:
            row, item = self.excluded
            logits.view(-1).index_fill_(0, (row[own] - rows.start) * logits.shape[1] + item[own], -torch.inf)
        return logits


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, table: Tensor, bias: Tensor, row: Tensor | None, item: Tensor | None,
        chunks: list[tuple[slice, slice]], dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        catalogue = _catalogue(table, bias, row, item, dtype)
        result = queries.new_empty(queries.shape[0], dtype=torch.float32)
        tops = torch.empty_like(result)
        keep = any(ctx.needs_input_grad) and queries.shape[0] * table.shape[0] <= _KEPT
        kept: list[Tensor] = []
        for rows, own in chunks:
            logits = catalogue.logits(queries[rows].to(dtype), rows, own)
            top = logits.amax(1).clamp_(min=torch.finfo(torch.float32).min)
            shares = logits.sub_(top[:, None]).exp_()
            tops[rows], result[rows] = top, shares.sum(1).log_().add_(top)
            if keep:
                kept.append(shares.to(dtype))
        ctx.dtype, ctx.chunks, ctx.kept = dtype, chunks, len(kept)
        ctx.save_for_backward(queries, table, bias, row, item, result, tops, *kept)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        queries, table, bias, row, item, found, tops, *kept = ctx.saved_tensors
        catalogue = _catalogue(table, bias, row, item, ctx.dtype)
        by_query, by_item, by_bias = torch.empty_like(queries), torch.zeros_like(table), torch.zeros_like(bias)
        # A row's softmax is its exponentials times this; of an empty row every exponential is 0, and so is its softmax.
        scale = (upstream * (tops - found.clamp(min=torch.finfo(torch.float32).min)).exp_())[:, None]
        for number, (rows, own) in enumerate(ctx.chunks):
            part, share = queries[rows].to(ctx.dtype), scale[rows]
            again = None if ctx.kept else catalogue.logits(part, rows, own).sub_(tops[rows, None]).exp_()
            shares = kept[number] if again is None else again.to(ctx.dtype)
            by_query[rows] = ((shares @ catalogue.table) * share).to(queries.dtype)
            # One more column for the bias: a product of its own would read all shares once more.
            asked = torch.cat([queries[rows] * share, share], dim=1).to(ctx.dtype)
            if asked.is_cuda:
                asked = functional.pad(asked, (0, -asked.shape[1] % _ALIGNED))
            product, width = shares.T @ asked, queries.shape[1]
            by_item += product[:, :width]
            by_bias += product[:, width]
        return by_query, by_item, by_bias, None, None, None, None


def _catalogue(table: Tensor, bias: Tensor, row: Tensor | None, item: Tensor | None, dtype: torch.dtype) -> _Catalogue:
    return _Catalogue(table.to(dtype), bias, None if row is None or item is None else (row, item))
