"""What models were judged on and what they give."""

from __future__ import annotations

from typing import Final

import polars as pl

from mktgen.contracts.base import table

RANKING_METRICS: Final = tuple(
    part + metric
    for part in ("", "repeat.", "novel.")
    for metric in ("ndcg_at_10", "recall_at_10", "recall_at_20", "hit_rate_at_10")
)
VALIDATION_RANKING = table(
    "validation_ranking",  # per evaluated customer, mean of the frozen weeks after the cut; null: bought nothing of that part
    {"kind": pl.String, "customer_id": pl.String, **dict.fromkeys(RANKING_METRICS, pl.Float64)},
    key=["kind", "customer_id"],
    nullable=RANKING_METRICS,
)
VALIDATION_CUSTOMERS = table(
    "validation_customers",
    {
        "kind": pl.String,
        "customer_id": pl.String,
        "p_purchase_7d": pl.Float64,
        "p_purchase_28d": pl.Float64,
        "purchased_7d": pl.Boolean,
        "purchased_28d": pl.Boolean,
    },
    key=["kind", "customer_id"],
)
SAMPLE_SCORES = table(
    "sample_scores",  # of a few customers, by each model in the memory it was trained in; the stored ones must agree
    {
        "kind": pl.String,
        "customer_id": pl.String,
        "measure": pl.String,  # seen, unseen (a ranking), p_purchase_7d, p_purchase_28d, spend_28d_minor
        "rank": pl.Int32,  # place within customer and measure; 0 where it is no ranking
        "item_id": pl.String,  # "" where it is no ranking
        "score": pl.Float64,
    },
    key=["kind", "customer_id", "measure", "rank"],
)
REDEMPTION_HOLDOUT = table(
    "redemption_holdout",  # mailings of campaigns that the redemption recipe had not seen
    {
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "campaign_type": pl.String,
        "p_redeem": pl.Float64,
        "affinity": pl.Float64,
        "redeemed": pl.Boolean,
    },
    key=["campaign_id", "customer_id"],
)
CUSTOMER_SCORES = table(
    "customer_scores",
    {
        "customer_id": pl.String,
        "p_purchase_7d": pl.Float64,
        "p_purchase_28d": pl.Float64,
        "p_churn_28d": pl.Float64,  # = 1 - p_purchase_28d, by the definition of churn
        "vector": pl.List(pl.Float32),  # customer vector of the behaviour Transformer
        "customer_model": pl.String,  # kind of the model that gave the probabilities
    },
    key=["customer_id"],
)
CATEGORY_SCORES = table(
    "category_scores",  # the likeliest categories of the next 7 days per customer; none where no model tells them
    {
        "customer_id": pl.String,
        "category": pl.String,
        "rank": pl.Int32,  # 1 = likeliest
        "p_7d": pl.Float64,
        "category_model": pl.String,
    },
    key=["customer_id", "category"],
)
ITEM_SCORES = table(
    "item_scores",  # top items per customer, seen (bought before) and unseen apart
    {
        "customer_id": pl.String,
        "item_id": pl.String,
        "seen": pl.Boolean,
        "rank": pl.Int32,  # 1 = best within (customer, seen)
        "score": pl.Float64,
        "ranking_model": pl.String,
    },
    key=["customer_id", "item_id"],
)
