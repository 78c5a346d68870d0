"""The product's backbone, loss and optimiser on a GPU: correctness, speed, resumption. Needs torch and numpy only.

    python benchmarks/gpu.py --json found.json

Each part runs in a process of its own, forked before CUDA is touched: a part that fails, runs out of memory or dies is a line
of the report, and the others go on. Found figures are written as they come. Exits with 1 where a part failed or differed.

All parts compute as the product trains, with deterministic kernels; where PyTorch says that one has none, the report says
so and the part runs without. Speed is that of steps in bfloat16, with batches of different lengths that another thread moves
to the device ahead, within the time. Work of a step = Size.flops_per_row(mean rows attended to) * rows +
6 * rows * items * width for the output layer (`output_flops`), over the bf16 matrix rate measured just before in
the same process. Without a GPU the same parts run at sizes whose speeds mean nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
import torch._dynamo  # what the optimiser imports at its first step: once here rather than once in each process
from torch import Tensor, nn

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# The package's own __init__ imports polars, which a bare GPU machine lacks.
_light = types.ModuleType("mktgen.models")
_light.__path__ = [str(ROOT / "mktgen" / "models")]
sys.modules.setdefault("mktgen.models", _light)

from mktgen.models._ahead import made_ahead  # noqa: E402
from mktgen.models._backbone import Backbone, Size  # noqa: E402
from mktgen.models._optimiser import Optimiser  # noqa: E402
from mktgen.models._packing import Packing  # noqa: E402
from mktgen.models._processes import matrix_rate, reproducible  # noqa: E402
from mktgen.models._softmax import Pairs, catalogue_logsumexp, output_flops  # noqa: E402

CPU: Final = torch.device("cpu")
TOLERANCE: Final = {
    torch.float32: 1e-4,
    torch.bfloat16: 5e-2,
}  # norm of the difference over the norm, of the worst tensor
GOAL: Final = 0.45  # of the matrix rate
LITTLE: Final = replace(Size.of(64, 0.0), layers=2)  # for correctness and resumption
STEPS: Final = 8  # of the training that is killed and resumed
LIMIT: Final = 900.0  # seconds that a part may take
KILLED_AT: Final = 5  # a checkpoint is written every 2 steps: the last one is not of this step
_WEIGHTS, _MOMENTS = "weights/", "moments/"  # where a checkpoint keeps what


@dataclass(frozen=True)
class Scale:
    """Sizes of the speed part. mean: events per sequence; matrix: side of the product that measures the matrix rate."""

    widths: tuple[int, ...]
    compiled: tuple[bool, ...]
    items: int
    rows: int
    mean: float
    steps: int
    matrix: int


ON_GPU: Final = Scale((512, 1024), (False, True), 50_000, 32_768, 150.0, 20, 8192)
SELF_CHECK: Final = Scale((64,), (False,), 500, 256, 10.0, 2, 128)


@dataclass(frozen=True)
class Batch:
    """item, target: [N]; excluded: what a row may not be asked for."""

    item: Tensor
    target: Tensor
    excluded: Pairs
    packing: Packing

    @classmethod
    def of(cls, rows: int, mean: float, items: int, seed: int) -> Batch:
        """About `rows` rows in sequences of geometric lengths; each row's own target is never excluded."""
        rng = np.random.default_rng(seed)
        lengths = np.sort(rng.geometric(1 / mean, max(1, round(rows / mean))).clip(1, int(8 * mean)))[::-1]
        total = int(lengths.sum())
        item, target, other = rng.integers(0, items, (3, total))
        row = np.flatnonzero(other != target)
        pairs = Pairs(torch.from_numpy(row), torch.from_numpy(other[row]))
        packing = Packing.of(lengths.astype(np.int64))
        return cls(torch.from_numpy(item), torch.from_numpy(target), pairs, packing)

    def to(self, device: torch.device) -> Batch:
        item, target = self.item.to(device), self.target.to(device)
        return Batch(item, target, self.excluded.to(device), self.packing.to(device))


class Task(nn.Module):
    """Mean negative log-likelihood of each row's target among the items."""

    def __init__(self, size: Size, items: int) -> None:
        super().__init__()
        self.table = nn.Embedding(items, size.width)
        nn.init.normal_(self.table.weight, std=size.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(items))
        self.backbone = Backbone(size, timed=False)

    def forward(self, batch: Batch) -> Tensor:
        state = self.backbone(self.table(batch.item), batch.packing)
        own = (state * self.table(batch.target)).sum(1).float() + self.bias[batch.target]
        loss: Tensor = (catalogue_logsumexp(state, self.table.weight, self.bias, batch.excluded) - own).mean()
        return loss

    def compile_blocks(self) -> None:
        for block in self.backbone.blocks:
            block.compile(dynamic=True)


def loss_of(task: Task, batch: Batch, dtype: torch.dtype) -> Tensor:
    with torch.autocast(batch.item.device.type, dtype, enabled=dtype != torch.float32):
        loss: Tensor = task(batch)
    return loss


@contextmanager
def arithmetic(deterministic: bool, threads: int = 1) -> Iterator[None]:
    with reproducible(threads):
        torch.use_deterministic_algorithms(deterministic)
        yield


# --- the parts: each is called in a process of its own and returns what goes into the report


def machine(device: str | None) -> dict[str, Any]:
    """What there is; the only part whose answer decides about the others."""
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = {"kind": kind, "torch": torch.__version__}
    if kind == "cuda":
        facts = torch.cuda.get_device_properties(0)
        found |= {"name": facts.name, "memory_bytes": facts.total_memory, "cuda": torch.version.cuda}
    return found


def correctness(device: torch.device, dtype: torch.dtype, compiled: bool, deterministic: bool) -> dict[str, Any]:
    """Loss and gradients of one step against those in float32 on the CPU."""

    def gradients(device: torch.device, dtype: torch.dtype, compiled: bool) -> dict[str, Tensor]:
        torch.manual_seed(1)
        task = Task(LITTLE, 500).to(device)
        if compiled:
            task.compile_blocks()
        loss = loss_of(task, Batch.of(400, 20.0, 500, 2).to(device), dtype)
        torch.autograd.backward(loss)
        found = {name: weight.grad.cpu() for name, weight in task.named_parameters() if weight.grad is not None}
        return found | {"loss": loss.detach().cpu()}

    with arithmetic(deterministic):
        truth, found = gradients(CPU, torch.float32, False), gradients(device, dtype, compiled)
    differences = {name: relative(found[name], truth[name]) for name in truth}
    worst = max(differences, key=lambda name: differences[name])
    allowed = TOLERANCE[dtype]
    return {
        "difference": differences[worst],
        "of": worst,
        "tolerance": allowed,
        "passed": differences[worst] <= allowed,
    }


def relative(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm().clamp(min=1e-6))


def speed(device: torch.device, scale: Scale, width: int, compiled: bool, deterministic: bool) -> dict[str, Any]:
    """Training steps of the product's size for this width (but 8 layers, as it has from 512 on)."""
    size = replace(Size.of(width, 0.0), layers=8)
    with arithmetic(deterministic, torch.get_num_threads()):
        rate = matrix_rate(device, torch.bfloat16, scale.matrix)
        task = Task(size, scale.items).to(device)
        optimiser = Optimiser(task, 1e-3, 0.01)
        if compiled:
            task.compile_blocks()
        batches = [Batch.of(scale.rows, scale.mean, scale.items, seed) for seed in range(4)]

        def steps(count: int) -> tuple[int, float]:
            """Rows and operations of `count` steps."""
            rows, work = 0, 0.0
            for batch in made_ahead(lambda step: batches[step % len(batches)].to(device), range(count), 2):
                optimiser.zero_grad()
                torch.autograd.backward(loss_of(task, batch, torch.bfloat16))
                optimiser.step(1.0, 1.0)
                rows += batch.item.numel()
                work += batch.item.numel() * size.flops_per_row(batch.packing.context)
                work += output_flops(batch.item.numel(), scale.items, width)
            wait(device)
            return rows, work

        began = perf_counter()
        steps(len(batches))  # each packing once: memory is found, kernels are compiled
        warm, began = perf_counter() - began, perf_counter()
        rows, work = steps(scale.steps)
        seconds = perf_counter() - began
    found: dict[str, Any] = {"tokens_per_second": rows / seconds, "flops": work / seconds, "matrix_rate": rate}
    found |= {"share": work / seconds / rate, "warm_up_seconds": warm}
    if device.type == "cuda":
        found |= {"goal_met": work / seconds / rate >= GOAL, "peak_bytes": torch.cuda.max_memory_allocated()}
    return found


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def train(device: torch.device, path: Path, killed_at: int | None, deterministic: bool) -> dict[str, Any]:
    """STEPS steps with a checkpoint every 2, from `path` where there is one; `killed_at`: the step to die in, by signal 9."""
    with arithmetic(deterministic):
        torch.manual_seed(1)
        task = Task(LITTLE, 500).to(device)
        optimiser, first = Optimiser(task, 1e-3, 0.01), 0
        if path.exists():
            weights, moments, first = read_checkpoint(path)
            task.load_state_dict(weights)
            optimiser.load(moments)
        for step in range(first, STEPS):
            optimiser.zero_grad()
            batch = Batch.of(400, 20.0, 500, step).to(device)
            torch.autograd.backward(loss_of(task, batch, torch.bfloat16 if device.type == "cuda" else torch.float32))
            if step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            optimiser.step(1.0, 1.0)
            if (step + 1) % 2 == 0:
                write_checkpoint(path, task.state_dict(), optimiser.state(), step + 1)
    return {"first": first}


def write_checkpoint(path: Path, weights: dict[str, Tensor], moments: dict[str, Tensor], step: int) -> None:
    """Arrays of numbers and nothing else, put in place at once."""
    parts = {f"{_WEIGHTS}{name}": value for name, value in weights.items()}
    parts |= {f"{_MOMENTS}{name}": value for name, value in moments.items()}
    arrays: dict[str, Any] = {name: value.detach().cpu().numpy() for name, value in parts.items()}
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        np.savez(file, step=np.array(step), **arrays)
    new.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Weights, moments, and the steps that were taken."""
    with np.load(path, allow_pickle=False) as stored:
        weights, moments = (
            {n.removeprefix(part): torch.from_numpy(stored[n]) for n in stored.files if n.startswith(part)}
            for part in (_WEIGHTS, _MOMENTS)
        )
        return weights, moments, int(stored["step"])


def compared(calm: Path, killed: Path) -> dict[str, Any]:
    one, other = (read_checkpoint(path)[0] for path in (calm, killed))
    same = all(torch.equal(one[name], other[name]) for name in one)
    return {"bit_for_bit": same, "largest_relative_difference": max(relative(other[n], one[n]) for n in one)}


# --- how parts are run


def alone(part: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `part` returns in a forked process, or {"failed": why, "exit_code": of the process}; LIMIT seconds at most."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sending, part, arguments))
    process.start()
    sending.close()
    try:
        if not receiving.poll(LIMIT):
            process.kill()
        found: dict[str, Any] = receiving.recv()
    except EOFError:
        found = {"failed": "the process died without an answer"}
    process.join()
    return found | {"exit_code": process.exitcode} if "failed" in found else found


def _answer(sending: Connection, part: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    try:
        sending.send(part(*arguments))
    except Exception as error:  # whatever it is, out of memory and a compiler's failure included, it is a finding
        sending.send({"failed": f"{type(error).__name__}: {error}"[:2000]})
        raise SystemExit(1) from None


def first_deterministic(run: Callable[[bool], dict[str, Any]]) -> dict[str, Any]:
    """`run(True)`; where PyTorch refuses because a kernel has no deterministic form, why, and `run(False)`."""
    found = run(True)
    if "deterministic" not in found.get("failed", ""):
        return found
    return {"why_not_deterministic": found["failed"]} | run(False)


def resume(device: torch.device, deterministic: bool) -> dict[str, Any]:
    """A training killed by signal 9 and resumed in another process, against an undisturbed one.

    Bit for bit if deterministic; else the largest difference is reported, and nothing is promised.
    """
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder) / "calm.npz", Path(folder) / "killed.npz"
        whole = alone(train, device, calm, None, deterministic)
        if "failed" in whole:
            return whole
        dead = alone(train, device, killed, KILLED_AT, deterministic)
        if dead.get("exit_code") != -signal.SIGKILL:
            return {"failed": f"the training that was to be killed ended otherwise: {dead}"}
        again = alone(train, device, killed, None, deterministic)
        if "failed" in again:
            return again
        if again["first"] != KILLED_AT - 1:
            return {"failed": f"resumed at step {again['first']}, the last checkpoint was of step {KILLED_AT - 1}"}
        found = alone(compared, calm, killed)
    passed = found.get("bit_for_bit", False) or not deterministic
    return found | {"resumed_at": again["first"], "deterministic": deterministic, "passed": passed}


def parts(device: torch.device, scale: Scale) -> dict[str, Callable[[bool], dict[str, Any]]]:
    """Name -> what finds it, in the order in which it is worth having."""
    cases = [(torch.float32, False), (torch.bfloat16, False)]
    cases += [(torch.bfloat16, True)] if True in scale.compiled else []
    named: dict[str, Callable[[bool], dict[str, Any]]] = {}
    for dtype, compiled in cases:
        name = f"correctness {str(dtype).removeprefix('torch.')} compile {on(compiled)}"
        named[name] = partial(alone, correctness, device, dtype, compiled)
    for width in scale.widths:
        for compiled in scale.compiled:
            named[f"speed d{width} L8 compile {on(compiled)}"] = partial(alone, speed, device, scale, width, compiled)
    return named | {"resume": partial(resume, device)}


def on(compiled: bool) -> str:
    return "on" if compiled else "off"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures; written anew after each part")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="the GPU where there is one, unless told otherwise")
    arguments = parser.parse_args()
    # cuBLAS sums in a fixed order only with this workspace, and reads it once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    found = {"machine": alone(machine, arguments.device)}
    report("machine", found, arguments.json)
    if "failed" in found["machine"]:
        sys.exit(1)
    device = torch.device(found["machine"]["kind"])
    if device.type == "cpu":
        print("no CUDA device: a self-check of this script at tiny sizes; its speeds are not figures", flush=True)
    for name, part in parts(device, ON_GPU if device.type == "cuda" else SELF_CHECK).items():
        found[name] = first_deterministic(part)
        report(name, found, arguments.json)
    sys.exit(1 if any("failed" in each or not each.get("passed", True) for each in found.values()) else 0)


def report(name: str, found: dict[str, dict[str, Any]], path: Path | None) -> None:
    print(f"{name}: {found[name]}", flush=True)
    if path is not None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(found, indent=1))
        new.replace(path)


if __name__ == "__main__":
    main()
