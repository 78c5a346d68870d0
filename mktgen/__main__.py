"""`python -m mktgen`: the same steps as Airflow's tasks, without Airflow."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from datetime import date, timedelta

from mktgen import pipeline
from mktgen.errors import MktgenError
from mktgen.steps.runner import Platform, StepResult
from mktgen.store import Manifest, lineage


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 when a step stopped, with its message; 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m mktgen", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run one step for one partition")
    one.add_argument("step", choices=list(pipeline.STEPS), metavar="STEP", help=", ".join(pipeline.STEPS))
    one.add_argument("--partition", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    one.add_argument("--recompute", choices=["changed", "day", "all"], default="changed")
    loop = commands.add_parser("loop", help="run the loop and the feedback of each day of a range")
    history = commands.add_parser("onboard", help="bring in a range of days of the source")
    for command in (loop, history):
        command.add_argument("--from", dest="first", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
        command.add_argument("--to", dest="last", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    loop.add_argument("--recompute", choices=["changed", "day", "all"], default="changed")
    history.add_argument("--source", default="complete_journey")
    chain = commands.add_parser("lineage", help="print the chain from an artefact back to raw rows")
    chain.add_argument("uri", help="s3://.../<artefact>/dt=YYYY-MM-DD[/run=<id>]")
    digests = commands.add_parser("digests", help="print artefact, partition and content hash of everything stored")
    digests.add_argument("--from", dest="first", type=date.fromisoformat, default=date.min, metavar="YYYY-MM-DD")
    digests.add_argument("--to", dest="last", type=date.fromisoformat, default=date.max, metavar="YYYY-MM-DD")
    arguments = parser.parse_args(argv)
    try:
        _COMMANDS[arguments.command](arguments)
    except MktgenError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    _show(pipeline.run_step(arguments.step, arguments.partition, recompute=arguments.recompute))


def _loop(arguments: argparse.Namespace) -> None:
    platform = Platform.from_environment()
    days = [arguments.first + timedelta(days=n) for n in range((arguments.last - arguments.first).days + 1)]
    for day in days:
        for step in pipeline.STEPS.values():
            if step.dag in ("loop", "feedback"):
                _show(pipeline.run_step(step.name, day, recompute=arguments.recompute, platform=platform))


def _onboard(arguments: argparse.Namespace) -> None:
    result = pipeline.onboard(
        arguments.source, arguments.first, arguments.last, progress=lambda line: print(line, flush=True)
    )
    _show(result)


def _show(result: StepResult) -> None:
    state = "found" if result.reused else "done"
    print(f"{result.partition} {result.step:<18} {state:<5} {result.seconds:7.2f} s  run={result.run_id}", flush=True)
    for note in result.notes:
        print(f"    {note}", flush=True)


def _lineage(arguments: argparse.Namespace) -> None:
    store = Platform.from_environment().store
    for depth, manifest, _ in lineage(store, arguments.uri):
        print(f"{'  ' * depth}{_line(manifest)}")


def _line(manifest: Manifest) -> str:
    parents = Counter(parent.artefact for parent in manifest.parents)
    made_from = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in sorted(parents.items()))
    origin = made_from or f"source {manifest.info.get('source', '')}"
    return f"{manifest.folder}  {manifest.rows} rows  by {manifest.step}  from {origin}"


def _digests(arguments: argparse.Namespace) -> None:
    store = Platform.from_environment().store
    names = [name for name in store.objects.folders("") if not name.startswith("_")]
    for name in names:
        days = [day for day in store.partitions(name) if arguments.first <= day <= arguments.last]
        for manifest in store.currents(name, days):
            print(f"{name} {manifest.partition} {manifest.rows} {manifest.digest}")


_COMMANDS = {"run": _run, "loop": _loop, "onboard": _onboard, "lineage": _lineage, "digests": _digests}

if __name__ == "__main__":
    sys.exit(main())
