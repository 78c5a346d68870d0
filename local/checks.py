"""What must hold before the parts start. Each check raises one line that says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from local.errors import Problem
from local.parts import Parts, listening_ports, port_variable

MIN_FREE_BYTES = 2 * 1024**3
TOOLS = ("weed", "mlflow", "airflow", "supervisord", "torchrun")


def check_tools(search_path: str) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool, path=search_path) is None]
    if missing:
        raise Problem(f"Not installed: {', '.join(missing)}. Run `make install` (and call me by `make`).")


def check_disk(home: Path, min_free_bytes: int = MIN_FREE_BYTES) -> None:
    """Raises where the state directory's file system has less than `min_free_bytes` left, or can't be written."""
    existing = home
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        raise Problem(f"{existing} can't be written: set MKTGEN_HOME to a directory that can.")
    free = shutil.disk_usage(existing).free
    if free < min_free_bytes:
        raise Problem(
            f"Only {free / 1024**3:.1f} GB free under {existing}, {min_free_bytes / 1024**3:.0f} GB needed: "
            "make room, or set MKTGEN_HOME to a directory on another disk."
        )


def port_is_free(port: int) -> bool:
    """Whether a server could bind 127.0.0.1:port now (as servers do: a connection in TIME_WAIT is no hindrance)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            if problem.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def holder_of(port: int) -> str:
    """Who listens there, as far as this user may see it."""
    try:
        connections = psutil.net_connections("inet")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        if (
            connection.laddr
            and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
            and connection.pid
        ):
            return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return "another program"


def check_ports(parts: Parts) -> None:
    for name, port in listening_ports(parts.ports).items():
        if not port_is_free(port):
            variable = port_variable("s3_admin" if name == "s3_admin_grpc" else name)
            raise Problem(
                f"Port {port} ({name}) is taken by {holder_of(port)}: end that, or choose another, e.g. "
                f"`{variable}={parts.ports.get(name, parts.ports['s3_admin']) + 1000} make up`."
            )


def check_overlays(parts: Parts) -> None:
    for overlay in parts.overlays:
        if not overlay.is_file():
            raise Problem(f"MKTGEN_CONFIG names {overlay}, and there is no such file: correct or unset it.")


def check_all(parts: Parts) -> None:
    check_tools(parts.environment()["PATH"])
    check_disk(parts.home)
    check_overlays(parts)
    check_ports(parts)
