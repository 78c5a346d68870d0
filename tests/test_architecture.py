"""DESIGN's rules that a machine can check: who imports whom, stages without clock, chance or environment, no pickles."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mktgen"
STAGES = (
    "sources", "cleaning", "features", "models", "foresight", "response", "strategy", "copywriting", "evaluation",
    "execution", "feedback", "market_sim",
)  # fmt: skip
STAGE_FILES = sorted(path for stage in STAGES for path in (PACKAGE / stage).rglob("*.py"))
ALL_FILES = sorted(path for part in ("mktgen", "plugins", "dags", "local") for path in (ROOT / part).rglob("*.py"))

# Calls that would make a stage's result depend on when, where or by chance it runs.
IMPURE = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
    ("os", "getenv"), ("os", "environ"), ("random", "random"), ("random", "choice"), ("random", "shuffle"),
    ("uuid", "uuid4"), ("uuid", "uuid1"), ("secrets", "token_hex"),
}  # fmt: skip
# Neural trainers measure their speed for the log, read torch.distributed's variables and set cuBLAS's: none enters a result.
ALLOWED = {("os", "environ"): {"_processes.py", "tuning.py"}, ("time", "time"): set[str]()}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_import_contracts_hold() -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout[-3000:]


@pytest.mark.parametrize("path", STAGE_FILES, ids=name_of)
def test_stages_are_pure(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            call = (node.value.id, node.attr)
            if call in IMPURE and path.name not in ALLOWED.get(call, set()):
                found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
    assert not found, f"{name_of(path)} depends on clock, chance or environment: {found}"


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_no_pickles(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"pickle", "joblib", "dill", "cloudpickle", "shelve"}


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_modules_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{name_of(path)} has {lines} lines: split it"


def test_the_package_tree_shows_the_loop() -> None:
    have = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert set(STAGES) <= have
