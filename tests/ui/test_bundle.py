"""What is served is what the sources build to."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "plugins" / "mktgen_ui"
BUILT = ("app.css", "app.js")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with their packages, which npm brings by the lock file; skipped where it can't."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: the committed files can't be compared with their sources")
    folder = tmp_path_factory.mktemp("front")
    shutil.copytree(PAGES / "front", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    if (PAGES / "front" / "node_modules").exists():
        (folder / "node_modules").symlink_to(PAGES / "front" / "node_modules")
        return folder
    install = ["npm", "ci", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not fetch the packages within two minutes")
    if done.returncode:
        pytest.skip(f"npm can't fetch the packages here: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def test_the_committed_files_are_the_built_ones(front: Path, tmp_path: Path) -> None:
    done = subprocess.run(["node", front / "build.mjs", "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == list(BUILT)
    for name in BUILT:
        built, committed = (tmp_path / name).read_bytes(), (PAGES / "static" / name).read_bytes()
        assert built == committed, f"static/{name} is not what front/src builds to: run `make front`"


def test_the_sources_type_check(front: Path) -> None:
    done = subprocess.run(
        ["npx", "--no-install", "tsc", "--noEmit"], cwd=front, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_packages_are_pinned_and_loaded_from_nowhere_else() -> None:
    package = json.loads((PAGES / "front" / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert versions
    assert all(version[0].isdigit() for version in versions.values()), versions
    served = "".join((PAGES / "static" / name).read_text() for name in BUILT)
    hosts = {part.split("/")[0] for part in served.split("http://")[1:] + served.split("https://")[1:]}
    assert hosts <= {"www.w3.org"}, "only names of XML may look like addresses"
