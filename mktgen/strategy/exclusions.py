"""Which candidates could not be drawn today, and the rule that left each of them out: what `why` tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from mktgen.contracts import EXCLUDED_OFFERS
from mktgen.errors import PermanentError
from mktgen.settings import ContactSettings, StrategySettings
from mktgen.strategy import arms
from mktgen.strategy.contact_history import contactable
from mktgen.strategy.turns import NOT_TODAY, RUNNING_TRIAL

HOLDOUT: Final = "holdout"
FUTILE: Final = "futile"
CONTACT_CAP: Final = "contact_cap"
FURTHER_CAP: Final = "further_cap"
CAMPAIGN_CONFLICT: Final = "campaign_conflict"
CAMPAIGN_HOLDOUT: Final = "campaign_holdout"
_KEY: Final = ["customer_id", "offer_id"]


def excluded_offers(
    candidates: pl.DataFrame,
    eligible: pl.DataFrame,
    among: pl.DataFrame,
    recent_contacts: pl.DataFrame,
    sends: pl.DataFrame,
    campaign_types: Mapping[str, str],
    settings: StrategySettings,
    contact: ContactSettings,
    partition: date,
    holdout_key: str,
    waiting: pl.DataFrame,
) -> pl.DataFrame:
    """contracts.EXCLUDED_OFFERS of `candidates` (contracts.OFFER_SCORES) that are not among `eligible`, sorted.

    eligible: what the policy drew from (policy.eligible_candidates). among: customer_id, arm. waiting: customer_id, rule,
    detail of who is not decided on today (turns.waiting, or everybody where nothing pays). The other arguments are those
    the policy was given. Where several rules hold, the first of this order is named: hold-out, the cap, a further cap,
    nothing pays, a trial that is running, another day's turn, campaigns that exclude one another, the campaign's own
    hold-out. Raises PermanentError for a candidate that is missing without a rule: then the rules here are not the policy's.
    """
    left_out = candidates.select("customer_id", "campaign_id", "offer_id").join(eligible, on=_KEY, how="anti")
    capped = contactable(candidates, sends, contact.model_copy(update={"exclusions": ()}), campaign_types, partition)
    allowed = contactable(candidates, sends, contact, campaign_types, partition)
    share = settings.campaign_holdout_share
    apart = arms.without_campaign_holdouts(candidates, share, holdout_key)
    told = (
        left_out.join(among, on="customer_id", how="left")
        .join(recent_contacts, on="customer_id", how="left")
        .join(_kept(capped, "under_caps"), on=_KEY, how="left")
        .join(_kept(allowed, "allowed"), on=_KEY, how="left")
        .join(_kept(apart, "in_campaign"), on=_KEY, how="left")
        .join(waiting.rename({"rule": "waits", "detail": "until"}), on="customer_id", how="left")
    )
    cap = f"in the last {settings.contact_cap_days} days; {settings.contact_cap} allowed"
    rules = [
        (HOLDOUT, pl.col("arm") == arms.HOLDOUT,
         pl.lit(f"held out from all campaigns, as {settings.holdout_share:.0%} of customers are, to measure against")),
        (CONTACT_CAP, pl.col("contacts").fill_null(0) >= settings.contact_cap,
         pl.format("{} contacts {}", pl.col("contacts"), pl.lit(cap))),
        (FURTHER_CAP, pl.col("under_caps").is_null(), pl.lit(f"a further cap is reached: {_caps(contact)}")),
        *((rule, pl.col("waits") == rule, pl.col("until")) for rule in (FUTILE, RUNNING_TRIAL, NOT_TODAY)),
        (CAMPAIGN_CONFLICT, pl.col("allowed").is_null(), pl.lit("contacted lately for a campaign that excludes this one")),
        (CAMPAIGN_HOLDOUT, pl.col("in_campaign").is_null(),
         pl.lit(f"held out from this campaign alone, as {share:.0%} of customers are")),
    ]  # fmt: skip
    rule, detail = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for name, holds, words in reversed(rules):
        rule, detail = pl.when(holds).then(pl.lit(name)).otherwise(rule), pl.when(holds).then(words).otherwise(detail)
    named = told.with_columns(rule=rule, detail=detail)
    unexplained = named.filter(pl.col("rule").is_null())
    if unexplained.height:
        raise PermanentError(
            f"{unexplained.height} candidates were left out by no known rule, e.g. {unexplained.select(_KEY).row(0)}: "
            "strategy/exclusions.py must name the policy's rules"
        )
    return EXCLUDED_OFFERS.check(named.select(list(EXCLUDED_OFFERS.columns)).sort(_KEY))


def _kept(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.select(*_KEY, pl.lit(True).alias(name))


def _caps(contact: ContactSettings) -> str:
    told = [
        f"{cap.contacts} contacts{f' for campaign {cap.campaign}' if cap.campaign else ''} in {cap.days} days"
        for cap in contact.further_caps
    ]
    return ", ".join(told)
