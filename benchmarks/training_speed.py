"""Tokens learned per second on the CPU, beside RecTools' SASRec: same shape, same data, same loss, turn about in one run.

    python -m benchmarks.training_speed --data ml-1m.txt.gz [--threads 2] [--steps 12] [--rounds 3] [--json FILE]

Both learn the last 200 next items of every user under a softmax over the whole catalogue, with width 128, two layers and
two heads. A token is a target that is learned from; padding is none. Every measurement is a process of its own. Beside the
wall clock stand processor seconds, which other work on the machine disturbs less. The peer gets an environment of its own
under --peer-venv, made by pip on first use and never the project's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.next_item.data import Ints, Sequences, movielens
from benchmarks.next_item.network import NextItem, Recipe, SequenceCourse
from mktgen.models._processes import low_precision_pays, processes, reproducible
from mktgen.models._trainer import Plan, Trainer
from mktgen.models.base import Session

PEER: Final = ("rectools[torch]==0.17.0", "torch==2.13.0", "pytorch-lightning==2.6.6", "numpy==1.26.4", "pandas==2.3.3")
GOAL: Final = 3.0
RECIPE: Final = replace(Recipe(), whole_history=False)
_WARM: Final = 2  # steps before the clock starts
_PROFILED: Final = 6  # steps
_SHOWN: Final = 20  # operators


@dataclass(frozen=True)
class Nothing:
    """No checkpoints: none would be saved in so few steps."""

    def load(self) -> None:
        return None

    def save(self, files: dict[str, bytes]) -> None:
        pass


@dataclass(frozen=True)
class Few:
    """The first `steps` steps of a course's first epoch."""

    course: SequenceCourse
    steps: int

    def order(self, epoch: int) -> list[Ints]:
        return self.course.order(epoch)[: self.steps]

    def lesson(self, chosen: Ints, draw: tuple[int, ...]) -> Any:
        return self.course.lesson(chosen, draw)


class Clock:
    """Time between the network's first call after the warm-up and its last one; the steps begun there count."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.marks: list[tuple[float, float, int]] = []
        network.register_forward_pre_hook(self._mark)

    def _mark(self, network: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        self.marks.append((time.perf_counter(), time.process_time(), arguments[0].events))

    def facts(self) -> dict[str, float]:
        first, last = self.marks[_WARM], self.marks[-1]
        tokens = sum(events for _, _, events in self.marks[_WARM:-1])
        return {"tokens": tokens, "places": tokens, "wall": last[0] - first[0], "cpu": last[1] - first[1]}


def main() -> None:
    arguments = _arguments()
    if not arguments.data.exists():
        sys.exit(f"{arguments.data} is missing: this benchmark needs the public file ml-1m.txt.gz; nothing was run")
    data = movielens(arguments.data)
    if arguments.worker:
        print(json.dumps(_ours(data, arguments.steps, arguments.threads)))
        return
    if arguments.profile:
        print(_profile(data, arguments.threads))
        return
    batch = _sequences_per_step(data)
    peer = _environment(arguments.peer_venv)
    with tempfile.TemporaryDirectory() as directory:
        sequences = Path(directory) / "sequences.npz"
        _write(data, sequences)
        ours = [sys.executable, "-m", "benchmarks.training_speed", "--worker", "--data", str(arguments.data)]
        theirs = [
            str(peer),
            str(Path(__file__).with_name("training_speed_peer.py")),
            str(sequences),
            "--batch",
            str(batch),
        ]
        rows = [
            {"name": name, **_run(command, arguments)}
            for _ in range(arguments.rounds)
            for name, command in (("ours", ours), ("RecTools SASRec", theirs))
        ]
        table = _profile(data, arguments.threads)
    print(_report(rows, batch, arguments.threads))
    print(f"\nWhere our time goes ({_PROFILED} steps, own time of operators):\n{table}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": platform.processor(), "batch": batch, "rows": rows}, indent=1))


def _sequences_per_step(data: Sequences) -> int:
    """The peer takes as many sequences at once as ours takes on average."""
    return round(statistics.mean(len(part) for part in SequenceCourse(data, RECIPE, 0).order(0)))


def _write(data: Sequences, path: Path) -> None:
    """What is learned from, as the peer's input: the windows that ours learns too."""
    windows = np.concatenate(SequenceCourse(data, RECIPE, 0).order(0))
    sizes = windows[:, 1] - windows[:, 0]
    event = np.repeat(windows[:, 0] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    np.savez(path, item=data.item[event], first=np.r_[0, np.cumsum(sizes)])


def _environment(place: Path) -> Path:
    """The peer's interpreter."""
    python = place / "bin" / "python"
    ready = place / "ready.json"
    if not ready.exists() or json.loads(ready.read_text()) != list(PEER):
        print(f"making the peer's environment in {place}: {' '.join(PEER)}", flush=True)
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER], check=True)
        ready.write_text(json.dumps(PEER))
    return python


def _run(command: list[str], arguments: argparse.Namespace) -> dict[str, float]:
    command = [*command, "--threads", str(arguments.threads), "--steps", str(arguments.steps)]
    threads = {"OMP_NUM_THREADS": str(arguments.threads), "MKL_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {facts['tokens'] / facts['wall']:8,.0f} tokens/s  {facts['tokens'] / facts['cpu']:8,.0f} per CPU s",
        flush=True,
    )
    return facts


def _trainer(data: Sequences, steps: int, group: Any) -> tuple[NextItem, Trainer[Any]]:
    torch.manual_seed(0)
    network = NextItem(data.items, RECIPE)
    plan = Plan(
        epochs=1, learning_rate=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay, checkpoint_every=10**9,
        identity="speed", parts={"next": 1.0}, average=RECIPE.average,
        precision=torch.bfloat16 if low_precision_pays() else torch.float32,
    )  # fmt: skip
    session = Session(0, Nothing(), lambda line: None)
    return network, Trainer(network, Few(SequenceCourse(data, RECIPE, 0), steps), plan, session, group)


def _ours(data: Sequences, steps: int, threads: int) -> dict[str, float]:
    with processes() as group, reproducible(threads):
        network, trainer = _trainer(data, _WARM + steps + 1, group)
        clock = Clock(network)
        trainer.run()
    return {**clock.facts(), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _profile(data: Sequences, threads: int) -> str:
    """Operators by the time spent in themselves, as a Markdown table."""
    with processes() as group, reproducible(threads):
        _, trainer = _trainer(data, _PROFILED, group)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            trainer.run()
    averages = sorted(found.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in averages)
    lines = ["| operator | share | calls |", "|---|---:|---:|"]
    lines += [f"| {e.key} | {e.self_cpu_time_total / total:.1%} | {e.count} |" for e in averages[:_SHOWN]]
    return "\n".join(lines)


def _report(rows: list[dict[str, Any]], batch: int, threads: int) -> str:
    lines = [
        f"{threads} threads, {batch} sequences per step on average, {platform.machine()}",
        "| | tokens/s | tokens per CPU second | real share of places | peak memory, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    speeds: dict[str, tuple[float, float]] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        wall, cpu = (statistics.median(row["tokens"] / row[kind] for row in own) for kind in ("wall", "cpu"))
        speeds[name] = (wall, cpu)
        real = own[0]["tokens"] / own[0]["places"]
        lines.append(f"| {name} | {wall:,.0f} | {cpu:,.0f} | {real:.0%} | {max(row['peak_mb'] for row in own):,.0f} |")
    (wall, cpu), (peer_wall, peer_cpu) = speeds.values()
    lines.append(
        f"\nratio: {wall / peer_wall:.2f} by the wall clock, {cpu / peer_cpu:.2f} by processor time; goal {GOAL}"
    )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=12, help="steps measured in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, turn about")
    parser.add_argument("--peer-venv", type=Path, default=Path(tempfile.gettempdir()) / "mktgen-peer-rectools")
    parser.add_argument("--profile", action="store_true", help="only the table of where our time goes")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
