"""The benchmark of allocation: its own count of the limits, and the peers' side with the solver that is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.allocation import KINDS, exceeded, for_peers, main, market, measured, show, show_beside
from mktgen.strategy.allocation import budget

PEER = Path(__file__).parents[2] / "benchmarks" / "allocation_peer.py"


@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_is_small_and_no_limit_is_exceeded(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(kind, 10_000, seed=1)
    assert found["gap"] <= 1e-4
    assert max(found["exceeded"].values()) <= 0
    assert found["contacts"] > 1_000
    show([found])
    assert "goal 0.0001: met" in capsys.readouterr().out


def test_overspending_would_be_counted() -> None:
    problem = market("several", 2_000, seed=1)
    everybody = np.full(2_000, 9, np.uint8)
    over = exceeded(replace(problem, constraints=(*problem.constraints[1:], budget(1_000))), everybody)
    assert over["budget"] == 300 * 2_000 - 1_000
    assert over["gifts"] == 2_000 - 20
    assert over["group 0"] < 0
    assert over["messages"] < 0


def test_a_larger_market_begins_with_the_smaller_one() -> None:
    small, large = market("own_costs", 100_000, seed=4), market("own_costs", 100_500, seed=4)
    assert np.array_equal(small.value, large.value[:100_000], equal_nan=True)
    assert (small.cost == large.cost[:100_000]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_problem_by_another_solver(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = market(kind, 600, seed=2)
    for_peers(problem, tmp_path / "problem.npz")
    command = [sys.executable, str(PEER), str(tmp_path / "problem.npz"), "--solver", "scipy", "--gap", "0"]
    done = subprocess.run([*command, "--time-limit", "60"], capture_output=True, text=True, check=True)
    theirs: dict[str, Any] = {"solver": "highs", **json.loads(done.stdout.splitlines()[-1])}
    ours = {"solver": "ours", **measured(kind, 600, seed=2)}
    assert theirs["over"] <= 1e-6
    assert theirs["twice"] == 0
    assert theirs["value"] <= ours["bound"] * (1 + 1e-9)
    assert ours["value"] <= theirs["bound"] * (1 + 1e-9)
    ratios = show_beside(kind, 600, [ours, theirs])
    assert ratios == {"highs": theirs["cpu"] / ours["cpu"]}
    assert "the fastest peer, highs" in capsys.readouterr().out


def test_the_command_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "found.json"
    monkeypatch.setattr(
        sys, "argv",
        ["allocation", "--runs", "budget:2000", "--peer-python", sys.executable, "--peer-runs", "several:300",
         "--solvers", "scipy", "--json", str(told)],
    )  # fmt: skip
    main()
    found = json.loads(told.read_text())
    assert found["alone"][0]["customers"] == 2_000
    assert [run["solver"] for run in found["beside"][0]["runs"]] == ["ours", "scipy"]
