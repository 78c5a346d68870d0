"""Decisions as rows (contracts.DECISIONS): what was possible, how likely each was, what was drawn, by which versions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from mktgen.contracts import DECISIONS
from mktgen.settings import StrategySettings
from mktgen.strategy import arms

NO_CONTACT: Final = "no_contact"
_ACTION: Final = ("campaign_id", "offer_id", "p_redeem", "value_minor", "cost_minor", "item_id")


@dataclass(frozen=True)
class Versions:
    """What made a decision: written into every row, all but `derivation`, which its identity comes from."""

    model: str
    config: str
    policy: str
    derivation: str  # of all inputs, settings and code: decisions made anew from others are other decisions


def decision_rows(
    customers: pl.DataFrame,
    drawn: pl.DataFrame,
    usual: pl.DataFrame,
    as_usual: pl.DataFrame,
    settings: StrategySettings,
    partition: date,
    versions: Versions,
    recommendations: pl.DataFrame | None,
) -> pl.DataFrame:
    """contracts.DECISIONS, one row per customer, sorted by customer_id.

    customers: customer_id, segment_id, arm. drawn: every action of the policy's customers (see policy.Table.drawn_rows).
    usual: candidates of the business-as-usual arm, and as_usual those of them that it takes. Who appears in neither may not be
    contacted today: the action set is no contact alone.
    """
    rows = pl.concat([drawn, _usual_actions(usual, as_usual)], how="diagonal_relaxed")
    alone = customers.join(rows, on="customer_id", how="anti").select(
        "customer_id", column=pl.lit(0, pl.Int64), p=pl.lit(1.0), drawn=pl.lit(True), likeliest=pl.lit(True)
    )
    rows = pl.concat([rows, alone], how="diagonal_relaxed").sort("customer_id", "column")
    rows = rows.with_columns(action=pl.coalesce("offer_id", pl.lit(NO_CONTACT)))
    sets = rows.group_by("customer_id", maintain_order=True).agg(action_set="action", action_propensities="p")
    chosen = rows.filter("drawn").select("customer_id", "action", *_ACTION, "p", "likeliest")
    decided = customers.sort("customer_id").join(chosen, on="customer_id", how="left", maintain_order="left")
    decided = decided.join(sets, on="customer_id", how="left", maintain_order="left")
    decided = decided.with_columns(
        decision_id=_decision_ids(decided["customer_id"], partition, versions),
        item_ids=_items(decided, recommendations, settings.items_per_message),
        channel=pl.when(pl.col("offer_id").is_not_null()).then(pl.lit(settings.channel)),
        propensity="p",
        explored=~pl.col("likeliest"),
        holdout=pl.col("arm") == arms.HOLDOUT,
        holdout_share=pl.lit(settings.holdout_share),
        expected_value_minor=pl.col("value_minor").fill_null(0.0),
        cost_minor=pl.col("cost_minor").fill_null(0),
        model_version=pl.lit(versions.model),
        policy_version=pl.lit(versions.policy),
        config_version=pl.lit(versions.config),
    )
    return DECISIONS.check(decided.select(pl.col(name).cast(kind) for name, kind in DECISIONS.columns.items()))


def _usual_actions(usual: pl.DataFrame, as_usual: pl.DataFrame) -> pl.DataFrame:
    """Actions of the business-as-usual arm: the rule takes one for certain, so the chance of the others is 0."""
    taken = as_usual.select("customer_id", "offer_id", took=pl.lit(True))
    offers = usual.sort("customer_id", "offer_id").join(
        taken, on=["customer_id", "offer_id"], how="left", maintain_order="left"
    )
    offers = offers.with_columns(
        drawn=pl.col("took").fill_null(False), column=pl.int_range(1, pl.len() + 1).over("customer_id")
    ).drop("took")
    none = (
        offers.group_by("customer_id", maintain_order=True)
        .agg(drawn=~pl.col("drawn").any())
        .with_columns(column=pl.lit(0, pl.Int64))
    )
    both = pl.concat([none, offers], how="diagonal_relaxed")
    return both.with_columns(p=pl.col("drawn").cast(pl.Float64), likeliest=pl.lit(True))


def _items(decided: pl.DataFrame, recommendations: pl.DataFrame | None, limit: int) -> pl.Series:
    """The item of the offer, then recommended ones, seen and unseen in turn, best first; none where there is no contact."""
    shown = decided.filter(pl.col("item_id").is_not_null()).select("customer_id", "item_id", place=pl.lit(-1, pl.Int64))
    parts = [shown]
    if recommendations is not None:
        ordered = recommendations.sort(
            "customer_id", "rank", "seen", "item_id", descending=[False, False, True, False]
        ).select("customer_id", "item_id", place=pl.int_range(pl.len()).over("customer_id").cast(pl.Int64))
        parts.append(ordered.join(shown.select("customer_id"), on="customer_id", how="semi"))
    every = (
        pl.concat(parts)
        .sort("customer_id", "place")
        .unique(["customer_id", "item_id"], keep="first", maintain_order=True)
    )
    lists = every.group_by("customer_id", maintain_order=True).agg(pl.col("item_id").head(limit).alias("item_ids"))
    joined = decided.select("customer_id").join(lists, on="customer_id", how="left", maintain_order="left")
    return joined["item_ids"].fill_null([])


def _decision_ids(customers: pl.Series, partition: date, versions: Versions) -> pl.Series:
    def identity(customer: str) -> str:
        text = "\x1f".join([partition.isoformat(), customer, versions.derivation])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    return pl.Series([identity(customer) for customer in customers], dtype=pl.String)
