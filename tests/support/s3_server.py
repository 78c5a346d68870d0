"""A real SeaweedFS on free loopback ports, for the tests that need S3.

In a conftest.py: `from tests.support.s3_server import s3_server, object_store` (names of fixtures), or call `serve`.
Several test processes may each have their own at once.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local import health, processes
from local.checks import port_is_free
from local.parts import ADMIN_GRPC_OFFSET, BUCKET, DEFAULT_PORTS, SECRETS, Parts, generate_secret
from mktgen.store import ObjectStore, S3Location


@dataclass(frozen=True)
class S3Server:
    """A running server: where it is, the variables that open it, and its process."""

    endpoint: str
    bucket: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def location(self, prefix: str) -> S3Location:
        return S3Location(self.endpoint, self.bucket, prefix)

    @contextmanager
    def keys(self) -> Iterator[None]:
        """The server's keys and endpoint in the environment, for fixtures that outlive a test.

        What ran before in the process may have put the environment back to a time without them, or with others.
        """
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield


def free_ports() -> dict[str, int]:
    """A free port for each part's name. They were all held at once, so they differ; SeaweedFS's derived one is free too."""
    while True:
        with ExitStack() as held:
            ports = {}
            for name in DEFAULT_PORTS:
                listener = held.enter_context(socket.socket())
                listener.bind(("127.0.0.1", 0))
                ports[name] = listener.getsockname()[1]
        derived = ports["s3_admin"] + ADMIN_GRPC_OFFSET
        if derived <= 65_535 and derived not in ports.values() and port_is_free(derived):
            return ports


def instance(home: Path, ports: dict[str, int] | None = None) -> Parts:
    """An instance of the embedded parts with its own ports and secrets; nothing is started."""
    return Parts(home=home, ports=ports or free_ports(), secrets={name: generate_secret(name) for name in SECRETS})


@contextmanager
def serve(home: Path, attempts: int = 3) -> Iterator[S3Server]:
    """SeaweedFS with data in `home` while the block runs; ended by its process id, with its sockets.

    Another process may take a port between our look and SeaweedFS's: then it ends at once, and other ports are tried.
    """
    for attempt in range(attempts):
        parts = instance(home / f"s3-{attempt}")
        (parts.home / "s3").mkdir(parents=True)
        with open(parts.home / "weed.log", "wb") as log:
            process = subprocess.Popen(
                processes.seaweedfs_command(parts), env=parts.environment(), cwd=parts.home, stdout=log, stderr=log
            )
        try:
            if not _ready(parts, process):
                continue
            keys = {k: v for k, v in parts.environment().items() if k.startswith(("AWS_", "MKTGEN_S3_", "MLFLOW_S3_"))}
            yield S3Server(parts.s3_url, BUCKET, keys, process)
            return
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            processes.remove_sockets(parts)
    raise RuntimeError(
        f"SeaweedFS did not start in {attempts} attempts: {(parts.home / 'weed.log').read_text()[-2000:]}"
    )


def _ready(parts: Parts, process: subprocess.Popen[bytes], timeout_s: float = 30) -> bool:
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update({name: parts.secrets[name] for name in before})
    try:
        deadline = time.monotonic() + timeout_s
        while process.poll() is None and time.monotonic() < deadline:
            if not health.s3_state(parts):
                return True
            time.sleep(0.1)
        return False
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server per test process; its keys and endpoint are in the environment from then on."""
    with serve(tmp_path_factory.mktemp("seaweedfs")) as server, server.keys():
        yield server


@pytest.fixture
def object_store(s3_server: S3Server, tmp_path: Path) -> Iterator[ObjectStore]:
    """An empty store of the test's own: a prefix that no other test has, and the keys in the environment."""
    with s3_server.keys():
        assert httpx.get(s3_server.endpoint, timeout=5).status_code == 403, "S3 lets everyone in"
        yield ObjectStore(s3_server.location(f"{tmp_path.parent.name}/{tmp_path.name}"))
