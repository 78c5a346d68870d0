"""How the tables that only a simulated market has become canonical ones."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from mktgen.market_sim.scenario import Scenario
from mktgen.sources._complete_journey_mapping import PSEUDONYM, day_of, malformed, minor
from mktgen.sources.base import Rule, TableMapping

SEND_ID: Final = r"^[0-9a-f]{32}$"


def mappings(day: date, scenario: Scenario) -> dict[str, TableMapping]:
    return {"offers": _offers(), "deliveries": _deliveries(day, scenario), "clicks": _clicks(day)}


def _offers() -> TableMapping:
    return TableMapping(
        table="offers",
        canonical="offers",
        parsed={"_start": day_of("start_date"), "_end": day_of("end_date"), "_face": minor("face_value")},
        rules=(
            malformed("campaign_id"),
            malformed("coupon_upc"),
            Rule("start_unreadable", "start_date", pl.col("_start").is_null()),
            Rule("end_unreadable", "end_date", pl.col("_end").is_null()),
            Rule("face_value_not_an_amount", "face_value", pl.col("_face").is_null() | (pl.col("_face") < 0)),
        ),
        columns={
            "offer_id": pl.concat_str("campaign_id", pl.lit(":"), "coupon_upc"),
            "campaign_id": pl.col("campaign_id"),
            "coupon_id": pl.col("coupon_upc"),
            "valid_from": pl.col("_start"),
            "valid_to": pl.col("_end"),
            "face_value_minor": pl.col("_face"),
        },
        key=("campaign_id", "coupon_upc"),
    )


def _deliveries(day: date, scenario: Scenario) -> TableMapping:
    """What we sent, as the shop's own record of it. The propensity is in our decisions."""
    own = [offer.campaign_id for offer in scenario.offers.values()]
    return TableMapping(
        table="deliveries",
        canonical="exposures",
        parsed={"_day": day_of("delivered_on")},
        rules=(
            malformed("household_id", PSEUDONYM),
            Rule("campaign_unknown", "campaign_id", ~pl.col("campaign_id").is_in(own).fill_null(False)),
            Rule("date_unreadable", "delivered_on", pl.col("_day").is_null()),
            Rule("outside_partition", "delivered_on", pl.col("_day") != day),
        ),
        columns={
            "exposure_id": pl.col("send_id"),
            "customer_id": pl.col("household_id"),
            "campaign_id": pl.col("campaign_id"),
            "channel": pl.lit("simulated_market"),
            "exposed_on": pl.col("_day"),
            "propensity": pl.lit(None, pl.Float64),
        },
        key=("send_id",),
    )


def _clicks(day: date) -> TableMapping:
    """Clicks of messages that we sent, on the day they were made."""
    return TableMapping(
        table="clicks",
        canonical="clicks",
        parsed={"_day": day_of("clicked_on")},
        rules=(
            malformed("household_id", PSEUDONYM),
            malformed("send_id", SEND_ID),
            Rule("date_unreadable", "clicked_on", pl.col("_day").is_null()),
            Rule("outside_partition", "clicked_on", pl.col("_day") != day),
        ),
        columns={
            "click_id": pl.col("click_id"),
            "exposure_id": pl.col("send_id"),
            "customer_id": pl.col("household_id"),
            "clicked_on": pl.col("_day"),
        },
        key=("click_id",),
    )
