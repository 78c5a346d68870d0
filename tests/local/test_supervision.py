"""S3 and MLflow under the process manager: killed, restarted, taken down, and nothing left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from local import checks, health, parts, processes, up
from local.errors import Problem
from local.part import marked
from local.terminal import Terminal
from mktgen.store import ObjectStore
from tests.support.s3_server import free_ports

NAMES = ("s3", "mlflow")


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def pid(instance: parts.Parts, name: str) -> int:
    return int(processes.states(instance)[name]["pid"])


@pytest.mark.e2e
def test_start_kill_restart_crash_and_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # `start` puts the instance's settings there
    os.environ["MKTGEN_HOME"] = str(tmp_path / "home")
    for name, port in free_ports().items():
        os.environ[parts.port_variable(name)] = str(port)
    instance = up.start(NAMES)
    mark = processes.instance_mark(instance)
    try:
        before = {name: pid(instance, name) for name in NAMES}
        assert up.start(NAMES) == instance
        assert {name: pid(instance, name) for name in NAMES} == before, "a second start restarts nothing"
        listeners = [
            c.laddr.ip for p in marked(mark) for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN
        ]
        assert set(listeners) == {"127.0.0.1"}

        os.kill(before["s3"], signal.SIGKILL)
        until(lambda: pid(instance, "s3") not in (0, before["s3"]) and not health.s3_state(instance))
        os.kill(before["mlflow"], signal.SIGKILL)  # its worker lives on and holds the port
        until(lambda: pid(instance, "mlflow") not in (0, before["mlflow"]) and not health.mlflow_state(instance))

        os.kill(int((instance.home / "supervisord.pid").read_text()), signal.SIGKILL)  # the machine goes down, nearly
        until(lambda: not processes.is_running(instance))
        assert up.start(NAMES) == instance, "a start after a crash keeps ports and secrets"
    finally:
        ended = processes.stop(instance)
    assert ended >= 3
    assert marked(mark) == []
    assert [name for name, port in parts.listening_ports(instance.ports).items() if not checks.port_is_free(port)] == []
    assert processes.stop(instance) == 0
    assert not (instance.home / "supervisord.pid").exists()


def test_a_part_that_can_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    instance = parts.load(tmp_path / "h", {parts.port_variable(name): str(port) for name, port in free_ports().items()})
    hopeless = processes.Program("s3", ["sh", "-c", "echo the disk is on fire; exit 3"], 10)
    processes.prepare(instance, [hopeless])
    text = (instance.home / "supervisord.conf").read_text().replace("startretries = 10", "startretries = 0")
    (instance.home / "supervisord.conf").write_text(text)
    processes.start_supervisor(instance)
    try:
        processes.start_parts(instance, ["s3"])
        with pytest.raises(Problem, match=r"s3 does not start: the disk is on fire \(see .*s3\.log\)"):
            health.wait("S3", instance, lambda: "no answer yet", Terminal(), 20, "s3")
    finally:
        processes.stop(instance)


def test_the_fixture_gives_a_store_with_access_control(object_store: ObjectStore) -> None:
    assert object_store.put_once("a/b", b"1")
    assert not object_store.put_once("a/b", b"2")
    assert (object_store.get("a/b"), object_store.keys("a/")) == (b"1", ["a/b"])
