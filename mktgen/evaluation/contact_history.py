"""Further caps and exclusions of campaigns as gates, recomputed from decisions and sends alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from mktgen.documents import Gate
from mktgen.evaluation.contact_policy import contacted, gate
from mktgen.settings import ContactSettings


def further_caps(decisions: pl.DataFrame, sends: pl.DataFrame, contact: ContactSettings, partition: date) -> Gate:
    """With today's contact nobody has more contacts in a window than a cap allows."""
    wrong = 0
    for cap in contact.further_caps:
        both = pl.concat([_today(decisions, partition), _made(sends, partition, cap.days)])
        chosen = both.filter(pl.col("campaign_id") == cap.campaign) if cap.campaign else both
        counts = chosen.group_by("customer_id").agg(pl.len(), pl.col("today").any())
        wrong += counts.filter(pl.col("today") & (pl.col("len") > cap.contacts)).height
    rules = "; ".join(
        f"{c.contacts} in {c.days} days" + (f" of {c.campaign}" if c.campaign else "") for c in contact.further_caps
    )
    return gate("further_caps", wrong, f"{rules or 'none set'}: {wrong} customers would be above")


def campaign_conflict(
    decisions: pl.DataFrame, sends: pl.DataFrame, contact: ContactSettings, types: Mapping[str, str], partition: date
) -> Gate:
    """Nobody is contacted for a campaign that one of the days before excludes. types: campaign id -> type."""
    wrong = 0
    for rule in contact.exclusions:
        rank = {name: place for place, name in reversed(list(enumerate(rule.campaigns)))}
        pairs = _today(decisions, partition).join(
            _made(sends, partition, rule.days), on="customer_id", suffix="_before"
        )
        for now, before in pairs.select("campaign_id", "campaign_id_before").iter_rows():
            ours, theirs = (
                min(rank.get(campaign, len(rank)), rank.get(f"type:{types.get(campaign, '')}", len(rank)))
                for campaign in (now, before)
            )
            known = max(ours, theirs) < len(rank)
            wrong += known and (ours > theirs if rule.wins == "priority" else ours != theirs)
    rules = "; ".join(f"{', '.join(rule.campaigns)} within {rule.days} days" for rule in contact.exclusions)
    return gate(
        "campaign_conflict", wrong, f"{rules or 'none set'}: {wrong} contacts would follow one that excludes them"
    )


def _today(decisions: pl.DataFrame, partition: date) -> pl.DataFrame:
    return contacted(decisions).select(
        "customer_id", "campaign_id", pl.lit(partition).alias("day"), pl.lit(True).alias("today")
    )


def _made(sends: pl.DataFrame, partition: date, days: int) -> pl.DataFrame:
    """Contacts of the days before that share a window with today; one that may have arrived counts as one that did."""
    age = (pl.lit(partition) - pl.col("sent_for")).dt.total_days()
    near = sends.filter((pl.col("status") != "refused") & (age > 0) & (age < days))
    return near.select("customer_id", "campaign_id", pl.col("sent_for").alias("day"), pl.lit(False).alias("today"))
