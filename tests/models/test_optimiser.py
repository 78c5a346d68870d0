"""Row-wise Adagrad does what its dense form does, touches nothing else, and goes on from its saved state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mktgen.models._optimiser import Optimiser, RowAdagrad

RATE, EPS = 0.1, 1e-10


class Net(nn.Module):
    def __init__(self, sparse: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 4, sparse=sparse)
        self.up = nn.Linear(4, 3)

    def forward(self, item: Tensor) -> Tensor:
        result: Tensor = self.up(self.table(item)).square().sum()
        return result


def items(step: int) -> Tensor:
    return torch.randint(0, 9, (7,), generator=torch.Generator().manual_seed(step))  # rows 9 to 11 are never touched


def net(sparse: bool = True) -> Net:
    torch.manual_seed(4)
    return Net(sparse)


def test_rows_move_as_in_the_dense_form_and_no_others_do() -> None:
    rows, dense = net(), net(sparse=False)
    before = rows.table.weight.detach().clone()
    optimiser = RowAdagrad([rows.table.weight], lr=RATE, eps=EPS)
    squares = torch.zeros(12, 1)
    for step in range(5):
        optimiser.zero_grad(set_to_none=True)
        dense.zero_grad(set_to_none=True)
        rows(items(step)).backward()
        dense(items(step)).backward()
        optimiser.step()
        grad = dense.table.weight.grad
        assert grad is not None
        squares += grad.square().mean(1, keepdim=True)
        with torch.no_grad():
            dense.table.weight -= RATE * grad / (squares.sqrt() + EPS)
    torch.testing.assert_close(rows.table.weight, dense.table.weight)
    assert torch.equal(rows.table.weight[9:], before[9:])
    assert (rows.table.weight[:9] != before[:9]).any(1).all()


def test_a_dense_gradient_is_refused() -> None:
    dense = net(sparse=False)
    dense(items(0)).backward()
    with pytest.raises(ValueError, match="sparse=True"):
        RowAdagrad([dense.table.weight], lr=RATE).step()


@pytest.mark.parametrize("sparse", [True, False])
def test_the_norm_is_that_of_all_gradients_and_is_cut(sparse: bool) -> None:
    network, other = net(sparse), net(sparse=False)
    optimiser = Optimiser(network, 0.01, 0.0)
    network(items(1)).backward()
    other(items(1)).backward()
    wanted = torch.cat([p.grad.flatten() for p in other.parameters() if p.grad is not None]).norm()
    limit = float(wanted) / 2
    assert float(optimiser.step(1.0, limit)) == pytest.approx(float(wanted), rel=1e-5)
    halves = zip(network.parameters(), other.parameters(), strict=True)
    for mine, theirs in halves:
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad.to_dense(), theirs.grad / 2)


@pytest.mark.parametrize("sparse", [True, False])
def test_goes_on_from_its_state_bit_for_bit(sparse: bool, tmp_path: Path) -> None:
    def run(network: Net, optimiser: Optimiser, steps: range) -> None:
        for step in steps:
            optimiser.zero_grad()
            network(items(step)).backward()
            optimiser.step(1.0 / (step + 1), 1.0)

    whole, part = net(sparse), net(sparse)
    run(whole, Optimiser(whole, 0.01, 0.1), range(6))
    first = Optimiser(part, 0.01, 0.1)
    run(part, first, range(3))
    again = Optimiser(part, 0.01, 0.1)
    again.load(first.state())
    run(part, again, range(3, 6))
    for mine, theirs in zip(part.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
