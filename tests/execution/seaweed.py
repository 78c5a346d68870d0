"""A real S3 on loopback for a test session: `weed mini` in a directory of its own, ended by its process id."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mktgen.store import S3Location

BUCKET = "tests"
_PORTS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
          "filer.port", "filer.port.grpc", "admin.port")  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different, whose gRPC habit (+ 10000) is a valid port too."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            candidate = 20_000 + secrets.randbelow(20_000)
            server = socket.socket()
            try:
                server.bind(("127.0.0.1", candidate))
            except OSError:
                server.close()
                continue
            held.enter_context(server)
            found.append(candidate)
        return found


@contextmanager
def running(directory: Path) -> Iterator[tuple[S3Location, dict[str, str]]]:
    """(where it is, the environment variables with its keys) while the block runs."""
    keys = {"AWS_ACCESS_KEY_ID": secrets.token_hex(10), "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    weed = str(Path(sys.executable).with_name("weed"))
    command = [weed, "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false",
               "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
               *(f"-{name}={port}" for name, port in ports.items())]  # fmt: skip
    with (directory / "weed.log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **keys, "S3_BUCKET": BUCKET}, cwd=directory, stdout=log, stderr=log
        )
        try:
            endpoint = f"http://127.0.0.1:{ports['s3.port']}"
            _wait(endpoint, keys, server, directory / "weed.log")
            yield S3Location(endpoint, BUCKET, "t"), keys
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(endpoint: str, keys: dict[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the bucket is there: it is made a moment after the server answers."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 1}),
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client.head_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not answer on {endpoint}:\n{log.read_text(errors='replace')[-3000:]}")
