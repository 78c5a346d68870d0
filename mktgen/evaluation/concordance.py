"""Do our scores agree with the mailing lists that were really sent? Concordance, not uplift.

The lists were chosen by someone else, by rules that were not recorded. Agreement says that the scores point at the
customers the shop itself picked; it says nothing about what a mailing changes.
"""

from __future__ import annotations

import math
from datetime import date, timedelta

import polars as pl

from mktgen.evaluation.redemption_calibration import auc


def concordance(
    offer_scores: pl.DataFrame, customers: list[str], exposures: pl.DataFrame, partition: date, days: int
) -> dict[str, float]:
    """Per campaign mailed in the `days` up to the partition and scored now: AUC of p and of affinity, overlap at k.

    Over the active customers: label = on the mailing list; k = active customers on the list; overlap_at_k = share of
    the k highest p that are on it (chance: list_share). A customer whose candidates left the campaign out counts with
    score 0. Scores are as of the partition, so after the mailing; features may already hold its effect.
    """
    recent = exposures.filter(
        (pl.col("exposed_on") <= partition) & (pl.col("exposed_on") > partition - timedelta(days=days))
    )
    active = pl.DataFrame({"customer_id": sorted(set(customers))}, schema={"customer_id": pl.String})
    figures: dict[str, float] = {}
    for campaign in sorted(set(recent["campaign_id"]) & set(offer_scores["campaign_id"])):
        mailed = recent.filter(pl.col("campaign_id") == campaign).select("customer_id").unique()
        scores = offer_scores.filter(pl.col("campaign_id") == campaign).group_by("customer_id")
        best = scores.agg(pl.col("p_redeem").max(), pl.col("affinity").max())
        table = active.join(best, on="customer_id", how="left").with_columns(
            pl.col("p_redeem", "affinity").fill_null(0.0),
            pl.col("customer_id").is_in(mailed["customer_id"].to_list()).alias("mailed"),
        )
        figures |= {f"concordance_{campaign}_{name}": value for name, value in _figures(table).items()}
    return figures


def _figures(table: pl.DataFrame) -> dict[str, float]:
    listed = int(table["mailed"].sum())
    auc_p, auc_affinity = auc(table["p_redeem"], table["mailed"]), auc(table["affinity"], table["mailed"])
    if math.isnan(auc_p) or listed == 0:
        return {}
    top = table.sort(["p_redeem", "customer_id"], descending=[True, False]).head(listed)
    return {
        "mailed": float(listed),
        "list_share": listed / table.height,
        "auc_p_redeem": auc_p,
        "auc_affinity": auc_affinity,
        "overlap_at_k": float(top["mailed"].sum()) / listed,
    }
