"""A small shop's days without any contact, for the tests of market_sim: customers with rates and tastes of their own."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from mktgen.market_sim.panel import Organic, visits
from mktgen.market_sim.scenario import Scenario

FIRST = date(2017, 1, 1)
WAVE = date(2017, 4, 17)  # 106 days of history
CATEGORIES = ("BEEF", "CHEESE", "SOAP", "FUEL")  # fuel isn't merchandise
SCHEMA = {
    "customer_id": pl.String, "order_id": pl.String, "item_id": pl.String, "store_id": pl.String, "business_date": pl.Date,
    "category": pl.String, "merchandise": pl.Boolean, "net_minor": pl.Int64, "loyalty_disc_minor": pl.Int64,
    "coupon_disc_minor": pl.Int64,
}  # fmt: skip


def order_lines(customers: int = 200, days: int = 150, seed: int = 5) -> pl.DataFrame:
    """Order lines of `days` days from FIRST, as market_sim takes them; up to four lines a basket."""
    rng = np.random.default_rng(seed)
    rates = rng.uniform(0.03, 0.6, customers)
    spend, taste, deals = (
        rng.uniform(200, 1_500, customers),
        rng.uniform(0, 1, customers),
        rng.uniform(0, 0.4, customers),
    )
    rows = []
    for customer in range(customers):
        for day in np.flatnonzero(rng.random(days) < rates[customer]):
            order = f"{customer + 1:04d}{day:04d}"
            for line in range(int(rng.integers(1, 5))):
                category = "BEEF" if rng.random() < taste[customer] / 2 else CATEGORIES[1 + int(rng.integers(3))]
                net = int(rng.gamma(2.0, spend[customer] / 2)) + 1
                rows.append(
                    (
                        str(customer + 1), order, str(1_000 * CATEGORIES.index(category) + line), "31",
                        FIRST + timedelta(days=int(day)), category, category != "FUEL", net,
                        int(net * deals[customer]), int(100 * (rng.random() < deals[customer] / 2)),
                    )
                )  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def organic(lines: pl.DataFrame, scenario: Scenario, seed: int = 6) -> Organic:
    """The days of `lines`, with a few redemptions and mailings of the past."""
    rng = np.random.default_rng(seed)
    days = lines.select("customer_id", "business_date").unique().sort("customer_id", "business_date")
    chosen = days.filter(pl.Series(rng.random(days.height) < 0.05))
    mailed = days.filter(pl.Series(rng.random(days.height) < 0.1))
    return Organic(
        visits(lines, scenario),
        chosen.rename({"business_date": "responded_on"}),
        mailed.rename({"business_date": "exposed_on"}),
    )
