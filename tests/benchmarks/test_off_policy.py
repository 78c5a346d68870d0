"""The off-policy tables on a small made-up log, with the peer's estimates by their plain formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.off_policy import DEFAULT, drawn, judged, show


def write(path: Path, seed: int, rows: int = 150, actions: int = 3) -> None:
    """A log whose true rewards are known, as off_policy_peer.py writes it."""
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(rows, 2))
    expected = 1 / (1 + np.exp(-context @ rng.normal(size=(2, actions))))
    logging = rng.dirichlet(np.full(actions, 5.0), rows)
    policy = rng.dirichlet(np.full(actions, 5.0), rows)
    action = (rng.random(rows)[:, None] > logging.cumsum(axis=1)).sum(axis=1)
    at = np.arange(rows), action
    reward = (rng.random(rows) < expected[at]).astype(float)
    q_hat = np.full((rows, actions), reward.mean())
    weight = policy[at] / logging[at]
    model = (policy * q_hat).sum(axis=1)
    rest = weight * (reward - q_hat[at])
    values = {
        "dm": model.mean(), "ipw": (weight * reward).mean(), "snipw": (weight * reward).sum() / weight.sum(),
        "dr": (model + rest).mean(), "sndr": model.mean() + rest.sum() / weight.sum(), "dr-os": model.mean(),
    }  # fmt: skip
    np.savez(
        path, context=context, action=action, reward=reward, propensity=logging[at], policy=policy, q_hat=q_hat,
        expected=expected, position=np.zeros(rows, np.int64), truth=(policy * expected).sum(axis=1).mean(),
        peer_version="none", peer_names=np.array([*values]), peer_values=np.array([*values.values()]),
        peer_seconds=np.full(len(values), 1e-3), peer_model_seconds=1e-3,
    )  # fmt: skip


def test_equal_formulas_give_equal_values_and_the_default_is_near(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in range(2):
        write(tmp_path / f"synthetic-{run:05d}.npz", run)
    paths = drawn(Path("no-peer-is-asked"), "synthetic", 2, 0, tmp_path)  # all are there
    found = judged(paths)
    assert found.largest_gap < 1e-12
    assert {len(errors) for errors in found.errors.values()} == {2}
    assert found.errors["true q dr"] != found.errors["peer dr"]
    views = show("synthetic", found)["views"]
    assert views[DEFAULT]["mean"] < 0.25
    assert views["true q dr"]["rms"] >= views["true q dr"]["mean"]
    told = capsys.readouterr().out
    assert "goal 0.0055" in told
    assert "true q sndr" in told
