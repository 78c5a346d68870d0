"""Configuration of supervisord and Airflow, as those programs read it."""

from __future__ import annotations

import configparser
import os
import shlex
from pathlib import Path

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from local import processes
from local.errors import Problem
from local.parts import REPOSITORY
from tests.support.s3_server import instance


@pytest.mark.parametrize("name", ["plain", "with space", "50%off", 'quote"d'])
def test_supervisord_understands_its_configuration(tmp_path: Path, name: str) -> None:
    parts = instance(tmp_path / name)
    processes.prepare(parts)
    options = ServerOptions()
    options.realize(["-c", str(parts.home / "supervisord.conf")])
    read = {config.name: config for group in options.process_group_configs for config in group.process_configs}
    wanted = {program.name: program for program in processes.programs(parts)}
    assert read.keys() == wanted.keys()
    for config in read.values():
        words = shlex.split(config.command)
        assert words[words.index("--") + 1 :] == list(wanted[config.name].command)
        assert config.environment == {"MKTGEN_PART": config.name, "PYTHONPATH": str(REPOSITORY)}
        assert config.stdout_logfile == str(parts.logs / f"{config.name}.log")
        assert (config.autorestart is not False, config.stopasgroup, config.killasgroup) == (True, True, True)


def test_storage_starts_first_and_stops_last(tmp_path: Path) -> None:
    order = [(program.priority, program.name) for program in processes.programs(instance(tmp_path))]
    assert order == sorted(order, key=lambda pair: pair[0])
    assert (order[0][1], order[-1][1]) == ("s3", "airflow-scheduler")


def test_airflow_configuration(tmp_path: Path) -> None:
    parts = instance(tmp_path)
    read = configparser.ConfigParser()
    read.read_string(processes.render_airflow(parts))
    assert read["core"]["dags_folder"] == str(REPOSITORY / "dags")
    assert read["api"]["host"] == "127.0.0.1"
    assert read["core"]["load_examples"] == "False"
    assert read["database"]["sql_alchemy_conn"].startswith(f"sqlite:///{parts.airflow_home}/airflow.db")
    secret_keys = ("jwt_secret", "fernet_key", "secret_key")
    assert not [key for section in read.sections() for key in read[section] if key in secret_keys]


def test_every_listener_is_told_loopback(tmp_path: Path) -> None:
    commands = {program.name: list(program.command) for program in processes.programs(instance(tmp_path))}
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-s3.port.iceberg=0"} <= set(commands["s3"])
    assert commands["mlflow"][commands["mlflow"].index("--host") + 1] == "127.0.0.1"
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert "--skip-serve-logs" in commands[name]


def test_a_deep_state_directory_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = instance(tmp_path / ("d" * 100))
    path = processes.socket_path(deep)
    try:
        assert len(str(path)) <= processes.MAX_SOCKET_PATH
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path == processes.socket_path(deep)
        path.parent.chmod(0o755)
        with pytest.raises(Problem, match="shorter MKTGEN_HOME"):
            processes.socket_path(deep)
    finally:
        os.rmdir(path.parent)


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    parts = instance(tmp_path)
    assert not processes.is_running(parts)
    assert processes.stop(parts) == 0
    (tmp_path / "supervisor.sock").touch()  # left by a crash
    (tmp_path / "supervisord.pid").write_text("1\n")
    assert not processes.is_running(parts)
