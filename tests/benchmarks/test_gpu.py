"""The GPU benchmark's self-check on a CPU, where torch and numpy are all that can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
ABSENT = ("polars", "sklearn", "scipy", "mlflow", "pydantic", "safetensors", "pyarrow", "pandas")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment, inherited by every child process, in which those packages can't be imported."""
    folder = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('a bare machine has no {name}')\n")
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


def test_self_check_without_other_packages(bare: dict[str, str], tmp_path: Path) -> None:
    done = run(bare, str(SCRIPT), "--device", "cpu", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "speeds are not figures" in done.stdout
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == [
        "machine", "correctness float32 compile off", "correctness bfloat16 compile off", "speed d64 L8 compile off",
        "resume",
    ]  # fmt: skip
    assert 0.0 < found["correctness bfloat16 compile off"]["difference"] < 0.05
    assert found["speed d64 L8 compile off"]["tokens_per_second"] > 0
    assert found["resume"]["bit_for_bit"]
    assert found["resume"]["resumed_at"] == 4


FAILING = """
import os, runpy, sys
gpu = runpy.run_path(sys.argv[1], run_name="gpu")

def dies(): os.abort()
def fails(): raise MemoryError("no room to build the network")
def refuses(deterministic):
    return {"ran": True} if not deterministic else {"failed": "x has no deterministic implementation"}

assert gpu["alone"](fails) == {"failed": "MemoryError: no room to build the network", "exit_code": 1}
assert gpu["alone"](dies) == {"failed": "the process died without an answer", "exit_code": -6}
assert gpu["alone"](dict) == {}
found = gpu["first_deterministic"](refuses)
assert found == {"why_not_deterministic": "x has no deterministic implementation", "ran": True}
"""


def test_a_part_that_fails_or_dies_is_a_finding(bare: dict[str, str]) -> None:
    done = run(bare, "-c", FAILING, str(SCRIPT))
    assert done.returncode == 0, done.stderr
