"""What every model of the behaviour experiment takes and gives. One file in this package = one kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import ClassVar, Final, Literal, Protocol, Self

import polars as pl

from mktgen import contracts
from mktgen.models._input_checks import in_order, refuse_unusable
from mktgen.settings import ModelSettings

Task = Literal["ranking", "customer", "spend"]


@dataclass(frozen=True)
class Mailings:
    """Campaigns mailed to customers, as known on the day.

    rows: customer_id, campaign_id, campaign_type (String), cut (Date, the day of the mailing: nothing dated on or after it
    is in the row but the label), any numeric facts, and `redeemed` (Boolean) where it is to be learned from. items:
    campaign_id, item_id of what the campaigns' offers cover.
    """

    rows: pl.DataFrame
    items: pl.DataFrame


@dataclass(frozen=True)
class TrainingSet:
    """Everything a model may learn from. Nothing in it is dated on or after `cut`.

    events: rows of contracts.SEQUENCES (all merchandise events, not truncated), sorted by customer_id, event_time,
    order_id, item_id. examples: columns of contracts.CUSTOMER_FEATURES plus `cut` (Date), `purchased_7d` and
    `purchased_28d` (Boolean) and `spend_28d_minor` (Int64); weekly cuts whose 28-day labels end on or before `cut`,
    customers active at each cut.
    items: contracts.ITEM_FEATURES as of `cut`. promotions: contracts.ITEM_PROMOTIONS known before `cut`; empty = not known.
    mailings: campaigns whose labels were final before `cut`, for kinds that learn redemption. item_attributes,
    customer_attributes: contracts.ITEMS and contracts.CUSTOMERS of any of them, where something is known; they have no dates
    and count as known at all times. Rows may come in any order and are put into one, so that every kind learns the same from
    the same rows. Raises PermanentError where something can't be learned from (see refuse_unusable).
    """

    cut: date
    events: pl.DataFrame
    examples: pl.DataFrame
    items: pl.DataFrame
    promotions: pl.DataFrame = field(default_factory=contracts.ITEM_PROMOTIONS.empty)
    mailings: Mailings | None = None
    item_attributes: pl.DataFrame = field(default_factory=contracts.ITEMS.empty)
    customer_attributes: pl.DataFrame = field(default_factory=contracts.CUSTOMERS.empty)

    def __post_init__(self) -> None:
        refuse_unusable(
            self.cut, self.events, self.examples, self.items, self.item_attributes, self.customer_attributes
        )
        for name, key in _ORDER.items():
            object.__setattr__(self, name, in_order(getattr(self, name), key))
        if self.mailings is not None:
            rows = in_order(self.mailings.rows, ("cut", "campaign_id", "customer_id"))
            covered = in_order(self.mailings.items, ("campaign_id", "item_id"))
            object.__setattr__(self, "mailings", replace(self.mailings, rows=rows, items=covered))


@dataclass(frozen=True)
class History:
    """What is known of the customers when they are scored; nothing dated on or after `cut`.

    events: contracts.SEQUENCES (the last events of each customer), same order as in training.
    features: contracts.CUSTOMER_FEATURES as of `cut`. items: contracts.ITEM_FEATURES as of `cut`.
    promotions: contracts.ITEM_PROMOTIONS known before `cut`; empty = not known.
    Attributes as in training. Raises PermanentError where something can't be scored from (see refuse_unusable).
    """

    cut: date
    events: pl.DataFrame
    features: pl.DataFrame
    items: pl.DataFrame
    promotions: pl.DataFrame = field(default_factory=contracts.ITEM_PROMOTIONS.empty)

    item_attributes: pl.DataFrame = field(default_factory=contracts.ITEMS.empty)
    customer_attributes: pl.DataFrame = field(default_factory=contracts.CUSTOMERS.empty)

    def __post_init__(self) -> None:
        refuse_unusable(
            self.cut, self.events, self.features, self.items, self.item_attributes, self.customer_attributes
        )


_ORDER: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("customer_id", "event_time", "order_id", "item_id"),
    "examples": ("cut", "customer_id"),
    "items": ("item_id",),
    "promotions": ("item_id", "week_start"),
    "item_attributes": ("item_id",),
    "customer_attributes": ("customer_id",),
}


class Checkpoints(Protocol):
    """Where an unfinished training keeps its state (on S3). `save` replaces the previous one atomically."""

    def load(self) -> dict[str, bytes] | None: ...

    def save(self, files: dict[str, bytes]) -> None: ...


@dataclass(frozen=True)
class Session:
    """What a training run gets from outside: seed, checkpoints, a sink for progress lines."""

    seed: int
    checkpoints: Checkpoints
    progress: Callable[[str], None]


@dataclass
class FitReport:
    """Facts of a training for MLflow.

    `curves`: metric name -> one value per epoch, or per part of one. `speeds`: the same, of what differs from run to run
    (throughput); kept apart, because it must not enter an artefact.
    """

    parameters: dict[str, float | int | str | bool] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, list[float]] = field(default_factory=dict)


class Model(ABC):
    """A kind of model. Subclasses live one per file; the file's name is `kind`, which is also the registry name.

    Deterministic: same data, settings and seed give the same saved bytes (with the same number of threads).
    """

    kind: ClassVar[str]
    tasks: ClassVar[frozenset[Task]]
    distributed: ClassVar[bool] = False  # all ranks of torchrun take part in `fit`
    effort: ClassVar[float] = 1.0  # about how long `fit` takes beside other kinds: they share the machine by it
    packages: ClassVar[tuple[str, ...]] = ()  # distributions needed to load it beside the common ones
    untrained: ClassVar[bool] = False  # its ranking is counting alone: a line to beat, never a champion

    @abstractmethod
    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        """Learn from `data`. Neural kinds save and resume through `session.checkpoints`."""

    @abstractmethod
    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """The best k seen (bought before) and the best k unseen items per customer, by score.

        Returns customer_id, item_id (String), seen (Boolean), rank (Int32, 1 = best within customer and seen), score
        (Float64, comparable between seen and unseen of one customer), sorted by customer_id, seen descending, rank.
        Ties are broken by item_id. Fewer than k where there are fewer to rank; none for k = 0. Raises TypeError where
        `ranking` is not among the kind's tasks.
        """

    @abstractmethod
    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        """customer_id, p_purchase_7d, p_purchase_28d (Float64), sorted by customer_id.

        Raises TypeError where `customer` is not among the kind's tasks.
        """

    def spend(self, history: History, customers: list[str]) -> pl.DataFrame:
        """customer_id, spend_28d_minor (Float64, expected net value of all lines of 28 days), sorted by customer_id.

        Raises TypeError where `spend` is not among the kind's tasks.
        """
        raise TypeError(f"{self.kind} doesn't estimate spend")

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write `model.json` and what else is needed (`*.safetensors`, `*.skops`, `*.parquet`); never a pickle."""

    @classmethod
    @abstractmethod
    def load(cls, directory: Path) -> Self: ...


class VectorModel(Model):
    """A model that also has one vector per customer."""

    @abstractmethod
    def vectors(self, history: History, customers: list[str]) -> pl.DataFrame:
        """customer_id, vector (List(Float32), all of one length), sorted by customer_id."""


class CategoryModel(Model):
    """A model that also says which categories come next."""

    @abstractmethod
    def categories(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        """customer_id, category, p_7d (Float64): the k likeliest of the next 7 days, sorted by customer_id, the likeliest
        first, ties by category."""
