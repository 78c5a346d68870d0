"""The GPU benchmark's self-check, with nothing but torch and numpy importable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
BARE = """
import runpy, sys
for name in ("polars", "sklearn", "pydantic", "safetensors", "mlflow", "pyarrow"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_self_check_without_other_packages(tmp_path: Path) -> None:
    call = [sys.executable, "-c", BARE, str(SCRIPT), "--device", "cpu", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "not run: no CUDA device" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(part["within"] for part in found["correctness"].values())
    assert found["resume"]["within"]
