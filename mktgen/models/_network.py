"""The network of the neural kinds: an encoder of events, a read-out at each state, and the heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mktgen.models._batch import Batch
from mktgen.models._copying import DECAYED_56, FEATURES
from mktgen.models._events import GAP_BUCKETS, PRICE_BANDS, WEEKDAYS

_HEAD_WIDTH: Final = 16
_PERIODS: Final = (4.0, 1500.0)  # days, shortest and longest period of the rotary encoding
HORIZONS: Final = 2  # purchase within 7 and within 28 days


@dataclass(frozen=True)
class Architecture:
    """All that fixes the network's shape."""

    encoder: Literal["transformer", "lstm"]
    width: int
    items: int
    categories: int
    customer_features: int
    dropout: float

    @property
    def heads(self) -> int:
        return max(1, self.width // _HEAD_WIDTH)

    @property
    def layers(self) -> int:
        return max(1, self.width // 32)


class Block(nn.Module):
    """Pre-norm causal self-attention and feed-forward; positions are business days, by rotary encoding."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [batch, heads, length, head width]
        # Right padding needs no mask: nothing earlier can look at it, and no state is read from it.
        seen = functional.scaled_dot_product_attention(_rotate(q, rotation), _rotate(k, rotation), v, is_causal=True)
        x = x + self.drop(self.out(seen.transpose(1, 2).reshape(batch, length, width)))
        hidden: Tensor = x + self.drop(self.down(functional.gelu(self.up(self.norm2(x)))))
        return hidden


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """x: [batch, heads, length, head width]; rotation: cos and sin, each [batch, 1, length, head width / 2]."""
    cos, sin = rotation
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


class TransformerEncoder(nn.Module):
    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads, shape.dropout) for _ in range(shape.layers))
        half = shape.width // shape.heads // 2
        steps = torch.arange(half) / max(half - 1, 1)
        self.periods = _PERIODS[0] * (_PERIODS[1] / _PERIODS[0]) ** steps

    def forward(self, x: Tensor, day: Tensor) -> Tensor:
        """x: [batch, length, width]; day: [batch, length], business days since the window's first event."""
        angle = (2.0 * math.pi) * day[:, None, :, None] / self.periods.to(day.device)
        rotation = (angle.cos(), angle.sin())
        for block in self.blocks:
            x = block(x, rotation)
        return x


class LstmEncoder(nn.Module):
    """One recurrent layer; time enters through the gap embedding alone."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.cells = nn.LSTM(shape.width, shape.width, batch_first=True)

    def forward(self, x: Tensor, day: Tensor) -> Tensor:
        hidden: Tensor = self.cells(x)[0]
        return hidden


@dataclass(frozen=True)
class Outputs:
    """generate: [states, items] logits of the vocabulary (item token minus 1), for items that are new to the customer.
    copy: [candidates] logits of items bought before, common or rare. purchase: [states, HORIZONS] logits.
    """

    generate: Tensor
    copy: Tensor
    purchase: Tensor


class BehaviourNetwork(nn.Module):
    """Events -> states -> next items and purchases.

    An item's logit is copy(state, item, own counts) where the customer bought it before, generate(state, item) where
    not: one softmax over both, so repeat and new items compete on one scale.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        width = shape.width
        self.item = nn.Embedding(shape.items + 1, width)
        self.category = nn.Embedding(shape.categories + 1, width)
        self.context = nn.ModuleList(nn.Embedding(n, width) for n in (PRICE_BANDS, GAP_BUCKETS, 2, WEEKDAYS))
        self.begin = nn.Parameter(torch.zeros(width))
        self.drop = nn.Dropout(shape.dropout)
        self.encoder = TransformerEncoder(shape) if shape.encoder == "transformer" else LstmEncoder(shape)
        self.norm = nn.LayerNorm(width)
        self.elapsed = nn.Sequential(nn.Linear(width + 2, width), nn.GELU(), nn.Linear(width, width))
        self.generate_query, self.copy_query = nn.Linear(width, width), nn.Linear(width, width)
        self.item_bias, self.item_copy = nn.Embedding(shape.items + 1, 1), nn.Embedding(shape.items + 1, 1)
        self.category_copy = nn.Embedding(shape.categories + 1, 1)
        self.popularity = nn.Parameter(torch.tensor([1.0]))
        self.copy_linear = nn.Linear(FEATURES, 1)
        self.copy_up, self.copy_state = nn.Linear(FEATURES, 32), nn.Linear(width, 32, bias=False)
        self.copy_down = nn.Linear(32, 1)
        inputs = shape.customer_features
        self.purchase_linear = nn.Linear(inputs, HORIZONS)
        self.purchase = nn.Sequential(
            nn.Linear(width + inputs, 32), nn.GELU(), nn.Dropout(shape.dropout), nn.Linear(32, HORIZONS)
        )
        self._initialise()

    def _initialise(self) -> None:
        """Start as personal frequency with a half-life of 56 days over recent popularity, and learn from there."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.05)
        for table in (self.item_bias, self.item_copy, self.category_copy):
            nn.init.zeros_(table.weight)
        with torch.no_grad():
            self.copy_linear.weight.zero_()
            self.copy_linear.weight[0, DECAYED_56] = 1.0
            self.copy_linear.bias.fill_(7.0)  # a purchase of last week's odds beside those of a popular item
            self.copy_down.weight.mul_(0.1)
            self.copy_state.weight.zero_()
            self.copy_query.weight.zero_()
            self.copy_query.bias.zero_()

    def states(self, batch: Batch) -> Tensor:
        """[states, width]: what the events strictly before each state's cut say. The customer vectors."""
        x = self.item(batch.item) + self.category(batch.category)
        for table, values in zip(self.context, (batch.price, batch.gap, batch.promoted, batch.weekday), strict=True):
            x = x + table(values)
        x = torch.cat([self.begin.expand(x.shape[0], 1, -1), x], dim=1)  # position 0: before the first event
        day = functional.pad(batch.day, (1, 0))
        hidden = self.norm(self.encoder(self.drop(x), day))[batch.row, batch.position]
        state: Tensor = hidden + self.elapsed(torch.cat([hidden, batch.elapsed.to(hidden.dtype)], dim=1))
        return state

    def forward(self, batch: Batch) -> Outputs:
        return self.heads(self.states(batch), batch)

    def heads(self, state: Tensor, batch: Batch) -> Outputs:
        """`state`: [states, width]."""
        table = self.item.weight[1:] + self.category(batch.item_category)  # [items, width], tied with the input
        generate = self.generate_query(state) @ table.T
        offset = self.item_bias.weight[1:, 0] + self.popularity * batch.popularity  # [moments, items]
        generate = generate.float() + functional.embedding(batch.moment, offset)
        chosen = batch.candidate_state
        own = self.item(batch.candidate_item)
        hidden = functional.gelu(self.copy_up(batch.candidate_features) + self.copy_state(state)[chosen])
        copy = self.copy_linear(batch.candidate_features) + self.copy_down(hidden)
        copy = copy + self.item_copy(batch.candidate_item) + self.category_copy(batch.candidate_category)
        copy = copy[:, 0].float() + (self.copy_query(state)[chosen] * own).sum(1).float()
        facts = torch.cat([state.float(), batch.features], dim=1)
        purchase = self.purchase_linear(batch.features) + self.purchase(facts)
        return Outputs(generate, copy, purchase.float())


def rank_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Sum over states with a target week of the mean negative log-likelihood of its items.

    One softmax over the whole vocabulary plus the state's own rare items. A positive that is neither (a rare item
    never bought before) can't be scored and is left out.
    """
    in_vocabulary = batch.candidate_item > 0
    row, column = batch.candidate_state[in_vocabulary], batch.candidate_item[in_vocabulary] - 1
    logits = outputs.generate.index_put((row, column), outputs.copy[in_vocabulary])
    rare = outputs.copy[~in_vocabulary]
    rare_row = batch.candidate_state[~in_vocabulary]
    common = torch.logsumexp(logits, dim=1)
    anchor = common.detach()
    mass = torch.zeros_like(common).index_add(0, rare_row, (rare - anchor[rare_row]).exp())
    total = anchor + ((common - anchor).exp() + mass).log()
    hit = logits[batch.target_state, batch.target_item] - total[batch.target_state]
    rare_hit = (rare - total[rare_row])[batch.rare_target[~in_vocabulary]]
    return -(hit * batch.target_weight).sum() - (rare_hit * batch.rare_weight[~in_vocabulary & batch.rare_target]).sum()


def purchase_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Sum over labelled states of the mean binary cross-entropy of the two horizons."""
    each = functional.binary_cross_entropy_with_logits(outputs.purchase, batch.labels, reduction="none").mean(1)
    return (each * batch.labelled).sum()
