"""Raw rows of a simulated market: copies of the real ones, and what contacts change in them.

Every value is a string, as received; rows that nothing changes are passed on as they are.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from mktgen.market_sim import copies
from mktgen.market_sim.effects import Effects
from mktgen.market_sim.scenario import Scenario
from mktgen.sources._complete_journey_mapping import minor

# Raw column -> what market_sim calls it.
IDENTIFIERS: Final = {"household_id": "customer_id", "basket_id": "order_id", "product_id": "item_id"}
MONEY: Final = {
    "sales_value": "net_minor", "retail_disc": "loyalty_disc_minor",
    "coupon_disc": "coupon_disc_minor", "coupon_match_disc": "match_disc_minor",
}  # fmt: skip
COUPON: Final = "1"  # each offer of the market is the only coupon of its campaign


def order_lines(raw: pl.DataFrame, day: pl.Expr, catalogue: pl.DataFrame) -> pl.DataFrame:
    """Raw `transactions` (any identifiers of customers) as order lines for market_sim; unreadable amounts are left out.

    catalogue: item_id, category, merchandise. A column `row`, where there is one, stays.
    """
    frame = raw.rename(IDENTIFIERS).with_columns(
        day.alias("business_date"), *(minor(column).alias(name) for column, name in MONEY.items())
    )
    kept = ["row"] if "row" in raw.columns else []
    frame = frame.select(*kept, *IDENTIFIERS.values(), "store_id", "business_date", *MONEY.values())
    frame = frame.filter(pl.all_horizontal(pl.col(list(MONEY.values())).is_not_null()))
    return frame.join(catalogue, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("category").fill_null("UNKNOWN"), pl.col("merchandise").fill_null(False)
    )


def with_copies(raw: pl.DataFrame, day: date, people: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows of a day on which customers shopped, and after them those of every copy of a real customer.

    raw: strings, with `household_id` (a pseudonym) and where it has them `basket_id` and money. people: market_id,
    customer_id (the pseudonym), copy; customers who aren't among them have no copies.
    """
    count = _count(people)
    if count == 1 or raw.is_empty():
        return raw
    real = people.filter(pl.col("copy") == 0).select("market_id", household_id="customer_id")
    money = [name for name in MONEY if name in raw.columns]
    typed = (
        raw.join(real, on="household_id", maintain_order="left")
        .with_columns(pl.lit(day).alias("business_date"), *(minor(name).alias(MONEY[name]) for name in money))
        .drop("household_id", *money)
        .rename({"market_id": "customer_id", "basket_id": "order_id"}, strict=False)
    )
    parts = [raw]
    for copy in range(1, count):
        mine = copies.replicate(typed, copy, seed).rename({"customer_id": "household_id"})
        texts = mine.rename({"order_id": "basket_id"}, strict=False).with_columns(
            _text(pl.col(MONEY[name])).alias(name) for name in money
        )
        parts.append(named(texts, people).select(raw.columns))
    return pl.concat(parts)


def for_copies(raw: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Rows that say something of customers (mailing lists, attributes), and after them the same of every copy."""
    real = people.filter(pl.col("copy") == 0).select("household", household_id="customer_id")
    parts = [raw]
    for copy in range(1, _count(people)):
        own = people.filter(pl.col("copy") == copy).select("household", "customer_id")
        rows = raw.join(real, on="household_id", maintain_order="left").join(own, on="household", maintain_order="left")
        parts.append(rows.with_columns(pl.col("customer_id").alias("household_id")).select(raw.columns))
    return pl.concat(parts)


def named(frame: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """The market's identifiers in `household_id` as pseudonyms, which is what a raw table may hold."""
    shown = people.select(household_id="market_id", _shown="customer_id")
    frame = frame.join(shown, on="household_id", how="left", maintain_order="left")
    return frame.with_columns(pl.col("_shown").alias("household_id")).drop("_shown")


def _count(people: pl.DataFrame) -> int:
    return people["copy"].n_unique()


def changed(
    raw: pl.DataFrame, people: pl.DataFrame, catalogue: pl.DataFrame, changes: Effects, day: date, timezone: str
) -> pl.DataFrame:
    """`transactions` of a day with what contacts change: visits not made, coupons given, incremental visits.

    raw: with `row`, in order. changes: of any days. Rows of customers whom nothing changes are the same strings in the
    same order.
    """
    market = people.select("market_id", household_id="customer_id")
    known = raw.join(market, on="household_id", maintain_order="left").drop("household_id")
    lines = order_lines(known.rename({"market_id": "household_id"}), pl.lit(day), catalogue)
    today = pl.col("business_date") == day
    skipped = lines.filter("merchandise").join(changes.skipped.filter(today), on="customer_id", how="semi")
    kept = raw.join(skipped.select("row"), on="row", how="anti", maintain_order="left")
    on_line = ["customer_id", "order_id", "item_id"]
    given = changes.coupons.filter(today).group_by(on_line).agg(pl.col("face_value_minor").sum())
    given = lines.join(given, on=on_line).select(
        "row", _text(pl.col("coupon_disc_minor") + pl.col("face_value_minor")).alias("_coupon")
    )
    kept = kept.join(given, on="row", how="left", maintain_order="left")
    kept = kept.with_columns(pl.coalesce("_coupon", "coupon_disc").alias("coupon_disc")).drop("_coupon")
    extra = named(_extra(changes.extra.filter(today), raw, day, timezone), people)
    return pl.concat([kept, extra], how="diagonal")


def redemptions(changes: Effects, people: pl.DataFrame, day: date, scenario: Scenario) -> pl.DataFrame:
    """`coupon_redemptions` of the market's offers that are reported on a day."""
    reported = changes.redemptions.filter(pl.col("reported_on") == day)
    campaigns = {name: offer.campaign_id for name, offer in scenario.offers.items()}
    frame = reported.select(
        household_id="customer_id",
        coupon_upc=pl.lit(COUPON),
        campaign_id=pl.col("action").replace_strict(campaigns, return_dtype=pl.String),
        redemption_date=pl.lit(f"{day} 00:00:00"),
    )
    return named(frame.unique().sort("household_id", "campaign_id"), people)


def deliveries(arrived: pl.DataFrame) -> pl.DataFrame:
    """Raw `deliveries`: messages that arrived, customers and offers as the shop named them."""
    parts = pl.col("offer_id").str.splitn(":", 2)
    return arrived.select(
        "send_id",
        household_id="customer_id",
        campaign_id=parts.struct.field("field_0"),
        coupon_upc=parts.struct.field("field_1"),
        delivered_on=pl.col("arrives").cast(pl.String),
    )


def clicks(clicked: pl.DataFrame, day: date) -> pl.DataFrame:
    """Raw `clicks`: messages that were clicked on a day, each once."""
    return clicked.select(
        click_id=pl.format("{}:1", "send_id"),
        send_id="send_id",
        household_id="customer_id",
        clicked_on=pl.lit(day.isoformat()),
    )


def campaign_tables(scenario: Scenario, catalogue: pl.DataFrame, first: date, last: date) -> dict[str, pl.DataFrame]:
    """Campaigns, coupons and offers of the market: one campaign per offer, from the first day to the last."""
    goods = catalogue.filter("merchandise").sort("item_id")
    described, coupons, offers = [], [], []
    for name, offer in scenario.offers.items():
        own = {"campaign_id": offer.campaign_id, "coupon_upc": COUPON}
        span = {"start_date": f"{first} 00:00:00", "end_date": f"{last} 00:00:00"}
        described.append({"campaign_id": offer.campaign_id, "campaign_type": f"SIMULATED {name}", **span})
        offers.append(own | span | {"face_value": f"{offer.face_value_minor / 100:.2f}"})
        eligible = goods.filter(pl.col("category").is_in(offer.categories)) if offer.categories else goods
        coupons.append(eligible.select(product_id="item_id").with_columns(pl.lit(own[key]).alias(key) for key in own))
    return {
        "campaign_descriptions": pl.DataFrame(described),
        "coupons": pl.concat(coupons).select("coupon_upc", "product_id", "campaign_id"),
        "offers": pl.DataFrame(offers),
    }


def _extra(extra: pl.DataFrame, raw: pl.DataFrame, day: date, timezone: str) -> pl.DataFrame:
    """Lines of incremental visits as raw rows; visits begin at noon of the shop's day at the earliest."""
    noon = datetime.combine(day, time(12), ZoneInfo(timezone)).astimezone(UTC).replace(tzinfo=None)
    moment = pl.lit(noon) + pl.duration(minutes="minute")
    nothing = _text(pl.lit(0, pl.Int64))
    return extra.sort("customer_id", "order_id", "item_id").select(
        pl.lit(None, pl.UInt32).alias("row"),
        household_id="customer_id",
        store_id="store_id",
        basket_id="order_id",
        product_id="item_id",
        quantity=pl.lit("1"),
        sales_value=_text(pl.col("net_minor")),
        retail_disc=nothing,
        coupon_disc=_text(pl.col("face_value_minor")),
        coupon_match_disc=nothing,
        week=pl.lit(raw["week"][0] if raw.height else ""),
        transaction_timestamp=moment.dt.strftime("%Y-%m-%d %H:%M:%S"),
    )


def _text(amount: pl.Expr) -> pl.Expr:
    """Minor units as a decimal text, without a float in between."""
    return pl.concat_str((amount // 100).cast(pl.String), pl.lit("."), (amount % 100).cast(pl.String).str.zfill(2))
