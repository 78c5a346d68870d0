"""What each choice of the recipe is worth on ML-1M: one thing changed at a time, the same short training for all.

    python -m benchmarks.next_item.ablation --data ml-1m.txt.gz [--epochs 4] [--seed 0] [--only NAME ...] [--threads 1]
        [--json FILE]

The figures are of the test part in full ranking, and of the validation part that chose the epoch; one seed. Two seeds of
the whole recipe differ by less than .002, so do differences that mean nothing. Blocks keep their number of parameters,
except `ungated attention`, which has a fifth fewer in its first product.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.next_item.data import movielens
from benchmarks.next_item.learning import How, learn
from benchmarks.next_item.metrics import means
from benchmarks.next_item.network import NextItem, Recipe, answers
from mktgen.models._backbone import Backbone, Block, Size, attend, rotate
from mktgen.models._packing import Packing
from mktgen.models._processes import low_precision_pays, reproducible

METRICS: Final = ("NDCG@10", "HR@10")


class UngatedAttention(Block):
    """What a head gathers goes on as it is."""

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.qkvu = nn.Linear(size.width, 3 * size.width)

    def forward(self, x: Tensor, packing: Packing, turns: Tensor) -> Tensor:
        qkv = self.qkvu(self.norm1(x)).view(x.shape[0], 3, self.heads, -1)
        seen = attend(rotate(qkv[:, :2], turns), qkv[:, 2], packing).flatten(1)
        x = x + self.drop(self.out(self.gathered(seen.float())))
        value, gate = self.up(self.norm2(x)).chunk(2, dim=1)
        result: Tensor = x + self.drop(self.down(value * functional.silu(gate)))
        return result


class PlainFeedForward(Block):
    """down(relu(up)) with half again the hidden units: as many parameters as gate and value have."""

    def __init__(self, size: Size) -> None:
        super().__init__(size)
        self.up, self.down = nn.Linear(size.width, 3 * size.width), nn.Linear(3 * size.width, size.width)
        nn.init.normal_(self.down.weight, std=(2.0 * size.layers * self.down.in_features) ** -0.5)

    def forward(self, x: Tensor, packing: Packing, turns: Tensor) -> Tensor:
        qkvu = self.qkvu(self.norm1(x)).view(x.shape[0], 4, self.heads, -1)
        seen = attend(rotate(qkvu[:, :2], turns), qkvu[:, 2], packing).flatten(1)
        x = x + self.drop(self.out(self.gathered(seen.float()) * functional.silu(qkvu[:, 3].flatten(1))))
        result: Tensor = x + self.drop(self.down(functional.relu(self.up(self.norm2(x)))))
        return result


class LearnedPositions(Backbone):
    """A vector per position is added to the events, as in SASRec; queries and keys aren't turned."""

    def __init__(self, size: Size, events: int) -> None:
        super().__init__(size, timed=False)
        self.place = nn.Embedding(events, size.width)
        nn.init.normal_(self.place.weight, std=0.1)
        self.clocks.position_frequencies.zero_()

    def forward(self, x: Tensor, packing: Packing, day: Tensor | None = None) -> Tensor:
        return super().forward(x + self.place(packing.position), packing, day)


def blocks_of(kind: type[Block]) -> Callable[[NextItem], None]:
    def change(network: NextItem) -> None:
        network.backbone.blocks = nn.ModuleList(kind(network.recipe.size) for _ in network.backbone.blocks)

    return change


def learned_positions(network: NextItem) -> None:
    network.backbone = LearnedPositions(network.recipe.size, network.recipe.events)


@dataclass(frozen=True)
class Variant:
    """settings: of the recipe that differ; change: of the network."""

    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[NextItem], None] = lambda network: None


VARIANTS: Final = {
    "the recipe": Variant(),
    "past items in the softmax": Variant({"exclude_seen": False}),
    "last 200 events of each user only": Variant({"whole_history": False}),
    "256 sampled items in the softmax": Variant({"negatives": 256}),
    "1,024 sampled items in the softmax": Variant({"negatives": 1024}),
    "no mean of the weights": Variant({"average": 0.0}),
    "no dropout": Variant({"dropout": 0.0}),
    "one layer": Variant({"layers": 1}),
    "ungated attention": Variant(change=blocks_of(UngatedAttention)),
    "plain feed-forward": Variant(change=blocks_of(PlainFeedForward)),
    "learned positions": Variant(change=learned_positions),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.data.exists():
        sys.exit(f"{arguments.data} is missing: this benchmark needs the public file; nothing was run")
    data = movielens(arguments.data)
    precision = torch.bfloat16 if low_precision_pays() else torch.float32
    rows = []
    for name in arguments.only:
        variant, started = VARIANTS[name], time.perf_counter()
        recipe = replace(Recipe(epochs=arguments.epochs), **variant.settings)
        how = How(f"ablation: {name}", METRICS[0], arguments.threads, precision, change=variant.change)
        network, epoch = learn(data, recipe, arguments.seed, how)
        row: dict[str, Any] = {"name": name, "epoch": epoch}
        with reproducible(arguments.threads):
            for part, asked in (("validation", data.validation), ("test", data.test)):
                found = means(answers(network, data, asked, 10), asked.target)
                row |= {f"{part} {metric}": found[metric] for metric in METRICS}
        rows.append(row | {"seconds": round(time.perf_counter() - started, 1)})
        print("  ".join(f"{key} {value:.4f}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
