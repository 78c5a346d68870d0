"""How well the categories of a customer's next 7 days are foretold: as a ranking per customer, and pair by pair."""

from __future__ import annotations

from typing import Final

import polars as pl

from mktgen.evaluation import classification, ranking

_PAIR: Final = ["customer_id", "category"]


def per_customer(scores: pl.DataFrame, truth: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """`ranking.per_customer` with categories in the place of items: NDCG and recall, repeated and new ones apart.

    scores: customer_id, category, p_7d (any score will do). truth: customer_id, category bought in the 7 days from the cut
    on. before: customer_id, category bought before it. Says nothing of customers who bought nothing; `pairs` does.
    """
    ranked = scores.select(pl.col("customer_id"), pl.col("category").alias("item_id"), pl.col("p_7d").alias("score"))
    bought, known = (frame.select("customer_id", pl.col("category").alias("item_id")) for frame in (truth, before))
    return ranking.per_customer(ranked, bought, known)


def pairs(scores: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Every scored (customer, category) with `bought` (Boolean), sorted; those who bought nothing included."""
    hits = truth.select(_PAIR).unique().with_columns(pl.lit(True).alias("bought"))
    marked = scores.join(hits, on=_PAIR, how="left").with_columns(pl.col("bought").fill_null(False))
    return marked.sort(_PAIR)


def micro_auc(scores: pl.DataFrame, truth: pl.DataFrame) -> float:
    """AUC over all scored pairs together: it asks for scores that compare across customers and categories.

    Raises ValueError where all pairs were bought, or none.
    """
    marked = pairs(scores, truth)
    return classification.auc(marked["bought"].to_numpy(), marked["p_7d"].to_numpy())
