"""Where the parts live: state directory, ports, generated secrets, and the environment that all of them share.

Everything is under one directory (`.mktgen`, or `MKTGEN_HOME`), so that several instances stand side by side.
`env` in it holds every setting and secret as `export KEY='value'`, mode 600: after `. .mktgen/env` a shell's
`python -m mktgen ...` works on the running parts.
"""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local.errors import Problem

REPOSITORY = Path(__file__).resolve().parent.parent
BUCKET = "mktgen"
PREFIX = "store"  # beside it, in the same bucket: mlflow/
DEMO_OVERLAY = REPOSITORY / "mktgen" / "conf" / "demo.yaml"
LOGIN = "admin"
SOURCE_ENDS = "2017-12-31"  # The Complete Journey's last day: the scheduler starts no run for a day after it

# SeaweedFS is several servers in one process. A port + 10000 is its own habit for gRPC; its admin server insists on it.
DEFAULT_PORTS: Mapping[str, int] = {
    "s3": 8333,
    "s3_grpc": 18333,
    "s3_master": 9333,
    "s3_master_grpc": 19333,
    "s3_volume": 9340,
    "s3_volume_grpc": 19340,
    "s3_filer": 8888,
    "s3_filer_grpc": 18888,
    "s3_admin": 23646,
    "mlflow": 5001,
    "airflow": 8080,
}
ADMIN_GRPC_OFFSET = 10_000


def port_variable(name: str) -> str:
    return f"MKTGEN_PORT_{name.upper()}"


def listening_ports(ports: Mapping[str, int]) -> dict[str, int]:
    """All ports that will be opened, by name: the settable ones and the one that SeaweedFS derives."""
    return {**ports, "s3_admin_grpc": ports["s3_admin"] + ADMIN_GRPC_OFFSET}


SECRETS: Mapping[str, int] = {  # variable -> random bytes
    "AWS_ACCESS_KEY_ID": 15,
    "AWS_SECRET_ACCESS_KEY": 30,
    "MKTGEN_PSEUDONYM_KEY": 32,
    "MKTGEN_LOGIN_PASSWORD": 12,
    "AIRFLOW__API_AUTH__JWT_SECRET": 64,  # HS512 wants at least 64 bytes
    "AIRFLOW__API__SECRET_KEY": 32,
    "AIRFLOW__CORE__FERNET_KEY": 32,
}


def generate_secret(name: str) -> str:
    random = secrets.token_bytes(SECRETS[name])
    if name == "AIRFLOW__CORE__FERNET_KEY":
        return base64.urlsafe_b64encode(random).decode()  # Fernet's own form, padding kept
    if name.startswith("AWS_"):
        return random.hex()  # S3 clients and servers disagree about other characters
    return base64.urlsafe_b64encode(random).decode().rstrip("=")


def write_private(path: Path, text: str) -> None:
    """Write `path` so that at no moment another user can read it, and no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    temporary.chmod(0o600)
    temporary.replace(path)


def read_env(path: Path) -> dict[str, str]:
    """`export KEY='value'` lines of an env file; empty where there is no file."""
    if not path.exists():
        return {}
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("export ")]
    pairs = (line.removeprefix("export ").partition("=") for line in lines)
    return {key: shlex.split(value)[0] for key, _, value in pairs}


# One set of BLAS kernels on all x86 machines: others add in another order, and models would differ in their last bit.
BLAS_KERNEL: Final = "Haswell"
CPUINFO: Final = Path("/proc/cpuinfo")
HAS_AVX2: Final = CPUINFO.exists() and " avx2 " in CPUINFO.read_text()


@dataclass(frozen=True)
class Parts:
    """One instance: its directory, ports and secrets. Everything else is derived."""

    home: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)  # never in a log or a traceback
    overlays: tuple[Path, ...] = (DEMO_OVERLAY,)

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def airflow_home(self) -> Path:
        return self.home / "airflow"

    @property
    def env_file(self) -> Path:
        return self.home / "env"

    @property
    def passwords_file(self) -> Path:
        return self.home / "airflow-passwords.json"

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['mlflow']}"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['airflow']}"

    @property
    def password(self) -> str:
        return self.secrets["MKTGEN_LOGIN_PASSWORD"]

    def settings(self) -> dict[str, str]:
        """What the product and its parts read from the environment, without the secrets."""
        return {
            **{port_variable(name): str(port) for name, port in self.ports.items()},
            "MKTGEN_S3_ENDPOINT": self.s3_url,
            "MKTGEN_S3_BUCKET": BUCKET,
            "MKTGEN_S3_PREFIX": PREFIX,
            "MKTGEN_CONFIG": ":".join(map(str, self.overlays)),
            "MKTGEN_AIRFLOW_URL": self.airflow_url,
            "MKTGEN_SOURCE_ENDS": SOURCE_ENDS,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_S3_ENDPOINT_URL": self.s3_url,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__API__BASE_URL": self.airflow_url,
            "AIRFLOW__API__PORT": str(self.ports["airflow"]),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "MKTGEN_TRAIN_AT_ONCE": "2",
            "POLARS_MAX_THREADS": "2",
            "OMP_NUM_THREADS": "2",
            **({"OPENBLAS_CORETYPE": BLAS_KERNEL} if HAS_AVX2 else {}),
        }

    def environment(self, outer: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every part: the caller's, without what another instance or account left in it, and ours.

        The venv's programs come first in PATH, so that a task finds the same `torchrun` as this process.
        """
        outer = os.environ if outer is None else outer
        foreign = ("AIRFLOW", "AWS_", "MLFLOW_", "MKTGEN_", "PYTHONPATH", "VIRTUAL_ENV")
        kept = {key: value for key, value in outer.items() if not key.startswith(foreign)}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "/usr/bin:/bin")])
        kept["PYTHONUNBUFFERED"] = "1"
        proxies = {
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }  # loopback never goes through one
        return {**kept, **proxies, **self.settings(), **self.secrets}

    def save(self) -> None:
        lines = [
            f"export {key}={shlex.quote(value)}"
            for key, value in sorted({**self.settings(), **self.secrets}.items())
            if value
        ]
        write_private(self.env_file, "\n".join(["# Generated by `make up`. Secrets: keep it to yourself.", *lines, ""]))


def home_directory(outer: Mapping[str, str] | None = None) -> Path:
    outer = os.environ if outer is None else outer
    return Path(outer.get("MKTGEN_HOME") or REPOSITORY / ".mktgen").expanduser().absolute()


def choose_ports(outer: Mapping[str, str], recorded: Mapping[str, str]) -> dict[str, int]:
    """The environment's choice, else the one recorded at the last start, else the default.

    Raises:
        Problem: a value is not a port, or two parts were given the same one.
    """
    ports = {}
    for name, default in DEFAULT_PORTS.items():
        variable = port_variable(name)
        text = outer.get(variable) or recorded.get(variable) or str(default)
        highest = 65_535 - (ADMIN_GRPC_OFFSET if name == "s3_admin" else 0)
        if not text.isdigit() or not 1024 <= int(text) <= highest:
            raise Problem(f"{variable}={text} is not a port between 1024 and {highest}: set another number.")
        ports[name] = int(text)
    users: dict[int, str] = {}
    for name, port in listening_ports(ports).items():
        if port in users:
            raise Problem(f"Port {port} is given to {users[port]} and to {name}: set {port_variable(name)} to another.")
        users[port] = name
    return ports


def load(home: Path | None = None, outer: Mapping[str, str] | None = None, *, recorded_only: bool = False) -> Parts:
    """The instance in `home`: what was recorded there, with secrets generated where they are missing (nothing is written).

    Args:
        recorded_only: ignore port and overlay variables of the environment: the parts are running as recorded.
    """
    outer = os.environ if outer is None else outer
    home = home or home_directory(outer)
    recorded = read_env(home / "env")
    chosen: Mapping[str, str] = {} if recorded_only else outer
    overlays = chosen.get("MKTGEN_CONFIG") or recorded.get("MKTGEN_CONFIG") or str(DEMO_OVERLAY)
    return Parts(
        home=home,
        ports=choose_ports(chosen, recorded),
        secrets={name: recorded.get(name) or generate_secret(name) for name in SECRETS},
        overlays=tuple(Path(part).expanduser().absolute() for part in overlays.split(":") if part),
    )
