"""What was sent and what it cost, wave by wave, with everyone as drawn: what the ledger and the metrics are made from.

A wave is as many days as the attribution window, from the first day of the ledger on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.feedback.effect.sample import CONTROL, TREATED
from mktgen.settings import FeedbackSettings

BASELINE: Final = "baseline_minor"
USUAL: Final = "business_as_usual"  # DECISIONS.arm: its rule leaves nothing to chance
_SENT: Final = (pl.col("kind") == "decision") & pl.col("was_sent")


@dataclass(frozen=True)
class Economics:
    """What turns spend into profit: the shop's own figures, or the assumptions of StrategySettings.

    faces: offer_id -> face value, where it is known; of other offers it is face_value_minor.
    """

    margin_share: float
    contact_cost_minor: int
    face_value_minor: int
    faces: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What is known of a range of days, by contract.

    attributions: ATTRIBUTIONS as of the partition. decisions: day -> DECISIONS. outcomes: OUTCOMES up to the partition.
    predictions: decision_id, profit_minor, profit_low_minor, profit_high_minor (95%, may be null), incremental (learned from
    trials, not assumed), of every decision that would contact; None: `expected_value_minor` of the decisions, assumed.
    baseline: customer_id, decided_on, baseline_minor: the profit expected without contact, as known at the decision.
    before: customer_id, baseline_minor as known when the programme began. Both narrow realised intervals; None: not known.
    """

    attributions: pl.DataFrame
    decisions: Mapping[date, pl.DataFrame]
    outcomes: pl.DataFrame
    predictions: pl.DataFrame | None = None
    baseline: pl.DataFrame | None = None
    before: pl.DataFrame | None = None


def began(previous: pl.DataFrame, decided: list[date]) -> date | None:
    """First day of the ledger's waves: that of the rows there are, else of the decisions in sight; None: none yet."""
    known = previous["wave"].to_list()
    return min(known) if known else min(decided, default=None)


def waves_over(previous: pl.DataFrame, sent: Sent, settings: FeedbackSettings, partition: date) -> list[date]:
    """First days of the waves whose first window is over and whose decisions are all still followed."""
    days = sorted(sent.decisions)
    first = began(previous, days)
    if first is None or not days:
        return []
    count = (partition - first).days // settings.window_days
    starts = [first + timedelta(days=n * settings.window_days) for n in range(count)]
    return [start for start in starts if start >= days[0]]


def priced(sent: Sent, economics: Economics) -> Sent:
    """With cost_minor (0 of what was not delivered; a coupon costs the contact it is charged to) and arm."""
    schema = {"reference_id": pl.String, "offer_id": pl.String, "arm": pl.String}
    columns = (pl.col("decision_id").alias("reference_id"), "offer_id", "arm")
    facts = pl.concat([pl.DataFrame(schema=schema), *(frame.select(columns) for frame in sent.decisions.values())])
    face = pl.col("offer_id").replace_strict(
        dict(economics.faces), default=economics.face_value_minor, return_dtype=pl.Int64
    )
    cost = economics.contact_cost_minor + face * pl.col("charged").cast(pl.Int64)
    known = sent.attributions.join(facts, on="reference_id", how="left")
    return replace(
        sent, attributions=known.with_columns(cost_minor=pl.when("was_sent").then(cost).otherwise(pl.lit(0, pl.Int64)))
    )


def delivered(sent: Sent, days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """Contacts of these days that were delivered: rows of the attributions of a priced `sent`."""
    return sent.attributions.filter(_SENT & pl.col("decided_on").is_in(list(days)))


def inside(first: date, settings: FeedbackSettings) -> pl.Expr:
    """The share of a contact's own window that lies in the window after `first`."""
    window = settings.window_days
    return (window - (pl.col("decided_on") - first).dt.total_days().abs()) / window


def near(sent: Sent, first: date, settings: FeedbackSettings) -> dict[date, pl.DataFrame]:
    """The days whose contacts reach into the window after `first`."""
    return {day: frame for day, frame in sent.decisions.items() if abs((day - first).days) < settings.window_days}


def wave_arms(first: date, sent: Sent, economics: Economics, settings: FeedbackSettings) -> pl.DataFrame:
    """Customers decided on `first`, held out or not, over the window after it: customer_id, wave, arm, net_minor,
    margin_minor, cost_minor (Float64), and baseline_minor where `before` is given. sent: priced.

    A contact's cost counts with the share of its own window that lies inside, as what it brings is taken to come evenly.
    """
    arm = pl.when("holdout").then(pl.lit(CONTROL)).otherwise(pl.lit(TREATED)).alias("arm")
    arms = sent.decisions[first].select("customer_id", pl.lit(first).alias("wave"), arm)
    during = pl.col("business_date").is_between(first + timedelta(days=1), first + timedelta(days=settings.window_days))
    bought = sent.outcomes.filter(during).group_by("customer_id").agg(pl.col("net_minor").sum())
    made = delivered(sent, near(sent, first, settings)).sort("customer_id", "reference_id")
    spent = made.group_by("customer_id", maintain_order=True).agg(
        (pl.col("cost_minor") * inside(first, settings)).sum()
    )
    rows = arms.join(bought, on="customer_id", how="left").join(spent, on="customer_id", how="left")
    rows = rows.with_columns(
        pl.col("net_minor").fill_null(0).cast(pl.Float64), pl.col("cost_minor").fill_null(0).cast(pl.Float64)
    ).with_columns(margin_minor=economics.margin_share * pl.col("net_minor"))
    if sent.before is not None:
        rows = rows.join(sent.before, on="customer_id", how="left").with_columns(pl.col(BASELINE).fill_null(0.0))
    return rows


def programme_arms(
    previous: pl.DataFrame, sent: Sent, economics: Economics, settings: FeedbackSettings, partition: date
) -> pl.DataFrame | None:
    """`wave_arms` of all waves that are over and in which something was delivered; None: there is none, or somebody who was
    to be held out was sent something, so that the arms are not those of the draw."""
    known = priced(sent, economics)
    parts = []
    for wave in waves_over(previous, sent, settings, partition):
        days = wave_days(sent, wave, settings)
        if not days or delivered(known, days).is_empty():
            continue
        if delivered(known, days)["holdout"].any():
            return None
        parts.append(wave_arms(min(days), known, economics, settings))
    return pl.concat(parts) if parts else None


def wave_days(sent: Sent, wave: date, settings: FeedbackSettings) -> dict[date, pl.DataFrame]:
    """The decisions of a wave, by day."""
    return {d: frame for d, frame in sorted(sent.decisions.items()) if 0 <= (d - wave).days < settings.window_days}
