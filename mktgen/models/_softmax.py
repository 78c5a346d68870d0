"""Cross-entropy over a catalogue in bounded memory: the logits of a few thousand rows at a time, never all of them.

L = sum_n W_n log sum_j exp(s_nj) - sum_p w_p s_n(p),j(p), with s_nj = <state_n, item_j> + b_j. Targets p are (row, item,
weight); a row may have several (a basket, a week), and W_n is the sum of its weights. j runs over all items but those
excluded for the row: what may not be recommended there, such as items already bought where only new ones count.
Gradients are computed with the loss and kept in place of the logits, as in Hsu et al., "Liger Kernel", 2024.
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

    def within(self, step: int, rows: int) -> list[int]:
        """Where the pairs of each run of `step` rows begin, and the end."""
        edges = torch.arange(0, rows + step, step, device=self.row.device).clamp(max=rows)
        bounds: list[int] = torch.searchsorted(self.row, edges).tolist()
        return bounds


def catalogue_loss(
    states: Tensor, table: Tensor, bias: Tensor, targets: Pairs, weight: Tensor, excluded: Pairs | None = None
) -> Tensor:
    """The loss above, summed. states: [N, D]; table: [V, D]; bias: [V]; weight: [targets].

    Products are taken in autocast's type where it is on. Targets must not be excluded for their own row.
    """
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    loss: Tensor = _CatalogueLoss.apply(states, table, bias, targets, weight, excluded, dtype)  # type: ignore[no-untyped-call]
    return loss


class _CatalogueLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, bias: Tensor, targets: Pairs, weight: Tensor, excluded: Pairs | None,
        dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        rows, step = states.shape[0], max(1, _CHUNK // max(table.shape[0], 1))
        low = table.to(dtype)
        grad_states, grad_table = torch.empty_like(states), torch.zeros_like(table)
        grad_bias, loss = torch.zeros_like(bias), states.new_zeros((), dtype=torch.float32)
        at_targets = targets.within(step, rows)
        at_excluded = excluded.within(step, rows) if excluded is not None else []
        for number, first in enumerate(range(0, rows, step)):
            part = states[first : first + step].to(dtype)
            logits = (part @ low.T).float().add_(bias)
            if excluded is not None:
                out = slice(at_excluded[number], at_excluded[number + 1])
                logits[excluded.row[out] - first, excluded.item[out]] = -torch.inf
            own = slice(at_targets[number], at_targets[number + 1])
            row, item, share = targets.row[own] - first, targets.item[own], weight[own]
            mass = torch.zeros(part.shape[0], device=weight.device).index_add_(0, row, share)
            loss -= (logits[row, item] * share).sum()
            top = logits.amax(1, keepdim=True)
            grad = logits.sub_(top).exp_()
            sums = grad.sum(1)
            loss += ((sums.log() + top[:, 0]) * mass).sum()
            grad.mul_((mass / sums)[:, None]).index_put_((row, item), -share, accumulate=True)
            grad_bias += grad.sum(0)
            grad = grad.to(dtype)
            grad_states[first : first + step] = (grad @ low).to(states.dtype)
            grad_table += (grad.T @ part).to(table.dtype)
        ctx.save_for_backward(grad_states, grad_table, grad_bias)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        states, table, bias = ctx.saved_tensors
        return states * upstream, table * upstream, bias * upstream, None, None, None, None
