"""A network's logits and counted evidence in one score: a few weights, learned where neither has learned.

Fitted on validation questions by cross-entropy over each one's candidates, for a network and counts that don't know them: what
they say of sequences they were made from is better than what they say of new ones. Ranks candidates only: the network's
and the neighbours' best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.next_item.data import Ints, Questions, Sequences, every
from benchmarks.next_item.evidence import Evidence, best
from benchmarks.next_item.network import NextItem, queries, ranked

BY_NEIGHBOURS: Final = 60  # candidates
BY_NETWORK: Final = 40
_BLOCK: Final = 1_000  # questions whose candidates are held at once
_HIDDEN: Final = 32
_ROUNDS: Final = 12
_STEP: Final = 512  # questions
_RATE: Final = 0.01
_FITTED: Final = 16_000  # questions at most


@dataclass(frozen=True)
class Choices:
    """item: [Q, K], -1 where there is none; features: [Q, K, F], the first of them the network's logit under its best."""

    item: Ints
    features: Tensor


class Mixture(nn.Module):
    """features -> score: a linear part and a small hidden layer over standardised features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.linear = nn.Linear(features, 1)
        self.hidden, self.out = nn.Linear(features, _HIDDEN), nn.Linear(_HIDDEN, 1)
        nn.init.zeros_(self.linear.weight)

    def forward(self, features: Tensor) -> Tensor:
        """[..., F] -> [...]."""
        x = (features - self.mean) / self.scale
        score: Tensor = (self.linear(x) + self.out(functional.silu(self.hidden(x))))[..., 0]
        return score


@torch.inference_mode()
def choices(network: NextItem, evidence: Evidence, data: Sequences, asked: Questions) -> Choices:
    scores = evidence.neighbours(data, asked)
    near = best(scores[1], BY_NEIGHBOURS)
    states = queries(network, data, asked)
    values, found = ranked(network, states, None, BY_NETWORK)
    far = found.cpu().numpy()
    twice = (far[:, :, None] == near[:, None, :]).any(2)
    item = np.concatenate([near, np.where(twice, -1, far)], axis=1)
    token = torch.from_numpy(np.maximum(item, 0)).to(states.device)
    logit = (network.table(token) * states[:, None]).sum(2) + network.bias[token] - values[:, :1]
    counted = torch.from_numpy(evidence.features(data, asked, item, scores))
    return Choices(item, torch.cat([logit[..., None].float().cpu(), counted], dim=2))


def fitted(network: NextItem, evidence: Evidence, data: Sequences, asked: Questions, seed: int) -> Mixture:
    """Learned from at most 16,000 of the questions, evenly chosen; those whose target is no candidate teach nothing."""
    asked = every(asked, -(-asked.target.size // _FITTED))
    parts = [choices(network, evidence, data, each) for each in blocks(asked)]
    item, features = np.concatenate([part.item for part in parts]), torch.cat([part.features for part in parts])
    hit = item == asked.target[:, None]
    kept = hit.any(1)
    features, wanted = features[kept], torch.from_numpy(hit[kept].argmax(1))
    absent = torch.from_numpy(item[kept] < 0)
    torch.manual_seed(seed)
    mixture = Mixture(features.shape[2])
    present = features[~absent]
    mixture.mean, mixture.scale = present.mean(0), present.std(0, correction=0).clamp(min=1e-3)
    optimiser = torch.optim.AdamW(mixture.parameters(), lr=_RATE, weight_decay=1e-3)
    steps = _ROUNDS * -(-wanted.numel() // _STEP)
    for number in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1.0 - number / steps)
        if number * _STEP % max(wanted.numel(), 1) < _STEP:
            order = torch.randperm(wanted.numel())
        at = order[torch.arange(number * _STEP, (number + 1) * _STEP) % wanted.numel()]
        score = mixture(features[at]).masked_fill(absent[at], -torch.inf)
        loss = functional.cross_entropy(score, wanted[at])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return mixture.eval()


@torch.inference_mode()
def mixed_answers(
    network: NextItem, evidence: Evidence, mixture: Mixture, data: Sequences, asked: Questions, k: int
) -> Ints:
    """[Q, k] best items, -1 where there are fewer candidates."""
    parts = []
    for each in blocks(asked):
        found = choices(network, evidence, data, each)
        score = mixture(found.features).masked_fill(torch.from_numpy(found.item < 0), -torch.inf)
        order = score.argsort(dim=1, descending=True, stable=True)[:, :k].numpy()
        parts.append(np.take_along_axis(found.item, order, axis=1))
    return np.concatenate(parts) if parts else np.zeros((0, k), dtype=np.int64)


def blocks(asked: Questions) -> list[Questions]:
    edges = range(0, asked.target.size, _BLOCK)
    return [Questions(*(v[low : low + _BLOCK] for v in (asked.start, asked.stop, asked.target))) for low in edges]
