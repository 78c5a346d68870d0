"""The chunked partition sum against PyTorch's own logsumexp, whether exponentials are kept or computed again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mktgen.models import _softmax
from mktgen.models._softmax import Pairs, catalogue_logsumexp

ROWS, ITEMS, WIDTH = 37, 23, 8


def problem() -> tuple[Tensor, Tensor, Tensor, Pairs, Tensor]:
    generator = torch.Generator().manual_seed(3)
    queries, table = (torch.randn(n, WIDTH, generator=generator) for n in (ROWS, ITEMS))
    bias, upstream = torch.randn(ITEMS, generator=generator), torch.rand(ROWS, generator=generator)
    out = torch.rand(ROWS, ITEMS, generator=generator) < 0.3
    out[5] = True  # a row that may choose nothing
    row, item = out.nonzero(as_tuple=True)
    return queries, table, bias, Pairs(row, item), upstream


def plain(queries: Tensor, table: Tensor, bias: Tensor, excluded: Pairs) -> Tensor:
    out = torch.zeros(ROWS, ITEMS, dtype=torch.bool)
    out[excluded.row, excluded.item] = True
    return torch.logsumexp((queries @ table.T + bias).masked_fill(out, -torch.inf), 1)


@pytest.mark.parametrize("kept", [0, 2**25])
@pytest.mark.parametrize("chunk", [ITEMS, 5 * ITEMS, 2**21])
def test_value_and_gradients_are_those_of_logsumexp(monkeypatch: pytest.MonkeyPatch, kept: int, chunk: int) -> None:
    monkeypatch.setattr(_softmax, "_KEPT", kept)
    monkeypatch.setattr(_softmax, "_CHUNK", chunk)
    *inputs, excluded, upstream = problem()
    found = [each.clone().requires_grad_() for each in inputs]
    wanted = [each.clone().requires_grad_() for each in inputs]
    value = catalogue_logsumexp(*found, excluded)
    right = plain(*wanted, excluded)
    assert value[5] == -torch.inf
    some = torch.arange(ROWS) != 5
    torch.testing.assert_close(value[some], right[some])
    (value.nan_to_num(neginf=0.0) * upstream).sum().backward()
    (right[some] * upstream[some]).sum().backward()
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)
        assert not mine.grad[5].isnan().any()


def test_bounds_of_chunks_are_looked_up_in_the_host_copy() -> None:
    *inputs, excluded, _ = problem()
    moved = Pairs(excluded.row, excluded.item, excluded.row[:0])  # as if the device's rows couldn't be read
    assert _softmax._chunks(ROWS, 5, moved)[-1] == (slice(35, ROWS), slice(0, 0))
    bounds = [own for _, own in _softmax._chunks(ROWS, 5, excluded.to(torch.device("cpu")))]
    assert bounds[0].start == 0
    assert bounds[-1].stop == excluded.row.numel()
    for (rows, own), following in zip(_softmax._chunks(ROWS, 5, excluded), [*bounds[1:], None], strict=True):
        assert ((excluded.row[own] >= rows.start) & (excluded.row[own] < rows.stop)).all()
        assert following is None or following.start == own.stop
    assert catalogue_logsumexp(*inputs, excluded).isfinite().sum() == ROWS - 1


def test_kept_exponentials_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    *inputs, excluded, upstream = problem()
    grads = []
    for kept in (0, 2**25):
        monkeypatch.setattr(_softmax, "_KEPT", kept)
        found = [each.clone().requires_grad_() for each in inputs]
        with torch.autocast("cpu", torch.bfloat16):
            value = catalogue_logsumexp(*found, excluded)
        (value.nan_to_num(neginf=0.0) * upstream).sum().backward()
        grads.append([each.grad for each in found])
    for again, once in zip(*grads, strict=True):
        assert again is not None
        assert once is not None
        torch.testing.assert_close(again, once, atol=0.0, rtol=0.0)
