"""Batches: windows of events, states in them, and the states' candidates and targets, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mktgen.models._attributes import Facts, ItemFacts
from mktgen.models._copying import candidates
from mktgen.models._events import BEGIN_GAP, WEEKDAYS, EventLog, Floats, Ints
from mktgen.models._heads import ExtraBatch, Extras
from mktgen.models._item_facts import CutFacts, VocabularyFacts, scaled
from mktgen.models._movable import Movable
from mktgen.models._packing import Packing
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._softmax import Pairs
from mktgen.models._states import ACTIVE_DAYS, States, Windows


@dataclass(frozen=True)
class Columns(Movable):
    """The items that states are scored against: the whole vocabulary, or a sample of it and the batch's hits.

    token, category: [K]. popularity: [M, K] scaled log lines of the 28 days before each cut. plan: [M, K, PLAN_FACTS], see
    CutFacts. log_weight: [K] minus the logarithm of the chance to be in the sample; -inf for a hit that was not drawn, which
    stands for itself alone. facts: attributes of the K items.
    """

    token: Tensor
    category: Tensor
    popularity: Tensor
    plan: Tensor
    log_weight: Tensor
    facts: Facts


@dataclass(frozen=True)
class Batch:
    """Shapes: R rows (the events of all windows, each window opened by an empty row), S states, N candidates, H hits.

    good: [R] row in goods, the attributes of the items of these rows. person: [windows, fields] tokens of the customers.
    day: [R] days since the window's first event. row: [S] the row at whose end a state is read. moment: [S] row of its
    cut in columns.popularity. Weights sum to at most 1 per state: candidate_weight [N] is above 0 where an item bought
    before is in the target week; `hit_*` are the week's items of the vocabulary that are new to the customer. excluded:
    (state, column) of what was bought before or is a hit: all else is what the state's customer did not choose.
    """

    packing: Packing
    item: Tensor
    category: Tensor
    price: Tensor
    gap: Tensor
    promoted: Tensor
    weekday: Tensor
    kind: Tensor
    channel: Tensor
    good: Tensor
    goods: Facts
    person: Tensor
    day: Tensor
    row: Tensor
    elapsed: Tensor
    moment: Tensor
    features: Tensor
    labels: Tensor
    labelled: Tensor
    spend: Tensor
    spend_known: Tensor
    candidate_state: Tensor
    candidate_item: Tensor
    candidate_category: Tensor
    candidate_features: Tensor
    candidate_weight: Tensor
    hit_state: Tensor
    hit_column: Tensor
    hit_weight: Tensor
    columns: Columns
    excluded: Pairs
    extras: ExtraBatch
    ranked: int
    events: int

    @property
    def counts(self) -> dict[str, float]:
        """What the losses are means over: states with a target week, and states with labels."""
        known = {"purchase": self.labelled, "spend": self.spend_known}
        masks = {name: float(mask.sum()) for name, mask in known.items()}
        return {"ranking": float(self.ranked), **masks, **self.extras.counts}

    def to(self, device: torch.device) -> Self:
        if device.type == "cpu":
            return self
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            n: v.to(device) if isinstance(v, Tensor | Movable | Packing | Pairs) else v for n, v in values.items()
        }
        return type(self)(**moved)


@dataclass(frozen=True)
class Scene:
    """All that batches are cut from.

    facts: of the log's codes at each of `moments` (day numbers, sorted). features:
    [examples, F] standardised, labels: [examples, 2]. spend: [examples] of 28 days in the model's unit, NaN
    where it isn't known. item_category: [V] tokens. vocabulary_facts: those by token.
    goods: attributes of the vocabulary's items in the order of their tokens, then of the log's other items; code_good: row
    in it by code. people: [customers, fields] tokens.
    sampler: draws the columns of a batch; None for the whole vocabulary. extras: what further heads read.
    """

    log: EventLog
    states: States
    windows: Windows
    moments: Ints
    facts: CutFacts
    vocabulary_facts: VocabularyFacts
    item_category: Ints
    features: Floats
    labels: Floats
    spend: Floats
    memory: int
    sampler: CatalogueSampler | None
    extras: Extras
    goods: ItemFacts
    code_good: Ints
    people: Ints


def collate(scene: Scene, chosen: Ints, draw: tuple[int, ...] = ()) -> Batch:
    """The batch of the windows `chosen`, longest first (may be empty of states' targets, never of windows).

    draw: seeds of the sample of columns, where the scene asks for one.
    """
    log, found = scene.log, scene.windows
    start, stop = found.start[chosen], found.stop[chosen]
    packing = Packing.of(stop - start + 1)
    first = packing.first.numpy()[:-1]
    begins = np.zeros(int(packing.first[-1]), dtype=bool)
    begins[first] = True
    event = np.repeat(start - first, stop - start + 1) + np.arange(begins.size) - 1
    event = np.where(begins, np.minimum(event + 1, max(log.day.size - 1, 0)), event)

    def rows(values: Ints, begin: int = 0) -> Tensor:
        known = values[event] if values.size else np.zeros(begins.size, dtype=np.int64)
        return torch.from_numpy(np.where(begins, begin, known))

    per_window = found.last[chosen] - found.first[chosen]
    state = np.concatenate([np.arange(found.first[w], found.last[w], dtype=np.int64) for w in chosen])
    opened = np.repeat(log.day[event[first]] if log.day.size else first, stop - start + 1)
    sequence: dict[str, Any] = {
        "item": rows(log.code_item[log.code]),
        "category": rows(log.code_category[log.code]),
        "price": rows(log.price),
        "gap": rows(log.gap, BEGIN_GAP),
        "promoted": rows(log.promoted),
        "weekday": rows((log.day + 3) % WEEKDAYS),  # 1970-01-01 was a Thursday: 0 = Monday
        "kind": rows(log.kind),
        "channel": rows(log.channel),
        "day": torch.from_numpy(np.where(begins, 0, (log.day[event] if log.day.size else 0) - opened)).float(),
        "row": torch.from_numpy(np.repeat(first - start, per_window) + scene.states.end[state]),
    }
    # A mailing's state lies between two cuts and ranks nothing; any other has a moment of its own.
    moment = np.maximum(np.searchsorted(scene.moments, scene.states.cut[state], side="right") - 1, 0).astype(np.int64)
    good = rows(scene.code_good[log.code])
    present = torch.unique(good)
    own, ranked = _candidates(scene, state, moment, np.random.Generator(np.random.PCG64([*draw, 1])))
    return Batch(
        packing=packing,
        **sequence,
        **_labels(scene, state),
        **own,
        good=torch.searchsorted(present, good),
        goods=scene.goods.take(present.numpy()),
        person=torch.from_numpy(scene.people[scene.states.customer[found.first[chosen]]]),
        elapsed=_elapsed(scene, state),
        moment=torch.from_numpy(moment),
        extras=scene.extras.batch(log, scene.states, state, scene.memory),
        ranked=ranked,
        events=int((stop - start).sum()),
    )


def _elapsed(scene: Scene, state: Ints) -> Tensor:
    """[S, 2]: log days since the last event, and whether there is any."""
    log, states = scene.log, scene.states
    end, customer = states.end[state], states.customer[state]
    known = end > log.first[customer]
    last = log.day[np.maximum(end - 1, 0)] if log.day.size else states.cut[state]
    days = np.where(known, states.cut[state] - last, ACTIVE_DAYS)
    return torch.from_numpy(np.column_stack([0.5 * np.log(np.maximum(days, 1)), known]).astype(np.float32))


def _labels(scene: Scene, state: Ints) -> dict[str, Any]:
    example = scene.states.example[state]
    known = example >= 0
    rows = np.maximum(example, 0)
    blank = not scene.features.shape[0]
    features = np.zeros((state.size, scene.features.shape[1])) if blank else scene.features[rows] * known[:, None]
    spend = np.full(state.size, np.nan) if not scene.spend.size else np.where(known, scene.spend[rows], np.nan)
    spend = spend.astype(np.float32)
    labels = np.zeros((state.size, 2)) if blank or not scene.labels.shape[0] else scene.labels[rows] * known[:, None]
    return {
        "features": torch.from_numpy(features.astype(np.float32)),
        "labels": torch.from_numpy(labels.astype(np.float32)),
        "labelled": torch.from_numpy(known.astype(np.float32)),
        "spend": torch.from_numpy(np.nan_to_num(spend)),
        "spend_known": torch.from_numpy(np.isfinite(spend).astype(np.float32)),
    }


def _candidates(scene: Scene, state: Ints, moment: Ints, generator: np.random.Generator) -> tuple[dict[str, Any], int]:
    """Candidates, hits and columns of the states, and how many states have a target week."""
    log, states = scene.log, scene.states
    found = candidates(
        log, states.customer[state], states.cut[state], states.end[state], scene.memory, scene.facts, moment
    )
    width = max(log.item_ids.len(), 1)
    low, high = states.end[state], states.until[state]
    size = high - low
    owner = np.repeat(np.arange(state.size, dtype=np.int64), size)
    event = np.repeat(low - (np.cumsum(size) - size), size) + np.arange(owner.size)
    wanted = np.unique(owner * width + log.code[event])  # each item of the week once
    share = (1.0 / np.maximum(np.bincount(wanted // width, minlength=state.size), 1)).astype(np.float32)
    before = found.state * width + found.code
    again = np.isin(before, wanted, assume_unique=True)
    new = np.setdiff1d(wanted, before, assume_unique=True)
    hit_state, hit_token = new // width, log.code_item[new % width]
    hit_state, hit_token = hit_state[hit_token > 0], hit_token[hit_token > 0]
    columns = _columns(scene, np.unique(hit_token), generator)
    columns_of = columns.token.numpy()
    token = log.code_item[found.code]
    out_state, out_column = np.r_[found.state, hit_state], _places(columns_of, np.r_[token, hit_token])
    out = np.flatnonzero(out_column >= 0)
    out = out[np.argsort(out_state[out], kind="stable")]
    values = {
        "candidate_state": found.state,
        "candidate_item": token,
        "candidate_category": log.code_category[found.code],
        "candidate_features": found.features,
        "candidate_weight": share[found.state] * again,
        "hit_state": hit_state,
        "hit_column": _places(columns_of, hit_token),
        "hit_weight": share[hit_state],
    }
    tensors: dict[str, Any] = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in values.items()}
    excluded = Pairs(torch.from_numpy(out_state[out]), torch.from_numpy(out_column[out]))
    return {**tensors, "columns": columns, "excluded": excluded}, int(np.count_nonzero(size))


def _columns(scene: Scene, hits: Ints, generator: np.random.Generator) -> Columns:
    """In the order of their tokens. A sample's cost doesn't grow with the vocabulary."""
    size = scene.item_category.size
    if scene.sampler is not None:
        drawn, log_weight = scene.sampler.draw(generator)
        token = np.union1d(drawn + 1, hits).astype(np.int64)
        weight = np.full(token.size, -np.inf, dtype=np.float32)
        weight[np.searchsorted(token, drawn + 1)] = log_weight
    else:
        token = np.arange(1, size + 1, dtype=np.int64)
        weight = np.zeros(size, dtype=np.float32)
    facts = scene.vocabulary_facts.take(token - 1)
    return Columns(
        token=torch.from_numpy(token),
        category=torch.from_numpy(scene.item_category[token - 1]),
        popularity=torch.from_numpy(scaled(facts.lines)),
        plan=torch.from_numpy(facts.plan),
        log_weight=torch.from_numpy(weight),
        facts=scene.goods.take(token),
    )


def _places(columns: Ints, token: Ints) -> Ints:
    """Place of each token among the columns' tokens, which ascend; -1 for one that isn't there."""
    if not columns.size:
        return np.full(token.size, -1, dtype=np.int64)
    place = np.searchsorted(columns, token)
    there = columns[np.minimum(place, columns.size - 1)] == token
    return np.where(there, place, -1).astype(np.int64)
