"""How well items are ranked for the week after a cut, or for several: overall, and apart for repeated and new items.

Apart, because half of next week's items were bought before: a model can look good by repeating alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

METRICS: Final = ("ndcg_at_10", "recall_at_10", "recall_at_20", "hit_rate_at_10")
PARTS: Final = ("", "repeat.", "novel.")
_PAIR: Final = ["customer_id", "item_id"]


def per_customer(ranking: pl.DataFrame, truth: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The metrics of every evaluated customer, sorted by customer_id.

    ranking: customer_id, item_id, score (of contracts.ITEM_SCORES; the order is score descending, then item_id).
    truth: customer_id, item_id bought in the 7 days from the cut on; repeated rows count once. before: customer_id,
    item_id bought before the cut; decides what is a repeat, for the ranking as for the truth.

    Evaluated are the customers of `ranking` with at least one item in `truth`. With g(r) = 1 where the item at place r
    was bought and n the number of items bought (binary relevance):

    - ndcg_at_10 = sum_{r<=10} g(r) / log2(r + 1), over the same sum for a perfect list (min(10, n) hits first)
    - recall_at_10, recall_at_20 = hits among the first 10 (20) / n
    - hit_rate_at_10 = 1 if there is a hit among the first 10

    Columns `repeat.*` and `novel.*` rank and count only items bought before the cut, or only others; null where the
    customer bought none of that part. Reference: Järvelin and Kekäläinen, TOIS 2002. Fails to say anything about
    customers who bought nothing; churn is measured by mktgen.evaluation.classification.
    """
    ranked = ranking.select(*_PAIR, "score")
    known = before.select(_PAIR).unique().with_columns(pl.lit(True).alias("repeat"))
    bought = truth.select(_PAIR).unique().join(ranked.select("customer_id").unique(), on="customer_id", how="semi")
    marked = ranked.join(bought.with_columns(pl.lit(True).alias("hit")), on=_PAIR, how="left")
    marked = marked.join(known, on=_PAIR, how="left").with_columns(pl.col("hit", "repeat").fill_null(False))
    bought = bought.join(known, on=_PAIR, how="left").with_columns(pl.col("repeat").fill_null(False))
    result = bought.select("customer_id").unique().sort("customer_id")
    for part in PARTS:
        wanted = pl.lit(True) if not part else pl.col("repeat") == (part == "repeat.")
        rows = _part(marked.filter(wanted), bought.filter(wanted))
        rows = rows.rename({name: part + name for name in METRICS})
        result = result.join(rows, on="customer_id", how="left", maintain_order="left")
    return result


def _part(marked: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    """customer_id and METRICS from ranked items with `hit`, for the customers of `bought`."""
    ordered = marked.sort(["customer_id", "score", "item_id"], descending=[False, True, False])
    place = pl.int_range(1, pl.len() + 1).over("customer_id")
    # Groups keep the order of places, so that the same hits are always summed in the same order.
    top = ordered.with_columns(place.alias("place")).filter((pl.col("place") <= 20) & pl.col("hit"))
    gain = pl.when(pl.col("place") <= 10).then(1.0 / (pl.col("place") + 1.0).log(2.0)).otherwise(0.0)
    hits = top.group_by("customer_id", maintain_order=True).agg(
        gain.sum().alias("dcg"),
        (pl.col("place") <= 10).sum().alias("hits_10"),
        pl.len().alias("hits_20"),
    )
    ideal = pl.DataFrame({"n": np.arange(1, 11), "ideal": np.cumsum(1.0 / np.log2(np.arange(2, 12)))})
    counts = bought.group_by("customer_id").agg(pl.len().alias("total"))
    joined = (
        counts.with_columns(pl.col("total").clip(0, 10).cast(pl.Int64).alias("n"))
        .join(ideal, on="n", how="left")
        .join(hits, on="customer_id", how="left")
        .with_columns(pl.col("dcg", "hits_10", "hits_20").fill_null(0))
    )
    return joined.select(
        "customer_id",
        (pl.col("dcg") / pl.col("ideal")).alias("ndcg_at_10"),
        (pl.col("hits_10") / pl.col("total")).alias("recall_at_10"),
        (pl.col("hits_20") / pl.col("total")).alias("recall_at_20"),
        (pl.col("hits_10") > 0).cast(pl.Float64).alias("hit_rate_at_10"),
    ).sort("customer_id")


def mean_of_weeks(weeks: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Each customer's mean over the weeks in which it has a value: per_customer's columns, sorted by customer_id.

    weeks: per_customer's frames of several cuts. The customer stays the unit, so an interval by customer covers that its
    weeks are alike; it doesn't cover that weeks differ.
    """
    names = [part + metric for part in PARTS for metric in METRICS]
    # Sorted first: the mean of the same numbers in another order may differ in the last bit.
    every = pl.concat([frame.with_columns(pl.lit(at).alias("week")) for at, frame in enumerate(weeks)])
    ordered = every.sort("customer_id", "week").group_by("customer_id", maintain_order=True)
    return ordered.agg(pl.col(names).mean())


def summary(customers: pl.DataFrame) -> dict[str, float]:
    """Means over customers of `per_customer`'s columns, named for all kinds alike.

    `ranking.ndcg_at_10`, `ranking.repeat.ndcg_at_10`, `ranking.novel.recall_at_10` ... and `ranking.customers`. A part
    that no customer bought from is left out.
    """
    result = {"ranking.customers": float(customers.height)}
    for name in (part + metric for part in PARTS for metric in METRICS):
        values = customers[name].drop_nulls().to_numpy()
        if values.size:
            result[f"ranking.{name}"] = float(values.mean())
    return result
