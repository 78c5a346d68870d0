"""The customer tasks: purchase within 7 days, churn and spend over 28 days, redemption of a mailed campaign.

Protocol. Weekly cuts; learnt from 2017-04-02 to 09-03 (their 28-day labels end by 10-01), judged from 10-01 to 12-03.
Eligible: households with an order in the 84 days before the cut. A purchase is any order line, fuel included; churn is
no purchase within 28 days; spend is net value of all lines in dollars. Redemption: mailings (household x campaign) as
known at the campaign's start; learnt from campaigns that ended before 2017-09-04, judged on those that start later and
are observed for at least 25 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from benchmarks.complete_journey.data import Tables, without_sequences
from benchmarks.complete_journey.intervals import Floats
from mktgen import features
from mktgen.contracts import CUSTOMER_FEATURES
from mktgen.features.training import LABEL_DAYS, labels, states_at
from mktgen.settings import FeatureSettings
from mktgen.strategy import mailings

FIRST_TRAIN: Final = date(2017, 4, 2)
LAST_TRAIN: Final = date(2017, 9, 3)
FIRST_TEST: Final = date(2017, 10, 1)
LAST_TEST: Final = date(2017, 12, 3)
CAMPAIGN_SPLIT: Final = date(2017, 9, 4)
OBSERVED_DAYS: Final = 25
FEATURES: Final = tuple(name for name, dtype in CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64)


@dataclass(frozen=True)
class Examples:
    """contracts.CUSTOMER_FEATURES at weekly cuts plus cut, purchased_7d, purchased_28d, spend_28d (dollars)."""

    train: pl.DataFrame
    test: pl.DataFrame


def weekly(first: date, last: date) -> list[date]:
    return [first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1)]


def examples(tables: Tables, settings: FeatureSettings) -> Examples:
    train, test = weekly(FIRST_TRAIN, LAST_TRAIN), weekly(FIRST_TEST, LAST_TEST)
    parts = []
    for cut, state in states_at(tables.lines, train + test, without_sequences(settings)):
        known = features.customer_features(state, cut).filter(pl.col("recency_days") <= settings.active_days)
        joined = known.with_columns(pl.lit(cut).alias("cut"))
        for outcome in (labels(tables.lines, cut), _spend(tables.lines, cut)):
            joined = joined.join(outcome, on="customer_id", how="left")
        parts.append(joined.with_columns(pl.col("purchased_7d", "purchased_28d").fill_null(False)))
    every = pl.concat(parts).with_columns(pl.col("spend_28d").fill_null(0.0)).sort("cut", "customer_id")
    return Examples(every.filter(pl.col("cut").is_in(train)), every.filter(pl.col("cut").is_in(test)))


def _spend(lines: pl.DataFrame, cut: date) -> pl.DataFrame:
    window = pl.col("business_date").is_between(cut, cut + timedelta(days=max(LABEL_DAYS) - 1))
    return lines.filter(window).group_by("customer_id").agg((pl.col("net_minor").sum() / 100).alias("spend_28d"))


def matrix(frame: pl.DataFrame, names: tuple[str, ...] = FEATURES) -> Floats:
    """[rows, features]; counts, money and days on a log scale, so that a linear model can use them."""
    values = frame.select(pl.col(names).fill_null(0.0).fill_nan(0.0)).to_numpy().astype(np.float64)
    scaled: Floats = np.log1p(np.maximum(values, 0.0))
    return scaled


def redemption(tables: Tables, settings: FeatureSettings) -> Examples:
    """mktgen.strategy.mailings.redemption_examples, split by campaign.

    Labels of campaigns that run past the end of the data are what was redeemed until then.
    """
    campaigns, lines = tables.table("campaigns"), tables.lines
    first = lines["business_date"].min()
    assert isinstance(first, date)
    starts = sorted({start for start in campaigns["start_date"] if start > first})
    known = pl.concat(
        features.customer_features(state, start).with_columns(pl.lit(start).alias("started_on"))
        for start, state in states_at(lines, starts, without_sequences(settings))
    )
    end = campaigns["end_date"].max()
    assert isinstance(end, date)
    rows = mailings.redemption_examples(
        tables.table("exposures"), campaigns, tables.table("responses"), tables.table("offers"),
        tables.table("offer_items"), lines.filter("merchandise"), known, end + timedelta(days=1),
    )  # fmt: skip
    last = lines["business_date"].max()
    assert isinstance(last, date)
    seen = pl.col("started_on").is_between(CAMPAIGN_SPLIT, last - timedelta(days=OBSERVED_DAYS))
    return Examples(rows.filter(pl.col("ended_on") < CAMPAIGN_SPLIT), rows.filter(seen))
