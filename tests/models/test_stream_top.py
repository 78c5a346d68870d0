"""The streamed best k is the best k of all scores, ties by index, whatever the blocks and the order of items."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mktgen.models._softmax import Pairs
from mktgen.models._topk import stream_top


@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.integers(1, 60),
    customers=st.integers(0, 5),
    k=st.integers(1, 12),
    block=st.integers(1, 17),
    levels=st.integers(1, 30),
    order=st.sampled_from(["any", "rising", "falling"]),
)
def test_best_k_of_all(seed: int, items: int, customers: int, k: int, block: int, levels: int, order: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers: many ties, and no rounding.
    table = torch.randint(0, levels, (items, 1), generator=generator).float()
    if order != "any":
        table = table.sort(dim=0, descending=order == "falling").values
    queries = torch.randint(0, 3, (customers, 1), generator=generator).float()
    offset = torch.randint(0, 2, (items,), generator=generator).float()
    out = torch.rand(customers, items, generator=generator) < 0.4
    row, item = out.nonzero(as_tuple=True)
    scores = (queries @ table.T + offset).masked_fill(out, -torch.inf)
    wanted = scores.sort(dim=1, descending=True, stable=True)
    values, places = stream_top(queries, table, offset, Pairs(row, item), k, block)
    assert torch.equal(values, wanted.values[:, :k])
    allowed = values > -torch.inf
    assert torch.equal(places[allowed], wanted.indices[:, :k][allowed])
