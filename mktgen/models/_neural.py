"""What the neural kinds share: from a TrainingSet to a trained network, and from a History to scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file

from mktgen.errors import CorruptArtefact, PermanentError
from mktgen.models import _files
from mktgen.models._attributes import Attributes
from mktgen.models._batch import Batch, Scene, collate
from mktgen.models._checkpoint import WEIGHTS, Progress, weights_of
from mktgen.models._early_stopping import Judge
from mktgen.models._events import Floats, Ints
from mktgen.models._network import Architecture, BehaviourLearner, BehaviourNetwork
from mktgen.models._normalise import Normalisation
from mktgen.models._prepared import Prepared
from mktgen.models._processes import Processes, processes, reproducible
from mktgen.models._redemption import MailingScale
from mktgen.models._scoring import Scorer
from mktgen.models._states import batches
from mktgen.models._trainer import Plan, Trainer
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import CategoryModel, FitReport, History, Mailings, Session, Task, TrainingSet, VectorModel
from mktgen.settings import ModelSettings, TransformerSettings


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


class NeuralModel(VectorModel, CategoryModel):
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

        Raises PermanentError where there are no items or no events to learn from.
        """
        recipe = self.recipe(settings)
        if data.items.is_empty():
            raise PermanentError(
                f"items as of {data.cut}: the table has no rows, and {self.kind} learns which of its items come next; "
                "run extract_features for this day, or train on a later day"
            )
        known = Prepared.of(data, recipe, self.encoder)
        with processes() as group, reproducible(settings.threads):
            torch.manual_seed(session.seed)
            network = known.network(recipe, session.seed, settings.sharding)
            plan = _plan(known, recipe, settings, session.seed, group)
            judge = Judge(network, known.held, recipe.batch_customers) if known.held else None
            course = SceneCourse(known.scene, recipe.batch_customers, session.seed)
            progress = Trainer(BehaviourLearner(network, known.shape), course, plan, session, group, judge).run()
            known.tell_all(network, recipe, session.seed)
        week, month = data.examples.select(pl.col("purchased_7d", "purchased_28d").mean()).row(0)
        self._scorer = Scorer(
            network.cpu().eval(),
            known.shape,
            known.vocabulary,
            known.attributes,
            known.normalisation,
            (week, month),
            known.unit,
            recipe.events,
            recipe.memory_events,
            settings.threads,
            known.scale,
        )
        weights = sum(value.numel() for value in network.parameters())
        return _report(known, recipe, plan, progress, group, session.seed, settings.threads, weights)

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        return self._trained.rank(history, customers, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        return self._trained.probabilities(history, customers)

    def spend(self, history: History, customers: list[str]) -> pl.DataFrame:
        return self._trained.spend(history, customers)

    def categories(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
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
        sizes = (body["events"], body["memory_events"], body["threads"])
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


def _plan(known: Prepared, recipe: TransformerSettings, settings: ModelSettings, seed: int, group: Processes) -> Plan:
    parts = {"purchase": recipe.purchase_weight, "spend": recipe.spend_weight, "category": recipe.category_weight}
    if known.scale is not None:
        parts["redemption"] = recipe.redemption_weight
    return Plan(
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        checkpoint_every=settings.checkpoint_every,
        identity=_identity(known.scene, known.shape, recipe, [seed, settings.threads, group.size, settings.sharding]),
        parts={"ranking": 1.0, **parts},
        accumulate=recipe.accumulate,
        average=recipe.average,
        patience=recipe.patience,
        sharding=settings.sharding,
        precision=torch.bfloat16 if group.device.type == "cuda" else torch.float32,
    )


def _report(
    known: Prepared,
    recipe: TransformerSettings,
    plan: Plan,
    progress: Progress,
    group: Processes,
    seed: int,
    threads: int,
    weights: int,
) -> FitReport:
    shape, scene = known.shape, known.scene
    recurrent = shape.encoder == "lstm"
    facts = {
        **asdict(shape),
        **recipe.model_dump(),
        "weights": weights,
        "layers": 1 if recurrent else shape.size.layers,
        "heads": 0 if recurrent else shape.size.heads,
        "threads": threads,
        "processes": group.size,
        "sharding": plan.sharding,
        "seed": seed,
        "device": group.device.type,
        "dtype": str(plan.precision).removeprefix("torch."),
    }
    measured = {
        "states": float(scene.states.customer.size),
        "windows": float(scene.windows.count),
        "examples": float(known.examples),
        **{f"final_{name}": values[-1] for name, values in progress.curves.items()},
    }
    return FitReport(facts, progress.curves, measured, progress.speeds)


def _identity(scene: Scene, shape: Architecture, recipe: TransformerSettings, run: list[Any]) -> str:
    """Digest of all that decides the result of a training; `run`: seed, threads, processes and how weights lie on them."""
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
