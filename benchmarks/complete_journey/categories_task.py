"""The categories task: which categories a household buys in the 7 days from a cut on.

Protocol. Cuts as in the items task. Categories: those of merchandise bought before the first cut. Eligible: households with
an order in the 84 days before the cut, those that buy nothing in the week included. Rankings are judged on households that
bought a category, pairs of household and category on all households.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from benchmarks.complete_journey.data import Tables
from benchmarks.complete_journey.items_task import history_at
from mktgen.models.base import History
from mktgen.settings import Settings

HALF_LIFE_DAYS: Final = 56.0
_TIES: Final = 1e-9  # categories that the household never bought come by their lines in its place
_PAIR: Final = ["customer_id", "category"]


@dataclass(frozen=True)
class CategoryWeek:
    """One test cut. truth, before: customer_id, category bought in the 7 days from the cut on, and before it."""

    history: History
    customers: list[str]
    truth: pl.DataFrame
    before: pl.DataFrame


def categories_before(tables: Tables, cut: date) -> list[str]:
    return tables.events.filter(pl.col("business_date") < cut)["category"].unique().sort().to_list()


def week_at(tables: Tables, cut: date, categories: list[str], settings: Settings) -> CategoryWeek:
    inside, past = pl.col("category").is_in(categories), pl.col("business_date") < cut
    lines = tables.lines.filter(past & (pl.col("business_date") >= cut - timedelta(days=settings.features.active_days)))
    customers = lines["customer_id"].unique().sort().to_list()
    span = pl.col("business_date").is_between(cut, cut + timedelta(days=6)) & pl.col("customer_id").is_in(customers)
    truth = tables.events.filter(span & inside).select(_PAIR).unique().sort(_PAIR)
    before = tables.events.filter(past & inside).select(_PAIR).unique()
    return CategoryWeek(history_at(tables, cut, settings), customers, truth, before)


def own_frequency(week: CategoryWeek, categories: list[str]) -> pl.DataFrame:
    """customer_id, category, p_7d of every pair: own lines, each worth 0.5 ** (age / 56 days). A score, no probability."""
    cut = week.history.cut
    age = (pl.lit(cut) - pl.col("business_date")).dt.total_days()
    known = week.history.events.filter(pl.col("business_date") < cut).with_columns(
        (0.5 ** (age / HALF_LIFE_DAYS)).alias("worth")
    )
    own = known.sort("customer_id", "event_time", "order_id", "item_id").group_by(_PAIR, maintain_order=True)
    lines = known.group_by("category").agg(pl.len().alias("lines"))
    return (
        every_pair(week.customers, categories)
        .join(own.agg(pl.col("worth").sum()), on=_PAIR, how="left")
        .join(lines, on="category", how="left")
        .with_columns((pl.col("worth").fill_null(0.0) + _TIES * pl.col("lines").fill_null(0)).alias("p_7d"))
        .select(*_PAIR, "p_7d")
        .sort(_PAIR)
    )


def every_pair(customers: list[str], categories: list[str]) -> pl.DataFrame:
    names = pl.DataFrame({"category": categories}, schema={"category": pl.String})
    return pl.DataFrame({"customer_id": customers}, schema={"customer_id": pl.String}).join(names, how="cross")
