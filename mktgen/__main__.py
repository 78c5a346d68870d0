"""`python -m mktgen`: the same steps as Airflow's tasks, without Airflow."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mktgen import pipeline
from mktgen.errors import GateFailed, MktgenError
from mktgen.execution.contact_book import Record
from mktgen.lineage import lineage
from mktgen.steps import checking, contact_records, proving, why
from mktgen.steps.runner import Platform, Recompute, StepResult
from mktgen.store import Manifest
from mktgen.strategy.why_text import render


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 when a step stopped, with its message, or a proof or a trail does not hold; 2: wrong command line."""
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
    chain.add_argument("--full", action="store_true", help="every day on a line of its own")
    chain.add_argument("uri", help="s3://.../<artefact>/dt=YYYY-MM-DD[/run=<id>]")
    digests = commands.add_parser("digests", help="print artefact, partition and content hash of everything stored")
    digests.add_argument("--from", dest="first", type=date.fromisoformat, default=date.min, metavar="YYYY-MM-DD")
    digests.add_argument("--to", dest="last", type=date.fromisoformat, default=date.max, metavar="YYYY-MM-DD")
    tune = commands.add_parser("search", help="search a kind's settings on weeks before a training, against today's")
    tune.add_argument("--kind", required=True, help="a model kind, e.g. transformer")
    tune.add_argument("--trials", type=int, default=20, help="today's settings included (20)")
    tune.add_argument("--timeout", type=float, metavar="S", help="begin no new trial after so many seconds")
    compare = commands.add_parser("crossvalidate", help="compare kinds on rolling cuts before a training")
    compare.add_argument("--kinds", required=True, metavar="A,B", help="model kinds, separated by commas")
    for command, folds in ((tune, 3), (compare, 4)):
        command.add_argument("--day", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="training day")
        command.add_argument("--folds", type=int, default=folds, help=f"cuts, 28 days apart ({folds})")
    _contact_commands(commands)
    check = commands.add_parser("prove", help="check a dispatch against ledger, records, decisions and approval")
    check.add_argument("where", metavar="PARTITION|URI", help="YYYY-MM-DD, or s3://.../dt=YYYY-MM-DD[/...]")
    trail = commands.add_parser("audit", help="print the audit trail of a day's strategy, and check that it is whole")
    trail.add_argument("day", type=date.fromisoformat, metavar="YYYY-MM-DD")
    back = commands.add_parser("rollback", help="let an earlier version of a model serve, until it is released")
    back.add_argument("model", choices=["response"])
    which = back.add_mutually_exclusive_group()
    which.add_argument(
        "--to", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day it was learned (the one before)"
    )
    which.add_argument("--release", action="store_true", help="let new versions take over again")
    back.add_argument(
        "--from", dest="since", type=date.fromisoformat, metavar="YYYY-MM-DD", help="first partition (the next)"
    )
    back.add_argument("--why", required=True, help="kept with it, and shown in the notes of the allocation")
    back.add_argument("--by", default=getpass.getuser(), help="who asks for it (the user of this process)")
    reason = commands.add_parser("why", help="explain a decision: what was possible, what decided, what became of it")
    reason.add_argument("decision_id", help="as in the artefacts decisions, messages and sends")
    reason.add_argument(
        "--partition", type=date.fromisoformat, metavar="YYYY-MM-DD", help="its day (all are looked through)"
    )
    reason.add_argument("--json", action="store_true", help="as a JSON document")
    arguments = parser.parse_args(argv)
    try:
        return _COMMANDS[arguments.command](arguments) or 0
    except MktgenError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
    return 0


def _contact_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What customers let us do. Records are added, never changed: the latest holds."""
    agree = commands.add_parser("consent", help="note that a customer gave or withdrew consent for a purpose")
    agree.add_argument("value", choices=["given", "withdrawn"])
    agree.add_argument("--purpose", required=True, help="e.g. marketing_email, marketing_post, profiling")
    stop = commands.add_parser("suppress", help="put a customer on the suppression list, or take one off it")
    stop.add_argument("--reason", required=True, help="in a word, e.g. complaint; no personal data")
    stop.add_argument("--lift", action="store_true", help="take the customer off the list")
    place = commands.add_parser("timezone", help="note a customer's time zone; without one the shop's counts")
    place.add_argument("zone", help="IANA name, e.g. America/New_York")
    for command, since in ((agree, "--at"), (stop, "--since"), (place, "--at")):
        who = command.add_mutually_exclusive_group(required=True)
        who.add_argument("--customer", default="", metavar="ID", help="pseudonym, as in decisions")
        who.add_argument("--source-id", default="", metavar="ID", help="identifier that the source uses")
        command.add_argument(since, dest="at", metavar="TIME", help="ISO time with offset, from when on (now)")
    for command in (agree, place):
        command.add_argument("--note", default="", help="where it was said, e.g. web-form; no personal data")
    many = commands.add_parser("contacts", help="add many such records from a CSV file")
    many.add_argument("file", type=Path, help="columns kind, customer_id, about, value, at[, note]")


def _run(arguments: argparse.Namespace) -> None:
    _show(pipeline.run_step(arguments.step, arguments.partition, recompute=arguments.recompute))


def _loop(arguments: argparse.Namespace) -> int:
    """A stopped strategy ends its day and not the range: what came of earlier days is collected all the same."""
    platform, stopped = Platform.from_environment(), 0
    for number in range((arguments.last - arguments.first).days + 1):
        day = arguments.first + timedelta(days=number)
        try:
            _steps("loop", day, arguments.recompute, platform)
        except GateFailed as error:
            stopped += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        _steps("feedback", day, arguments.recompute, platform)
    return 1 if stopped else 0


def _steps(dag: str, day: date, recompute: Recompute, platform: Platform) -> None:
    for step in pipeline.STEPS.values():
        if step.dag == dag:
            _show(pipeline.run_step(step.name, day, recompute=recompute, platform=platform))


def _onboard(arguments: argparse.Namespace) -> None:
    result = pipeline.onboard(arguments.source, arguments.first, arguments.last, progress=_say)
    _show(result)


def _show(result: StepResult) -> None:
    state = "found" if result.reused else "done"
    print(f"{result.partition} {result.step:<18} {state:<5} {result.seconds:7.2f} s  run={result.run_id}", flush=True)
    for note in result.notes:
        print(f"    {note}", flush=True)


def _lineage(arguments: argparse.Namespace) -> None:
    chain = list(lineage(Platform.from_environment().store, arguments.uri))
    if arguments.full:
        for depth, manifest in chain:
            print(f"{'  ' * depth}{manifest.folder}  {manifest.rows} rows  by {manifest.step}")
        return
    levels: dict[str, list[tuple[int, Manifest]]] = {}
    for depth, manifest in chain:
        levels.setdefault(manifest.artefact, []).append((depth, manifest))
    for found in sorted(levels.values(), key=lambda group: min(depth for depth, _ in group)):
        depth = min(depth for depth, _ in found)
        print(f"{'  ' * depth}{_level([manifest for _, manifest in found])}")


def _level(found: list[Manifest]) -> str:
    """One line for all days of an artefact in the chain."""
    days = sorted(manifest.partition for manifest in found)
    span = f"dt={days[0]}/run={found[0].run}" if len(found) == 1 else f"dt={days[0]}..{days[-1]} ({len(found)} days)"
    parents = sorted({parent.artefact for manifest in found for parent in manifest.parents})
    origin = ", ".join(parents) or f"source {found[0].info.get('source', '')}"
    rows = sum(manifest.rows for manifest in found)
    return f"{found[0].artefact} {span}  {rows} rows  by {found[0].step}  from {origin}"


def _digests(arguments: argparse.Namespace) -> None:
    store = Platform.from_environment().store
    names = [name for name in store.objects.folders("") if not name.startswith("_")]
    for name in names:
        days = [day for day in store.partitions(name) if arguments.first <= day <= arguments.last]
        for manifest in store.currents(name, days):
            print(f"{name} {manifest.partition} {manifest.rows} {manifest.digest}")


def _search(arguments: argparse.Namespace) -> None:
    from mktgen.search import reporting  # late: optuna is needed for this alone

    reporting.search(
        Platform.from_environment(), arguments.kind, arguments.day, trials=arguments.trials, folds=arguments.folds,
        timeout=arguments.timeout, say=_say,
    )  # fmt: skip


def _crossvalidate(arguments: argparse.Namespace) -> None:
    from mktgen.search import reporting

    kinds = [kind for kind in arguments.kinds.split(",") if kind]
    reporting.crossvalidate(Platform.from_environment(), kinds, arguments.day, folds=arguments.folds, say=_say)


def _record(arguments: argparse.Namespace) -> None:
    platform = Platform.from_environment()
    who = contact_records.customer(platform, arguments.customer, arguments.source_id)
    at = contact_records.moment(arguments.at) if arguments.at else datetime.now(UTC)
    if arguments.command == "consent":
        record = Record("consent", who, arguments.purpose, arguments.value, at, arguments.note)
    elif arguments.command == "suppress":
        record = Record("suppression", who, "", "lifted" if arguments.lift else "suppressed", at, arguments.reason)
    else:
        record = Record("time_zone", who, "", arguments.zone, at, arguments.note)
    added, _ = contact_records.add_records(platform, [record])
    words = " ".join(word for word in (who, record.kind, record.about, record.value) if word)
    print(f"{words} from {at.isoformat()}{'' if added else ' (was known)'}")


def _contacts(arguments: argparse.Namespace) -> None:
    platform = Platform.from_environment()
    added, known = contact_records.add_records(platform, contact_records.read_records(arguments.file))
    print(f"{added} records added, {known} were known")


def _prove(arguments: argparse.Namespace) -> int:
    proven = proving.prove_export(Platform.from_environment(), arguments.where)
    print(proven.text)
    return 0 if proven.holds else 1


def _audit(arguments: argparse.Namespace) -> int:
    audited = checking.audit_day(Platform.from_environment(), arguments.day)
    print(audited.text)
    return 0 if audited.holds else 1


def _rollback(arguments: argparse.Namespace) -> None:
    _show(pipeline.roll_back_response(
        arguments.by, arguments.why, arguments.to, arguments.since, arguments.release
    ))  # fmt: skip


def _why(arguments: argparse.Namespace) -> None:
    told = why.why(Platform.from_environment(), arguments.decision_id, arguments.partition)
    print(told.to_bytes().decode() if arguments.json else render(told), end="")


def _say(line: str) -> None:
    print(line, flush=True)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "run": _run, "loop": _loop, "onboard": _onboard, "lineage": _lineage, "digests": _digests, "search": _search,
    "crossvalidate": _crossvalidate, "consent": _record, "suppress": _record, "timezone": _record, "contacts": _contacts,
    "prove": _prove, "audit": _audit, "rollback": _rollback, "why": _why,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
