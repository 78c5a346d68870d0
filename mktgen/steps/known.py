"""What is known of customers when a day is decided: the covariates that a response may depend on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import RESPONSE_FACTS
from mktgen.errors import TransientError
from mktgen.response.contact_facts import FATIGUE_DAYS, contact_facts, with_contact_facts
from mktgen.steps.runner import Platform, Read, Run
from mktgen.steps.training import campaign_reads
from mktgen.strategy.offers import running_campaigns

FACTS: Final = ("customer_features", "customer_scores", "response_facts")  # what covariates are made of


def wait_for_feedback(
    collector: str, dispatched: Iterable[date], window_days: int, day: date, platform: Platform
) -> None:
    """What is learned must not depend on how fast the feedback of the days before was. Raises TransientError where what was
    dispatched has matured before `day`, the loop of the day on which it did has decided, and its feedback has not run
    `collector` (`collect_trials`, which writes `trials`, or `collect_clicks`, which writes `wording_trials`)."""
    store, artefact = platform.store, {"collect_trials": "trials", "collect_clicks": "wording_trials"}[collector]
    over = [sent + timedelta(days=window_days) for sent in dispatched if sent + timedelta(days=window_days) < day]
    there = {found.partition for found in store.currents(artefact, over)}
    decided = store.currents("decisions", [found for found in over if found.isoformat() not in there])
    if decided:
        late = decided[0].partition
        raise TransientError(
            f"{day} learns from what the feedback of {late} has not collected yet ({artefact}). It follows marketing_loop by "
            "itself and this is tried again; if it failed, clear it in marketing_feedback, or: python -m mktgen run "
            f"{collector} --partition {late}"
        )


def past_reads(decided: tuple[date, ...]) -> list[Read]:
    """FACTS of past days; days that an earlier release decided have no response_facts."""
    needed = [Read(name, decided, True, "the loop of that day") for name in FACTS[:2]]
    return [*needed, Read(FACTS[2], decided, required=False)]


def known_by_day(run: Run) -> dict[date, pl.DataFrame]:
    """Covariates of each past day whose FACTS the run reads."""
    features, scores, facts = (run.tables_by_day(name) if run.has(name) else {} for name in FACTS)
    none = RESPONSE_FACTS.empty()
    return {day: covariates(features[day], scores[day], facts.get(day, none)) for day in features}


def covariates(features: pl.DataFrame, scores: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """What a response may depend on: numeric features of the customers that were scored, what the models foretell, and how
    often they were contacted and redeemed, and what the running campaigns offer them (response/contact_facts.py).

    The behaviour model's vectors are left out: each training turns their axes, so those of today mean nothing beside those
    of earlier trials.
    """
    numbers = [name for name, kind in features.schema.items() if kind.is_numeric()]
    told = scores.select("customer_id", "p_purchase_7d", "p_churn_28d")
    return with_contact_facts(told.join(features.select("customer_id", *numbers), on="customer_id"), facts)


def facts_reads(day: date, platform: Platform) -> list[Read]:
    """What `response_facts` of a day are made from, beside its scores."""
    since = day - timedelta(days=FATIGUE_DAYS)
    sent = tuple(found for found in platform.store.partitions("sends") if since <= found < day)
    return [
        Read("customer_categories", (day,), True, "extract_features"),
        Read("sends", sent, required=False),
        Read("items", (platform.source.first_day,), True, "reference"),
        *campaign_reads(day, platform),
    ]


def facts_of_today(run: Run) -> pl.DataFrame:
    """contracts.RESPONSE_FACTS of the run's day."""
    running = running_campaigns(run.table("campaigns"), run.day).select("campaign_id")
    offered = run.table("offers").join(running, on="campaign_id").select("offer_id", "campaign_id")
    goods = run.table("offer_items").join(offered, on="offer_id").join(run.table("items"), on="item_id")
    return contact_facts(
        run.day, run.table("customer_scores"), run.table("sends"), run.table("responses"), run.table("exposures"),
        run.table("customer_categories"), goods.select("campaign_id", "category").unique(),
    )  # fmt: skip
