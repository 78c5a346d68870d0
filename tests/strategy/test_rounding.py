"""Dependent rounding: exact marginals, a total cost that stays at its expectation, the same draw in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.errors import PermanentError
from mktgen.strategy.rounding import draw_actions

DRAWS = 1_500


def keys(number: int) -> np.ndarray:
    return np.random.default_rng(number).permutation(number).astype(np.uint64)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    customers, actions = draw(st.integers(0, 8)), draw(st.integers(1, 5))
    weight = np.array(
        [[draw(st.one_of(st.just(0.0), st.floats(0.001, 1))) for _ in range(actions)] for _ in range(customers)]
    ).reshape(customers, actions)
    weight[weight.sum(axis=1) == 0, 0] = 1.0
    shape = (customers, actions) if draw(st.booleans()) else (1, actions)
    cost = np.array(
        draw(st.lists(st.integers(0, 90), min_size=shape[0] * actions, max_size=shape[0] * actions)), np.int64
    )
    cost = cost.reshape(shape)
    return weight / weight.sum(axis=1, keepdims=True), cost if shape[0] == customers else cost[0]


@settings(max_examples=100, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_the_total_strays_by_no_more_than_one_customer(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    probabilities, cost = case
    drawn = draw_actions(probabilities, cost, keys(len(probabilities)), seed)
    prices = np.broadcast_to(cost, probabilities.shape)
    rows = np.arange(len(probabilities))
    assert (probabilities[rows, drawn] > 0).all()
    expected, total = float((probabilities * prices).sum()), int(prices[rows, drawn].sum())
    open_ = np.where(probabilities > 0, prices, prices[rows, drawn][:, None])
    largest = int((open_.max(axis=1) - open_.min(axis=1)).max(initial=0))
    assert abs(total - expected) <= largest + 1e-9


@pytest.mark.parametrize("own_costs", [False, True], ids=["one price", "own prices"])
def test_marginals_are_the_probabilities(own_costs: bool) -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(4, 0.7), 6)
    probabilities[0] = [0.5, 0.5, 0, 0]
    cost: np.ndarray = rng.integers(0, 50, (6, 4)) if own_costs else np.array([0, 20, 20, 70])
    counts = np.zeros_like(probabilities)
    for seed in range(DRAWS):
        counts[np.arange(6), draw_actions(probabilities, cost, keys(6), seed)] += 1
    error = np.sqrt(probabilities * (1 - probabilities) / DRAWS)
    assert (np.abs(counts / DRAWS - probabilities) <= 4.5 * error + 1e-12).all()


def test_certain_actions_are_taken() -> None:
    probabilities = np.eye(4)[np.array([2, 0, 3, 1, 1])]
    assert draw_actions(probabilities, np.array([0, 5, 5, 9]), keys(5), 0).tolist() == [2, 0, 3, 1, 1]


def test_equal_coins_split_the_customers_in_half_exactly() -> None:
    drawn = draw_actions(np.full((1_000, 2), 0.5), np.array([0, 10]), keys(1_000), 4)
    assert int(drawn.sum()) == 500


def test_free_actions_are_drawn_too() -> None:
    drawn = draw_actions(np.full((4_000, 3), 1 / 3, np.float32), np.zeros(3, int), keys(4_000), 4)
    assert np.abs(np.bincount(drawn) - 4_000 / 3).max() < 150


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_customers_does_not_matter_and_the_seed_does(order: Any) -> None:
    rng = np.random.default_rng(2)
    probabilities, cost, key = rng.dirichlet(np.ones(5), 40), rng.integers(0, 50, (40, 5)), keys(40)
    moved = list(range(40))
    order.shuffle(moved)
    drawn = draw_actions(probabilities, cost, key, 7)
    assert (draw_actions(probabilities[moved], cost[moved], key[moved], 7) == drawn[moved]).all()
    assert (draw_actions(probabilities, cost, key, 8) != drawn).any()


def test_blocks_of_customers_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    number = 70_000  # more than one block
    probabilities, key = rng.dirichlet(np.ones(3), number), keys(number)
    cost = np.array([0, 7, 30])
    order = rng.permutation(number)
    drawn = draw_actions(probabilities, cost, key, 1)
    assert abs(int(cost[drawn].sum()) - float((probabilities * cost).sum())) <= 30
    assert (draw_actions(probabilities[order], cost, key[order], 1) == drawn[order]).all()


@pytest.mark.parametrize(
    ("probabilities", "cost", "key", "said"),
    [
        (np.array([[0.5, 0.6]]), np.array([0, 1]), keys(1), "row 0 is no distribution"),
        (np.array([[1.5, -0.5]]), np.array([0, 1]), keys(1), "row 0 is no distribution"),
        (np.array([[np.nan, 1.0]]), np.array([0, 1]), keys(1), "row 0 is no distribution"),
        (np.array([[1.0, 0.0]]), np.array([0, 1, 2]), keys(1), "are needed"),
        (np.array([[1.0, 0.0]]), np.array([0.0, 1.0]), keys(1), "whole numbers"),
        (np.array([[1.0, 0.0]] * 2), np.array([0, 1]), np.zeros(2, np.uint64), "share the key 0"),
    ],
    ids=str,
)
def test_unusable_input_is_refused(probabilities: np.ndarray, cost: np.ndarray, key: np.ndarray, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        draw_actions(probabilities, cost, key, 0)
