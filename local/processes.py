"""The parts as supervised processes: one supervisord per instance starts them, restarts them, and stops them in order."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from local.errors import Problem
from local.part import INSTANCE, PART, end, marked
from local.parts import BUCKET, LOGIN, REPOSITORY, Parts, write_private

MAX_SOCKET_PATH = 90  # the kernel's limit is 108; supervisord adds its process id while it binds


@dataclass(frozen=True)
class Program:
    """One supervised part. A higher priority starts later and stops earlier."""

    name: str
    command: Sequence[str]
    priority: int
    stop_s: int = 15


def programs(parts: Parts) -> list[Program]:
    """What runs, in the order of starting: storage, then those that write to it."""
    return [
        Program("s3", seaweedfs_command(parts), 10),
        Program("mlflow", mlflow_command(parts), 20),
        Program("airflow-api-server", ["airflow", "api-server"], 30),
        Program("airflow-dag-processor", ["airflow", "dag-processor"], 40),
        # Log servers would listen on every interface; on one machine the API server reads the files itself.
        Program("airflow-triggerer", ["airflow", "triggerer", "--skip-serve-logs"], 40),
        Program("airflow-scheduler", ["airflow", "scheduler", "--skip-serve-logs"], 50, stop_s=20),
    ]


def seaweedfs_command(parts: Parts) -> list[str]:
    """One process with every server of SeaweedFS that S3 needs, on loopback; credentials come by environment."""
    ports = parts.ports
    return [
        *("weed", "-logtostderr=true", "mini", f"-dir={parts.home / 's3'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-admin.ui=false", "-webdav=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-bucket={BUCKET}", f"-s3.port={ports['s3']}", f"-s3.port.grpc={ports['s3_grpc']}"),
        *(f"-master.port={ports['s3_master']}", f"-master.port.grpc={ports['s3_master_grpc']}"),
        *(f"-volume.port={ports['s3_volume']}", f"-volume.port.grpc={ports['s3_volume_grpc']}"),
        *(f"-filer.port={ports['s3_filer']}", f"-filer.port.grpc={ports['s3_filer_grpc']}"),
        f"-admin.port={ports['s3_admin']}",
    ]


def mlflow_command(parts: Parts) -> list[str]:
    return [
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(parts.ports["mlflow"]), "--workers", "1"),
        *("--backend-store-uri", mlflow_database(parts), "--artifacts-destination", f"s3://{BUCKET}/mlflow"),
    ]


def mlflow_database(parts: Parts) -> str:
    return f"sqlite:///{parts.home / 'mlflow.db'}"


def socket_path(parts: Parts) -> Path:
    """supervisord's socket: in the state directory, or where that path is too long for a socket, in a private place."""
    inside = parts.home / "supervisor.sock"
    if len(str(inside)) <= MAX_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(str(parts.home).encode()).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"mktgen-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid() or private.stat().st_mode & 0o077:
        raise Problem(f"{private} belongs to somebody else: choose a shorter MKTGEN_HOME (under 75 characters).")
    return private / "supervisor.sock"


def quote(word: str) -> str:
    """A word for supervisord, which expands % and splits like a shell."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def render_program(program: Program, parts: Parts) -> str:
    words = [sys.executable, "-m", "local.part", program.name, "--", *program.command]
    settings = {
        "command": " ".join(quote(word) for word in words),
        "environment": f'{PART}="{program.name}",PYTHONPATH={quote(str(REPOSITORY))}',
        "priority": program.priority,
        "autostart": "false",  # `up` starts them when the databases are ready
        "autorestart": "true",
        "startsecs": 3,
        "startretries": 10,
        "stopsignal": "TERM",
        "stopwaitsecs": program.stop_s,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        # supervisor 4.3 expands this one value twice.
        "stdout_logfile": str(parts.logs / f"{program.name}.log").replace("%", "%%%%"),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": 2,
    }
    return "\n".join([f"[program:{program.name}]", *(f"{key} = {value}" for key, value in settings.items()), ""])


def render(parts: Parts, chosen: Sequence[Program]) -> str:
    """supervisord's whole configuration. It holds no secret."""
    base = Template((REPOSITORY / "local" / "supervisord.conf.template").read_text(encoding="utf-8"))
    escaped = {"home": parts.home, "logs": parts.logs, "socket": socket_path(parts)}
    head = base.substitute({key: str(value).replace("%", "%%") for key, value in escaped.items()})
    return "\n".join([head, *(render_program(program, parts) for program in chosen)])


def render_airflow(parts: Parts) -> str:
    template = Template((REPOSITORY / "airflow.cfg.template").read_text(encoding="utf-8"))
    paths = {"repository": REPOSITORY, "airflow_home": parts.airflow_home, "passwords_file": parts.passwords_file}
    return template.substitute({key: str(path).replace("%", "%%") for key, path in paths.items()}, login=LOGIN)


def prepare(parts: Parts, chosen: Sequence[Program] | None = None) -> None:
    """Write everything that a start needs: directories, env file, login, configurations. Safe to repeat."""
    for directory in (parts.home, parts.logs, parts.airflow_home, parts.home / "s3"):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    parts.save()
    write_private(parts.passwords_file, f'{{"{LOGIN}": "{parts.password}"}}\n')
    write_private(parts.airflow_home / "airflow.cfg", render_airflow(parts))
    write_private(parts.home / "supervisord.conf", render(parts, chosen or programs(parts)))


# -- the running supervisord ------------------------------------------------------------------------------------------
@contextmanager
def remote(parts: Parts) -> Iterator[Any]:
    """supervisord's XML-RPC interface over its socket, closed in the end."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path(parts)}")
    with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
        yield server.supervisor


def is_running(parts: Parts) -> bool:
    """Whether this instance's supervisord answers. A stale socket or pid file of a crashed machine does not."""
    try:
        with remote(parts) as supervisor:
            return str(supervisor.getState()["statename"]) == "RUNNING"
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return False


def states(parts: Parts) -> dict[str, dict[str, Any]]:
    """Part -> supervisord's record of it: `statename`, `pid`, `start` (epoch seconds), `spawnerr`."""
    with remote(parts) as supervisor:
        return {record["name"]: record for record in supervisor.getAllProcessInfo()}


def instance_mark(parts: Parts) -> str:
    """The mark of everything this instance started; made at its first start, so that a crash does not lose it."""
    path = parts.home / "instance"
    if not path.exists():
        write_private(path, secrets.token_hex(16) + "\n")
    return path.read_text(encoding="utf-8").strip()


def end_leftovers(parts: Parts) -> None:
    """End what a supervisord that was killed has left running: it would hold the ports."""
    if (parts.home / "instance").exists():
        end(marked(instance_mark(parts)), patience_s=10)
        remove_sockets(parts)


def start_supervisor(parts: Parts, timeout_s: float = 15) -> None:
    """Start supervisord in the background, with nothing running under it yet."""
    # Airflow renames its processes and would overwrite the mark in their environment; SPT_NOENV forbids that.
    environment = {**parts.environment(), INSTANCE: instance_mark(parts), "SPT_NOENV": "1"}
    command = ["supervisord", "-c", str(parts.home / "supervisord.conf")]
    started = subprocess.run(
        command, env=environment, cwd=parts.home, capture_output=True, text=True, timeout=60, check=False
    )
    if started.returncode != 0:
        raise Problem(f"supervisord did not start: {(started.stderr or started.stdout).strip().splitlines()[-1]}")
    deadline = time.monotonic() + timeout_s
    while not is_running(parts):
        if time.monotonic() > deadline:
            raise Problem(f"supervisord does not answer: see {parts.logs / 'supervisord.log'}")
        time.sleep(0.1)


def start_parts(parts: Parts, names: Sequence[str]) -> None:
    """Ask for a start of those that are not running; returns at once (health.py waits)."""
    running = states(parts)
    with remote(parts) as supervisor:
        for name in names:
            if running[name]["statename"] not in ("RUNNING", "STARTING", "BACKOFF"):
                supervisor.startProcess(name, False)


def stop(parts: Parts, timeout_s: float = 120, progress: Callable[[str], None] = lambda line: None) -> int:
    """End exactly what this instance started, last started first, and wait until it is gone.

    Returns:
        How many processes were ended.

    Raises:
        Problem: something could not be ended in time.
    """
    if not (parts.home / "instance").exists():
        return 0
    mine = marked(instance_mark(parts))
    if is_running(parts):
        with remote(parts) as supervisor:
            supervisor.shutdown()  # stops by falling priority, each with its own patience
        deadline = time.monotonic() + timeout_s
        while (left := [process for process in mine if process.is_running()]) and time.monotonic() < deadline:
            progress(f"{len(left)} processes left")
            if not any(process.name() == "supervisord" for process in left if process.is_running()):
                break  # what is left by now has lost its parent: ended below
            time.sleep(0.3)
    remaining = end(marked(instance_mark(parts)), patience_s=10)
    if remaining:
        raise Problem(f"These processes do not end: {', '.join(str(process.pid) for process in remaining)}.")
    remove_sockets(parts)
    return len(mine)


def remove_sockets(parts: Parts) -> None:
    """supervisord's files, and the sockets that a killed SeaweedFS leaves in /tmp under its port numbers."""
    socket_path(parts).unlink(missing_ok=True)
    (parts.home / "supervisord.pid").unlink(missing_ok=True)
    grpc = {name: parts.ports[f"s3_{name}_grpc"] for name in ("master", "volume", "filer")}
    numbers = {**grpc, "s3": parts.ports["s3_grpc"], "admin": parts.ports["s3_admin"] + 10_000}
    stale = [f"seaweedfs-{name}-grpc-{port}.sock" for name, port in numbers.items()]
    stale += [f"seaweedfs-s3-{parts.ports['s3']}.sock", f"seaweedfs-filer-{parts.ports['s3_filer']}.sock"]
    for name in stale:
        path = Path("/tmp") / name
        if path.is_socket() and path.stat().st_uid == os.getuid():
            path.unlink()
