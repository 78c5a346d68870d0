"""What a response may depend on beside purchases: past contacts, redemptions, and affinity to what runs.

What: counts of contacts in the last FATIGUE_DAYS and of redemptions and exposures before; per running campaign with goods of
its own, the share of the customer's spending that went to their categories. Assumption: all of it was known when the day was
decided. When it fails: a share over a customer's whole life is slow to follow a change of taste.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import RESPONSE_FACTS

FATIGUE_DAYS: Final = 28
COUNTS: Final = ("contacts_28d", "redemptions_before", "exposures_before")
AFFINITY: Final = "affinity_"
MOST_CAMPAIGNS: Final = 12  # with goods of their own, the first by id; more columns than trials can bear help nobody


def contact_facts(
    day: date,
    customers: pl.DataFrame,
    sends: pl.DataFrame,
    responses: pl.DataFrame,
    exposures: pl.DataFrame,
    categories: pl.DataFrame,
    goods: pl.DataFrame,
) -> pl.DataFrame:
    """contracts.RESPONSE_FACTS at the end of `day`; facts that are 0 have no row.

    customers: customer_id. sends: contracts.SENDS of earlier days. responses, exposures: contracts.RESPONSES, EXPOSURES.
    categories: contracts.CUSTOMER_CATEGORIES. goods: campaign_id, category of the campaigns that run.
    """
    since = day - timedelta(days=FATIGUE_DAYS)
    made = sends.filter((pl.col("status") != "refused") & (pl.col("sent_for") >= since) & (pl.col("sent_for") < day))
    counted = [
        frame.group_by("customer_id").agg(value=pl.len().cast(pl.Float64)).with_columns(fact=pl.lit(name))
        for name, frame in zip(
            COUNTS,
            (
                made,
                responses.filter(pl.col("responded_on") <= day),
                exposures.filter(pl.col("exposed_on") <= day),
            ),
            strict=True,
        )
    ]
    parts = [*counted, _affinities(categories, goods)]
    rows = pl.concat([part.select("customer_id", "fact", "value") for part in parts])
    ours = rows.filter(pl.col("value") != 0).join(customers.select("customer_id"), on="customer_id", how="semi")
    return RESPONSE_FACTS.check(ours.sort("customer_id", "fact"))


def _affinities(categories: pl.DataFrame, goods: pl.DataFrame) -> pl.DataFrame:
    named = goods["campaign_id"].unique().sort().head(MOST_CAMPAIGNS)
    spent = pl.col("net_minor").clip(0)
    total = categories.group_by("customer_id").agg(total=spent.sum())
    on_them = categories.join(goods.filter(pl.col("campaign_id").is_in(named.implode())).unique(), on="category")
    shares = on_them.group_by("customer_id", "campaign_id").agg(on_them=spent.sum()).join(total, on="customer_id")
    return shares.filter(pl.col("total") > 0).select(
        "customer_id", fact=pl.lit(AFFINITY) + pl.col("campaign_id"), value=pl.col("on_them") / pl.col("total")
    )


def with_contact_facts(known: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Covariates with a column for each fact: COUNTS always, affinities of the campaigns that ran; 0 where there is no row."""
    wide = facts.pivot("fact", index="customer_id", values="value", sort_columns=True)
    absent = [name for name in COUNTS if name not in wide.columns]
    joined = known.join(wide, on="customer_id", how="left", maintain_order="left")
    joined = joined.with_columns(pl.lit(0.0).alias(name) for name in absent)
    named = sorted(set(joined.columns) - set(known.columns))
    return joined.select(*known.columns, *(pl.col(name).fill_null(0.0) for name in named))


def aligned(known: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Covariates with the columns that a model knows: an affinity for a campaign that doesn't run is not known."""
    missing = [name for name in columns if name.startswith(AFFINITY) and name not in known.columns]
    return known.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in missing)
