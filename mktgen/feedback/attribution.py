"""What followed each decision of ours and each mailing that was really sent, up to today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import ATTRIBUTIONS, ContractError
from mktgen.settings import FeedbackSettings

_WINDOWS: Final = 2  # a row is followed while its window is open, and then counted as matured for one window more
_REFERENCE: Final = ["kind", "reference_id"]


def first_day(partition: date, settings: FeedbackSettings) -> date:
    """The earliest day whose decisions and exposures are attributed; outcomes are needed from this day on."""
    return partition - timedelta(days=_WINDOWS * settings.window_days)


def attribute(
    outcomes: pl.DataFrame,
    decisions: Mapping[date, pl.DataFrame],
    recommendations: Mapping[date, pl.DataFrame],
    exposures: pl.DataFrame,
    campaigns: pl.DataFrame,
    sends: pl.DataFrame,
    partition: date,
    settings: FeedbackSettings,
) -> pl.DataFrame:
    """contracts.ATTRIBUTIONS as known at the end of `partition`, sorted by kind and reference.

    outcomes: contracts.OUTCOMES of every day from `first_day` to `partition`; decisions and recommendations: by the day
    they were made; exposures: really sent by the shop; campaigns: theirs; sends: ours. Rows dated outside
    [first_day, partition) and outcomes after `partition` are left out, whatever is given.

    A decision made at the end of day d is followed on d+1 .. d+window_days. A mailing of day d is followed from d on
    until the campaign or the window ends, whichever is first. `matured`: the last day followed is not after `partition`.
    `redeemed` of a decision needs that we sent it; where nothing was sent, only orders, net_minor and recommended_bought
    speak, and they say "would have bought", never "responded". `charged`: a redemption of a decision's own offer costs once,
    and belongs to the last contact with that offer before it, though every window that covers it counts it as response.

    Raises ContractError where an exposure names a campaign that isn't given.
    """
    ours = _decisions(decisions, sends, partition, settings)
    theirs = _exposures(exposures, campaigns, partition, settings)
    followed = pl.concat([ours, theirs])
    happened = _outcomes_of(followed, outcomes.filter(pl.col("business_date") <= partition))
    frame = (
        followed.join(_bought(happened), on=_REFERENCE, how="left")
        .join(_recommended(ours, happened, recommendations), on=_REFERENCE, how="left")
        .with_columns(
            (pl.col("window_end") <= partition).alias("matured"),
            pl.col("redeemed").fill_null(False) & pl.col("was_sent"),
            pl.col("charged").fill_null(False),
            pl.col("orders", "net_minor", "recommended", "recommended_bought").fill_null(0),
        )
    )
    return ATTRIBUTIONS.check(frame.select(list(ATTRIBUTIONS.columns)).sort(_REFERENCE))


def _decisions(
    decisions: Mapping[date, pl.DataFrame], sends: pl.DataFrame, partition: date, settings: FeedbackSettings
) -> pl.DataFrame:
    """Followed decisions. Counted outcomes lie strictly after the day of the decision."""
    delivered = sends.filter(pl.col("status").is_in(["sent", "already_sent"]))["decision_id"].to_list()
    days = [day for day in sorted(decisions) if first_day(partition, settings) <= day < partition]
    frames = [
        decisions[day].select(
            pl.lit("decision").alias("kind"),
            pl.col("decision_id").alias("reference_id"),
            "customer_id",
            "campaign_id",
            "offer_id",
            pl.lit(day).alias("decided_on"),
            pl.lit(day + timedelta(days=1)).alias("follow_from"),
            pl.lit(day + timedelta(days=settings.window_days)).alias("window_end"),
            pl.col("decision_id").is_in(delivered).alias("was_sent"),
            "holdout",
            pl.col("p_redeem").alias("predicted"),
        )
        for day in days
    ]
    return pl.concat([pl.DataFrame(schema=_FOLLOWED), *frames])


def _exposures(
    exposures: pl.DataFrame, campaigns: pl.DataFrame, partition: date, settings: FeedbackSettings
) -> pl.DataFrame:
    unknown = exposures.join(campaigns, on="campaign_id", how="anti")
    if unknown.height:
        raise ContractError(
            f"{unknown.height} exposures name campaigns that are not among the campaigns given, e.g. "
            f"{unknown['campaign_id'].sort()[0]}: give the campaigns of every exposure"
        )
    last = pl.col("exposed_on") + pl.duration(days=settings.window_days)
    since = first_day(partition, settings)
    return (
        exposures.filter((pl.col("exposed_on") >= since) & (pl.col("exposed_on") < partition))
        .join(campaigns, on="campaign_id", how="inner")
        .select(
            pl.lit("exposure").alias("kind"),
            pl.col("exposure_id").alias("reference_id"),
            "customer_id",
            "campaign_id",
            pl.lit(None, dtype=pl.String).alias("offer_id"),
            pl.col("exposed_on").alias("decided_on"),
            pl.col("exposed_on").alias("follow_from"),
            pl.min_horizontal(pl.col("end_date"), last).alias("window_end"),
            pl.lit(True).alias("was_sent"),
            pl.lit(None, dtype=pl.Boolean).alias("holdout"),
            pl.lit(None, dtype=pl.Float64).alias("predicted"),
        )
    )


_FOLLOWED: Final = {
    **{name: ATTRIBUTIONS.columns[name] for name in ("kind", "reference_id", "customer_id", "campaign_id")},
    "offer_id": pl.String,
    "decided_on": pl.Date,
    "follow_from": pl.Date,
    "window_end": pl.Date,
    "was_sent": pl.Boolean,
    "holdout": pl.Boolean,
    "predicted": pl.Float64,
}


def _outcomes_of(followed: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Followed rows beside each of the customer's outcomes inside the window."""
    return (
        followed.select(
            *_REFERENCE, "customer_id", "campaign_id", "offer_id", "was_sent", "decided_on", "follow_from", "window_end"
        )
        .join(outcomes, on="customer_id", how="inner")
        .filter(pl.col("business_date").is_between(pl.col("follow_from"), pl.col("window_end")))
    )


def _bought(happened: pl.DataFrame) -> pl.DataFrame:
    totals = happened.group_by(_REFERENCE).agg(pl.col("orders").sum(), pl.col("net_minor").sum())
    each = happened.with_columns(offer=pl.col("redeemed_offers")).explode("offer", empty_as_null=True)
    own_campaign = pl.concat_str(pl.col("campaign_id"), pl.lit(":"))
    answered = each.filter(pl.col("offer").str.starts_with(own_campaign)).select(_REFERENCE).unique()
    charged = (
        each.filter((pl.col("kind") == "decision") & pl.col("was_sent") & (pl.col("offer") == pl.col("offer_id")))
        .sort("decided_on", "reference_id")
        .unique(["customer_id", "business_date", "offer"], keep="last", maintain_order=True)
        .select(_REFERENCE)
        .unique()
    )
    return totals.join(answered.with_columns(redeemed=pl.lit(True)), on=_REFERENCE, how="left").join(
        charged.with_columns(charged=pl.lit(True)), on=_REFERENCE, how="left"
    )


def _recommended(
    ours: pl.DataFrame, happened: pl.DataFrame, recommendations: Mapping[date, pl.DataFrame]
) -> pl.DataFrame:
    """How many items were recommended to a decision's customer that day, and how many of them were bought."""
    days = sorted(set(ours["decided_on"].to_list()) & set(recommendations))
    empty = pl.DataFrame(schema={"customer_id": pl.String, "item_id": pl.String, "decided_on": pl.Date})
    items = [
        recommendations[day].select("customer_id", "item_id", pl.lit(day).alias("decided_on")).unique() for day in days
    ]
    shown = ours.select(*_REFERENCE, "customer_id", "decided_on").join(
        pl.concat([empty, *items]), on=["customer_id", "decided_on"], how="inner"
    )
    bought = happened.select(*_REFERENCE, pl.col("item_ids").alias("item_id")).explode("item_id", empty_as_null=True)
    hits = shown.join(bought.unique(), on=[*_REFERENCE, "item_id"], how="semi")
    counts = shown.group_by(_REFERENCE).agg(pl.len().cast(pl.Int64).alias("recommended"))
    return counts.join(
        hits.group_by(_REFERENCE).agg(pl.len().cast(pl.Int64).alias("recommended_bought")), on=_REFERENCE, how="left"
    )
