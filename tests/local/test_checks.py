"""What is wrong is said in one line, with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local import checks, parts
from local.errors import Problem
from local.parts import REPOSITORY
from tests.support.s3_server import free_ports, instance


def listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_taken_port_names_its_holder_and_the_way_out(tmp_path: Path) -> None:
    with listen() as listener:
        port = listener.getsockname()[1]
        taken = instance(tmp_path, {**free_ports(), "airflow": port})
        with pytest.raises(Problem) as caught:
            checks.check_ports(taken)
    message = str(caught.value)
    assert f"Port {port} (airflow) is taken by" in message
    assert f"(process {os.getpid()})" in message
    assert "MKTGEN_PORT_AIRFLOW=" in message
    assert "\n" not in message
    checks.check_ports(taken)  # free again


def test_a_full_disk(tmp_path: Path) -> None:
    checks.check_disk(tmp_path / "not" / "there" / "yet", min_free_bytes=1)
    with pytest.raises(Problem, match=r"GB free under .* make room, or set MKTGEN_HOME"):
        checks.check_disk(tmp_path, min_free_bytes=2**60)


def test_missing_tools(tmp_path: Path) -> None:
    checks.check_tools(str(Path(sys.executable).parent))
    with pytest.raises(Problem, match=r"Not installed: weed, mlflow, .* `make install`"):
        checks.check_tools(str(tmp_path))


def test_missing_overlay(tmp_path: Path) -> None:
    wrong = parts.load(tmp_path, {"MKTGEN_CONFIG": f"{tmp_path}/none.yaml"})
    with pytest.raises(Problem, match=r"none\.yaml, and there is no such file"):
        checks.check_overlays(wrong)
    checks.check_overlays(parts.load(tmp_path, {}))


def test_make_up_ends_with_one_line_and_an_error_code(tmp_path: Path) -> None:
    with listen() as listener:
        ports = {**free_ports(), "s3": listener.getsockname()[1]}
        chosen = {parts.port_variable(name): str(port) for name, port in ports.items()}
        ended = subprocess.run(
            [sys.executable, "-m", "local.up"],
            cwd=REPOSITORY, env={**os.environ, **chosen, "MKTGEN_HOME": str(tmp_path / "home")},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert ended.stdout.startswith("make up: Port ")
    assert ended.stdout.count("\n") == 1
    assert not (tmp_path / "home").exists()
