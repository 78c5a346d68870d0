"""What the neural kinds share: from a TrainingSet to a trained network, and from a History to scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file

from mktgen.errors import CorruptArtefact, PermanentError
from mktgen.models import _files
from mktgen.models._attributes import Attributes
from mktgen.models._batch import Batch, Scene, collate
from mktgen.models._checkpoint import WEIGHTS, weights_of
from mktgen.models._events import Floats, Ints, day_number, encode_events
from mktgen.models._heads import Extras
from mktgen.models._item_facts import CutFacts, VocabularyFacts, plans, recent_lines
from mktgen.models._network import Architecture, BehaviourLearner, BehaviourNetwork
from mktgen.models._normalise import FEATURES, Normalisation
from mktgen.models._processes import processes, reproducible
from mktgen.models._redemption import MailingScale, with_mailing_states
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._scoring import Scorer
from mktgen.models._states import batches, training_states, windows
from mktgen.models._taste import Taste
from mktgen.models._trainer import Plan, Trainer
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import FitReport, History, Mailings, Session, Task, TrainingSet, VectorModel
from mktgen.settings import ModelSettings, TransformerSettings

_SCALE_WINDOWS: Final = 200  # windows whose candidates give the copy part its scale


@dataclass(frozen=True)
class SceneCourse:
    """Windows of customers' events as steps of a training."""

    scene: Scene
    windows: int
    seed: int

    def order(self, epoch: int) -> list[Ints]:
        return batches(self.scene.windows, self.windows, self.seed, epoch)

    def lesson(self, chosen: Ints, draw: tuple[int, ...]) -> Batch:
        return collate(self.scene, chosen, draw)


class NeuralModel(VectorModel):
    """A BehaviourNetwork with its vocabulary and normalisation. Subclasses say which encoder and which settings."""

    encoder: ClassVar[Literal["transformer", "lstm"]]
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking", "customer", "spend"})
    distributed: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self) -> None:
        self._scorer: Scorer | None = None

    @classmethod
    def recipe(cls, settings: ModelSettings) -> TransformerSettings:
        """The kind's section of the settings."""
        raise TypeError(f"{cls.__name__} has no settings section")

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        """See Model.fit. Reads torch.distributed's environment; with several processes each ends with the same weights.

        Raises PermanentError where there are no events to learn from.
        """
        recipe = self.recipe(settings)
        vocabulary = Vocabulary.learn(data.items, recipe.min_item_lines)
        normalisation = Normalisation.learn(data.examples)
        unit = spend_unit(data.examples)
        scale = MailingScale.learn(data.mailings) if data.mailings is not None else None
        attributes = Attributes.learn(data)
        scene = training_scene(data, vocabulary, recipe, normalisation, unit, attributes, scale)
        mailed = (len(scale.regression.features), len(scale.types)) if scale else (0, 0)
        sizes = (vocabulary.size, vocabulary.categories.height, len(FEATURES))
        known = (attributes.item_values.known.height, attributes.customers.known.height)
        shape = Architecture(self.encoder, recipe.width, *sizes, recipe.dropout, *mailed, *known)
        with processes() as group, reproducible(settings.threads):
            torch.manual_seed(session.seed)
            # A step on a sample touches its rows alone; with the whole vocabulary there are no others.
            network = BehaviourNetwork(shape, by_row=scene.sampler is not None)
            network.standardise(copy_features(scene))
            early, late = (
                Taste.learn(scene.log, day, vocabulary.size, recipe.width, session.seed)
                for day in (int(scene.moments.min()), day_number(data.cut))
            )
            network.take(late, early)
            del early, late
            identity = _identity(scene, shape, recipe, [session.seed, settings.threads, group.size])
            plan = Plan(
                epochs=recipe.epochs,
                learning_rate=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                checkpoint_every=settings.checkpoint_every,
                identity=identity,
                parts=_parts(recipe, redemption=scale is not None),
                accumulate=recipe.accumulate,
                average=recipe.average,
                precision=torch.bfloat16 if group.device.type == "cuda" else torch.float32,
            )
            course = SceneCourse(scene, recipe.batch_customers, session.seed)
            progress = Trainer(BehaviourLearner(network, shape), course, plan, session, group).run()
        rates = data.examples.select(pl.col("purchased_7d", "purchased_28d").mean()).row(0)
        limits = (recipe.events, recipe.memory_events, settings.threads, recipe.min_item_lines)
        self._scorer = Scorer(
            network.cpu().eval(),
            shape,
            vocabulary,
            attributes,
            normalisation,
            (rates[0], rates[1]),
            unit,
            *limits,
            scale,
        )
        facts = {
            **asdict(shape),
            **recipe.model_dump(),
            "weights": sum(value.numel() for value in network.parameters()),
            "layers": shape.size.layers if self.encoder == "transformer" else 1,
            "heads": shape.size.heads if self.encoder == "transformer" else 0,
            "threads": settings.threads,
            "processes": group.size,
            "seed": session.seed,
            "device": group.device.type,
            "dtype": str(plan.precision).removeprefix("torch."),
        }
        counts = {
            "states": scene.states.customer.size,
            "windows": scene.windows.count,
            "examples": data.examples.height,
        }
        final = {f"final_{name}": values[-1] for name, values in progress.curves.items()}
        measured = {**{name: float(n) for name, n in counts.items()}, **final}
        return FitReport(facts, progress.curves, measured, progress.speeds)

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        return self._trained.rank(history, customers, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        return self._trained.probabilities(history, customers)

    def spend(self, history: History, customers: list[str]) -> pl.DataFrame:
        return self._trained.spend(history, customers)

    def categories(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """customer_id, category, p_7d (Float64): the k likeliest of the next 7 days, best first, ties by category."""
        return self._trained.categories(history, customers, k)

    def redemptions(self, history: History, mailings: Mailings) -> pl.DataFrame:
        """customer_id, campaign_id, p_redeem (Float64) of the rows, in their order; the day of mailing is history.cut.

        Raises PermanentError where the model learned from no mailings.
        """
        return self._trained.redemptions(history, mailings)

    def vectors(self, history: History, customers: list[str]) -> pl.DataFrame:
        return self._trained.vectors(history, customers)

    @property
    def _trained(self) -> Scorer:
        if self._scorer is None:
            raise PermanentError(f"this {self.kind} model is not trained: call fit() or load() first")
        return self._scorer

    def save(self, directory: Path) -> None:
        scorer = self._trained
        body: dict[str, Any] = {
            "architecture": asdict(scorer.shape),
            "events": scorer.events,
            "memory_events": scorer.memory,
            "threads": scorer.threads,
            "min_item_lines": scorer.min_item_lines,
            "base_rates": list(scorer.base_rates),
            "spend_unit_minor": scorer.spend_unit,
            "normalisation": scorer.normalisation.to_json(),
            "mailings": scorer.mailings.to_json() if scorer.mailings else None,
        }
        _files.write_meta(directory, self.kind, body)
        scorer.vocabulary.save(directory)
        scorer.attributes.save(directory)
        save_file(weights_of(scorer.network), str(directory / WEIGHTS))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises CorruptArtefact where files are missing or were written for other customer features."""
        body = _files.read_meta(directory, cls.kind)
        if not (directory / WEIGHTS).exists():
            raise CorruptArtefact(f"{directory / WEIGHTS}: missing; save the model again")
        vocabulary, attributes = Vocabulary.load(directory), Attributes.load(directory)
        shape = Architecture(**body["architecture"])
        network = BehaviourNetwork(shape)
        network.load_state_dict(load_file(str(directory / WEIGHTS)))
        model = cls()
        sizes = (body["events"], body["memory_events"], body["threads"], body["min_item_lines"])
        week, month = body["base_rates"]
        normalisation = Normalisation.from_json(body["normalisation"])
        model._scorer = Scorer(
            network.eval(),
            shape,
            vocabulary,
            attributes,
            normalisation,
            (week, month),
            body["spend_unit_minor"],
            *sizes,
            MailingScale.from_json(body["mailings"]) if body["mailings"] else None,
        )
        return model


def _parts(recipe: TransformerSettings, redemption: bool) -> dict[str, float]:
    """Weight of each loss."""
    known = {"purchase": recipe.purchase_weight, "spend": recipe.spend_weight, "category": recipe.category_weight}
    return {"ranking": 1.0, **known} | ({"redemption": recipe.redemption_weight} if redemption else {})


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
) -> Scene:
    """Everything a training reads, as arrays; `unit`: minor units that spend is counted in; `attributes`: those of `data`;
    scale: of data.mailings.

    Raises PermanentError where there is nothing to learn from.
    """
    log = encode_events(data.events, vocabulary, data.cut)
    examples = data.examples.sort("cut", "customer_id")
    rows = (log.find(examples["customer_id"].to_list()), examples["cut"].to_physical().to_numpy().astype(np.int64))
    states = training_states(log, rows, day_number(data.cut))
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
    if data.mailings is not None and scale is not None:
        mailed = data.mailings.rows
        on = (log.find(mailed["customer_id"].to_list()), mailed["cut"].to_physical().to_numpy().astype(np.int64))
        states, place = with_mailing_states(states, log, *on)
        categories = data.items.select("item_id", "category")
        extras = replace(extras, mailed=scale.encode(data.mailings, place, vocabulary, categories, labelled=True))
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


def _identity(scene: Scene, shape: Architecture, recipe: TransformerSettings, run: list[int]) -> str:
    """Digest of all that decides the result of a training; `run`: seed, threads and processes."""
    log = scene.log
    digest = hashlib.sha256()
    facts = {"shape": asdict(shape), "recipe": recipe.model_dump(), "run": run, "torch": torch.__version__}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    arrays: list[Ints | Floats] = [
        log.first, log.day, log.code, log.price, log.gap, log.promoted, log.kind, log.channel, log.code_item, log.code_category,
        scene.facts.plan,
        scene.states.end, scene.states.until, scene.states.cut, scene.features, scene.labels, scene.spend,
        *scene.extras.mailed.digested(),
        scene.goods.value, scene.goods.text, scene.goods.first, scene.goods.bucket, scene.people,
    ]  # fmt: skip
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
