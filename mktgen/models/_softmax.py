"""The partition sum over a catalogue in bounded memory: a few thousand rows' logits at a time, never all of them.

log Z_n = log sum_j exp(<query_n, item_j> + b_j), over all items j but those excluded for row n. Where only a sample of the
items is given, drawn with inclusion probabilities pi_j, b_j - log pi_j in place of b_j makes Z an unbiased estimate of the
full sum (Horvitz and Thompson, 1952); that is what keeps sampled training honest about its negatives.
Backward computes the logits again instead of keeping them (compare Hsu et al., "Liger Kernel", 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK: Final = 2**21  # logits held at once: 8 MB in float32, which stay in a processor's cache


@dataclass(frozen=True)
class Pairs:
    """(row, item) pairs sorted by row; both [P]."""

    row: Tensor
    item: Tensor

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.row.to(device), self.item.to(device))


def catalogue_logsumexp(queries: Tensor, table: Tensor, bias: Tensor, excluded: Pairs | None = None) -> Tensor:
    """[N] log Z, float32; -inf for a row whose items are all excluded. queries: [N, D]; table: [V, D]; bias: [V].

    Products are taken in autocast's type where it is on.
    """
    kind = queries.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else queries.dtype
    pairs = (None, None) if excluded is None else (excluded.row, excluded.item)
    result: Tensor = _LogSumExp.apply(queries, table, bias, *pairs, dtype)  # type: ignore[no-untyped-call]
    return result


def _chunks(rows: int, items: int, excluded: Tensor | None) -> list[tuple[slice, slice]]:
    """Rows of each chunk, and its part of the excluded pairs."""
    step = max(1, _CHUNK // max(items, 1))
    starts = list(range(0, rows, step))
    edges = torch.tensor([*starts, rows])
    at = [0] * edges.numel() if excluded is None else torch.searchsorted(excluded, edges.to(excluded.device)).tolist()
    return [(slice(first, min(first + step, rows)), slice(at[i], at[i + 1])) for i, first in enumerate(starts)]


def _logits(
    part: Tensor, table: Tensor, bias: Tensor, row: Tensor | None, item: Tensor | None, rows: slice, own: slice
) -> Tensor:
    logits = (part @ table.T).float().add_(bias)
    if row is not None and item is not None:
        logits[row[own] - rows.start, item[own]] = -torch.inf
    return logits


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, table: Tensor, bias: Tensor, row: Tensor | None, item: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        low, result = table.to(dtype), queries.new_empty(queries.shape[0], dtype=torch.float32)
        for rows, own in _chunks(queries.shape[0], table.shape[0], row):
            logits = _logits(queries[rows].to(dtype), low, bias, row, item, rows, own)
            top = logits.amax(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).min)
            result[rows] = logits.sub_(top).exp_().sum(1).log_().add_(top[:, 0])
        ctx.dtype = dtype
        ctx.save_for_backward(queries, table, bias, row, item, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        queries, table, bias, row, item, found = ctx.saved_tensors
        low = table.to(ctx.dtype)
        by_query, by_item, by_bias = torch.empty_like(queries), torch.zeros_like(table), torch.zeros_like(bias)
        finite = found.clamp(min=torch.finfo(torch.float32).min)  # of an empty row every exponential is 0
        for rows, own in _chunks(queries.shape[0], table.shape[0], row):
            part = queries[rows].to(ctx.dtype)
            grad = _logits(part, low, bias, row, item, rows, own).sub_(finite[rows, None]).exp_()
            grad.mul_(upstream[rows, None])
            by_bias += grad.sum(0)
            grad = grad.to(ctx.dtype)
            by_query[rows] = (grad @ low).to(queries.dtype)
            by_item += (grad.T @ part).to(table.dtype)
        return by_query, by_item, by_bias, None, None, None
