"""Who may not be contacted for which campaign today, because of contacts of days before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from mktgen.settings import ContactSettings, Exclusion


def contactable(
    candidates: pl.DataFrame,
    sends: pl.DataFrame,
    contact: ContactSettings,
    campaign_types: Mapping[str, str],
    partition: date,
) -> pl.DataFrame:
    """The candidates that no further cap and no exclusion forbids; order kept.

    candidates: contracts.OFFER_SCORES. sends: contracts.SENDS of days before; what was not refused counts as made.
    campaign_types: campaign id -> type. `strategy.contact_cap` is the policy's own.
    """
    made = sends.filter(pl.col("status") != "refused").with_columns(
        days=(pl.lit(partition) - pl.col("sent_for")).dt.total_days()
    )
    made = made.filter(pl.col("days") > 0)
    kept = candidates
    for cap in contact.further_caps:
        capped = pl.col("campaign_id") == cap.campaign if cap.campaign else pl.lit(True)
        counted = made.filter((pl.col("days") < cap.days) & capped)
        full = counted.group_by("customer_id").len().filter(pl.col("len") >= cap.contacts)
        reached = pl.col("customer_id").is_in(full["customer_id"].to_list())
        kept = kept.filter(~(reached & capped))
    for exclusion in contact.exclusions:
        kept = _not_excluded(kept, made.filter(pl.col("days") < exclusion.days), exclusion, campaign_types)
    return kept


def widest_days(contact: ContactSettings, least: int) -> int:
    """How many days back contacts matter; at least `least`."""
    return max(least, *(cap.days for cap in contact.further_caps), *(rule.days for rule in contact.exclusions), 1)


def _not_excluded(
    candidates: pl.DataFrame, made: pl.DataFrame, exclusion: Exclusion, campaign_types: Mapping[str, str]
) -> pl.DataFrame:
    """A campaign follows another of its exclusion only where priority wins and it has the higher one."""
    before = made.select("customer_id", _place(exclusion, campaign_types).alias("theirs")).drop_nulls()
    first = before.group_by("customer_id").agg(
        pl.col("theirs").min().alias("highest"), pl.col("theirs").max().alias("lowest")
    )
    ours = _place(exclusion, campaign_types)
    joined = candidates.join(first, on="customer_id", how="left", maintain_order="left").with_columns(ours=ours)
    other = (pl.col("highest") != pl.col("ours")) | (pl.col("lowest") != pl.col("ours"))
    barred = other if exclusion.wins == "first" else pl.col("highest") < pl.col("ours")
    return joined.filter(~barred.fill_null(False)).select(candidates.columns)


def _place(exclusion: Exclusion, campaign_types: Mapping[str, str]) -> pl.Expr:
    """Where an exclusion names a campaign, 0 first; null where it does not."""
    names = list(exclusion.campaigns)
    places = {
        campaign: names.index(f"type:{kind}") for campaign, kind in campaign_types.items() if f"type:{kind}" in names
    }
    for name in names:
        if not name.startswith("type:"):
            places[name] = min(names.index(name), places.get(name, len(names)))
    return pl.col("campaign_id").replace_strict(places, default=None, return_dtype=pl.Int64)
