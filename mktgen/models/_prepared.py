"""From a TrainingSet to what a network of behaviour learns from: vocabulary, scales, arrays, and the network itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, Self

import numpy as np
import polars as pl
import torch

from mktgen.errors import PermanentError
from mktgen.models._attributes import Attributes
from mktgen.models._batch import Scene, collate
from mktgen.models._events import day_number, encode_events
from mktgen.models._heads import Extras
from mktgen.models._item_facts import CutFacts, VocabularyFacts, plans, recent_lines
from mktgen.models._network import Architecture, BehaviourNetwork
from mktgen.models._normalise import FEATURES, Normalisation
from mktgen.models._redemption import MailingScale, with_mailing_states
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._states import split_by_time, training_states, windows
from mktgen.models._taste import Taste
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import TrainingSet
from mktgen.settings import TransformerSettings

_SCALE_WINDOWS: Final = 200  # windows whose candidates give the copy part its scale


@dataclass(frozen=True)
class Prepared:
    """What a TrainingSet and a recipe make, before any weight is learned.

    unit: minor units that spend is counted in. scale: of the mailings. scene: to learn; held: to judge epochs by, where the
    recipe is patient. cut: day number of the training's cut.
    """

    vocabulary: Vocabulary
    normalisation: Normalisation
    unit: float
    scale: MailingScale | None
    attributes: Attributes
    scene: Scene
    held: Scene | None
    shape: Architecture
    cut: int
    examples: int

    @classmethod
    def of(cls, data: TrainingSet, recipe: TransformerSettings, encoder: Literal["transformer", "lstm"]) -> Self:
        """Raises PermanentError where there is nothing to learn from."""
        vocabulary = Vocabulary.learn(data.items, recipe.min_item_lines)
        normalisation, unit = Normalisation.learn(data.examples), spend_unit(data.examples)
        scale = MailingScale.learn(data.mailings) if data.mailings is not None else None
        attributes = Attributes.learn(data)
        every = (data, vocabulary, recipe, normalisation, unit, attributes, scale)
        scene = training_scene(*every, part="early" if recipe.patience else "all")
        held = training_scene(*every, part="newest") if recipe.patience else None
        mailed = (len(scale.regression.features), len(scale.types)) if scale else (0, 0)
        sizes = (vocabulary.size, vocabulary.categories.height, len(FEATURES))
        known = (attributes.item_values.known.height, attributes.customers.known.height)
        shape = Architecture(encoder, recipe.width, *sizes, recipe.dropout, *mailed, *known)
        cut, examples = day_number(data.cut), data.examples.height
        return cls(vocabulary, normalisation, unit, scale, attributes, scene, held, shape, cut, examples)

    def network(self, recipe: TransformerSettings, seed: int, sharding: str) -> BehaviourNetwork:
        """With torch's random numbers as they are. It knows of no taste that has seen what it will learn or be judged by."""
        # A step on a sample touches its rows alone; with the whole vocabulary there are no others. FSDP knows no such tables.
        network = BehaviourNetwork(self.shape, by_row=self.scene.sampler is not None and sharding == "replicated")
        network.standardise(copy_features(self.scene))
        until = int(self.held.moments.min()) if self.held else self.cut
        network.take(self._taste(until, recipe, seed), self._taste(int(self.scene.moments.min()), recipe, seed))
        return network

    def tell_all(self, network: BehaviourNetwork, recipe: TransformerSettings, seed: int) -> None:
        """After the training: the taste of all days, where some were held back."""
        if self.held is not None:
            network.take(self._taste(self.cut, recipe, seed), None)

    def _taste(self, day: int, recipe: TransformerSettings, seed: int) -> Taste:
        return Taste.learn(self.scene.log, day, self.vocabulary.size, recipe.width, seed)


def spend_unit(examples: pl.DataFrame) -> float:
    """Mean 28-day spend of those who spend, in minor units: what the network counts in. 1 where nobody does."""
    mean = examples.filter(pl.col("spend_28d_minor") > 0)["spend_28d_minor"].mean()
    return float(mean) if isinstance(mean, float) else 1.0


def training_scene(
    data: TrainingSet,
    vocabulary: Vocabulary,
    recipe: TransformerSettings,
    normalisation: Normalisation,
    unit: float = 1.0,
    attributes: Attributes | None = None,
    scale: MailingScale | None = None,
    part: Literal["all", "early", "newest"] = "all",
) -> Scene:
    """Everything a training reads, as arrays; `unit`: minor units that spend is counted in; `attributes`: those of `data`;
    scale: of data.mailings; part: of split_by_time, where the newest week is kept to judge by.

    Raises PermanentError where there is nothing to learn from.
    """
    log = encode_events(data.events, vocabulary, data.cut)
    examples = data.examples.sort("cut", "customer_id")
    rows = (log.find(examples["customer_id"].to_list()), examples["cut"].to_physical().to_numpy().astype(np.int64))
    states = training_states(log, rows, day_number(data.cut))
    mailings = data.mailings
    if part != "all":
        early, newest = split_by_time(states)
        states = early if part == "early" else newest
        if mailings is not None:
            closed = pl.col("cut").to_physical() <= int(early.cut.max(initial=-1))
            mailings = replace(mailings, rows=mailings.rows.filter(closed)) if part == "early" else None
    if not states.customer.size:
        raise PermanentError(
            f"no customer has events and a later week to learn from before {data.cut}; train on a later day"
        )
    moments = np.unique(states.cut)
    facts = CutFacts(recent_lines(log, moments), plans(data.promotions, log.item_ids, moments))
    common = VocabularyFacts.by_code(facts, log, vocabulary.size)
    goods, code_good, people = (attributes or Attributes.learn(data)).of_log(log, vocabulary, data)
    sampled = 0 < recipe.negatives < vocabulary.size
    extras = replace(Extras.none(vocabulary.categories.height), week="labelled" if recipe.category_weight else "no")
    if mailings is not None and scale is not None:
        mailed = mailings.rows
        on = (log.find(mailed["customer_id"].to_list()), mailed["cut"].to_physical().to_numpy().astype(np.int64))
        states, place = with_mailing_states(states, log, *on)
        categories = data.items.select("item_id", "category")
        extras = replace(extras, mailed=scale.encode(mailings, place, vocabulary, categories, labelled=True))
    return Scene(
        log=log,
        states=states,
        windows=windows(log, states, recipe.events),
        moments=moments,
        facts=facts,
        vocabulary_facts=common,
        item_category=vocabulary.item_category,
        features=normalisation.apply(examples),
        labels=examples.select("purchased_7d", "purchased_28d").to_numpy().astype(np.float32),
        spend=(np.maximum(examples["spend_28d_minor"].to_numpy(), 0) / unit).astype(np.float32),
        memory=recipe.memory_events,
        sampler=CatalogueSampler.of(common.most_lines().astype(np.float64), recipe.negatives) if sampled else None,
        extras=extras,
        goods=goods,
        code_good=code_good,
        people=people,
    )


def copy_features(scene: Scene) -> torch.Tensor:
    """[candidates, FEATURES] of a spread sample of windows."""
    count = scene.windows.count
    sample = np.unique(np.linspace(0, count - 1, min(count, _SCALE_WINDOWS)).astype(np.int64))
    length = scene.windows.stop[sample] - scene.windows.start[sample]
    return collate(scene, sample[np.argsort(-length, kind="stable")]).candidate_features
