"""The effect of one campaign of ours on those it contacted, from the propensities that every decision logs."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
import polars as pl

from mktgen.feedback.effect.estimate import Estimate, sums
from mktgen.feedback.effect.sample import CONTROL

NO_CONTACT: Final = "no_contact"
CONTACTED: Final = "contacted"


@dataclass(frozen=True)
class OnContacted:
    """effect: mean per contact; None: fewer than two customers on a side. effective_controls: Kish's size of those left
    alone, under their weights."""

    effect: Estimate | None
    contacts: int
    controls: int
    effective_controls: float


def comparable(decisions: pl.DataFrame, campaign_id: str) -> pl.DataFrame:
    """decision_id, customer_id, arm (CONTACTED by the campaign, or CONTROL: left alone), weight; by decision.

    decisions: contracts.DECISIONS. Kept are those not held out that could have gone both ways: chances of a contact of the
    campaign and of none, both above 0. weight: 1 for the contacted, chance of contact / chance of none for the others.
    """
    sets = decisions.filter(~pl.col("holdout")).select(
        "decision_id", pl.col("action_set").alias("option"), pl.col("action_propensities").alias("p")
    )
    chance = pl.col("p").filter(pl.col("option").str.starts_with(f"{campaign_id}:")).sum().alias("contact")
    none = pl.col("p").filter(pl.col("option") == NO_CONTACT).sum().alias("none")
    chances = sets.explode("option", "p").group_by("decision_id").agg(chance, none)
    both = decisions.join(chances.filter((pl.col("contact") > 0) & (pl.col("none") > 0)), on="decision_id")
    ours, left = pl.col("campaign_id").eq_missing(campaign_id), pl.col("action") == NO_CONTACT
    arms = both.filter(ours | left).select(
        "decision_id",
        "customer_id",
        pl.when(left).then(pl.lit(CONTROL)).otherwise(pl.lit(CONTACTED)).alias("arm"),
        pl.when(left).then(pl.col("contact") / pl.col("none")).otherwise(1.0).alias("weight"),
    )
    return arms.sort("decision_id")


def effect_on_contacted(rows: pl.DataFrame) -> OnContacted:
    """Mean effect per contact of a campaign on those whom it contacted.

    rows: those of `comparable` with `value` (Float64). Formula: mean of the contacted less the weighted mean of those left
    alone, weights P(contact) / P(none) as logged (Hajek); variance from influences summed by customer, df by the smaller
    side, Kish's size of the controls, less 1. Assumption: the draw followed the logged propensities; what other
    decisions do to the same customer is part of both sides. When it fails: small propensities of no contact make a
    few customers count for most (see effective_controls).
    Reference: Hirano, Imbens & Ridder, Econometrica 71 (2003); Hernan & Robins, Causal Inference (2020), ch. 12.
    """
    ordered = rows.sort("customer_id", "decision_id")
    contacted = (ordered["arm"] == CONTACTED).to_numpy()
    weight, value = ordered["weight"].to_numpy(), ordered["value"].to_numpy()
    contacts, controls = int(contacted.sum()), int((~contacted).sum())
    effective = float(weight[~contacted].sum() ** 2 / (weight[~contacted] ** 2).sum()) if controls else 0.0
    customers, cluster = np.unique(ordered["customer_id"].to_numpy(), return_inverse=True)
    sides = [int(np.unique(cluster[side]).size) for side in (contacted, ~contacted)]
    if min(sides) < 2:
        return OnContacted(None, contacts, controls, effective)
    means = [float(np.average(value[side], weights=weight[side])) for side in (contacted, ~contacted)]
    share = np.where(contacted, weight / weight[contacted].sum(), -weight / weight[~contacted].sum())
    influence = sums(cluster.astype(np.int64), share * (value - np.where(contacted, means[0], means[1])))
    se = sqrt(float((influence**2).sum()) * customers.size / (customers.size - 1))
    method = "logged propensities (Hajek), clustered by customer"
    df = max(min(sides[0], effective) - 1, 1.0)
    who = tuple(str(customer) for customer in customers)
    return OnContacted(Estimate(means[0] - means[1], se, df, method, who, influence), contacts, controls, effective)
