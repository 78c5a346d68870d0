"""Scoring customers anew without some of their past events: the scene, and all variants of all customers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

import polars as pl

from mktgen import contracts
from mktgen.errors import PermanentError
from mktgen.models.base import History, Model

About = Literal["item", "churn"]
Refold = Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]

LINE: Final = ("order_id", "item_id")
_BLOCK_LINES: Final = 400_000  # lines of variants folded at once
_SCORES: Final[dict[str, type[pl.DataType]]] = {
    "customer_id": pl.String,
    "variant": pl.String,
    "target": pl.String,
    "score": pl.Float64,
    "at_least": pl.Boolean,
}


@dataclass(frozen=True)
class Scene:
    """What scoring anew needs.

    lines: contracts.ORDER_LINES of the explained customers, all that is known of them, nothing on or after `cut`.
    refold: such lines -> (contracts.SEQUENCES, contracts.CUSTOMER_FEATURES as of `cut`). items: contracts.ITEM_FEATURES.
    depth: items per customer that a ranking gives, seen and unseen apart.
    Attributes as in models.base.History. Raises PermanentError where a line is too late.
    """

    cut: date
    lines: pl.DataFrame
    items: pl.DataFrame
    refold: Refold
    depth: int
    item_attributes: pl.DataFrame = field(default_factory=contracts.ITEMS.empty)
    customer_attributes: pl.DataFrame = field(default_factory=contracts.CUSTOMERS.empty)
    promotions: pl.DataFrame = field(default_factory=contracts.ITEM_PROMOTIONS.empty)

    def __post_init__(self) -> None:
        late = self.lines.filter(pl.col("business_date") >= self.cut)
        if late.height:
            raise PermanentError(f"{late.height} order lines to explain by are dated on or after the cut {self.cut}")


def variant_id(number: pl.Expr) -> pl.Expr:
    """The name that a customer's variant is scored under."""
    return pl.format("{}#{}", "customer_id", number).alias("variant")


def scored_without(
    model: Model, about: About, scene: Scene, variants: pl.DataFrame, removed: pl.DataFrame, targets: pl.DataFrame
) -> pl.DataFrame:
    """customer_id, variant, target, score, at_least: every variant of a customer by every target of that customer.

    variants: customer_id, variant. removed: variant, order_id, item_id.
    """
    parts = [pl.DataFrame(schema=_SCORES)]
    for block in _blocks(scene, variants):
        lines = scene.lines.join(block, on="customer_id").join(removed, on=["variant", *LINE], how="anti")
        events, facts = scene.refold(lines.with_columns(pl.col("variant").alias("customer_id")).drop("variant"))
        # A variant is the same person.
        people = block.join(scene.customer_attributes, on="customer_id").drop("customer_id")
        people = people.rename({"variant": "customer_id"})
        history = History(scene.cut, events, facts, scene.items, scene.promotions, scene.item_attributes, people)
        names = block["variant"].sort().to_list()
        if about == "churn":
            chances = model.probabilities(history, names)
            found = block.join(chances, left_on="variant", right_on="customer_id").with_columns(
                target=pl.lit(None, pl.String), score=1.0 - pl.col("p_purchase_28d"), at_least=pl.lit(False)
            )
        else:
            found = _item_scores(model.rank(history, names, scene.depth), block, targets, events)
        parts.append(found.select(list(_SCORES)))
    return pl.concat(parts)


def _blocks(scene: Scene, variants: pl.DataFrame) -> Iterator[pl.DataFrame]:
    sizes = scene.lines.group_by("customer_id").agg(pl.len().alias("_lines"))
    ordered = variants.join(sizes, on="customer_id").sort("variant")
    block = ordered.with_columns((pl.col("_lines").cum_sum() // _BLOCK_LINES).alias("_block"))
    for _, part in sorted(block.partition_by("_block", as_dict=True, maintain_order=True).items()):
        yield part.select("customer_id", "variant")


def _item_scores(
    ranked: pl.DataFrame, block: pl.DataFrame, targets: pl.DataFrame, events: pl.DataFrame
) -> pl.DataFrame:
    """Scores of the targets; one that is not ranked gets the lowest score of the list that it belongs to."""
    asked = block.join(targets.select("customer_id", pl.col("item_id").alias("target")), on="customer_id")
    held = events.select(pl.col("customer_id").alias("variant"), pl.col("item_id").alias("target")).unique()
    asked = asked.join(held.with_columns(pl.lit(True).alias("seen")), on=["variant", "target"], how="left")
    asked = asked.with_columns(pl.col("seen").fill_null(False))
    lists = ranked.rename({"customer_id": "variant"})
    lowest = lists.group_by("variant", "seen").agg(pl.col("score").min().alias("_lowest"))
    scored = asked.join(
        lists.select("variant", pl.col("item_id").alias("target"), "score"), on=["variant", "target"], how="left"
    ).join(lowest, on=["variant", "seen"], how="left")
    missing = pl.col("score").is_null()
    return scored.with_columns(missing.alias("at_least"), pl.coalesce("score", "_lowest").alias("score")).filter(
        pl.col("score").is_not_null()
    )
