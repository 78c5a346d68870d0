"""Canonical tables: what every source is mapped to, and what was refused."""

from __future__ import annotations

import polars as pl

from mktgen.contracts.base import UTC_TIME, table

QUARANTINE = table(
    "quarantine",
    {"table": pl.String, "row": pl.UInt32, "rule": pl.String, "value": pl.String, "raw": pl.String},
    key=["table", "row"],
    nullable=["value"],
)
REFERENCE_QUARANTINE = table("reference_quarantine", dict(QUARANTINE.columns), QUARANTINE.key, QUARANTINE.nullable)
ITEMS = table(
    "items",
    {
        "item_id": pl.String,
        "department": pl.String,
        "category": pl.String,
        "item_type": pl.String,
        "brand": pl.String,
        "manufacturer_id": pl.String,
        "package_size": pl.String,
        "merchandise": pl.Boolean,  # False: fuel, coupons, store supplies, services; never recommended
    },
    key=["item_id"],
    nullable=["item_type", "brand", "manufacturer_id", "package_size"],
)
CUSTOMERS = table(
    "customers",
    {
        "customer_id": pl.String,
        "age": pl.String,
        "income": pl.String,
        "home_ownership": pl.String,
        "marital_status": pl.String,
        "household_size": pl.String,
        "household_comp": pl.String,
        "kids_count": pl.String,
    },
    key=["customer_id"],
    nullable=["age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"],
)
ORDER_LINES = table(
    "order_lines",
    {
        "order_id": pl.String,
        "item_id": pl.String,
        "customer_id": pl.String,
        "store_id": pl.String,
        "event_time": UTC_TIME,
        "business_date": pl.Date,
        "category": pl.String,  # "UNKNOWN" when the item is not in the catalogue
        "merchandise": pl.Boolean,
        "units": pl.Int32,  # null where the unit is not pieces (fuel)
        "net_minor": pl.Int64,  # what the retailer received
        "gross_minor": pl.Int64,  # list value: net + loyalty discount + coupon match
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "match_disc_minor": pl.Int64,
        "paid_minor": pl.Int64,  # what the customer paid: max(0, net - coupon)
        "on_display": pl.Boolean,
        "on_mailer": pl.Boolean,
        "ingested_at": UTC_TIME,
    },
    key=["order_id", "item_id"],
    nullable=["units"],
)
CONTEXT_PROMOTIONS = table(
    "context_promotions",
    {
        "item_id": pl.String,
        "store_id": pl.String,
        "week_start": pl.Date,
        "display": pl.Boolean,
        "mailer": pl.Boolean,
    },
    key=["item_id", "store_id", "week_start"],
)
CAMPAIGNS = table(
    "campaigns",
    {"campaign_id": pl.String, "campaign_type": pl.String, "start_date": pl.Date, "end_date": pl.Date},
    key=["campaign_id"],
)
OFFERS = table(
    "offers",
    {
        "offer_id": pl.String,  # "<campaign>:<coupon>"
        "campaign_id": pl.String,
        "coupon_id": pl.String,
        "valid_from": pl.Date,
        "valid_to": pl.Date,
        "face_value_minor": pl.Int64,  # null where the source does not record it
    },
    key=["offer_id"],
    nullable=["face_value_minor"],
)
OFFER_ITEMS = table("offer_items", {"offer_id": pl.String, "item_id": pl.String}, key=["offer_id", "item_id"])
EXPOSURES = table(
    "exposures",
    {
        "exposure_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "channel": pl.String,
        "exposed_on": pl.Date,
        "propensity": pl.Float64,  # null: the source logged none
    },
    key=["exposure_id"],
    nullable=["propensity"],
)
RESPONSES = table(
    "responses",
    {
        "response_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "response_type": pl.String,  # redeem
        "responded_on": pl.Date,
    },
    key=["response_id"],
)
CLICKS = table(
    "clicks",
    {
        "click_id": pl.String,
        "exposure_id": pl.String,  # the message that was clicked
        "customer_id": pl.String,
        "clicked_on": pl.Date,
    },
    key=["click_id"],
)
