"""Ports, secrets and the environment of an instance."""

from __future__ import annotations

import base64
import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import parts, processes
from local.errors import Problem
from local.parts import DEFAULT_PORTS, SECRETS


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_private_is_readable_by_others(tmp_path: Path) -> None:
    instance = parts.load(tmp_path / "home", {})
    processes.prepare(instance)
    assert mode(instance.home) == 0o700
    private = ("env", "airflow-passwords.json", "supervisord.conf", "airflow/airflow.cfg")
    assert {name: mode(instance.home / name) for name in private} == dict.fromkeys(private, 0o600)


def test_a_file_that_was_too_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    parts.write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["env"]


def test_secrets_stay_the_same_over_a_second_start(tmp_path: Path) -> None:
    first = parts.load(tmp_path, {})
    first.save()
    assert parts.load(tmp_path, {}) == first
    assert parts.load(tmp_path / "other", {}).secrets != first.secrets


def test_secrets_are_long_enough_for_their_use() -> None:
    made = {name: parts.generate_secret(name) for name in SECRETS}
    assert len(made["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert len(base64.urlsafe_b64decode(made["AIRFLOW__CORE__FERNET_KEY"])) == 32
    assert len(set(made.values())) == len(SECRETS)


def test_secrets_are_neither_shown_nor_in_a_configuration(tmp_path: Path) -> None:
    instance = parts.load(tmp_path, {})
    processes.prepare(instance)
    open_texts = [repr(instance), (tmp_path / "supervisord.conf").read_text(), processes.render_airflow(instance)]
    for name, value in instance.secrets.items():
        assert not [text for text in open_texts if value in text], name


def test_a_shell_reads_the_env_file(tmp_path: Path) -> None:
    home = tmp_path / "it's a $HOME"
    instance = parts.load(home, {})
    instance.save()
    names = ("MKTGEN_S3_ENDPOINT", "AIRFLOW_HOME", "MKTGEN_PSEUDONYM_KEY")
    script = f'. {shlex.quote(str(home / "env"))}; echo "{"|".join(f"${name}" for name in names)}"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    expected = (instance.s3_url, str(instance.airflow_home), instance.secrets["MKTGEN_PSEUDONYM_KEY"])
    assert shown.stdout.strip() == "|".join(expected)
    assert parts.load(home, {}) == instance


@given(st.dictionaries(st.sampled_from(sorted(DEFAULT_PORTS)), st.integers(1024, 50_000), min_size=1))
def test_chosen_ports_are_taken_or_refused_never_changed(chosen: dict[str, int]) -> None:
    variables = {parts.port_variable(name): str(port) for name, port in chosen.items()}
    wanted = {**DEFAULT_PORTS, **chosen}
    opened = list(parts.listening_ports(wanted).values())
    if len(set(opened)) == len(opened):
        assert parts.choose_ports(variables, {}) == wanted
    else:
        with pytest.raises(Problem, match="set MKTGEN_PORT_"):
            parts.choose_ports(variables, {})


def test_ports_are_remembered_and_the_environment_wins(tmp_path: Path) -> None:
    parts.load(tmp_path, {"MKTGEN_PORT_AIRFLOW": "9090", "MKTGEN_PORT_MLFLOW": "9091"}).save()
    again = parts.load(tmp_path, {"MKTGEN_PORT_MLFLOW": "9092"})
    assert (again.ports["airflow"], again.ports["mlflow"]) == (9090, 9092)
    running = parts.load(tmp_path, {"MKTGEN_PORT_MLFLOW": "9092"}, recorded_only=True)
    assert running.ports["mlflow"] == 9091


@pytest.mark.parametrize("text", ["http", "80", "65536", "-1"])
def test_what_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(Problem, match=r"MKTGEN_PORT_S3=.* set another number"):
        parts.choose_ports({"MKTGEN_PORT_S3": text}, {})


def test_another_installation_does_not_leak_in(tmp_path: Path) -> None:
    outer = {
        "AWS_PROFILE": "company",
        "AIRFLOW__CORE__EXECUTOR": "X",
        "PYTHONPATH": "/x",
        "LANG": "C.UTF-8",
        "PATH": "/bin",
    }
    environment = parts.load(tmp_path, outer).environment(outer)
    assert not {"AWS_PROFILE", "AIRFLOW__CORE__EXECUTOR", "PYTHONPATH"} & environment.keys()
    assert environment["LANG"] == "C.UTF-8"
    assert environment["PATH"].endswith(os.pathsep + "/bin")
