"""The network of the neural kinds: embedded events, a backbone, a read-out at each state, and the heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from mktgen.models._attribute_vectors import FieldVectors, ItemVectors
from mktgen.models._attributes import Facts
from mktgen.models._backbone import Backbone, Size
from mktgen.models._batch import Batch, Columns
from mktgen.models._categories import CategoryHead, category_loss
from mktgen.models._copying import DECAYED_56, FEATURES, decayed_counts
from mktgen.models._events import CHANNELS, GAP_BUCKETS, KINDS, PRICE_BANDS, WEEKDAYS
from mktgen.models._item_facts import PLAN_FACTS
from mktgen.models._packing import Packing
from mktgen.models._redemption import RedemptionHead, redemption_loss
from mktgen.models._softmax import catalogue_logsumexp, output_flops
from mktgen.models._taste import COUNT_SCALE, HALF_LIFE, Taste
from mktgen.models._trainer import Learner

HORIZONS: Final = 2  # purchase within 7 and within 28 days
_COLD_SHARE: Final = 0.05  # of the vocabulary's items that a step scores as if they were new


@dataclass(frozen=True)
class Architecture:
    """All that fixes the network's shape."""

    encoder: Literal["transformer", "lstm"]
    width: int
    items: int
    categories: int
    customer_features: int
    dropout: float
    mailing_facts: int = 0
    campaign_types: int = 0  # 0: no redemption head
    item_values: int = 0
    customer_values: int = 0

    @property
    def size(self) -> Size:
        return Size.of(self.width, self.dropout)

    def flops_per_row(self, context: float) -> float:
        """Of the encoder in a training step, counted as Size.flops_per_row does. The recurrent layer's four gates each
        multiply the input and the hidden state, whatever the context."""
        if self.encoder == "lstm":
            return 6.0 * 4 * self.width * (self.width + self.width)
        return self.size.flops_per_row(context)


class LstmEncoder(nn.Module):
    """One recurrent layer over packed rows; time enters through the gap embedding alone."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.cells = nn.LSTM(size.width, size.width)
        self.drop, self.norm = nn.Dropout(size.dropout), nn.LayerNorm(size.width)

    def forward(self, x: Tensor, packing: Packing, day: Tensor | None = None) -> Tensor:
        by_step = torch.argsort(packing.position, stable=True)
        steps = PackedSequence(self.drop(x)[by_step], torch.bincount(packing.position).cpu())
        result: Tensor = self.norm(self.cells(steps)[0].data[torch.argsort(by_step)])
        return result


class EventInputs(nn.Module):
    """What an event is, as one vector: the sum of its attributes' embeddings. Token 0 of each means missing or new.

    The empty row that opens a window says who the customer is.
    """

    def __init__(self, shape: Architecture, by_row: bool = False) -> None:
        super().__init__()
        self.item = nn.Embedding(shape.items + 1, shape.width, sparse=by_row)
        self.category = nn.Embedding(shape.categories + 1, shape.width)
        sizes = (PRICE_BANDS, GAP_BUCKETS + 1, 2, WEEKDAYS, len(KINDS), len(CHANNELS))
        self.context = nn.ModuleList(nn.Embedding(size, shape.width) for size in sizes)
        self.attributes = ItemVectors(shape.item_values, shape.width)
        self.customer = FieldVectors(shape.customer_values, shape.width)

    def forward(self, batch: Batch) -> Tensor:
        """[R, width]."""
        x: Tensor = self.item(batch.item) + self.category(batch.category)
        context = (batch.price, batch.gap, batch.promoted, batch.weekday, batch.kind, batch.channel)
        for table, values in zip(self.context, context, strict=True):
            x = x + table(values)
        x = x + functional.embedding(batch.good, self.attributes.of(batch.goods))
        return x.index_add(0, batch.packing.first[:-1], self.customer(batch.person).to(x.dtype))

    def items(self, token: Tensor, category: Tensor, facts: Facts) -> Tensor:
        """[items, width] as the output layer takes them, tied with the input; token 0 (rare or new) has the rest."""
        result: Tensor = self.item(token) + self.category(category) + self.attributes.of(facts)
        return result


@dataclass(frozen=True)
class Outputs:
    """rest: [states] log of the sum of exponentials of the logits of all items that are neither bought before nor in the
    target week. hit: [hits] logits of the week's items that are new to the customer. copy: [candidates] logits of items
    bought before, common or rare. purchase: [states, HORIZONS] logits. spend: [states, 2], see `spend_loss`.
    category, redemption: logits of the extras' states and mailings.
    """

    rest: Tensor
    hit: Tensor
    copy: Tensor
    purchase: Tensor
    spend: Tensor
    category: Tensor
    redemption: Tensor


class BehaviourNetwork(nn.Module):
    """Events -> states -> next items and purchases.

    An item's logit is copy(state, item, own counts) where the customer bought it before, generate(state, item) where
    not: one softmax over both, so repeat and new items compete on one scale.
    """

    copy_mean: Tensor
    copy_spread: Tensor
    taste: Tensor
    taste_weight: Tensor
    early: Tensor
    early_weight: Tensor

    def __init__(self, shape: Architecture, by_row: bool = False) -> None:
        """by_row: the items' tables get gradients of rows, so that a step's cost doesn't grow with the vocabulary."""
        super().__init__()
        width = shape.width
        self.inputs = EventInputs(shape, by_row)
        self.encoder = Backbone(shape.size, timed=True) if shape.encoder == "transformer" else LstmEncoder(shape.size)
        self.elapsed = nn.Sequential(nn.Linear(width + 2, width), nn.GELU(), nn.Linear(width, width))
        self.generate_query, self.copy_query = nn.Linear(width, width), nn.Linear(width, width)
        self.item_bias = nn.Embedding(shape.items + 1, 1, sparse=by_row)
        self.item_copy = nn.Embedding(shape.items + 1, 1, sparse=by_row)
        self.category_copy = nn.Embedding(shape.categories + 1, 1)
        self.popularity = nn.Parameter(torch.tensor([1.0]))
        self.plan = nn.Linear(PLAN_FACTS, 1, bias=False)
        self.cold_taste = nn.Linear(width, width)  # an item without factors: from its category and attributes
        self.taste_scale = nn.Parameter(torch.tensor([2.0]))  # in tens
        for name in ("taste", "early"):
            kept = name == "taste"  # the other serves while learning only
            self.register_buffer(name, torch.zeros(shape.items + 1, width), persistent=kept)
            self.register_buffer(f"{name}_weight", torch.zeros(shape.items + 1), persistent=kept)
        self.copy_linear = nn.Linear(FEATURES, 1)
        self.register_buffer("copy_mean", torch.zeros(FEATURES))
        self.register_buffer("copy_spread", torch.ones(FEATURES))
        self.copy_up, self.copy_state = nn.Linear(FEATURES, 32), nn.Linear(width, 32, bias=False)
        self.copy_down = nn.Sequential(nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1))
        inputs = shape.customer_features
        self.purchase_linear = nn.Linear(inputs, HORIZONS)
        self.purchase = nn.Sequential(
            nn.Linear(width + inputs, 32), nn.GELU(), nn.Dropout(shape.dropout), nn.Linear(32, HORIZONS)
        )
        self.spend_linear = nn.Linear(inputs, 2)
        self.spend = nn.Sequential(
            nn.Linear(width + inputs, 32), nn.GELU(), nn.Dropout(shape.dropout), nn.Linear(32, 2)
        )
        self._initialise()
        self.category = CategoryHead(width, inputs, shape.categories)
        self.redemption: RedemptionHead | None = None
        if shape.campaign_types:
            self.redemption = RedemptionHead(width, shape.mailing_facts, shape.campaign_types, shape.dropout)

    def _initialise(self) -> None:
        """Start as personal frequency with a half-life of 56 days over recent popularity, and learn from there."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.05)
        for table in (self.item_bias, self.item_copy, self.category_copy):
            nn.init.zeros_(table.weight)
        self.inputs.attributes.start()
        self.inputs.customer.start()
        with torch.no_grad():
            self.copy_linear.weight.zero_()
            self.copy_linear.weight[0, DECAYED_56] = 1.0
            self.copy_linear.bias.fill_(7.0)  # a purchase of last week's odds beside those of a popular item
            self.copy_state.weight.zero_()
            self.plan.weight.zero_()
            self.cold_taste.weight.zero_()
            self.cold_taste.bias.zero_()
            self.copy_query.weight.zero_()
            self.copy_query.bias.zero_()

    def standardise(self, features: Tensor) -> None:
        """Take the copy part's scale from a sample of candidates' features, [candidates, FEATURES]."""
        if features.shape[0] > 1:
            self.copy_mean.copy_(features.mean(0))
            self.copy_spread.copy_(features.std(0).clamp_min(1e-3))

    def take(self, taste: Taste, early: Taste | None) -> None:
        """`early` serves while learning: it has not seen the targets. None: as it is."""
        for name, found in (("taste", taste), ("early", early)):
            if found is None:
                continue
            getattr(self, name).copy_(torch.from_numpy(found.factors))
            getattr(self, f"{name}_weight").copy_(torch.from_numpy(found.weight))

    def states(self, batch: Batch) -> Tensor:
        """[states, width]: what the events strictly before each state's cut say. The customer vectors."""
        hidden = self.encoder(self.inputs(batch), batch.packing, batch.day)[batch.row]
        state: Tensor = hidden + self.elapsed(torch.cat([hidden, batch.elapsed.to(hidden.dtype)], dim=1))
        return state

    def forward(self, batch: Batch) -> Outputs:
        return self.heads(self.states(batch), batch)

    def heads(self, state: Tensor, batch: Batch) -> Outputs:
        """`state`: [states, width]."""
        columns = batch.columns
        token = self._tokens(columns.token)
        # An item's popularity differs from cut to cut: one more input for each cut, which only its own states look at.
        moment = functional.one_hot(batch.moment, columns.popularity.shape[0]).to(state.dtype)
        query = torch.cat([self.queries(state, batch), moment], dim=1)
        table = torch.cat([self.answers(token, columns), self._now(columns).T], dim=1)
        bias = self.item_bias(token)[:, 0]
        rest = catalogue_logsumexp(query, table, bias + columns.log_weight, batch.excluded)
        hit = (query[batch.hit_state] * functional.embedding(batch.hit_column, table)).sum(1).float()
        hit = hit + bias[batch.hit_column]
        return Outputs(
            rest, hit, self.copy(state, batch), self.purchases(state, batch), self.spends(state, batch),
            self.categories(state, batch), self.redemptions(state, batch),
        )  # fmt: skip

    def _tokens(self, token: Tensor) -> Tensor:
        """While learning some items are scored as new ones are, by category and attributes, so that an item newer than the
        model gets a score that was learned (as in DropoutNet, Volkovs et al., NIPS 2017)."""
        if not self.training:
            return token
        return token * (torch.rand(token.shape, device=token.device) >= _COLD_SHARE)

    def queries(self, state: Tensor, batch: Batch) -> Tensor:
        """[states, Q], to be multiplied with `answers`: what the state asks for, and the customer's taste."""
        factors, weight = (self.early, self.early_weight) if self.training else (self.taste, self.taste_weight)
        bought, owner = batch.candidate_item, batch.candidate_state
        counts = torch.log1p(COUNT_SCALE * decayed_counts(batch.candidate_features, HALF_LIFE))
        own = factors[bought] * (counts * weight[bought])[:, None]
        taste = state.new_zeros(state.shape).index_add(0, owner, own.to(state.dtype))
        taste = 10.0 * self.taste_scale * functional.normalize(taste, dim=1)
        return torch.cat([self.generate_query(state), taste], dim=1)

    def answers(self, token: Tensor, columns: Columns) -> Tensor:
        """[items, Q]: items as the output layer takes them; `token`: those of the columns, or of some 0."""
        factors = self.early if self.training else self.taste
        items = self.inputs.items(token, columns.category, columns.facts)
        known = factors[token]
        guessed = self.cold_taste(items) * (known == 0).all(dim=1, keepdim=True)
        return torch.cat([items, known + guessed], dim=1)

    def output_layer(self, columns: Columns) -> tuple[Tensor, Tensor]:
        """[items, Q] and [moments, items]: a new item's logit is queries @ table.T + offset, see `heads`."""
        return self.answers(columns.token, columns), self.item_bias(columns.token)[:, 0] + self._now(columns)

    def _now(self, columns: Columns) -> Tensor:
        """[moments, items]: what sold lately and what is promoted."""
        lately: Tensor = self.popularity * columns.popularity + self.plan(columns.plan)[:, :, 0]
        return lately

    def copy(self, state: Tensor, batch: Batch) -> Tensor:
        """[candidates] logits of items bought before."""
        chosen = batch.candidate_state
        standard = ((batch.candidate_features - self.copy_mean) / self.copy_spread).clamp(-6.0, 6.0)
        hidden = self.copy_up(standard) + self.copy_state(state)[chosen]
        copy = self.copy_linear(batch.candidate_features) + self.copy_down(hidden)
        copy = copy + self.item_copy(batch.candidate_item) + self.category_copy(batch.candidate_category)
        own = (self.copy_query(state)[chosen] * self.inputs.item(batch.candidate_item)).sum(1)
        result: Tensor = copy[:, 0].float() + own.float()
        return result

    def purchases(self, state: Tensor, batch: Batch) -> Tensor:
        """[states, HORIZONS] logits."""
        facts = torch.cat([state.float(), batch.features], dim=1)
        result: Tensor = (self.purchase_linear(batch.features) + self.purchase(facts)).float()
        return result

    def categories(self, state: Tensor, batch: Batch) -> Tensor:
        """[L, categories] logits, see CategoryWeek."""
        result: Tensor = self.category(state, batch.features, batch.extras.week, self.inputs.category)
        return result

    def redemptions(self, state: Tensor, batch: Batch) -> Tensor:
        """[M] logits, see MailedBatch."""
        if self.redemption is None:
            return batch.extras.mailed.offset
        result: Tensor = self.redemption(state, batch.extras.mailed, self.inputs.category)
        return result

    def spends(self, state: Tensor, batch: Batch) -> Tensor:
        """[states, 2]: logit of spending anything within 28 days, and log of the mean spend of those who do, in units."""
        facts = torch.cat([state.float(), batch.features], dim=1)
        result: Tensor = (self.spend_linear(batch.features) + self.spend(facts)).float()
        return result


def rank_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Sum over states with a target week of the mean negative log-likelihood of its items.

    One softmax over the whole vocabulary plus the state's own rare items. A positive that is neither (a rare item
    never bought before) can't be scored and is left out.
    """
    value = torch.cat([outputs.copy, outputs.hit])
    state = torch.cat([batch.candidate_state, batch.hit_state])
    weight = torch.cat([batch.candidate_weight, batch.hit_weight])
    anchor = outputs.rest.detach().scatter_reduce(0, state, value.detach(), "amax")
    mass = (outputs.rest - anchor).exp().index_add(0, state, (value - anchor[state]).exp())
    total = anchor + mass.log()
    return (weight * (total[state] - value)).sum()


def purchase_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Sum over labelled states of the mean binary cross-entropy of the two horizons."""
    each = functional.binary_cross_entropy_with_logits(outputs.purchase, batch.labels, reduction="none").mean(1)
    return (each * batch.labelled).sum()


def spend_loss(outputs: Outputs, batch: Batch) -> Tensor:
    """Sum over labelled states of the negative log-likelihood of a hurdle model of 28-day spend.

    Whether anything is spent is a Bernoulli variable; how much, where it is, has mean m and a gamma's quasi-likelihood
    log m + y / m, which asks for the right mean only and takes a spread that grows with it. Assumes that zero is a state of
    its own rather than a small amount. Expected spend is p m. Reference: Mullahy, "Specification and testing of some
    modified count data models", 1986; McCullagh and Nelder, "Generalized Linear Models", 1989, chapter 8.
    """
    spent = (batch.spend > 0).float()
    crossing = functional.binary_cross_entropy_with_logits(outputs.spend[:, 0], spent, reduction="none")
    log_mean = outputs.spend[:, 1].clamp(-10.0, 10.0)
    amount = (log_mean + batch.spend * (-log_mean).exp()) * spent
    return ((crossing + amount) * batch.spend_known).sum()


def expected_spend(spend: Tensor) -> Tensor:
    """[states] in units, from `BehaviourNetwork.spends`."""
    return spend[:, 0].sigmoid() * spend[:, 1].clamp(-10.0, 10.0).exp()


class BehaviourLearner(Learner):
    """The network with the losses of all its heads."""

    def __init__(self, network: BehaviourNetwork, shape: Architecture) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(batch)
        return {
            "ranking": rank_loss(outputs, batch),
            "purchase": purchase_loss(outputs, batch),
            "spend": spend_loss(outputs, batch),
            "category": category_loss(outputs.category, batch.extras.week),
            "redemption": redemption_loss(outputs.redemption, batch.extras.mailed),
        }

    def flops(self, batch: Batch) -> float:
        """Of the encoder and the output layer. The small heads are left out; so are the output layer's further columns,
        which look up what depends on the moment."""
        encoder = batch.item.shape[0] * self.shape.flops_per_row(batch.packing.context)
        return encoder + output_flops(batch.row.shape[0], batch.columns.token.shape[0], 2 * self.shape.width)
