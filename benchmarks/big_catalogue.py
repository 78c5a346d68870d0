"""Catalogues of ten thousand to ten million items: a training step and a scoring pass, each in a process of its own.

    python -m benchmarks.big_catalogue [--items 10000,100000,1000000,10000000] [--threads 2] [--json FILE]
    python -m benchmarks.big_catalogue --product 10000 100000 1000000

Training: the product's backbone, trainer and optimiser on made-up sequences; a softmax over a sample of the catalogue with
known chances, the target apart; the item table's gradients are rows. Scoring: the best 100 for 1,000 customers, streamed.
Time is the median of the steps after the first; beside the wall clock stand processor seconds. Nothing here depends on the
values of the weights, so a table of millions is one block of random rows, repeated.

With --product the Transformer of the product itself is fitted on a made-up shop of that many items, and ranks them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import big_catalogue_product as product
from benchmarks.next_item.checkpoints import DirectoryCheckpoints
from mktgen.models._backbone import Backbone, Size
from mktgen.models._packing import Packing
from mktgen.models._processes import processes, reproducible
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._softmax import Pairs, catalogue_logsumexp, output_flops
from mktgen.models._topk import stream_top
from mktgen.models._trainer import Learner, Plan, Trainer
from mktgen.models.base import Session

SIZE: Final = Size.of(64, dropout=0.1)
SEQUENCES, EVENTS, NEGATIVES, STEPS = 64, 50, 4096, 6
CUSTOMERS, BEST = 1_000, 100
_BLOCK: Final = 2**16  # random rows that a table consists of
_WARM: Final = 1  # steps before the clock starts
PRODUCT_WORKS: Final = {"fit": product.fit, "rank": product.rank}


@dataclass(frozen=True)
class Batch:
    """item, target: [N]; column, log_weight: [K] the sample, in ascending order; excluded: targets that were drawn."""

    packing: Packing
    item: Tensor
    target: Tensor
    column: Tensor
    log_weight: Tensor
    excluded: Pairs

    @property
    def events(self) -> int:
        return self.item.shape[0]

    @property
    def counts(self) -> Mapping[str, float]:
        return {"next": float(self.events)}

    def to(self, device: torch.device) -> Batch:
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class BigNextItem(Learner):
    """Events so far -> the next item of millions: a step reads and changes the rows of its events and its sample only."""

    def __init__(self, items: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.item, self.bias = nn.Embedding(items, SIZE.width, sparse=True), nn.Embedding(items, 1, sparse=True)
        block = torch.randn(min(items, _BLOCK), SIZE.width) * SIZE.width**-0.5
        self.item.weight = nn.Parameter(block.repeat(-(-items // len(block)), 1)[:items])
        self.bias.weight = nn.Parameter(torch.zeros(items, 1))
        self.backbone = Backbone(SIZE, timed=False)

    def states(self, item: Tensor, packing: Packing) -> Tensor:
        states: Tensor = self.backbone(self.item(item) * SIZE.width**0.5, packing)
        return states * SIZE.width**-0.5

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        states = self.states(batch.item, batch.packing)
        bias = self.bias(batch.column)[:, 0] + batch.log_weight
        rest = catalogue_logsumexp(states, self.item(batch.column), bias, batch.excluded)
        hit = (states * self.item(batch.target)).sum(1) + self.bias(batch.target)[:, 0]
        return {"next": (torch.logaddexp(rest, hit) - hit).sum()}

    def flops(self, batch: Batch) -> float:
        backbone = batch.events * SIZE.flops_per_row(batch.packing.context)
        return backbone + output_flops(batch.events, batch.column.shape[0], SIZE.width)


@dataclass(frozen=True)
class MadeUp:
    """Sequences of items drawn by a power law of popularity."""

    items: int
    sampler: CatalogueSampler

    def order(self, epoch: int) -> list[Any]:
        return [np.arange(SEQUENCES) for _ in range(STEPS + _WARM + 1)]

    def lesson(self, chosen: Any, draw: tuple[int, ...]) -> Batch:
        generator = np.random.Generator(np.random.PCG64(list(draw)))
        sizes = np.sort(generator.integers(EVENTS // 2, EVENTS + 1, len(chosen)))[::-1].astype(np.int64)
        events = (self.items * generator.random(int(sizes.sum()) + 1) ** 3).astype(np.int64)
        column, weight = self.sampler.draw(generator)
        target = events[1:]
        place = np.searchsorted(column, target)
        there = np.flatnonzero(column[np.minimum(place, column.size - 1)] == target)
        tensors = [torch.from_numpy(each) for each in (events[:-1], target, column, weight, there, place[there])]
        return Batch(Packing.of(sizes), *tensors[:4], Pairs(tensors[4], tensors[5]))


class _Enough(Exception):
    """The clock has what it needs; the checkpoint at an epoch's end is not part of a step."""


def train(items: int, threads: int) -> dict[str, float]:
    # Popularity of the power law above: P(item <= x) = (x / items)^(1/3).
    popularity = np.diff(np.cbrt(np.arange(items + 1))) * 1e4
    sampler = CatalogueSampler.of(popularity, NEGATIVES)
    del popularity
    marks: list[tuple[float, float]] = []

    def mark(*_: Any) -> None:
        marks.append((time.perf_counter(), time.process_time()))
        if len(marks) > STEPS + _WARM:
            raise _Enough

    with processes() as group, reproducible(threads):
        torch.manual_seed(0)
        network = BigNextItem(items)
        network.register_forward_pre_hook(mark)
        plan = Plan(1, 2e-3, 0.05, checkpoint_every=10**9, identity="big", parts={"next": 1.0})
        session = Session(0, DirectoryCheckpoints(None), lambda line: None)
        with suppress(_Enough):
            Trainer(network, MadeUp(items, sampler), plan, session, group).run()
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks[_WARM:], marks[_WARM + 1 :], strict=False)]
    return {"wall": statistics.median(s[0] for s in steps), "cpu": statistics.median(s[1] for s in steps)}


@torch.inference_mode()
def score(items: int, threads: int) -> dict[str, float]:
    with reproducible(threads):
        torch.manual_seed(0)
        network = BigNextItem(items).eval()
        queries = torch.randn(CUSTOMERS, SIZE.width)
        started = (time.perf_counter(), time.process_time())
        values, _ = stream_top(queries, network.item.weight, network.bias.weight[:, 0], None, BEST)
        assert values.shape == (CUSTOMERS, BEST)
        return {"wall": time.perf_counter() - started[0], "cpu": time.process_time() - started[1]}


def main() -> None:
    arguments = _arguments()
    if arguments.worker in PRODUCT_WORKS:
        found = PRODUCT_WORKS[arguments.worker](arguments.items[0], arguments.threads, arguments.place)
        print(json.dumps(found))
        return
    if arguments.product:
        _product(arguments)
        return
    if arguments.worker:
        work = train if arguments.worker == "training step" else score
        facts = work(arguments.items[0], arguments.threads)
        print(json.dumps({**facts, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    print(f"{NEGATIVES} items in a sample, {SEQUENCES} sequences of up to {EVENTS} events, width {SIZE.width}; "
          f"best {BEST} for {CUSTOMERS} customers; {arguments.threads} threads")  # fmt: skip
    print("| items | | seconds | CPU seconds | peak memory, MB |\n|---:|---|---:|---:|---:|", flush=True)
    rows = []
    for items in arguments.items:
        for work in arguments.works:
            rows.append({"items": items, "work": work, **_run(items, work, arguments.threads)})
            facts = rows[-1]
            print(
                f"| {items:,} | {work} | {facts['wall']:.3f} | {facts['cpu']:.3f} | {facts['peak_mb']:,.0f} |",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def _product(arguments: argparse.Namespace) -> None:
    print(f"{product.NEGATIVES} items in a sample, {product.PER_STEP} windows of customers in a step; best {product.BEST} seen "
          f"and unseen for {product.RANKED} customers; {arguments.threads} threads. Peaks include the data.")  # fmt: skip
    print("| items | steps | step, s | step, CPU s | fit, CPU s | fit, peak MB | rank, CPU s | rank, peak MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    rows = []
    for items in arguments.product:
        with tempfile.TemporaryDirectory() as directory:
            found = {work: _run(items, work, arguments.threads, Path(directory)) for work in PRODUCT_WORKS}
        rows.append({"items": items, **found})
        fit, rank = found["fit"], found["rank"]
        print(
            f"| {items:,} | {fit['steps']} | {fit['step_wall']:.3f} | {fit['step_cpu']:.3f} | {fit['cpu']:.1f} "
            f"| {fit['peak_mb']:,.0f} | {rank['cpu']:.1f} | {rank['peak_mb']:,.0f} |",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def _run(items: int, work: str, threads: int, place: Path | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.big_catalogue", "--worker", work, "--items", str(items)]
    command += [] if place is None else ["--place", str(place)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, "--threads", str(threads)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    facts: dict[str, float] = json.loads(done.stdout)
    return facts


def _arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=numbers, default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--works", type=lambda text: text.split(","), default=["training step", "scoring pass"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--product", type=int, nargs="+", metavar="ITEMS", help="fit and rank with the product's model")
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
