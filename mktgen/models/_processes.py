"""torch.distributed as torchrun sets it up, or a single process; the device; reproducible arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes checkpoints and progress."""
        return self.rank == 0

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over processes, on every one of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def share(self, content: bytes | None) -> bytes | None:
        """What rank 0 has, on every process: nobody else needs to reach the checkpoint store."""
        if self.size == 1:
            return content
        length = torch.tensor([-1 if content is None or self.rank else len(content)], device=self.device)
        dist.broadcast(length, src=0)
        count = int(length.item())
        if count < 0:
            return None
        buffer = torch.zeros(count, dtype=torch.uint8, device=self.device)
        if self.leads and content is not None:
            buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(buffer, src=0)
        return buffer.cpu().numpy().tobytes()


def low_precision_pays() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32 (AVX512-BF16 or AMX); it is slower where emulated."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int | None = None) -> float:
    """Floating-point operations per second that a plain matrix product of this type reaches here: the yardstick of speed.

    size: side of the square matrices. None: 8192 on CUDA, where starting smaller products would take longer than they do,
    and 1024 elsewhere, which keeps a processor busy and takes a fraction of a second.
    """
    size = size or (8192 if device.type == "cuda" else 1024)
    # Random: a GPU's clock falls with the bits that change, so equal numbers are multiplied faster than any real ones.
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(size, size, dtype=dtype, device=device, generator=generator)

    def seconds(times: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = perf_counter()
        for _ in range(times):
            a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return perf_counter() - started

    seconds(2)
    return 2.0 * size**3 * 4 / max(min(seconds(4), seconds(4)), 1e-9)


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the group that torchrun's environment describes (RANK, WORLD_SIZE, LOCAL_RANK); none of it = alone.

    gloo on CPU, nccl on CUDA. The group is left on exit where it was joined here.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    joined = size > 1 and not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=size)
    try:
        yield Processes(rank, size, device)
    finally:
        if joined:
            dist.destroy_process_group()


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fixed number of threads and deterministic kernels inside; the process's own settings come back on exit."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state())
    if torch.cuda.is_available():
        # cuBLAS sums in a fixed order only with this workspace, and reads it from the environment alone.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before writing it; filling it first would cost a twentieth of the time.
    memory: Any = torch.utils.deterministic
    filled, memory.fill_uninitialized_memory = memory.fill_uninitialized_memory, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.random.set_rng_state(before[2])
        memory.fill_uninitialized_memory = filled
