"""Dependent rounding: chances are kept exactly, costs are what was expected."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.strategy.rounding import Floats, Ints, draw_actions


def problem(number: int, actions: int, seed: int) -> tuple[Floats, Ints, pl.Series]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(actions, 0.5), size=number)
    p[rng.random(number) < 0.2] = np.eye(actions)[0]
    cost = rng.integers(0, 300, size=(number, actions))
    cost[:, 0] = 0
    return p, cost, pl.Series([f"c{n:05d}" for n in range(number)], dtype=pl.String)


def test_chances_are_kept() -> None:
    p, cost, customers = problem(12, 4, 1)
    seeds = 3_000
    counts = np.zeros_like(p)
    for seed in range(seeds):
        counts[np.arange(12), draw_actions(p, cost, customers, seed)] += 1
    error = np.abs(counts / seeds - p) / np.sqrt(np.maximum(p * (1 - p), 1e-9) / seeds)
    assert error[(p > 0) & (p < 1)].max() < 4.5
    assert counts[p == 0].sum() == 0


@settings(max_examples=60, deadline=None)
@given(number=st.integers(1, 80), actions=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_the_cost_is_what_was_expected_but_for_one_customer(number: int, actions: int, seed: int) -> None:
    p, cost, customers = problem(number, actions, seed)
    drawn = draw_actions(p, cost, customers, seed)
    assert (p[np.arange(number), drawn] > 0).all()
    spread = (np.where(p > 0, cost, -1).max(axis=1) - np.where(p > 0, cost, 10**6).min(axis=1)).max()
    assert abs(cost[np.arange(number), drawn].sum() - (p * cost).sum()) <= spread + 1e-6


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    p, cost, customers = problem(300, 5, 3)
    order = np.random.default_rng(0).permutation(300)
    drawn = draw_actions(p, cost, customers, 9)
    shuffled = draw_actions(p[order], cost[order], customers[order.tolist()], 9)
    assert (drawn[order] == shuffled).all()
    assert (drawn != draw_actions(p, cost, customers, 10)).any()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_customers_and_certain_ones(number: int) -> None:
    p = np.tile([0.0, 1.0], (number, 1))
    drawn = draw_actions(
        p, np.tile([0, 5], (number, 1)), pl.Series([str(n) for n in range(number)], dtype=pl.String), 1
    )
    assert drawn.tolist() == [1] * number


def test_equal_costs_leave_each_to_its_own_chance() -> None:
    p = np.full((2_000, 2), 0.5)
    drawn = draw_actions(p, np.zeros((2_000, 2), dtype=np.int64), pl.Series([str(n) for n in range(2_000)]), 1)
    assert 880 < drawn.sum() < 1_120
