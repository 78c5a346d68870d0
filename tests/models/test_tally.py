"""Sums that are read seldom, and results that are made ahead."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mktgen.models._ahead import made_ahead
from mktgen.models._tally import Tally

CPU = torch.device("cpu")
FINITE = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(FINITE, FINITE, st.booleans()), max_size=30))
def test_sums_are_those_of_one_step_after_another_whenever_they_are_read(
    steps: list[tuple[float, float, bool]],
) -> None:
    tally, expected = Tally(["loss", "norm"], CPU, {}), {"loss": 0.0, "norm": 0.0, "steps": 0.0}
    for loss, norm, leaves in steps:
        tally.add(torch.tensor([loss], dtype=torch.float64), torch.tensor(norm, dtype=torch.float64))
        for name, value in (("loss", loss), ("norm", norm), ("steps", 1.0)):
            expected[name] += value
        if leaves:  # another process goes on with what was read
            tally = Tally(["loss", "norm"], CPU, tally.read())
    assert tally.read() == (expected if steps else {})
    tally.clear()
    assert tally.read() == {}


def test_too_few_numbers_are_refused() -> None:
    with pytest.raises(RuntimeError):
        Tally(["loss", "count", "norm"], CPU, {}).add(torch.zeros(2))


@given(st.integers(0, 9), st.integers(0, 4))
def test_results_come_in_order_and_no_more_than_asked_for_are_waiting(count: int, ahead: int) -> None:
    made: list[int] = []

    def make(key: int) -> int:
        made.append(key)
        return key * key

    for taken, found in enumerate(made_ahead(make, range(count), ahead)):
        assert found == taken * taken
        assert len(made) <= taken + 1 + ahead
    assert made == list(range(count))


def test_a_failure_is_raised_at_its_place() -> None:
    def make(key: int) -> float:
        return 1 / (2 - key)

    results = made_ahead(make, range(4), 1)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
