"""Work that is counted is work that is done: the formulas beside PyTorch's own count of matrix products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.next_item.network import Batch, NextItem, Recipe
from mktgen.models._backbone import Backbone, Size
from mktgen.models._network import Architecture, LstmEncoder
from mktgen.models._packing import Packing
from mktgen.models._processes import matrix_rate
from mktgen.models._softmax import Pairs, catalogue_logsumexp, output_flops

WIDTH = 32
SIZE = Size(WIDTH, 2, 2, 0.0)
LENGTHS = [24] * 4


def counted(work: torch.nn.Module | None, *given: object) -> dict[str, int]:
    """Operations of a training step by operator."""
    with FlopCounterMode(display=False) as counter:
        (catalogue_logsumexp if work is None else work)(*given).sum().backward()  # type: ignore[arg-type, operator]
    return {str(name): number for name, number in counter.get_flop_counts()["Global"].items()}


def products(found: dict[str, int]) -> int:
    return sum(number for name, number in found.items() if "attention" not in name)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_the_context_is_the_mean_of_what_rows_see(lengths: list[int]) -> None:
    packing = Packing.of(np.sort(np.array(lengths, dtype=np.int64))[::-1])
    seen = [within + 1 for length in lengths for within in range(length)]
    assert packing.context == pytest.approx(sum(seen) / len(seen))
    assert packing.to(torch.device("meta")).context == packing.context


def test_one_long_sequence_does_not_charge_the_short_ones() -> None:
    assert Packing.of(np.array([199, *[1] * 99])).context == pytest.approx((199 * 100 + 99) / 298)


def test_the_backbone_s_layers_are_counted_exactly() -> None:
    packing = Packing.of(np.array(LENGTHS))
    x = torch.randn(sum(LENGTHS), WIDTH, requires_grad=True)
    found = counted(Backbone(SIZE, timed=False), x, packing)
    assert products(found) == sum(LENGTHS) * SIZE.flops_per_row(0.0)


def test_attention_is_counted_by_what_its_mask_leaves() -> None:
    """Done without a fused kernel it takes all n rows for each of n, where a row sees (n + 1) / 2 on average."""
    packing = Packing.of(np.array(LENGTHS))
    x = torch.randn(sum(LENGTHS), WIDTH, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        square = products(counted(Backbone(SIZE, timed=False), x, packing)) - sum(LENGTHS) * SIZE.flops_per_row(0.0)
    mine = sum(LENGTHS) * (SIZE.flops_per_row(packing.context) - SIZE.flops_per_row(0.0))
    assert mine == pytest.approx(square * packing.context / LENGTHS[0])


def test_the_recurrent_encoder_is_counted_as_itself() -> None:
    packing = Packing.of(np.array([20, 20, 9, 3]))
    shape = Architecture("lstm", WIDTH, 5, 2, 3, 0.0)
    x = torch.randn(52, WIDTH, requires_grad=True)
    found = products(counted(LstmEncoder(shape.size), x, packing))
    # Backward of the first step needs no gradient of the state that it began with.
    assert 52 * shape.flops_per_row(packing.context) == pytest.approx(found, rel=0.05)


def test_the_output_layer_is_three_products_however_its_logits_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, table = torch.randn(40, WIDTH, requires_grad=True), torch.randn(300, WIDTH, requires_grad=True)
    bias = torch.zeros(300, requires_grad=True)
    mine = output_flops(40, 300, WIDTH)
    assert mine == pytest.approx(products(counted(None, queries, table, bias)), rel=0.02)  # a column more for the bias
    monkeypatch.setattr("mktgen.models._softmax._KEPT", 0)
    again = products(counted(None, queries, table, bias))
    assert again - mine == pytest.approx(2.0 * 40 * 300 * WIDTH, rel=0.05), "recomputation is done, but not counted"


def test_a_whole_step_of_the_benchmark_is_counted() -> None:
    recipe = Recipe(width=WIDTH, layers=2, heads=2, dropout=0.0)
    packing = Packing.of(np.array(LENGTHS))
    rows = sum(LENGTHS)
    item, target = torch.arange(rows) % 200, (torch.arange(rows) + 1) % 200
    batch = Batch(packing, item, Pairs(torch.arange(rows), target), torch.ones(rows), None)
    network = NextItem(200, recipe)
    with FlopCounterMode(display=False) as counter:
        network(batch)["next"].backward()
    found = {str(name): number for name, number in counter.get_flop_counts()["Global"].items()}
    attention = rows * (recipe.size.flops_per_row(packing.context) - recipe.size.flops_per_row(0.0))
    assert network.flops(batch) == pytest.approx(products(found) + attention, rel=0.03)


def test_the_matrix_rate_leaves_the_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    assert matrix_rate(torch.device("cpu"), torch.float32, 64) > 0
    assert torch.equal(state, torch.get_rng_state())
