"""Customers at a wave: what was known of them before it, and what they do after it if nobody is contacted.

A wave is the day on which messages arrive. Known is what is dated before it; the window begins with it. All of it is
organic: what contacts change is added by `respond`, and covariates of a later wave don't remember it, except for the
contacts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.errors import PermanentError
from mktgen.market_sim.scenario import Scenario

KNOWN_DAYS: Final = 84

_COVARIATES: Final = (
    "recency_days", "visits_84d", "spend_minor_84d", "coupon_lines_84d", "discount_share_84d", "usual_basket_minor",
    "prior_redemptions", "prior_exposures", "recent_contacts",
)  # fmt: skip


class PanelError(PermanentError):
    """Rows that are no panel of the scenario; the message says what is wrong."""


@dataclass(frozen=True)
class Organic:
    """What customers do without contacts.

    visits: of `visits`. redemptions: customer_id, responded_on, one row each. exposures: customer_id, exposed_on, one row
    per mailing of a campaign. Both are of the organic history: not of the market's own offers.
    """

    visits: pl.DataFrame
    redemptions: pl.DataFrame
    exposures: pl.DataFrame


def affinity_column(offer: str) -> str:
    return f"affinity_{offer}"


def covariates(scenario: Scenario) -> tuple[str, ...]:
    """Columns of a panel that are known at the wave: all that a learner may use."""
    return (*_COVARIATES, *(affinity_column(name) for name, offer in scenario.offers.items() if offer.categories))


def visits(lines: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """Merchandise order lines as customer days, sorted.

    lines: customer_id, order_id, business_date, category, merchandise, net_minor, loyalty_disc_minor,
    coupon_disc_minor (as in contracts.ORDER_LINES). A visit is a day with merchandise. Frames of several calls may be put
    together if no customer day is in two of them.
    """
    on_offer = [
        pl.col("net_minor").filter(pl.col("category").is_in(offer.categories)).sum().alias(affinity_column(name))
        for name, offer in scenario.offers.items()
        if offer.categories
    ]
    grouped = lines.filter(pl.col("merchandise")).group_by("customer_id", "business_date")
    return grouped.agg(
        pl.col("order_id").n_unique().cast(pl.Int64).alias("orders"),
        pl.col("net_minor").sum(),
        pl.col("loyalty_disc_minor").sum(),
        (pl.col("coupon_disc_minor") > 0).sum().cast(pl.Int64).alias("coupon_lines"),
        *on_offer,
    ).sort("customer_id", "business_date")


def panel(organic: Organic, wave: date, scenario: Scenario, contacts: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per customer with a visit in the KNOWN_DAYS before the wave, sorted: `covariates`, then what follows.

    contacts: customer_id, contacted_on, the day a message arrived. Rows at or after the wave change no covariate.

    Organic outcomes, if nobody is contacted: `organic_orders`, `organic_minor` of the window; `later_minor`, of the first
    visit in the days after it, 0 where there is none. Money is Int64 minor units, shares and counts Float64.
    """
    visits, redemptions, exposures = organic.visits, organic.redemptions, organic.exposures
    known = _window(visits, wave - timedelta(days=KNOWN_DAYS), wave)
    frame = _known(known, wave, scenario)
    window_end = wave + timedelta(days=scenario.window_days)
    later_end = window_end + timedelta(days=scenario.later_days)
    after = _window(visits, wave, window_end).group_by("customer_id")
    later = _window(visits, window_end, later_end).sort("customer_id", "business_date").group_by("customer_id")
    recent = (
        contacts if contacts is not None else pl.DataFrame(schema={"customer_id": pl.String, "contacted_on": pl.Date})
    )
    recent = recent.filter(pl.col("contacted_on") >= wave - timedelta(days=scenario.memory_days))
    additions = (
        _count(redemptions.filter(pl.col("responded_on") < wave), "prior_redemptions"),
        _count(exposures.filter(pl.col("exposed_on") < wave), "prior_exposures"),
        _count(recent.filter(pl.col("contacted_on") < wave), "recent_contacts"),
        after.agg(pl.col("orders").sum().alias("organic_orders"), pl.col("net_minor").sum().alias("organic_minor")),
        later.agg(pl.col("net_minor").first().alias("later_minor")),
    )
    for addition in additions:
        frame = frame.join(addition, on="customer_id", how="left")
    counted = [name for addition in additions for name in addition.columns if name != "customer_id"]
    return (
        frame.with_columns(pl.col(counted).fill_null(0), pl.lit(wave).alias("wave"))
        .select("customer_id", "wave", *covariates(scenario), "organic_orders", "organic_minor", "later_minor")
        .sort("customer_id")
    )


def wave_of(panel: pl.DataFrame) -> date:
    """The wave that all rows are of. Raises PanelError: none, or several."""
    waves = panel["wave"].unique().to_list()
    if len(waves) != 1 or not isinstance(waves[0], date):
        raise PanelError(f"a panel is of one wave; these {panel.height} rows are of {len(waves)}: {sorted(waves)[:3]}")
    return waves[0]


def _window(visits: pl.DataFrame, first: date, end: date) -> pl.DataFrame:
    return visits.filter(pl.col("business_date").is_between(first, end, closed="left"))


def _count(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.group_by("customer_id").agg(pl.len().cast(pl.Float64).alias(name))


def _known(known: pl.DataFrame, wave: date, scenario: Scenario) -> pl.DataFrame:
    usual = scenario.usual_basket
    spent, came = pl.col("net_minor").sum(), pl.len()
    listed = (pl.col("net_minor") + pl.col("loyalty_disc_minor")).sum()
    shares = [
        (pl.col(affinity_column(name)).sum() / spent.clip(1)).clip(0, 1).alias(affinity_column(name))
        for name, offer in scenario.offers.items()
        if offer.categories
    ]
    return known.group_by("customer_id").agg(
        (pl.lit(wave) - pl.col("business_date").max()).dt.total_days().cast(pl.Float64).alias("recency_days"),
        came.cast(pl.Float64).alias("visits_84d"),
        spent.cast(pl.Float64).alias("spend_minor_84d"),
        pl.col("coupon_lines").sum().cast(pl.Float64).alias("coupon_lines_84d"),
        (pl.col("loyalty_disc_minor").sum() / listed.clip(1)).clip(0, 1).alias("discount_share_84d"),
        ((spent + usual.minor * usual.visits) / (came + usual.visits)).cast(pl.Float64).alias("usual_basket_minor"),
        *shares,
    )
