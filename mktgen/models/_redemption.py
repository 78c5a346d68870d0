"""The redemption head: the chance that a campaign mailed to a customer is redeemed.

logit = that of a logistic regression on the facts of the mailing + what a small network reads from the customer's state,
the offer and the same facts. The regression is fitted first and kept; the network starts at 0 and learns what is left
(as in stagewise additive models; Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", chapter 10), because
a few thousand mailings are too little for a network alone. The offer is described by its type and by the mean of the
embeddings of the categories that its items are from. Fails for customers unlike those ever mailed, as the regression does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mktgen.errors import PermanentError
from mktgen.models._events import EventLog, Floats, Ints
from mktgen.models._logistic import Logistic, slog
from mktgen.models._movable import Movable
from mktgen.models._states import States
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import Mailings

_C: Final = 0.1  # inverse penalty of the regression
_CLIP: Final = 8.0  # standard deviations
_TYPE_WIDTH: Final = 8
_HIDDEN: Final = 32


@dataclass(frozen=True)
class MailingScale:
    """The regression that the head starts from, with the facts it reads, and the campaign types that it knows."""

    types: list[str]
    regression: Logistic

    @classmethod
    def learn(cls, mailings: Mailings) -> Self:
        """Raises PermanentError where all were redeemed, or none."""
        types = mailings.rows["campaign_type"].unique().sort().to_list()
        facts = [name for name, dtype in mailings.rows.schema.items() if dtype.is_numeric()]
        names = (*facts, *(f"type={kind}" for kind in types))
        values, label = _values(mailings.rows, names), mailings.rows["redeemed"].to_numpy().astype(np.bool_)
        return cls(types, Logistic.fit(names, values, label, _C))

    def encode(
        self, mailings: Mailings, state: Ints, vocabulary: Vocabulary, categories: pl.DataFrame, labelled: bool
    ) -> Mailed:
        """`state`: which state each mailing is read at, -1 for none. categories: item_id, category.

        Raises PermanentError naming facts that the rows lack.
        """
        regression, rows = self.regression, mailings.rows
        order = np.argsort(state, kind="stable")
        order = order[state[order] >= 0].astype(np.int64)
        values = _values(rows, regression.features)
        chance = np.clip(regression.probability(values), 1e-9, 1 - 1e-9)
        facts = np.clip((slog(values) - np.array(regression.mean)) / np.array(regression.scale), -_CLIP, _CLIP)
        campaigns = rows["campaign_id"].unique().sort()
        redeemed = rows["redeemed"].to_numpy().astype(np.float32) if labelled else np.zeros(rows.height)
        return Mailed(
            row=order,
            state=state[order],
            offset=np.log(chance / (1 - chance)).astype(np.float32)[order],
            facts=facts.astype(np.float32)[order],
            kind=_places(rows["campaign_type"], pl.Series(self.types, dtype=pl.String))[order] + 1,
            campaign=_places(rows["campaign_id"], campaigns)[order],
            shares=_shares(mailings.items, campaigns, vocabulary, categories),
            redeemed=redeemed.astype(np.float32)[order],
        )

    def to_json(self) -> dict[str, Any]:
        return {"types": self.types, "regression": self.regression.to_json()}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        return cls(body["types"], Logistic.from_json(body["regression"]))


@dataclass(frozen=True)
class Mailed:
    """Mailings that have a state, sorted by it. row: place in the frame that they came in. offset: logit of the regression.
    kind: token of the campaign's type, 0 for a new one. campaign: row of shares, [campaigns, C] shares of its items."""

    row: Ints
    state: Ints
    offset: Floats
    facts: Floats
    kind: Ints
    campaign: Ints
    shares: Floats
    redeemed: Floats

    @classmethod
    def none(cls, categories: int) -> Self:
        empty, blank = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        shares = np.zeros((0, categories), dtype=np.float32)
        return cls(empty, empty, blank, np.zeros((0, 0), dtype=np.float32), empty, empty, shares, blank)

    def of(self, state: Ints) -> MailedBatch:
        """Those of a batch's states, in the batch's order. `state`: which states the batch holds."""
        low = np.searchsorted(self.state, state, side="left")
        count = np.searchsorted(self.state, state, side="right") - low
        place = np.repeat(np.arange(state.size, dtype=np.int64), count)
        which = np.repeat(low - (np.cumsum(count) - count), count) + np.arange(place.size, dtype=np.int64)
        parts: list[Ints | Floats] = [self.row, self.offset, self.facts, self.kind, self.campaign, self.redeemed]
        row, offset, facts, kind, campaign, redeemed = (torch.from_numpy(part[which]) for part in parts)
        return MailedBatch(
            torch.from_numpy(place), row, offset, facts, kind, campaign, redeemed, torch.from_numpy(self.shares)
        )

    def digested(self) -> list[Ints | Floats]:
        return [getattr(self, f.name) for f in fields(self)]


@dataclass(frozen=True)
class MailedBatch(Movable):
    """M mailings of a batch; state: [M] place among its states. The rest as in `Mailed`."""

    state: Tensor
    row: Tensor
    offset: Tensor
    facts: Tensor
    kind: Tensor
    campaign: Tensor
    redeemed: Tensor
    shares: Tensor


class RedemptionHead(nn.Module):
    """What the state and the offer add to the regression."""

    def __init__(self, width: int, facts: int, types: int, dropout: float) -> None:
        super().__init__()
        self.kind = nn.Embedding(types + 1, _TYPE_WIDTH)
        last = nn.Linear(_HIDDEN, 1)
        with torch.no_grad():  # starts as the regression
            last.weight.zero_()
            last.bias.zero_()
        inputs = 2 * width + facts + _TYPE_WIDTH
        self.net = nn.Sequential(nn.Linear(inputs, _HIDDEN), nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, state: Tensor, mailed: MailedBatch, inputs: nn.Embedding) -> Tensor:
        """[M] logits. state: [S, width]; inputs: embedding of the categories among an event's attributes."""
        token = torch.arange(1, mailed.shares.shape[1] + 1, device=state.device)
        offer = (mailed.shares @ inputs(token))[mailed.campaign]
        read = [state[mailed.state].float(), offer.float(), mailed.facts, self.kind(mailed.kind)]
        result: Tensor = mailed.offset + self.net(torch.cat(read, dim=1))[:, 0].float()
        return result


def redemption_loss(logits: Tensor, mailed: MailedBatch) -> Tensor:
    """Sum of the cross-entropy of the mailings."""
    return functional.binary_cross_entropy_with_logits(logits, mailed.redeemed, reduction="sum")


def with_mailing_states(states: States, log: EventLog, customer: Ints, day: Ints) -> tuple[States, Ints]:
    """States with one more at each (customer, day) that has none yet, and the state of each mailing (-1: customer unknown).

    The new ones have neither target week nor example: what is learned of items and purchases stays as it was.
    """
    known = np.flatnonzero(customer >= 0)
    span = int(max(states.cut.max(initial=0), day.max(initial=0))) + 1
    have, want = states.customer * span + states.cut, customer[known] * span + day[known]
    fresh = np.setdiff1d(want, have)
    owner, cut = fresh // span, fresh % span
    end = log.count_before(owner, cut)
    added = States(owner, cut, end, end, np.full(owner.size, -1, dtype=np.int64))
    order = np.argsort(np.concatenate([have, fresh]), kind="stable")
    names = [f.name for f in fields(states)]
    merged = States(*(np.concatenate([getattr(states, name), getattr(added, name)])[order] for name in names))
    place = np.full(customer.size, -1, dtype=np.int64)
    place[known] = np.searchsorted(np.concatenate([have, fresh])[order], want)
    return merged, place


def _values(rows: pl.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    types = [name for name in names if name.startswith("type=")]
    facts = [name for name in names if not name.startswith("type=")]
    missing = sorted(set(facts) - set(rows.columns))
    if missing:
        raise PermanentError(f"the mailings lack {missing}, which the model was trained with; make them the same way")
    columns = [pl.col(name).cast(pl.Float64).fill_null(0.0).fill_nan(0.0) for name in facts]
    columns += [(pl.col("campaign_type") == n.removeprefix("type=")).cast(pl.Float64).alias(n) for n in types]
    return rows.select(columns).to_numpy().astype(np.float64)


def _places(values: pl.Series, known: pl.Series) -> Ints:
    """Place of each value in `known`, -1 for one that isn't there."""
    places = pl.DataFrame({"value": known, "place": np.arange(known.len(), dtype=np.int64)})
    joined = pl.DataFrame({"value": values}).join(places, on="value", how="left", maintain_order="left")["place"]
    return joined.fill_null(-1).to_numpy().astype(np.int64)


def _shares(items: pl.DataFrame, campaigns: pl.Series, vocabulary: Vocabulary, categories: pl.DataFrame) -> Floats:
    """[campaigns, C] share of each category among the campaign's items whose category is known; zeros where none is."""
    width = vocabulary.categories.height
    known = (
        items.select("campaign_id", "item_id").unique().join(categories, on="item_id").sort("campaign_id", "item_id")
    )
    campaign, token = _places(known["campaign_id"], campaigns), vocabulary.category_tokens(known["category"])
    inside = (campaign >= 0) & (token > 0)
    cells = np.bincount(campaign[inside] * width + token[inside] - 1, minlength=campaigns.len() * width)
    counts = cells.reshape(campaigns.len(), width).astype(np.float32)
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return shares
