"""The market's benchmark of learning: its learner and its budget, where the answer is known."""

from __future__ import annotations

import numpy as np

from benchmarks.market_learning import judged, learned, within


def test_the_learner_finds_what_actions_add() -> None:
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(20_000), rng.normal(size=(20_000, 2))])
    actions = rng.integers(0, 3, 20_000)
    added = np.column_stack([np.zeros(20_000), 2 * design[:, 1], 1 - design[:, 2]])
    noise = rng.normal(size=20_000) * np.exp(0.3 * design[:, 1])
    reward = 5 * design[:, 1] + added[np.arange(20_000), actions] + noise
    found = design @ learned(design, actions, reward, 3)
    assert (found[:, 0] == 0).all()
    assert np.abs(found - added).mean() < 0.15


def test_a_budget_is_kept_and_no_loss_is_bought() -> None:
    rng = np.random.default_rng(2)
    score, cost = rng.normal(size=(200, 3)), np.array([0.0, 10.0, 25.0])
    score[:, 0] = 0
    for budget in (0.0, 40.0, 1_000.0, 1e9):
        chosen = within(score, cost, budget)
        assert cost[chosen].sum() <= budget
        assert (score[np.arange(200), chosen] >= 0).all()
    assert (within(score, cost, 1e9) == score.argmax(axis=1)).all()


def test_the_truth_is_the_best_score() -> None:
    rng = np.random.default_rng(3)
    truth, cost = rng.normal(size=(300, 4)), np.array([0.0, 1.0, 1.0, 1.0])
    truth[:, 0] = 0
    best = judged(truth, truth, cost, 50.0)
    for _ in range(5):
        other = judged(truth + rng.normal(size=truth.shape), truth, cost, 50.0)
        assert other["free"] <= best["free"]
        assert other["budget"] <= best["budget"]
