"""The product's backbone, loss and optimiser on a GPU: correctness, speed, resumption. Needs torch and numpy only.

    python benchmarks/gpu.py --json found.json

Work of a step = Size.flops_per_row(mean rows attended to) * rows + 6 * rows * items * width for the output layer (its
logits, computed again in backward, are not counted), over the bf16 matrix rate measured in the same run at size 8192.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# The package's own __init__ imports polars, which a bare GPU machine lacks.
_light = types.ModuleType("mktgen.models")
_light.__path__ = [str(ROOT / "mktgen" / "models")]
sys.modules.setdefault("mktgen.models", _light)

from mktgen.models._backbone import Backbone, Size  # noqa: E402
from mktgen.models._optimiser import Optimiser  # noqa: E402
from mktgen.models._packing import Packing  # noqa: E402
from mktgen.models._processes import matrix_rate, reproducible  # noqa: E402
from mktgen.models._softmax import catalogue_logsumexp  # noqa: E402

CPU = torch.device("cpu")
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}  # of the norm of the difference over the norm


class Task(nn.Module):
    def __init__(self, size: Size, items: int) -> None:
        super().__init__()
        self.table = nn.Embedding(items, size.width)
        nn.init.normal_(self.table.weight, std=size.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(items))
        self.backbone = Backbone(size, timed=False)

    def forward(self, item: Tensor, target: Tensor, packing: Packing) -> Tensor:
        state = self.backbone(self.table(item), packing)
        own = (state * self.table(target)).sum(1).float() + self.bias[target]
        return (catalogue_logsumexp(state, self.table.weight, self.bias) - own).mean()


def batch(rows: int, mean: float, items: int, seed: int, device: torch.device) -> tuple[tuple[Any, ...], float]:
    """(item, target, packing) of about `rows` rows with geometric lengths, and the mean rows attended to."""
    rng = np.random.default_rng(seed)
    lengths = -np.sort(-rng.geometric(1 / mean, max(1, round(rows / mean))).clip(1, int(8 * mean))).astype(np.int64)
    total = int(lengths.sum())
    item, target = (torch.from_numpy(rng.integers(0, items, total)).to(device) for _ in range(2))
    context = float((lengths * (lengths + 1) / 2).sum() / total)
    return (item, target, Packing.of(lengths).to(device)), context


def gradients(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    torch.manual_seed(1)
    task = Task(Size(64, 2, 2, 0.0), 500).to(device)
    data, _ = batch(400, 20, 500, 2, device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        loss = task(*data)
    loss.backward()
    found = {n: p.grad.detach().cpu() for n, p in task.named_parameters() if p.grad is not None}
    return found | {"loss": loss.detach().cpu()}


def correctness(device: torch.device) -> dict[str, Any]:
    truth, found = gradients(CPU, torch.float32), {}
    for dtype in (torch.float32, torch.bfloat16):
        other = gradients(device, dtype)
        name = str(dtype).removeprefix("torch.")
        worst = max(float((other[n] - truth[n]).norm() / truth[n].norm().clamp(min=1e-6)) for n in truth)
        found[name] = {"difference": worst, "tolerance": TOLERANCE[name], "within": worst <= TOLERANCE[name]}
        print(f"correctness {device.type} {name}: {found[name]}", flush=True)
    return found


def speed(device: torch.device, width: int, compiled: bool, rate: float) -> dict[str, Any]:
    size, items = Size(width, 8, width // 64, 0.0), 50_000
    task = Task(size, items).to(device)
    optimiser = Optimiser(task, 1e-3, 0.01)
    data, context = batch(32_768, 150, items, 3, device)
    if compiled:
        for block in task.backbone.blocks:
            block.compile(dynamic=True)

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = task(*data)
        loss.backward()
        optimiser.step(1.0, 1.0)

    name = f"speed d{width} L8 compile {'on' if compiled else 'off'}"
    try:
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        started = perf_counter()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        seconds = (perf_counter() - started) / 10
    except Exception as error:  # a compiler's failure is a finding
        print(f"{name}: failed, {error}", flush=True)
        return {"failed": str(error)}
    rows = data[0].numel()
    work = rows * (size.flops_per_row(context) + 6.0 * items * width)
    found = {"tokens_per_second": rows / seconds, "flops": work / seconds, "share": work / seconds / rate,
             "peak_bytes": torch.cuda.max_memory_allocated()}  # fmt: skip
    print(f"{name}: {found}", flush=True)
    return found


def train(device: torch.device, steps: int, path: Path, die_at: int) -> None:
    """Checkpoint every 2 steps; at `die_at` the process kills itself with signal 9."""
    with reproducible(1):
        torch.manual_seed(1)
        task = Task(Size(64, 2, 2, 0.0), 500).to(device)
        optimiser, first = Optimiser(task, 1e-3, 0.01), 0
        if path.exists():
            state = torch.load(path)
            task.load_state_dict(state["weights"])
            optimiser.load(state["optimiser"])
            first = state["step"]
        for step in range(first, steps):
            if step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            data, _ = batch(400, 20, 500, step, device)
            optimiser.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = task(*data)
            loss.backward()
            optimiser.step(1.0, 1.0)
            if (step + 1) % 2 == 0:
                new = path.with_suffix(".new")
                torch.save({"weights": task.state_dict(), "optimiser": optimiser.state(), "step": step + 1}, new)
                new.replace(path)


def resume(device: torch.device) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = Path(folder) / "calm.pt", Path(folder) / "killed.pt"

        def child(path: Path, die_at: int) -> int:
            call = [sys.executable, __file__, "--train", str(path), "--die-at", str(die_at), "--device", device.type]
            return subprocess.run(call, check=False).returncode

        codes = [child(calm, -1), child(killed, 5), child(killed, -1)]
        if codes != [0, -signal.SIGKILL, 0]:
            raise RuntimeError(f"the trainings ended with {codes}; expected 0, a kill and 0")
        a, b = (torch.load(p, map_location="cpu")["weights"] for p in (calm, killed))
    worst = max(float((a[n] - b[n]).abs().max()) for n in a)
    found = {"largest_difference": worst, "tolerance": 0.0, "within": worst == 0.0}
    print(f"resume {device.type}: {found}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--die-at", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    if args.train:
        train(device, 8, args.train, args.die_at)
        return
    found: dict[str, Any] = {"device": device.type, "correctness": correctness(device), "resume": resume(device)}
    if device.type == "cuda":
        found["device"] = torch.cuda.get_device_name()
        rate = found["matrix_rate"] = matrix_rate(device, torch.bfloat16, 8192)
        found["speed"] = {f"d{w} compile {c}": speed(device, w, c, rate) for w in (512, 1024) for c in (False, True)}
    else:
        found["speed"] = "not run: no CUDA device"
        print("speed: not run: no CUDA device")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
