"""The state of an unfinished training as files: weights and optimiser as safetensors, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mktgen.models._optimiser import Optimiser
from mktgen.models._sharding import as_sharded, local, whole

WEIGHTS: Final = "weights.safetensors"
OPTIMISER: Final = "optimiser.safetensors"
PROGRESS: Final = "progress.json"
AVERAGE: Final = "average.safetensors"
BEST: Final = "best.safetensors"


@dataclass
class Progress:
    """Where a training stands. Its randomness needs no state: it is seeded anew at each step from (seed, step, rank).

    identity: digest of data, settings, seed and processes; a checkpoint of another training is not resumed. sums: parts
    of the curves' next point. seconds: spent on it; speeds: events per second and the like. Neither reaches a saved model.
    stopped: the judge saw no progress any more.
    """

    identity: str
    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)
    speeds: dict[str, list[float]] = field(default_factory=dict)
    stopped: bool = False


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Whole tensors in this machine's memory; all processes of a sharded training take part."""
    return {name: whole(value.detach()).cpu().contiguous() for name, value in sorted(network.state_dict().items())}


def copy_of(network: nn.Module, names: Container[str] | None = None) -> dict[str, Tensor]:
    """A copy of the weights (of these names) on their device, spread as they are: training goes on without changing it."""
    held = sorted(network.state_dict().items())
    return {name: value.detach().clone() for name, value in held if names is None or name in names}


def pack(
    network: nn.Module,
    optimiser: Optimiser,
    progress: Progress,
    average: dict[str, Tensor] | None = None,
    best: dict[str, Tensor] | None = None,
) -> dict[str, bytes]:
    """The same files whether the weights are spread or not, so that a training may go on the other way."""
    files = {
        WEIGHTS: save(weights_of(network)),
        OPTIMISER: save(optimiser.state()),
        PROGRESS: json.dumps(asdict(progress), sort_keys=True).encode(),
    }
    for name, tensors in ((AVERAGE, average), (BEST, best)):
        if tensors:
            files[name] = save({key: whole(value).cpu().contiguous() for key, value in tensors.items()})
    return files


def read_progress(files: dict[str, bytes], identity: str) -> Progress | None:
    """The progress in `files`, or None where they are of another training or of an older layout."""
    try:
        progress = Progress(**json.loads(files[PROGRESS]))
    except (KeyError, TypeError, ValueError):
        return None
    return progress if progress.identity == identity and {WEIGHTS, OPTIMISER} <= files.keys() else None


def restore(
    files: dict[str, bytes],
    network: nn.Module,
    optimiser: Optimiser,
    average: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Put weights, optimiser and averaged weights back as they were, bit for bit; returns the best weights so far."""
    fill(network.state_dict(), load(files[WEIGHTS]))
    optimiser.load(load(files[OPTIMISER]))
    if average is not None:
        fill(average, load(files[AVERAGE]))
    return dict(load(files[BEST])) if BEST in files else {}


@torch.no_grad()
def fill(state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Whole `values` into the tensors of `state`, which may be spread over processes."""
    if state.keys() != values.keys():
        raise ValueError(f"these weights are of another network: {sorted(state.keys() ^ values.keys())[:5]} differ")
    for name, value in values.items():
        local(state[name]).copy_(local(as_sharded(value, state[name])))


@dataclass(frozen=True)
class Envelope:
    """Several files as one byte string, to hand them from rank 0 to the others."""

    files: dict[str, bytes]

    def to_bytes(self) -> bytes:
        index = json.dumps({name: len(body) for name, body in sorted(self.files.items())}).encode()
        return len(index).to_bytes(8, "big") + index + b"".join(body for _, body in sorted(self.files.items()))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        size = int.from_bytes(content[:8], "big")
        files, at = {}, 8 + size
        for name, length in json.loads(content[8:at]).items():
            files[name] = content[at : at + length]
            at += length
        return cls(files)
