"""Why a model gave a score: take some of a customer's past events out, score again; the difference is their effect.

Works for every Model, because it changes the History and not the model. Events are taken out of the order lines, and both
event sequences and customer features are made anew from what is left (`Scene.refold`), so that a model that looks at
features is explained as faithfully as one that looks at events. All variants of all customers are scored together, as
customers of their own. Features of the items (what the whole shop bought) stay as they are.

An effect is what the events add given all others; effects of several groups need not add up to that of their union.
Reference: Zeiler & Fergus, ECCV 2014 (occlusion); Covert, Lundberg & Lee, JMLR 22 (2021), "Explaining by Removing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from math import sqrt
from typing import Final, Literal

import numpy as np
import polars as pl

from mktgen import contracts
from mktgen.documents import Faithfulness, Interval
from mktgen.errors import PermanentError
from mktgen.models.base import History, Model

About = Literal["item", "churn"]
Refold = Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]]

_BLOCK_LINES: Final = 400_000  # lines of variants folded at once
_LINE: Final = ["order_id", "item_id"]
_TELLING: Final = 0.01  # share of the score below which an effect tells a person nothing
_Z: Final = 1.959963984540054


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


def effects(model: Model, about: About, scene: Scene, targets: pl.DataFrame, occasions: pl.DataFrame) -> pl.DataFrame:
    """Effect of each occasion of a customer on each of its targets.

    targets: customer_id, item_id (null where `about` is churn). occasions: customer_id, occasion, kind, order_id, item_id
    (the lines of a group). One that holds more than half of its customer's lines is left out: it is no occasion any more.

    Returns customer_id, target, occasion, kind, events (lines taken out), score, score_without, effect, at_least; sorted
    by customer_id, target, occasion. `at_least`: without the events the item is not in the ranking any more; the lowest
    score of the ranking stands in its place. Targets that the model doesn't rank with all events in place are absent.
    """
    occasions = _of_bounded_size(scene, occasions)
    variants = occasions.select("customer_id", "occasion", "kind").unique().sort("customer_id", "occasion")
    numbered = variants.with_columns(_variant_id(pl.int_range(1, pl.len() + 1).over("customer_id")))
    whole = scene.lines.select("customer_id").unique().sort("customer_id")
    whole = whole.with_columns(_variant_id(pl.lit(0, pl.Int64)))
    removed = occasions.join(numbered, on=["customer_id", "occasion"]).select("variant", *_LINE)
    every = pl.concat([whole, numbered.select("customer_id", "variant")])
    scores = _scores(model, about, scene, every, removed, targets)
    base = scores.join(whole, on=["customer_id", "variant"], how="semi").filter(~pl.col("at_least"))
    base = base.select("customer_id", "target", "score")
    counts = removed.group_by("variant").agg(pl.len().cast(pl.Int64).alias("events"))
    without = scores.join(numbered, on=["customer_id", "variant"]).rename({"score": "score_without"})
    joined = base.join(without, on=["customer_id", "target"], nulls_equal=True).join(counts, on="variant")
    return joined.with_columns((pl.col("score") - pl.col("score_without")).alias("effect")).select(
        "customer_id", "target", "occasion", "kind", "events", "score", "score_without", "effect", "at_least"
    ).sort("customer_id", "target", "occasion")  # fmt: skip


def named(found: pl.DataFrame, occasions: pl.DataFrame, about: About, count: int) -> pl.DataFrame:
    """Of the rows of `effects` at most `count` per target, the largest effects first, with `position` from 1.

    Named is what makes at least a hundredth of the score. Occasions named together share no line and point the same way:
    for an item only what speaks for it is named; for churn what raises the risk, or else lowers it, whichever has the
    larger single effect.
    """
    size = pl.col("effect").abs()
    strongest = pl.col("effect").sort_by([size, "occasion"], descending=[True, False]).first()
    way = pl.lit(1.0) if about == "item" else strongest.sign().over("customer_id", "target")
    telling = (pl.col("effect") * way > 0) & (size > _TELLING * pl.col("score").abs())
    ordered = found.filter(telling).with_columns(size.alias("_size"))
    ordered = ordered.sort(["customer_id", "target", "_size", "occasion"], descending=[False, False, True, False])
    members = {
        (customer, occasion): set(zip(orders, items, strict=True))
        for customer, occasion, orders, items in occasions.group_by("customer_id", "occasion").agg(*_LINE).iter_rows()
    }
    places: list[int] = []  # aligned with `ordered`; 0 = not named
    current: tuple[str, str | None] | None = None
    taken: set[tuple[str, str]] = set()
    for customer, target, occasion in ordered.select("customer_id", "target", "occasion").iter_rows():
        if (customer, target) != current:
            current, taken, place = (customer, target), set(), 0
        lines = members[customer, occasion]
        free = place < count and not lines & taken
        if free:
            taken |= lines
            place += 1
        places.append(place if free else 0)
    numbered = ordered.drop("_size").with_columns(pl.Series("position", places, dtype=pl.Int32))
    return numbered.filter(pl.col("position") > 0)


def faithfulness(
    model: Model, about: About, scene: Scene, chosen: pl.DataFrame, occasions: pl.DataFrame, count: int, seed: int
) -> Faithfulness:
    """Whether the score moves more without the named events than without as many others of the same customer.

    chosen: rows of `named`. For at most `count` targets, drawn by `seed`: all named lines are taken out together, and
    instead of them others, drawn in whole baskets (churn: as many) or in all purchases of an item (item: until there are
    at least as many lines), so that the comparison is not won by scattering single lines. Targets whose customer has not
    so many others are left out. The interval is normal, with customers as units; passed: its lower end is above 0.
    """
    keys = (
        chosen.unique(["customer_id", "target"]).sort("customer_id", "target").select("customer_id", "target", "score")
    )
    rng = np.random.default_rng(seed)
    drawn = keys[np.sort(rng.permutation(keys.height)[:count]).tolist()].with_row_index("number")
    lines = chosen.join(drawn, on=["customer_id", "target"], nulls_equal=True).join(
        occasions.drop("kind"), on=["customer_id", "occasion"]
    )
    removed = _named_and_others(scene, about, lines.select("number", "customer_id", *_LINE), rng)
    variants = removed.select("number", "customer_id", "variant", "side").unique().sort("variant")
    targets = drawn.select("customer_id", pl.col("target").alias("item_id"))
    scores = _scores(model, about, scene, variants.select("customer_id", "variant"), removed, targets)
    moved = scores.join(variants.drop("customer_id"), on="variant").join(
        drawn.rename({"score": "_whole"}), on=["number", "customer_id", "target"], nulls_equal=True
    ).with_columns((pl.col("score") - pl.col("_whole")).abs().alias("move"))  # fmt: skip
    sides = (moved.filter(side=side).select("number", pl.col("move").alias(side)) for side in _SIDES)
    named_moves, other_moves = sides
    both = drawn.join(named_moves, on="number").join(other_moves, on="number").sort("number")
    return _summary(about, both.select("customer_id", *_SIDES))


def _named_and_others(scene: Scene, about: About, lines: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """number, customer_id, side, variant, order_id, item_id: what to take out. `lines`: the named, by number of target."""
    goods = scene.lines if about == "churn" else scene.lines.filter("merchandise")
    owned = goods.join(lines, on="customer_id", how="semi").group_by("customer_id").agg(pl.struct(_LINE).alias("lines"))
    known = {customer: [(each["order_id"], each["item_id"]) for each in own] for customer, own in owned.iter_rows()}
    rows: list[tuple[int, str, str, str, str]] = []
    for number, customer, orders, items in (
        lines.group_by("number", "customer_id").agg(*_LINE).sort("number").iter_rows()
    ):
        own = set(zip(orders, items, strict=True))
        others = _as_many(sorted(set(known[customer]) - own), own, about, rng)
        if others:
            rows += [
                (number, customer, side, *line)
                for side, taken in zip(_SIDES, (own, others), strict=True)
                for line in taken
            ]
    removed = pl.DataFrame(rows, schema={"number": pl.UInt32} | dict.fromkeys(_REMOVED, pl.String), orient="row")
    return removed.with_columns(_variant_id(pl.format("{}:{}", "number", "side")))


def _as_many(
    rest: list[tuple[str, str]], own: set[tuple[str, str]], about: About, rng: np.random.Generator
) -> set[tuple[str, str]]:
    """Lines of `rest` in whole atoms (baskets, or items), drawn until there are as many as of the named; else none."""
    atom = 0 if about == "churn" else 1
    by_atom: dict[str, list[tuple[str, str]]] = {}
    for line in rest:
        by_atom.setdefault(line[atom], []).append(line)
    names = list(by_atom)
    wanted = len({line[atom] for line in own}) if about == "churn" else len(own)
    taken: list[str] = []
    worth = 0
    for place in rng.permutation(len(names)).tolist():
        if worth >= wanted:
            break
        taken.append(names[place])
        worth += 1 if about == "churn" else len(by_atom[names[place]])
    return {line for name in taken for line in by_atom[name]} if worth >= wanted else set()


_SIDES: Final = ("named", "others")
_REMOVED: Final = ("customer_id", "side", *_LINE)


def _summary(about: About, moves: pl.DataFrame) -> Faithfulness:
    """moves: customer_id, named, others (absolute changes of the score), one row per target."""
    gap = (pl.col("named") - pl.col("others")).mean().alias("gap")
    gaps = moves.group_by("customer_id").agg(gap).sort("customer_id")["gap"].to_numpy()
    interval = None
    if gaps.size > 1:
        mean, reach = float(gaps.mean()), _Z * float(gaps.std(ddof=1)) / sqrt(gaps.size)
        interval = Interval(value=mean, low=mean - reach, high=mean + reach, method="normal, customers as units")
    ours, theirs = moves["named"].to_numpy(), moves["others"].to_numpy()
    return Faithfulness(
        about=about,
        targets=moves.height,
        customers=gaps.size,
        named=float(ours.mean()) if ours.size else 0.0,
        others=float(theirs.mean()) if ours.size else 0.0,
        difference=interval,
        larger_share=float((ours > theirs).mean()) if ours.size else 0.0,
        passed=interval.low > 0 if interval else None,
    )


# -- scoring variants ---------------------------------------------------------------------------------------------------
def _variant_id(number: pl.Expr) -> pl.Expr:
    """The name that a customer's variant is scored under."""
    return pl.format("{}#{}", "customer_id", number).alias("variant")


def _of_bounded_size(scene: Scene, occasions: pl.DataFrame) -> pl.DataFrame:
    all_lines = scene.lines.group_by("customer_id").agg(pl.len().alias("_all"))
    sized = occasions.with_columns(pl.len().over("customer_id", "occasion").alias("_size")).join(
        all_lines, on="customer_id"
    )
    return sized.filter(2 * pl.col("_size") <= pl.col("_all")).drop("_size", "_all")


def _scores(
    model: Model, about: About, scene: Scene, variants: pl.DataFrame, removed: pl.DataFrame, targets: pl.DataFrame
) -> pl.DataFrame:
    """customer_id, variant, target, score, at_least: every variant of a customer by every target of that customer.

    variants: customer_id, variant. removed: variant, order_id, item_id.
    """
    parts = [pl.DataFrame(schema=_SCORES)]
    for block in _blocks(scene, variants):
        lines = scene.lines.join(block, on="customer_id").join(removed, on=["variant", *_LINE], how="anti")
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


_SCORES: Final[dict[str, type[pl.DataType]]] = {
    "customer_id": pl.String,
    "variant": pl.String,
    "target": pl.String,
    "score": pl.Float64,
    "at_least": pl.Boolean,
}


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
