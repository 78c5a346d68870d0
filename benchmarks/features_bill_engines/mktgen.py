"""The product's own functions, day by day and folded once at the end as onboarding does it, without storage."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from benchmarks.features_bill_engines import data
from mktgen import cleaning, features
from mktgen.features.state import State
from mktgen.settings import Settings
from mktgen.sources.base import pseudonym
from mktgen.sources.complete_journey import open_source
from mktgen.steps.data import weeks

KEY = "the bill"


def run(first: date, last: date) -> dict[str, Any]:
    settings = Settings()
    source = open_source(settings.source, KEY)
    raw = source.read_reference()["products"]
    mapping = source.mappings(first, {})["products"]
    items = cleaning.apply(mapping, raw, None, settings.cleaning, settings.source.max_field_chars).good
    # all days stay in the state, so that the whole tables can be compared
    everything = settings.features.model_copy(update={"window_days": 400, "item_window_days": 400})
    promotions, lines = None, []
    for week in weeks(source, first, last):
        for day, tables in week:
            inputs = cleaning.Inputs(
                tables, source.mappings(day, {"items": items}), items, promotions, source.is_closed(day)
            )
            clean = cleaning.clean_day(day, inputs, settings.cleaning, settings.source.max_field_chars)
            promotions = clean.tables.get("context_promotions", promotions)
            lines.append(clean.tables["order_lines"])
    state = features.fold(features.empty_state(), pl.concat(lines), last, everything)
    cut = last + timedelta(days=1)
    features.customer_features(state, cut)
    features.item_features(state, cut)
    return {"tables": lambda: comparable(state, KEY)}


def comparable(state: State, key: str) -> dict[str, Any]:
    """The state's tables in the other engines' columns, households in place of pseudonyms."""
    ids = (
        pl.read_parquet(data() / "transactions.parquet", columns=["household_id"])["household_id"]
        .unique()
        .cast(pl.String)
    )
    names = pl.DataFrame({"household_id": ids, "customer_id": [pseudonym(value, key) for value in ids]})

    def named(frame: pl.DataFrame) -> pl.DataFrame:
        joined = frame.join(names, on="customer_id", how="left")
        return joined.select("household_id", pl.exclude("household_id", "customer_id"))

    return {
        "customer_days": named(state.customer_days).iter_rows(),
        "customer_categories": named(state.customer_categories).iter_rows(),
        "item_days": state.item_days.iter_rows(),
    }
