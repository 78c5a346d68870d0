"""The product's backbone with one head: the next item, tied with the input embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.next_item.data import Ints, Questions, Sequences
from mktgen.models._backbone import Backbone, Size
from mktgen.models._packing import Packing
from mktgen.models._softmax import Pairs, catalogue_logsumexp, output_flops
from mktgen.models._topk import stream_top
from mktgen.models._trainer import Learner

_QUESTIONS = 64  # asked at once


@dataclass(frozen=True)
class Recipe:
    """events: of a sequence that are seen at once. rows: of a step. drop_items: share of inputs that are blanked.

    negatives: items drawn for a step's partition sum, 0 for all. cosine: the scale with which cosines of states and items
    begin as logits, 0 for plain products (Gupta et al., "NISER", 2019: lengths grow with popularity). half_life: share of
    the file in which a sequence's weight halves, 0 for equal weights.
    """

    width: int = 128
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    drop_items: float = 0.0
    events: int = 200
    rows: int = 4096
    epochs: int = 14
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    average: float = 0.999
    whole_history: bool = True
    exclude_seen: bool = True
    ahead: int = 1
    ahead_decay: float = 0.5
    negatives: int = 0
    cosine: float = 0.0
    half_life: float = 0.0
    evidence: bool = False

    @property
    def size(self) -> Size:
        return Size(self.width, self.layers, self.heads, self.dropout)


@dataclass(frozen=True)
class Sample:
    """item: [C] drawn; log_weight: [C] -log of each one's chance to be drawn."""

    item: Tensor
    log_weight: Tensor

    def to(self, device: torch.device) -> Sample:
        return Sample(self.item.to(device), self.log_weight.to(device))


@dataclass(frozen=True)
class Batch:
    """item: [N] inputs; target_*: [P] what follows, weights sum to 1 per row; excluded: what a row may not be asked for.

    sample: items that stand for the catalogue, None for all of it; `excluded` then counts in its columns.
    """

    packing: Packing
    item: Tensor
    target: Pairs
    weight: Tensor
    excluded: Pairs | None
    sample: Sample | None = None

    @property
    def events(self) -> int:
        return self.item.shape[0]

    @property
    def counts(self) -> Mapping[str, float]:
        return {"next": float(self.events)}

    def to(self, device: torch.device) -> Self:
        held: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: None if value is None else value.to(device) for name, value in held.items()}
        return type(self)(**moved)


class NextItem(Learner):
    """Events so far -> the next item."""

    def __init__(self, items: int, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.item = nn.Embedding(items, recipe.width)
        self.bias = nn.Parameter(torch.zeros(items))
        self.backbone = Backbone(recipe.size, timed=False)
        self.scale = nn.Parameter(torch.tensor(recipe.cosine)) if recipe.cosine else None
        nn.init.normal_(self.item.weight, std=recipe.width**-0.5)

    def table(self, item: Tensor | None = None) -> Tensor:
        """[items, width] rows of the catalogue, or [..., width] of some of it."""
        rows = self.item.weight if item is None else self.item(item)
        return rows if self.scale is None else functional.normalize(rows, dim=-1)

    def states(self, item: Tensor, packing: Packing) -> Tensor:
        """[N, width] from [N] items."""
        x = self.table(item) * math.sqrt(self.recipe.width)
        if self.training and self.recipe.drop_items:
            x = x * (torch.rand(x.shape[0], 1, device=x.device) >= self.recipe.drop_items)
        states: Tensor = self.backbone(x, packing)
        return (
            states * self.recipe.width**-0.5
            if self.scale is None
            else functional.normalize(states.float(), dim=1) * self.scale
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        states = self.states(batch.item, batch.packing).float()
        row, item = batch.target.row, batch.target.item
        hit = (states[row] * self.table(item)).sum(1) + self.bias[item]
        if batch.sample is None:
            total = catalogue_logsumexp(states, self.table(), self.bias, batch.excluded)[row]
        else:
            drawn, offset = batch.sample.item, self.bias[batch.sample.item] + batch.sample.log_weight
            total = torch.logaddexp(catalogue_logsumexp(states, self.table(drawn), offset, batch.excluded)[row], hit)
        return {"next": (batch.weight * (total - hit)).sum()}

    def flops(self, batch: Batch) -> float:
        items = self.item.weight.shape[0] if batch.sample is None else batch.sample.item.shape[0]
        backbone = batch.events * self.recipe.size.flops_per_row(batch.packing.context)
        return backbone + output_flops(batch.events, items, self.recipe.width)


@dataclass(frozen=True)
class SequenceCourse:
    """Windows of sequences as steps. Long histories are cut anew in each epoch, at a random phase: all of them is learned."""

    data: Sequences
    recipe: Recipe
    seed: int

    def order(self, epoch: int) -> list[Ints]:
        """Steps of [windows, 2]: events start:stop, whose first is input only. About `rows` rows each, longest first."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        windows = self._windows(generator)
        windows = windows[generator.permutation(len(windows))]
        step = (np.cumsum(windows[:, 1] - windows[:, 0] - 1) - 1) // self.recipe.rows
        parts = np.split(windows, np.flatnonzero(np.diff(step)) + 1)
        return [part[np.argsort(part[:, 0] - part[:, 1], kind="stable")] for part in parts]

    def _windows(self, generator: np.random.Generator) -> Ints:
        start, stop, events = self.data.first[:-1], self.data.learn, self.recipe.events
        known = stop - start >= 2
        start, stop = start[known], stop[known]
        targets = stop - start - 1
        if not self.recipe.whole_history:
            return np.column_stack([np.maximum(start, stop - events - 1), stop])
        # Backwards from the end: a first window of `phase` targets where there is more than one window's worth.
        phase = np.where(targets > events, generator.integers(1, events + 1, targets.size), targets)
        count = 1 + np.maximum(targets - phase + events - 1, 0) // events
        owner = np.repeat(np.arange(targets.size), count)
        number = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
        end = np.where(number == 0, stop[owner], stop[owner] - phase[owner] - (number - 1) * events)
        size = np.where(number == 0, phase[owner], np.minimum(events, end - start[owner] - 1))
        return np.column_stack([end - size - 1, end])

    def lesson(self, chosen: Ints, draw: tuple[int, ...]) -> Batch:
        sizes = chosen[:, 1] - chosen[:, 0] - 1
        packing = Packing.of(sizes)
        event = np.repeat(chosen[:, 0] - packing.first.numpy()[:-1], sizes) + np.arange(sizes.sum())
        row, item, weight = self._targets(event, np.repeat(chosen[:, 1], sizes))
        tensors = [torch.from_numpy(values) for values in (self.data.item[event], row, item, weight)]
        excluded = None
        if not self.data.repeats and self.recipe.exclude_seen:
            excluded = seen(self.data, event)
        sample = None
        if self.recipe.negatives:
            sample, excluded = self._sample(item, row, excluded, np.random.Generator(np.random.PCG64([*draw, 2])))
        return Batch(packing, tensors[0], Pairs(tensors[1], tensors[2]), tensors[3], excluded, sample)

    def _sample(
        self, target: Ints, row: Ints, excluded: Pairs | None, generator: np.random.Generator
    ) -> tuple[Sample, Pairs]:
        """Items that stand for the catalogue, and what each row may not count in it: its target too, which the loss adds."""
        chance = self.chance
        drawn = np.flatnonzero(generator.random(chance.size) < chance)
        place = np.full(chance.size, -1, dtype=np.int64)
        place[drawn] = np.arange(drawn.size)
        if excluded is not None:
            row, target = np.r_[row, excluded.row.numpy()], np.r_[target, excluded.item.numpy()]
        order = np.argsort(row, kind="stable")
        row, column = row[order], place[target[order]]
        out = Pairs(torch.from_numpy(row[column >= 0]), torch.from_numpy(column[column >= 0]))
        weight = -np.log(chance[drawn]).astype(np.float32)
        return Sample(torch.from_numpy(drawn), torch.from_numpy(weight)), out

    @cached_property
    def fade(self) -> NDArray[np.float64]:
        """[events] weight of each event's sequence, 1 on average over what is learned."""
        learned = self.data.learn > self.data.first[:-1]
        if not self.recipe.half_life:
            return np.ones(self.data.item.size)
        age = np.arange(learned.size) / max(int(learned.sum()), 1)
        weight = np.exp2(age / self.recipe.half_life)
        return np.repeat(weight / weight[learned].mean(), np.diff(self.data.first))

    @cached_property
    def chance(self) -> NDArray[np.float64]:
        """[items] of each item to be drawn: half uniform, half by how often it is a target (as the product's own sample)."""
        data = self.data
        learned = np.repeat(data.learn > data.first[1:] - 1, np.diff(data.first))
        count = np.bincount(data.item[learned], minlength=data.items)
        chance: NDArray[np.float64] = self.recipe.negatives * (0.5 / data.items + 0.5 * count / max(count.sum(), 1))
        return np.minimum(chance, 1.0)

    def _targets(self, event: Ints, stop: Ints) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """(row, item, weight): the next `ahead` items, each weighing `ahead_decay` times the one before it."""
        row = np.repeat(np.arange(event.size), self.recipe.ahead)
        later = np.tile(np.arange(self.recipe.ahead), event.size)
        inside = event[row] + 1 + later < stop[row]
        row, later = row[inside], later[inside]
        weight = self.recipe.ahead_decay**later
        weight = weight / np.bincount(row, weight)[row] * self.fade[event[row]]
        return row, self.data.item[event[row] + 1 + later], weight.astype(np.float32)


def seen(data: Sequences, event: Ints) -> Pairs:
    """(row, item) of everything up to and including each row's event, in its sequence."""
    first = data.first[np.searchsorted(data.first, event, side="right") - 1]
    sizes = event - first + 1
    row = np.repeat(np.arange(event.size), sizes)
    past = np.repeat(first - (np.cumsum(sizes) - sizes), sizes) + np.arange(row.size)
    return Pairs(torch.from_numpy(row), torch.from_numpy(data.item[past]))


@torch.inference_mode()
def queries(network: NextItem, data: Sequences, asked: Questions) -> Tensor:
    """[Q, width] states after each question's events."""
    size = np.minimum(asked.stop - asked.start, network.recipe.events)
    order = np.argsort(-size, kind="stable")
    device = network.bias.device
    result = torch.zeros(asked.target.size, network.recipe.width, device=device)
    for at in range(0, order.size, _QUESTIONS):
        chosen = order[at : at + _QUESTIONS]
        packing = Packing.of(size[chosen])
        event = np.repeat(asked.stop[chosen] - size[chosen] - packing.first.numpy()[:-1], size[chosen])
        event = event + np.arange(event.size)
        states = network.states(torch.from_numpy(data.item[event]).to(device), packing.to(device))
        result[torch.from_numpy(chosen).to(device)] = states[packing.last.to(device)].float()
    return result


@torch.inference_mode()
def ranked(network: NextItem, states: Tensor, excluded: Pairs | None, k: int) -> tuple[Tensor, Tensor]:
    """Logits and items of each state's best k, [Q, k]."""
    return stream_top(states, network.table(), network.bias, excluded, k)


@torch.inference_mode()
def answers(network: NextItem, data: Sequences, asked: Questions, k: int) -> Ints:
    """[Q, k] best items, streamed over questions and catalogue."""
    states, device, parts = queries(network, data, asked), network.bias.device, []
    for at in range(0, asked.target.size, _QUESTIONS):
        excluded = None if data.repeats else seen(data, asked.stop[at : at + _QUESTIONS] - 1).to(device)
        parts.append(ranked(network, states[at : at + _QUESTIONS], excluded, k)[1].cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, k), dtype=np.int64)
