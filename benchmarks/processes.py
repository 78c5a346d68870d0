"""Several processes learn what one does, and a killed training ends as an undisturbed one.

    python -m benchmarks.processes [--kills 2] [--seed 0]

Made-up sequences, a small network, no dropout. (1) Two processes under torchrun, with weights replicated (DDP) and sharded
(FSDP2), against one process with the same steps, i.e. twice the micro-batch: curves of loss and weights must agree but for
the order of sums. (2) One process, killed with signal 9 at random moments and started again each time: its weights must be
those of an undisturbed one, bit for bit. Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.next_item.checkpoints import DirectoryCheckpoints
from benchmarks.next_item.data import Questions, Sequences
from benchmarks.next_item.network import NextItem, Recipe, SequenceCourse
from mktgen.models._checkpoint import weights_of
from mktgen.models._processes import processes, reproducible
from mktgen.models._trainer import Plan, Trainer
from mktgen.models.base import Session

RECIPE: Final = Recipe(width=32, layers=2, heads=2, dropout=0.0, events=32, rows=512, epochs=3, average=0.9)
ITEMS: Final = 300
CURVE: Final = 1e-4  # largest difference of a point of the curve, as a share of it: float32 sums in another order
WEIGHTS: Final = 1e-3  # largest difference of the weights, as a share of their norm, after all steps
_EVERY: Final = 2  # steps per checkpoint


def made_up(users: int = 400, seed: int = 0) -> Sequences:
    """Each item is followed by one of three; lengths from 3 to 60."""
    generator = np.random.Generator(np.random.PCG64(seed))
    follows = generator.integers(0, ITEMS, (ITEMS, 3))
    sizes = generator.integers(3, 61, users)
    first = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    item = generator.integers(0, ITEMS, int(first[-1]))
    starts = np.zeros(item.size, dtype=bool)
    starts[first[:-1]] = True
    for at in np.flatnonzero(~starts):
        item[at] = follows[item[at - 1], item[at] % 3]
    start, stop = first[:-1], first[1:]
    asked = Questions(start, stop - 1, item[stop - 1])
    return Sequences(item, first, stop - 1, ITEMS, True, asked, asked)


@dataclass(frozen=True)
class Announced:
    """Checkpoints in a file; a line on standard output for each, by which the killer knows how far the training is."""

    kept: DirectoryCheckpoints

    def load(self) -> dict[str, bytes] | None:
        return self.kept.load()

    def save(self, files: dict[str, bytes]) -> None:
        self.kept.save(files)
        print("saved", flush=True)


def learn(place: Path, sharding: Literal["replicated", "sharded"], accumulate: int) -> None:
    """One training; rank 0 leaves curves and weights in `place`."""
    with processes() as group, reproducible(1):
        torch.manual_seed(0)
        network = NextItem(ITEMS, RECIPE)
        plan = Plan(
            epochs=RECIPE.epochs, learning_rate=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay,
            checkpoint_every=_EVERY, identity=f"{sharding} {group.size}", parts={"next": 1.0}, accumulate=accumulate,
            average=RECIPE.average, sharding=sharding,
        )  # fmt: skip
        checkpoints = Announced(DirectoryCheckpoints(place / "checkpoint"))
        session = Session(0, checkpoints, lambda line: print(line, flush=True))
        progress = Trainer(network, SequenceCourse(made_up(), RECIPE, 0), plan, session, group).run()
        if group.leads:
            save_file(weights_of(network), place / "weights.safetensors")
            (place / "curves.json").write_text(json.dumps(progress.curves))


def main() -> None:
    arguments = _arguments()
    if arguments.worker:
        learn(arguments.worker, arguments.sharding, arguments.accumulate)
        return
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        _finish(_command(root / "one"), root / "one")
        good = [
            _compare(root, "four micro-batches in one process", _command(root / "micro", accumulate=4)),
            _compare(root, "two processes, replicated (DDP)", _command(root / "ddp", size=2)),
            _compare(root, "two processes, two micro-batches", _command(root / "both", size=2, accumulate=2)),
            _compare(root, "two processes, sharded (FSDP2)", _command(root / "fsdp", size=2, sharding="sharded")),
            _compare(root, "sharded, two micro-batches", _command(root / "all", 2, "sharded", accumulate=2)),
            _killed(root, random.Random(arguments.seed), arguments.kills),
        ]
    print(f"{time.perf_counter() - started:.0f} s in all")
    sys.exit(0 if all(good) else 1)


def _command(place: Path, size: int = 1, sharding: str = "replicated", accumulate: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"] if size > 1 else []
    options = ["--worker", str(place), "--sharding", sharding, "--accumulate", str(accumulate)]
    return [sys.executable, *launcher, "-m", "benchmarks.processes", *options]


def _finish(command: list[str], place: Path) -> str:
    place.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def _compare(root: Path, name: str, command: list[str]) -> bool:
    place = Path(command[command.index("--worker") + 1])
    _finish(command, place)
    curves = [_curve(root / "one"), _curve(place)]
    curve = float(np.max(np.abs(curves[1] / curves[0] - 1.0)))
    weights = [load_file(each / "weights.safetensors") for each in (root / "one", place)]
    vectors = [torch.cat([value.flatten() for _, value in sorted(each.items())]) for each in weights]
    share = float((vectors[1] - vectors[0]).norm() / vectors[0].norm())
    good = curve <= CURVE and share <= WEIGHTS
    print(
        f"{name:<36} loss {curves[1][0]:.4f} -> {curves[1][-1]:.4f}, differs by {curve:.1e} of it at most "
        f"(allowed {CURVE:.0e}); weights by {share:.1e} of their norm (allowed {WEIGHTS:.0e}): {_word(good)}",
        flush=True,
    )
    return good


def _curve(place: Path) -> Any:
    return np.array(json.loads((place / "curves.json").read_text())["loss_next"])


def _killed(root: Path, chance: random.Random, kills: int) -> bool:
    """Kill at a random checkpoint plus a random part of the time between two; each start goes on from the last one."""
    place = root / "killed"
    place.mkdir()
    command = _command(place)
    for number in range(kills):
        # Two to five checkpoints on: no start gets through to the end.
        wanted = chance.randint(2, 5)
        print(f"kill {number + 1}: {_kill(command, wanted, chance.random())}", flush=True)
    if (place / "weights.safetensors").exists():
        print("the training ended before it was killed: kill less often")
        return False
    resumed = [line for line in _finish(command, place).splitlines() if line.startswith("resuming")]
    good = _bytes(place) == _bytes(root / "one") and _curve(place).tolist() == _curve(root / "one").tolist()
    print(f"killed {kills} times, then {', '.join(resumed)}: weights and curves bit for bit: {_word(good)}")
    return good and bool(resumed)


def _kill(command: list[str], wanted: int, share: float) -> str:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        saved: list[float] = []
        for line in child.stdout:
            if line == "saved\n":
                saved.append(time.perf_counter())
            if len(saved) == wanted:
                break
        pause = (saved[-1] - saved[0]) / (len(saved) - 1) * share
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
    return f"{1000 * pause:.0f} ms after checkpoint {wanted} of this start, exit status {child.returncode}"


def _bytes(place: Path) -> bytes:
    return (place / "weights.safetensors").read_bytes()


def _word(good: bool) -> str:
    return "agree" if good else "DIFFER"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sharding", choices=["replicated", "sharded"], default="replicated", help=argparse.SUPPRESS)
    parser.add_argument("--accumulate", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
