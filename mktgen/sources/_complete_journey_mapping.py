"""How Complete Journey's columns become canonical tables, and the rules its rows must keep."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from mktgen.sources.base import Rule, TableMapping

NON_MERCHANDISE: Final = (
    "FUEL", "MISCELLANEOUS", "COUPON", "CNTRL/STORE SUP", "POSTAL CENTER", "PROD-WHS SALES", "GM MERCH EXP",
    "CHARITABLE CONT", "AUTOMOTIVE", "UNKNOWN",
)  # fmt: skip
NOT_GOODS: Final = ("UNKNOWN", "COUPON", "COUPON/MISC ITEMS", "FUEL")
_ID: Final = r"^[0-9]{1,19}$"
PSEUDONYM: Final = r"^c[0-9a-f]{16}$"
_MONEY: Final = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
_SHARES: Final = ("mailer_share", "display_share")


def malformed(column: str, pattern: str = _ID) -> Rule:
    name = "customer_id" if column == "household_id" else column
    return Rule(f"{name}_malformed", column, ~pl.col(column).fill_null("").str.contains(pattern))


def minor(column: str) -> pl.Expr:
    """Cents from a decimal text; null where it isn't a finite number."""
    value = pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(value.is_finite() & (value.abs() < 1e12)).then((value * 100).round().cast(pl.Int64))


def day_of(column: str) -> pl.Expr:
    return pl.col(column).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def mappings(day: date, promotion_week: date, timezone: str) -> dict[str, TableMapping]:
    return {
        "transactions": _transactions(day, timezone),
        "coupon_redemptions": _redemptions(day),
        "promotions": _promotions(promotion_week),
        "promotion_plan": _promotion_plan(day),
        "campaign_descriptions": _campaign_descriptions(),
        "campaigns": _campaigns(day),
        "coupons": _coupons(),
    }


def _transactions(day: date, timezone: str) -> TableMapping:
    ingested = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(timezone)).astimezone(UTC)
    moment = pl.col("transaction_timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    money = tuple(
        rule
        for column in _MONEY
        for rule in (
            Rule(f"{column}_not_a_number", column, pl.col(f"_{column}").is_null()),
            Rule(f"{column}_negative", column, pl.col(f"_{column}") < 0),
        )
    )
    net, coupon = pl.col("_sales_value"), pl.col("_coupon_disc")
    merchandise = pl.col("merchandise").fill_null(False)  # not in the catalogue: can't be recommended
    # Pieces only: fuel is counted in odd units, and a sale of nothing for money is a unit nobody recorded.
    odd = ~merchandise | (pl.col("_quantity") > pl.col("_max_units")) | ((pl.col("_quantity") == 0) & (net > 0))
    return TableMapping(
        table="transactions",
        canonical="order_lines",
        parsed={
            "_event_time": moment.dt.replace_time_zone("UTC"),
            "_business_date": moment.dt.replace_time_zone("UTC").dt.convert_time_zone(timezone).dt.date(),
            "_quantity": pl.col("quantity").str.strip_chars().cast(pl.Int64, strict=False),
            **{f"_{column}": minor(column) for column in _MONEY},
        },
        rules=(
            malformed("household_id", PSEUDONYM),
            malformed("basket_id"),
            malformed("product_id"),
            malformed("store_id"),
            Rule("timestamp_unreadable", "transaction_timestamp", pl.col("_event_time").is_null()),
            Rule("outside_partition", "transaction_timestamp", pl.col("_business_date") != day),
            Rule("quantity_not_a_number", "quantity", pl.col("_quantity").is_null()),
            Rule("quantity_negative", "quantity", pl.col("_quantity") < 0),
            *money,
            Rule("sales_value_implausible", "sales_value", net > pl.col("_max_line_minor")),
        ),
        columns={
            "order_id": pl.col("basket_id"),
            "item_id": pl.col("product_id"),
            "customer_id": pl.col("household_id"),
            "store_id": pl.col("store_id"),
            "event_time": pl.col("_event_time"),
            "business_date": pl.col("_business_date"),
            "category": pl.col("category").fill_null("UNKNOWN"),
            "merchandise": merchandise,
            "units": pl.when(~odd).then(pl.col("_quantity")).cast(pl.Int32),
            "net_minor": net,
            "gross_minor": net + pl.col("_retail_disc") + pl.col("_coupon_match_disc"),
            "loyalty_disc_minor": pl.col("_retail_disc"),
            "coupon_disc_minor": coupon,
            "match_disc_minor": pl.col("_coupon_match_disc"),
            "paid_minor": pl.max_horizontal(net - coupon, pl.lit(0, pl.Int64)),
            "on_display": pl.col("display").fill_null(False),
            "on_mailer": pl.col("mailer").fill_null(False),
            "ingested_at": pl.lit(ingested).cast(pl.Datetime("us", "UTC")),
        },
        key=("basket_id", "product_id"),
    )


def _redemptions(day: date) -> TableMapping:
    offer = pl.concat_str("campaign_id", pl.lit(":"), "coupon_upc")
    return TableMapping(
        table="coupon_redemptions",
        canonical="responses",
        parsed={"_day": day_of("redemption_date")},
        rules=(
            malformed("household_id", PSEUDONYM),
            malformed("coupon_upc"),
            malformed("campaign_id"),
            Rule("date_unreadable", "redemption_date", pl.col("_day").is_null()),
            Rule("outside_partition", "redemption_date", pl.col("_day") != day),
        ),
        columns={
            "response_id": pl.concat_str("household_id", pl.lit(":"), offer, pl.lit(f":{day}")),
            "customer_id": pl.col("household_id"),
            "campaign_id": pl.col("campaign_id"),
            "offer_id": offer,
            "response_type": pl.lit("redeem"),
            "responded_on": pl.col("_day"),
        },
        key=("household_id", "campaign_id", "coupon_upc"),
    )


def _promotions(week: date) -> TableMapping:
    """Rows of one (item, store) are one promotion told twice: their flags are merged by OR."""
    return TableMapping(
        table="promotions",
        canonical="context_promotions",
        parsed={},
        rules=(malformed("product_id"), malformed("store_id")),
        columns={
            "item_id": pl.col("product_id"),
            "store_id": pl.col("store_id"),
            "week_start": pl.lit(week),
            "display": pl.col("display_location").fill_null("0") != "0",
            "mailer": pl.col("mailer_location").fill_null("0") != "0",
        },
        key=("product_id", "store_id"),
        duplicates_expected=True,
        merge_by_or=("display", "mailer"),
    )


def _promotion_plan(day: date) -> TableMapping:
    shares = {name: pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in _SHARES}
    return TableMapping(
        table="promotion_plan",
        canonical="item_promotions",
        parsed={"_week": day_of("week_start"), **{f"_{name}": share for name, share in shares.items()}},
        rules=(
            malformed("product_id"),
            Rule("week_unreadable", "week_start", pl.col("_week").is_null()),
            Rule("week_is_past", "week_start", pl.col("_week") < day),
            *(
                Rule(f"{name}_not_a_share", name, ~pl.col(f"_{name}").is_between(0, 1).fill_null(False))
                for name in _SHARES
            ),
        ),
        columns={
            "item_id": pl.col("product_id"),
            "week_start": pl.col("_week"),
            "known_on": pl.lit(day),
            **{name: pl.col(f"_{name}") for name in _SHARES},
        },
        key=("product_id", "week_start"),
    )


def _campaign_descriptions() -> TableMapping:
    return TableMapping(
        table="campaign_descriptions",
        canonical="campaigns",
        parsed={"_start": day_of("start_date"), "_end": day_of("end_date")},
        rules=(
            malformed("campaign_id"),
            Rule("start_unreadable", "start_date", pl.col("_start").is_null()),
            Rule("end_unreadable", "end_date", pl.col("_end").is_null()),
            Rule("ends_before_start", "end_date", pl.col("_end") < pl.col("_start")),
        ),
        columns={
            "campaign_id": pl.col("campaign_id"),
            "campaign_type": pl.col("campaign_type").fill_null("unknown"),
            "start_date": pl.col("_start"),
            "end_date": pl.col("_end"),
        },
        key=("campaign_id",),
    )


def _campaigns(day: date) -> TableMapping:
    return TableMapping(
        table="campaigns",
        canonical="exposures",
        parsed={},
        rules=(
            malformed("household_id", PSEUDONYM),
            malformed("campaign_id"),
            Rule("campaign_unknown", "campaign_id", pl.col("start_date").is_null()),
        ),
        columns={
            "exposure_id": pl.concat_str("campaign_id", pl.lit(":"), "household_id"),
            "customer_id": pl.col("household_id"),
            "campaign_id": pl.col("campaign_id"),
            "channel": pl.lit("mail"),
            "exposed_on": pl.col("start_date"),
            "propensity": pl.lit(None, pl.Float64),
        },
        key=("campaign_id", "household_id"),
    )


def _coupons() -> TableMapping:
    """One row per eligible item; offers are derived from the rows that pass."""
    return TableMapping(
        table="coupons",
        canonical="offer_items",
        parsed={},
        rules=(
            malformed("coupon_upc"),
            malformed("product_id"),
            malformed("campaign_id"),
            Rule("campaign_unknown", "campaign_id", pl.col("start_date").is_null()),
        ),
        columns={
            "offer_id": pl.concat_str("campaign_id", pl.lit(":"), "coupon_upc"),
            "item_id": pl.col("product_id"),
        },
        key=("campaign_id", "coupon_upc", "product_id"),
        duplicates_expected=True,
    )


def reference_mappings() -> dict[str, TableMapping]:
    attributes = (
        "age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count",
    )  # fmt: skip
    department = pl.col("department").fill_null("UNKNOWN")
    category = pl.col("product_category").fill_null("UNKNOWN")
    return {
        "products": TableMapping(
            table="products",
            canonical="items",
            parsed={},
            rules=(malformed("product_id"),),
            columns={
                "item_id": pl.col("product_id"),
                "department": department,
                "category": category,
                "item_type": pl.col("product_type"),
                "brand": pl.col("brand"),
                "manufacturer_id": pl.col("manufacturer_id"),
                "package_size": pl.col("package_size"),
                "merchandise": ~department.is_in(NON_MERCHANDISE) & ~category.is_in(NOT_GOODS),
            },
            key=("product_id",),
        ),
        "demographics": TableMapping(
            table="demographics",
            canonical="customers",
            parsed={},
            rules=(malformed("household_id", PSEUDONYM),),
            columns={"customer_id": pl.col("household_id")} | {name: pl.col(name) for name in attributes},
            key=("household_id",),
        ),
    }
