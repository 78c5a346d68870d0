"""Why a model gave a score: take some of a customer's past events out, score again; the difference is their effect.

Works for every Model, because it changes the History and not the model. Events are taken out of the order lines, and both
event sequences and customer features are made anew from what is left (`Scene.refold`), so that a model that looks at
features is explained as faithfully as one that looks at events. All variants of all customers are scored together, as
customers of their own. Features of the items (what the whole shop bought) stay as they are.

An effect is what the events add given all others; effects of several groups need not add up to that of their union.
Reference: Zeiler & Fergus, ECCV 2014 (occlusion); Covert, Lundberg & Lee, JMLR 22 (2021), "Explaining by Removing".
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
import polars as pl

from mktgen.documents import Faithfulness, Interval
from mktgen.models._scenes import LINE, About, Scene, scored_without, variant_id
from mktgen.models.base import Model

__all__ = ["About", "Scene", "effects", "faithfulness", "named", "named_together"]

_TELLING: Final = 0.01  # share of the score below which an effect tells a person nothing
_Z: Final = 1.959963984540054
_DRAWS: Final = 8  # of other events, per target
_NAMED: Final = 0  # the "draw" that is the named events


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
    numbered = variants.with_columns(variant_id(pl.int_range(1, pl.len() + 1).over("customer_id")))
    whole = scene.lines.select("customer_id").unique().sort("customer_id")
    whole = whole.with_columns(variant_id(pl.lit(0, pl.Int64)))
    removed = occasions.join(numbered, on=["customer_id", "occasion"]).select("variant", *LINE)
    every = pl.concat([whole, numbered.select("customer_id", "variant")])
    scores = scored_without(model, about, scene, every, removed, targets)
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
    ordered = _telling(found, about).sort(
        ["customer_id", "target", size, "occasion"], descending=[False, False, True, False]
    )
    members = {
        (customer, occasion): set(zip(orders, items, strict=True))
        for customer, occasion, orders, items in occasions.group_by("customer_id", "occasion").agg(*LINE).iter_rows()
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
    numbered = ordered.with_columns(pl.Series("position", places, dtype=pl.Int32))
    return numbered.filter(pl.col("position") > 0)


def _telling(found: pl.DataFrame, about: About) -> pl.DataFrame:
    size = pl.col("effect").abs()
    strongest = pl.col("effect").sort_by([size, "occasion"], descending=[True, False]).first()
    way = pl.lit(1.0) if about == "item" else strongest.sign().over("customer_id", "target")
    return found.filter((pl.col("effect") * way > 0) & (size > _TELLING * pl.col("score").abs()))


def named_together(
    model: Model, scene: Scene, targets: pl.DataFrame, found: pl.DataFrame, occasions: pl.DataFrame, count: int
) -> pl.DataFrame:
    """For churn: as `named`, but each one after the first is that without which, besides those before, the risk moves most.

    Single effects of visits add up badly: a week's trips say the same as the next week's, and without one of them little
    changes. So the second is chosen given that the first is gone, and so on (greedy forward selection), of the same
    occasions; at least another hundredth of the score must move. `effect` remains that of the occasion alone.
    """
    telling = _telling(found, "churn")
    chosen = named(found, occasions, "churn", 1)
    moved = chosen.select("customer_id", pl.col("effect").alias("_before"))
    for position in range(2, count + 1):
        taken = occasions.join(chosen, on=["customer_id", "occasion"], how="semi")
        open_ = telling.join(moved, on="customer_id", how="semi").select("customer_id", "occasion")
        touching = occasions.join(taken, on=["customer_id", *LINE], how="semi").select("customer_id", "occasion")
        rest = occasions.join(open_, on=["customer_id", "occasion"], how="semi").join(
            touching, on=["customer_id", "occasion"], how="anti"
        )
        candidates = rest.select("customer_id", "occasion", "kind").unique()
        before = candidates.join(taken.select("customer_id", *LINE), on="customer_id")
        union = effects(model, "churn", scene, targets, pl.concat([rest, before.select(rest.columns)]))
        further = pl.col("effect") - pl.col("_before")
        way = pl.col("_before").sign()
        gains = union.join(moved, on="customer_id").filter(further * way > _TELLING * pl.col("score").abs())
        best = gains.sort(
            ["customer_id", (pl.col("effect") * way), "occasion"], descending=[False, True, False]
        ).unique("customer_id", keep="first", maintain_order=True)
        moved = best.select("customer_id", pl.col("effect").alias("_before"))
        added = telling.join(best, on=["customer_id", "occasion"], how="semi")
        chosen = pl.concat([chosen, added.with_columns(position=pl.lit(position, pl.Int32))])
    return chosen.sort("customer_id", "position")


def faithfulness(
    model: Model, about: About, scene: Scene, chosen: pl.DataFrame, occasions: pl.DataFrame, count: int, seed: int
) -> Faithfulness:
    """Whether the score moves more without the named events than without as many others of the same customer.

    chosen: rows of `named`. For at most `count` targets, drawn by `seed`: all named lines are taken out together, and
    instead of them others, drawn in whole baskets (churn: as many) or in all purchases of an item (item: until there are
    at least as many lines), so that the comparison is not won by scattering single lines; the mean of _DRAWS such draws
    stands for the others. Targets whose customer has not so many others are left out. The interval is normal, with
    customers as units; passed: its lower end is above 0.
    """
    keys = (
        chosen.unique(["customer_id", "target"]).sort("customer_id", "target").select("customer_id", "target", "score")
    )
    rng = np.random.default_rng(seed)
    drawn = keys[np.sort(rng.permutation(keys.height)[:count]).tolist()].with_row_index("number")
    lines = chosen.join(drawn, on=["customer_id", "target"], nulls_equal=True).join(
        occasions.drop("kind"), on=["customer_id", "occasion"]
    )
    removed = _named_and_others(scene, about, lines.select("number", "customer_id", *LINE), rng)
    variants = removed.select("number", "customer_id", "variant", "draw").unique().sort("variant")
    targets = drawn.select("customer_id", pl.col("target").alias("item_id"))
    scores = scored_without(model, about, scene, variants.select("customer_id", "variant"), removed, targets)
    moves = scores.join(variants.drop("customer_id"), on="variant").join(
        drawn.rename({"score": "_whole"}), on=["number", "customer_id", "target"], nulls_equal=True
    ).select("number", "draw", (pl.col("score") - pl.col("_whole")).abs().alias("move"))  # fmt: skip
    of_named = moves.filter(pl.col("draw") == _NAMED).select("number", named="move")
    of_others = moves.filter(pl.col("draw") != _NAMED).group_by("number").agg(pl.col("move").mean().alias("others"))
    both = drawn.join(of_named, on="number").join(of_others, on="number").sort("number")
    return _summary(about, both.select("customer_id", "named", "others"))


def _named_and_others(scene: Scene, about: About, lines: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """number, customer_id, draw, variant, order_id, item_id: what to take out. `lines`: the named, by number of target."""
    goods = scene.lines if about == "churn" else scene.lines.filter("merchandise")
    owned = goods.join(lines, on="customer_id", how="semi").group_by("customer_id").agg(pl.struct(LINE).alias("lines"))
    known = {customer: [(each["order_id"], each["item_id"]) for each in own] for customer, own in owned.iter_rows()}
    rows: list[tuple[int, str, int, str, str]] = []
    for number, customer, orders, items in (
        lines.group_by("number", "customer_id").agg(*LINE).sort("number").iter_rows()
    ):
        own = set(zip(orders, items, strict=True))
        rest = sorted(set(known[customer]) - own)
        others = [taken for _ in range(_DRAWS) if (taken := _as_many(rest, own, about, rng))]
        if others:
            rows += [(number, customer, at, *line) for at, taken in enumerate([own, *others], _NAMED) for line in taken]
    schema = {"number": pl.UInt32, "customer_id": pl.String, "draw": pl.Int32} | dict.fromkeys(LINE, pl.String)
    removed = pl.DataFrame(rows, schema=schema, orient="row")
    return removed.with_columns(variant_id(pl.format("{}:{}", "number", "draw")))


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


def _of_bounded_size(scene: Scene, occasions: pl.DataFrame) -> pl.DataFrame:
    all_lines = scene.lines.group_by("customer_id").agg(pl.len().alias("_all"))
    sized = occasions.with_columns(pl.len().over("customer_id", "occasion").alias("_size")).join(
        all_lines, on="customer_id"
    )
    return sized.filter(2 * pl.col("_size") <= pl.col("_all")).drop("_size", "_all")
