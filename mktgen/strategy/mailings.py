"""What was known of a customer when a campaign was mailed to it, and whether it redeemed: the redemption examples.

Every column of an example is dated before the campaign's start. Affinity is the share of the customer's own
merchandise lines, in the AFFINITY_DAYS before the cut, that lie on items of the campaign's offers.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from mktgen.contracts import CUSTOMER_FEATURES

AFFINITY_DAYS: Final = 84
LINE_COLUMNS: Final = ("customer_id", "item_id", "business_date")

# One row = one household mailed in one campaign.
MAILINGS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "customer_id": pl.String,
    "campaign_id": pl.String,
    "campaign_type": pl.String,
    "started_on": pl.Date,
    "ended_on": pl.Date,
    "prior_exposures": pl.Int64,  # campaigns mailed to the customer before the cut, this one apart
    "prior_redemptions": pl.Int64,  # coupons redeemed before the cut
    "prior_redeemed_campaigns": pl.Int64,
    "affinity": pl.Float64,
    **{name: dtype for name, dtype in CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64},
}
LABELS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "redeemed": pl.Boolean,
    "days_to_redemption": pl.Int64,  # first redemption of the campaign, days after its start; null where none
}


def campaigns_to_learn_from(exposures: pl.DataFrame, campaigns: pl.DataFrame, partition: date) -> pl.DataFrame:
    """contracts.CAMPAIGNS rows that were mailed and whose window ended before `partition`: their labels are final."""
    mature = campaigns.filter(pl.col("end_date") < partition)
    return mature.join(exposures.select("campaign_id").unique(), on="campaign_id", how="semi").sort("campaign_id")


def redemption_examples(
    exposures: pl.DataFrame,
    campaigns: pl.DataFrame,
    responses: pl.DataFrame,
    offers: pl.DataFrame,
    offer_items: pl.DataFrame,
    lines: pl.DataFrame,
    features_at_start: pl.DataFrame,
    partition: date,
) -> pl.DataFrame:
    """MAILINGS plus LABELS for every mailed customer of every matured campaign, sorted by campaign and customer.

    exposures, campaigns, responses, offers, offer_items: canonical tables; rows dated on or after `partition` are not
    used. lines: one row per merchandise order line (customer_id, item_id, business_date), e.g. contracts.ORDER_LINES
    filtered to merchandise, reaching AFFINITY_DAYS back from the earliest start. features_at_start:
    contracts.CUSTOMER_FEATURES plus `started_on` (Date): features whose cut is that start (nothing dated on or after
    it). Customers without features at the start (no purchase before it) have no example; so have campaigns
    that started before the data.
    """
    mature = campaigns_to_learn_from(exposures, campaigns, partition)
    parts = []
    for campaign in mature.iter_rows(named=True):
        start: date = campaign["start_date"]
        mailed = exposures.filter(pl.col("campaign_id") == campaign["campaign_id"]).select("customer_id").unique()
        known = features_at_start.filter(pl.col("started_on") == start).drop("started_on")
        known = known.join(mailed, on="customer_id", how="semi")
        rows = mailing_frame(
            campaign,
            start,
            known,
            exposures,
            responses,
            campaign_items(campaign["campaign_id"], offers, offer_items),
            lines,
        )
        parts.append(_labelled(rows, campaign, responses))
    empty = pl.DataFrame(schema={**MAILINGS, **LABELS})
    return pl.concat([empty, *parts]).sort("campaign_id", "customer_id")


def mailing_frame(
    campaign: dict[str, Any],
    cut: date,
    features: pl.DataFrame,
    exposures: pl.DataFrame,
    responses: pl.DataFrame,
    offer_items: pl.DataFrame,
    lines: pl.DataFrame,
) -> pl.DataFrame:
    """MAILINGS of one campaign for the customers in `features` as known at `cut`; nothing dated on or after it counts.

    campaign: a row of contracts.CAMPAIGNS. offer_items: offer_id, item_id of this campaign.
    """
    earlier = exposures.filter((pl.col("exposed_on") < cut) & (pl.col("campaign_id") != campaign["campaign_id"]))
    exposed = earlier.group_by("customer_id").agg(
        pl.col("campaign_id").n_unique().cast(pl.Int64).alias("prior_exposures")
    )
    redeemed = responses.filter((pl.col("responded_on") < cut) & (pl.col("response_type") == "redeem"))
    redeemed = redeemed.group_by("customer_id").agg(
        pl.len().cast(pl.Int64).alias("prior_redemptions"),
        pl.col("campaign_id").n_unique().cast(pl.Int64).alias("prior_redeemed_campaigns"),
    )
    own = own_lines(lines, cut, features.select("customer_id"))
    share = affinity(own, offer_items.select("item_id").unique())
    frame = features
    for addition in (exposed, redeemed, share):
        frame = frame.join(addition, on="customer_id", how="left")
    counts = ["prior_exposures", "prior_redemptions", "prior_redeemed_campaigns", "affinity"]
    frame = frame.with_columns(pl.col(counts).fill_null(0)).with_columns(
        pl.lit(campaign["campaign_id"]).alias("campaign_id"),
        pl.lit(campaign["campaign_type"]).alias("campaign_type"),
        pl.lit(campaign["start_date"]).alias("started_on"),
        pl.lit(campaign["end_date"]).alias("ended_on"),
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in MAILINGS.items()).sort("customer_id")


def campaign_items(campaign_id: object, offers: pl.DataFrame, offer_items: pl.DataFrame) -> pl.DataFrame:
    """offer_id, item_id of one campaign."""
    return offer_items.join(offers.filter(pl.col("campaign_id") == campaign_id), on="offer_id", how="semi")


def own_lines(lines: pl.DataFrame, cut: date, customers: pl.DataFrame) -> pl.DataFrame:
    """The customers' lines of the AFFINITY_DAYS before the cut, columns LINE_COLUMNS."""
    window = pl.col("business_date").is_between(cut - timedelta(days=AFFINITY_DAYS), cut, closed="left")
    return (
        lines.lazy().select(LINE_COLUMNS).filter(window).join(customers.lazy(), on="customer_id", how="semi").collect()
    )


def affinity(own: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """customer_id, affinity: the share of the customer's lines on the items; customers without lines have no row."""
    marked = own.join(items.with_columns(pl.lit(1).alias("eligible")), on="item_id", how="left")
    share = pl.col("eligible").count() / pl.len()
    return marked.group_by("customer_id").agg(share.cast(pl.Float64).alias("affinity"))


def _labelled(rows: pl.DataFrame, campaign: dict[str, Any], responses: pl.DataFrame) -> pl.DataFrame:
    ours = responses.filter(
        (pl.col("campaign_id") == campaign["campaign_id"])
        & (pl.col("response_type") == "redeem")
        & (pl.col("responded_on") <= campaign["end_date"])
    )
    first = ours.group_by("customer_id").agg(pl.col("responded_on").min())
    joined = rows.join(first, on="customer_id", how="left").with_columns(
        pl.col("responded_on").is_not_null().alias("redeemed"),
        (pl.col("responded_on") - pl.col("started_on")).dt.total_days().alias("days_to_redemption"),
    )
    return joined.select([*MAILINGS, *LABELS])
