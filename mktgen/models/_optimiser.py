"""The optimiser of all networks: AdamW, and for tables that are looked up row by row, one that touches no other row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import torch
from torch import Tensor, nn

from mktgen.models._sharding import as_sharded, local, whole

_BETAS: Final = (0.9, 0.98)
_ROWS: Final = "rows."
# Adagrad's steps shrink with the root of a row's touches, Adam's don't: over the first hundred touches of a row, ten times
# the rate leads about as far.
_ROW_RATE: Final = 10.0


class RowAdagrad(torch.optim.Optimizer):
    """s_r += mean(g_r^2); w_r -= lr g_r / sqrt(s_r), for the rows r of a sparse gradient: one number of state per row.

    A row without a gradient would keep s and w in the dense form as well, so leaving it alone changes nothing; of Adam,
    whose moments fade on every step, that is not true. Known as row-wise Adagrad (Mudigere et al., "Software-Hardware
    Co-design for Fast and Scalable Training of Deep Learning Recommendation Models", ISCA 2022).
    """

    def __init__(self, tables: Iterable[nn.Parameter], lr: float, eps: float = 1e-10) -> None:
        super().__init__(tables, {"lr": lr, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Raises ValueError for a dense gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                if not table.grad.is_sparse:
                    raise ValueError("row-wise Adagrad takes gradients of rows: nn.Embedding(sparse=True)")
                grad = table.grad.coalesce()
                row, values = grad.indices()[0], grad.values()
                state = self.state[table]
                if not state:
                    state["squares"] = torch.zeros(table.shape[0], 1, device=table.device)
                squares = state["squares"][row] + values.float().square().mean(1, keepdim=True)
                state["squares"][row] = squares
                table[row] -= (group["lr"] * values / (squares.sqrt() + group["eps"])).to(table.dtype)
        return None


class Optimiser:
    """One step for all weights of a network. nn.Embedding(sparse=True) is what marks a table of rows; it doesn't decay."""

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float) -> None:
        sparse = [m for m in network.modules() if isinstance(m, nn.Embedding) and m.sparse]
        tables = [table for module in sparse for table in module.parameters()]
        rows = {id(table) for table in tables}
        self.dense = [p for p in network.parameters() if id(p) not in rows]
        self.learning_rate = learning_rate
        # Matrices decay towards 0; biases, norms and single scales don't.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.dense if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in self.dense if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, lr=learning_rate, betas=_BETAS, fused=True)
        self.rows = RowAdagrad(tables, lr=learning_rate * _ROW_RATE) if tables else None

    def zero_grad(self) -> None:
        for part in self._parts():
            part.zero_grad(set_to_none=True)

    def step(self, share: float, clip: float) -> Tensor:
        """One step at this share of the learning rate; the norm of all gradients, which is cut to `clip` before.

        A tensor of one number on the weights' device: nobody has to wait for it.
        """
        for part, rate in zip(self._parts(), (self.learning_rate, self.learning_rate * _ROW_RATE), strict=False):
            for group in part.param_groups:
                group["lr"] = rate * share
        norm = self._clip(clip)
        for part in self._parts():
            part.step()
        return norm

    @torch.no_grad()
    def _clip(self, limit: float) -> Tensor:
        found = [p.grad for p in self.dense if p.grad is not None]
        for table in self.rows.param_groups[0]["params"] if self.rows else []:
            if table.grad is not None:
                table.grad = table.grad.coalesce()
                found.append(table.grad.values())
        norm = whole(nn.utils.get_total_norm(found))
        share = (limit / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([local(grad) for grad in found], share)
        return norm

    def _parts(self) -> list[torch.optim.Optimizer]:
        return [self.adam] if self.rows is None else [self.adam, self.rows]

    def state(self) -> dict[str, Tensor]:
        """Moments by name, whole on every process; all processes of a sharded training take part."""
        named = {}
        for prefix, part in zip(("", _ROWS), self._parts(), strict=False):
            for index, state in sorted(part.state_dict()["state"].items()):
                for name, value in sorted(state.items()):
                    named[f"{prefix}{index}.{name}"] = whole(value.detach()).cpu().contiguous()
        return named

    def load(self, state: dict[str, Tensor]) -> None:
        """What `state` gave, bit for bit."""
        for prefix, part in zip(("", _ROWS), self._parts(), strict=False):
            weights = [p for group in part.param_groups for p in group["params"]]
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in state.items():
                if name.startswith(_ROWS) == bool(prefix):
                    index, key = name.removeprefix(prefix).split(".", 1)
                    like = weights[int(index)]
                    moments.setdefault(int(index), {})[key] = (
                        as_sharded(value, like) if value.shape == like.shape else value
                    )
            part.load_state_dict({"state": moments, "param_groups": part.state_dict()["param_groups"]})
