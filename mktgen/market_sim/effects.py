"""A wave's responses as changes of rows: visits that are not made, coupons on visits that are, and visits more.

Together they change the days by exactly what `respond` says: incremental - skipped - pull-forward. Where waves of one
customer meet, a visit can be missing once only, and nothing is redeemed on a visit that is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.market_sim import chance
from mktgen.market_sim.panel import wave_of
from mktgen.market_sim.scenario import Scenario

_DAY: Final = ("customer_id", "business_date")
SKIPPED: Final = {"customer_id": pl.String, "business_date": pl.Date}
COUPONS: Final = {
    **SKIPPED, "order_id": pl.String, "item_id": pl.String, "action": pl.String, "face_value_minor": pl.Int64,
}  # fmt: skip
EXTRA: Final = {
    **COUPONS, "store_id": pl.String, "net_minor": pl.Int64, "minute": pl.Int64,
}  # fmt: skip
REDEMPTIONS: Final = {**SKIPPED, "action": pl.String, "reported_on": pl.Date}
OPEN_MINUTES: Final = 360  # an extra visit is at so many minutes after noon at most


@dataclass(frozen=True)
class Effects:
    """Changes of days; customers by the market's identifiers, all frames sorted.

    skipped: customer days without merchandise. coupons: face value given on an organic line. extra: lines of
    incremental visits, `face_value_minor` given on one of them where they redeem. redemptions: `reported_on` null: the
    shop never hears of it.
    """

    skipped: pl.DataFrame
    coupons: pl.DataFrame
    extra: pl.DataFrame
    redemptions: pl.DataFrame


def effects(
    responses: pl.DataFrame, lines: pl.DataFrame, scenario: Scenario, seed: int, closed: Sequence[date] = ()
) -> Effects:
    """Changes that one wave's responses make.

    responses: of `respond`, one wave. lines: organic lines of these customers from 84 days before the wave to the end of
    the days after its window: customer_id, order_id, item_id, store_id, business_date, category, merchandise, net_minor.
    closed: days on which no visit can be made; one that would fall on such a day is made the day before, or after.
    """
    wave = wave_of(responses)
    goods = lines.filter(pl.col("merchandise"))
    end = wave + timedelta(days=scenario.window_days)
    days = goods.select(_DAY).unique().sort(_DAY)
    window = days.filter(pl.col("business_date").is_between(wave, end, closed="left"))
    later_end = end + timedelta(days=scenario.later_days)
    later = days.filter(pl.col("business_date").is_between(end, later_end, closed="left"))
    away = responses.filter("stays_away").select("customer_id")
    borrowers = responses.filter("borrows").select("customer_id")
    missing = [window.join(away, on="customer_id"), _first(later).join(borrowers, on="customer_id")]
    subsidised = responses.filter(pl.col("redeemed") & ~pl.col("incremental"))
    coupons = _on_lines(subsidised, _first(window), goods, scenario)
    extra = _extra(responses.filter("incremental"), goods, wave, scenario, seed, closed)
    given = pl.concat([coupons, extra.select(list(COUPONS))]).filter(pl.col("face_value_minor") > 0)
    redeemed = given.join(responses.select("customer_id", "reported_after_days"), on="customer_id", how="left")
    redemptions = redeemed.select(
        *_DAY, "action", (pl.col("business_date") + pl.duration(days="reported_after_days")).alias("reported_on")
    )
    return combined([Effects(pl.concat([pl.DataFrame(schema=SKIPPED), *missing]), coupons, extra, redemptions)])


def combined(parts: Sequence[Effects]) -> Effects:
    """Changes of several waves together."""

    def all_of(name: str, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
        frames: list[pl.DataFrame] = [getattr(part, name) for part in parts]
        return pl.concat([pl.DataFrame(schema=schema), *frames])

    skipped = all_of("skipped", SKIPPED).unique().sort(_DAY)
    coupons = all_of("coupons", COUPONS).join(skipped, on=_DAY, how="anti")
    extra = all_of("extra", EXTRA)
    visits = pl.concat([coupons.select(*_DAY, "action"), extra.select(*_DAY, "action")]).unique()
    redemptions = all_of("redemptions", REDEMPTIONS).join(visits, on=[*_DAY, "action"], how="semi")
    return Effects(
        skipped,
        coupons.sort(list(COUPONS)),
        extra.sort(list(EXTRA)),
        redemptions.sort(*_DAY, "action", "reported_on").unique([*_DAY, "action"], keep="first", maintain_order=True),
    )


def _first(days: pl.DataFrame) -> pl.DataFrame:
    """The first of each customer's sorted days."""
    return days.unique("customer_id", keep="first", maintain_order=True)


def _eligible(scenario: Scenario) -> pl.Expr:
    """Whether a line is one that the row's action is for."""
    eligible = pl.lit(True)
    for name, offer in scenario.offers.items():
        if offer.categories:
            eligible = (
                pl.when(pl.col("action") == name).then(pl.col("category").is_in(offer.categories)).otherwise(eligible)
            )
    return eligible


def _on_lines(redeemers: pl.DataFrame, days: pl.DataFrame, goods: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """The line of the day that the coupon is used on: the dearest eligible one, else the dearest."""
    lines = redeemers.select("customer_id", "action", "face_value_minor").join(days, on="customer_id")
    lines = lines.join(goods, on=_DAY).with_columns(_eligible(scenario).alias("eligible"))
    best = lines.sort(
        "customer_id", "eligible", "net_minor", "order_id", "item_id", descending=[False, True, True, False, False]
    )
    return best.unique("customer_id", keep="first", maintain_order=True).select(list(COUPONS))


def _extra(
    visitors: pl.DataFrame, goods: pl.DataFrame, wave: date, scenario: Scenario, seed: int, closed: Sequence[date]
) -> pl.DataFrame:
    """Lines of incremental visits: the customer's last basket with something eligible, scaled to the visit's amount."""
    chosen = visitors.select("customer_id", "action", "face_value_minor", "incremental_minor", "visit_day")
    known = goods.filter(pl.col("business_date") < wave)
    lines = chosen.join(known, on="customer_id").with_columns(_eligible(scenario).alias("eligible"))
    order = ["customer_id", "order_id"]
    baskets = lines.group_by(order).agg(pl.col("eligible").any(), pl.col("business_date").max())
    last = baskets.sort("customer_id", "eligible", "business_date", "order_id", descending=[False, True, True, True])
    lines = lines.join(_first(last).select(order), on=order, how="semi")
    lines = lines.sort("customer_id", "eligible", "net_minor", "item_id", descending=[False, True, True, False])
    lines = lines.with_columns(_divided("incremental_minor", pl.col("net_minor") + 1))  # + 1: of nothing, equal parts
    people = chance.keys(lines["customer_id"])
    number = chance.salted(people, seed, wave.isoformat(), "order") % 10**17 + 9 * 10**17
    minute = chance.choice(chance.salted(people, seed, wave.isoformat(), "minute"), OPEN_MINUTES)
    lines = lines.with_columns(
        pl.Series("order_id", number).cast(pl.String),
        pl.Series("minute", minute),
        _open_day(pl.lit(wave) + pl.duration(days="visit_day"), wave, closed).alias("business_date"),
        pl.when(pl.int_range(pl.len()).over("customer_id") == 0).then("face_value_minor").otherwise(0)
        .cast(pl.Int64).alias("face_value_minor"),
    ).filter((pl.col("net_minor") > 0) | (pl.col("face_value_minor") > 0))  # fmt: skip
    return lines.select(list(EXTRA))


def _divided(total: str, weight: pl.Expr) -> pl.Expr:
    """`total` in whole minor units over the rows of a customer, in proportion to a weight: the parts sum to it exactly."""
    share = weight.cum_sum().over("customer_id") / weight.sum().over("customer_id")
    up_to = (share * pl.col(total)).round().cast(pl.Int64)
    return (up_to - up_to.shift(1).over("customer_id").fill_null(0)).alias("net_minor")


def _open_day(day: pl.Expr, wave: date, closed: Sequence[date]) -> pl.Expr:
    for shut in sorted(closed):
        moved = shut - timedelta(days=1) if shut > wave else shut + timedelta(days=1)
        day = pl.when(day == shut).then(pl.lit(moved)).otherwise(day)
    return day
