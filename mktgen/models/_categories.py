"""The category head: the chance that a customer buys from each category within 7 days.

One logit per category and a binary cross-entropy each (binary relevance; Tsoumakas & Katakis, "Multi-Label
Classification: An Overview", IJDWM 2007). A softmax over categories would learn how a basket divides among them; asked
for is the chance of each, also in a week without any basket, and cross-entropy is a proper score of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mktgen.models._events import EventLog, Ints
from mktgen.models._movable import Movable
from mktgen.models._states import States

Doubles = NDArray[np.float64]

HALF_LIVES: Final = (7.0, 28.0, 56.0, 112.0)  # days
_START: Final = HALF_LIVES.index(56.0)
_FLOOR: Final = 0.02  # of a decayed count under the logarithm: a line 5.6 half-lives ago
_MAX_AGE: Final = 730  # days; older lines count as this old
# A steady r lines a week leave a decayed count of r * 56 / (7 ln 2) = 11.5 r: log r is log count - 2.4.
_START_BIAS: Final = -2.4


@dataclass(frozen=True)
class CategoryWeek(Movable):
    """L of a batch's states, C categories. state: [L] place among the batch's states. counts: [L, C, half-lives] log of the
    customer's own decayed lines. bought: [L, C] 1 where the 7 days from the cut on hold the category."""

    state: Tensor
    counts: Tensor
    bought: Tensor


def category_week(log: EventLog, states: States, state: Ints, place: Ints, sizes: tuple[int, int]) -> CategoryWeek:
    """`state`: which of `states`; `place`: theirs in the batch. sizes: categories, and last events that are counted."""
    categories, memory = sizes
    end, customer = states.end[state], states.customer[state]
    owner, event = _spans(np.maximum(log.first[customer], end - memory), end)
    age = np.minimum(states.cut[state][owner] - log.day[event], _MAX_AGE)
    token = log.code_category[log.code[event]]
    counts = _by_category(owner, token, (state.size, categories), [np.power(0.5, age / half) for half in HALF_LIVES])
    owner, event = _spans(end, states.until[state])
    token = log.code_category[log.code[event]]
    bought = _by_category(owner, token, (state.size, categories), [np.ones(event.size)])[..., 0] > 0
    return CategoryWeek(
        torch.from_numpy(place),
        torch.from_numpy(np.log(counts + _FLOOR).astype(np.float32)),
        torch.from_numpy(bought.astype(np.float32)),
    )


def _spans(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """(owner, event) of the events low:high of each owner."""
    size = high - low
    owner = np.repeat(np.arange(size.size, dtype=np.int64), size)
    return owner, np.repeat(low - (np.cumsum(size) - size), size) + np.arange(owner.size, dtype=np.int64)


def _by_category(owner: Ints, token: Ints, shape: tuple[int, int], weights: list[Doubles]) -> Doubles:
    """[owners, categories, weights] sums; events of an unknown category (token 0) count nowhere."""
    owners, categories = shape
    known = token > 0
    cell = owner[known] * categories + token[known] - 1
    sums = [np.bincount(cell, weight[known], owners * categories) for weight in weights]
    result: Doubles = np.stack(sums, axis=-1).astype(np.float64).reshape(owners, categories, len(weights))
    return result


class CategoryHead(nn.Module):
    """logit(category) = own counts + how common it is + taste of the state + how likely any visit is."""

    def __init__(self, width: int, features: int, categories: int) -> None:
        super().__init__()
        self.own, self.common = nn.Linear(len(HALF_LIVES), 1), nn.Embedding(categories + 1, 1)
        self.taste, self.visit = nn.Linear(width, width), nn.Linear(width + features, 1)
        with torch.no_grad():  # starts as the customer's own frequency
            for weight in (self.own.weight, self.common.weight, *self.taste.parameters(), *self.visit.parameters()):
                weight.zero_()
            self.own.weight[0, _START] = 1.0
            self.own.bias.fill_(_START_BIAS)

    def forward(self, state: Tensor, features: Tensor, week: CategoryWeek, inputs: nn.Embedding) -> Tensor:
        """[L, C]. state: [S, width]; features: [S, F]; inputs: embedding of the categories among an event's attributes."""
        read, facts = state[week.state].float(), features[week.state]
        token = torch.arange(1, week.counts.shape[1] + 1, device=state.device)
        visit = self.visit(torch.cat([read, facts], dim=1))
        liked = self.common(token)[:, 0] + self.taste(read) @ inputs(token).T
        result: Tensor = (self.own(week.counts)[..., 0] + liked + visit).float()
        return result


def category_loss(logits: Tensor, week: CategoryWeek) -> Tensor:
    """Sum over states of the mean cross-entropy of the categories."""
    each = functional.binary_cross_entropy_with_logits(logits, week.bought, reduction="none")
    result: Tensor = each.sum() / max(week.bought.shape[1], 1)
    return result
