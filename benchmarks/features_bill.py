"""The bill: CPU seconds, wall seconds and peak memory of ingest + clean + features over Complete Journey's whole history.

    python benchmarks/features_bill.py [--json FILE] [--engines duckdb,pandas,mktgen,mktgen_s3] [--from D] [--to D]

Each engine runs in a process of its own and gives the same three tables: customer x day (orders, lines, items,
categories, money, promoted lines), customer x category (days, lines, net) and item x day (lines, customers, net, promoted
lines), of merchandise, in New York days, with promotions merged by OR per (item, store, week). Their checksums must be
equal, or the run fails. CPU is of the process and its children, imports included, checksums not; `mktgen_s3` (the
product's onboarding, with artefacts and lineage written to a SeaweedFS on loopback) has the server's CPU apart.

What mktgen does beyond the other two: every value passes through the string it was received as, each row is checked
against the rules and refused rows are kept, customers are pseudonymised, and the model's event sequences are made.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
ENGINES: Final = ("duckdb", "pandas", "mktgen", "mktgen_s3")
FIRST: Final = date(2017, 1, 1)
LAST: Final = date(2017, 12, 31)


def checksum(rows: Any) -> dict[str, Any]:
    """rows: iterable of tuples of strings and integers. SHA-256 of the sorted rows, and how many there are."""
    lines = sorted("|".join(map(str, row)) for row in rows)
    return {"rows": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def run_engine(name: str, first: date, last: date) -> dict[str, Any]:
    """One engine in a process of its own; it reports what the kernel charged to it when its tables were there."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        command = [
            sys.executable,
            __file__,
            "--engine",
            name,
            "--report",
            str(report),
            "--begun",
            str(time.monotonic()),
        ]
        process = subprocess.run(
            [*command, "--from", str(first), "--to", str(last)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=False,
        )
        if process.returncode:
            raise SystemExit(f"{name} failed with exit code {process.returncode}")
        found: dict[str, Any] = json.loads(report.read_text())
    return {"engine": name, **found}


def measured(name: str, first: date, last: date, begun: float) -> dict[str, Any]:
    """Inside an engine's process: run it, read the meters, and only then make the checksums."""
    found = importlib.import_module(f"benchmarks.features_bill_engines.{name}").run(first, last)
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    server = float(found.get("server_cpu_s", 0.0))
    return {
        "wall_s": time.monotonic() - begun,  # the clock is the machine's, the same in parent and child
        "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime - server,
        "server_cpu_s": server,
        "peak_mib": own.ru_maxrss / 1024,
        "checks": {table: checksum(rows) for table, rows in found["tables"]().items()},
    }


def compare(results: list[dict[str, Any]]) -> list[str]:
    """Names of checks in which engines differ."""
    first = results[0]["checks"]
    return [f"{r['engine']}: {name}" for r in results[1:] for name in first if r["checks"][name] != first[name]]


def table(results: list[dict[str, Any]]) -> str:
    base = min(results, key=lambda r: float(r["cpu_s"]))
    lines = [f"{'engine':<12}{'CPU s':>8}{'x':>7}{'wall s':>9}{'x':>7}{'peak MiB':>10}{'x':>7}{'S3 server CPU s':>17}"]
    for r in results:
        ratios = {name: r[name] / base[name] for name in ("cpu_s", "wall_s", "peak_mib")}
        lines.append(
            f"{r['engine']:<12}{r['cpu_s']:>8.1f}{ratios['cpu_s']:>7.2f}{r['wall_s']:>9.1f}{ratios['wall_s']:>7.2f}"
            f"{r['peak_mib']:>10.0f}{ratios['peak_mib']:>7.2f}{r['server_cpu_s']:>17.1f}"
        )
    lines.append(f"x: beside {base['engine']}, which took the least CPU. Checksums equal in all:")
    for name, value in results[0]["checks"].items():
        lines.append(f"  {name:<18} {value['rows']:>9,} rows  {value['sha256'][:16]}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engines", default=",".join(ENGINES), help="which, in order")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=FIRST, help="a Monday, or 2017-01-01")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=LAST)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        report = measured(arguments.engine, arguments.first, arguments.last, arguments.begun)
        arguments.report.write_text(json.dumps(report))
        return
    results = [run_engine(name, arguments.first, arguments.last) for name in arguments.engines.split(",")]
    different = compare(results)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if different:
        raise SystemExit(f"checksums differ from {results[0]['engine']}'s: {', '.join(different)}")


if __name__ == "__main__":
    main()
