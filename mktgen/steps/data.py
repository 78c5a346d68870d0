"""Collect, clean, features: the steps that turn a day of an upstream into artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl

from mktgen import cleaning, features
from mktgen.errors import MissingArtefact, QuarantineOverflow
from mktgen.features.state import State
from mktgen.sources.base import Source
from mktgen.steps.runner import Outcome, Platform, Read, Run

STATE = (
    "customer_state", "customer_days", "customer_categories", "item_state", "item_days", "category_days", "sequences",
)  # fmt: skip
ONBOARD = "the Dag marketing_onboarding (or `python -m mktgen onboard`)"


def days_between(first: date, last: date) -> tuple[date, ...]:
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


# -- reference --------------------------------------------------------------------------------------------------------
def reference_day(day: date, platform: Platform) -> date:
    return platform.source.first_day


def reference(run: Run) -> Outcome:
    source, settings = run.platform.source, run.settings
    raw = source.read_reference()
    mappings = source.mappings(run.day, {})
    outcome = Outcome(tables={f"raw_{name}": frame for name, frame in raw.items()})
    refused = []
    for name in source.reference_tables:
        cleaned = cleaning.apply(mappings[name], raw[name], None, settings.cleaning, settings.source.max_field_chars)
        outcome.tables[mappings[name].canonical] = cleaned.good
        refused.append(cleaned.quarantine)
        outcome.notes.append(
            f"{name}: {cleaned.read} read = {cleaned.good.height} good + {cleaned.quarantine.height} refused"
        )
    outcome.tables["reference_quarantine"] = pl.concat(refused)
    return outcome


def source_identity(day: date, platform: Platform) -> str:
    return platform.source.fingerprint(day)


def no_reads(day: date, platform: Platform) -> list[Read]:
    return []


# -- collect ----------------------------------------------------------------------------------------------------------
def ingest(run: Run) -> Outcome:
    return ingested(run.platform.source.read(run.day))


def ingested(raw: dict[str, pl.DataFrame]) -> Outcome:
    notes = [f"{name}: {frame.height} rows" for name, frame in raw.items()]
    return Outcome(tables={f"raw_{name}": frame for name, frame in raw.items()}, notes=notes)


# -- clean ------------------------------------------------------------------------------------------------------------
def clean_reads(day: date, platform: Platform) -> list[Read]:
    source = platform.source
    raw = [Read(f"raw_{name}", (day,), name == "transactions", "ingest") for name in source.tables]
    week = source.promotion_week(day)
    promotions = (
        [] if week == day else [Read("context_promotions", (week,), True, f"ingest and clean of {week}, or {ONBOARD},")]
    )
    return [*raw, Read("items", (source.first_day,), True, "reference"), *promotions]


def clean(run: Run) -> Outcome:
    raw = {name: run.table(f"raw_{name}") for name in run.platform.source.tables if run.has(f"raw_{name}")}
    promotions = run.table("context_promotions") if run.has("context_promotions") else None
    return cleaned(run.day, run.platform, raw, run.table("items"), promotions)


def cleaned(
    day: date, platform: Platform, raw: dict[str, pl.DataFrame], items: pl.DataFrame, promotions: pl.DataFrame | None
) -> Outcome:
    source, settings = platform.source, platform.settings
    inputs = cleaning.Inputs(raw, source.mappings(day, {"items": items}), items, promotions, source.is_closed(day))
    result = cleaning.clean_day(day, inputs, settings.cleaning, settings.source.max_field_chars)
    stop = QuarantineOverflow(result.overflow) if result.overflow else None
    # A day that is refused leaves its quarantine to look at, and no canonical table to go on with.
    tables = {} if stop else dict(result.tables)
    return Outcome(tables={**tables, "quarantine": result.quarantine}, notes=result.notes, stop=stop)


# -- features ---------------------------------------------------------------------------------------------------------
def feature_reads(day: date, platform: Platform) -> list[Read]:
    """The day's lines on top of yesterday's state; all lines since the first day where there is no such state."""
    first, yesterday = platform.source.first_day, day - timedelta(days=1)
    before = platform.store.current(STATE[0], yesterday)
    if before is not None:
        return [Read("order_lines", (day,), True, "clean"), *(Read(name, (yesterday,)) for name in STATE)]
    return [Read("order_lines", days_between(first, day), True, ONBOARD)]


def extract_features(run: Run) -> Outcome:
    settings = run.settings.features
    before = State(**{name: run.table(name) for name in STATE}) if run.has(STATE[0]) else features.empty_state()
    state = features.fold(before, run.table("order_lines"), run.day, settings)
    cut = run.day + timedelta(days=1)
    customers = features.customer_features(state, cut)
    active = customers.filter(pl.col("recency_days") <= settings.active_days).height
    tables = state.tables() | {"customer_features": customers, "item_features": features.item_features(state, cut)}
    how = "yesterday's state and one day" if run.has(STATE[0]) else f"{len(run.inputs['order_lines'])} days of lines"
    return Outcome(tables=tables, notes=[f"{customers.height} customers, {active} active; from {how}"])


# -- onboarding -------------------------------------------------------------------------------------------------------
RawTables = dict[str, pl.DataFrame]


def require_week_start(platform: Platform, first: date) -> None:
    """A range that begins inside a promotion week needs that week's promotions. Raises MissingArtefact."""
    week = platform.source.promotion_week(first)
    if week != first and platform.store.current("context_promotions", week) is None:
        raise MissingArtefact(f"{first} lies in the promotion week of {week}: let the range begin on {week} or earlier")


def weeks(source: Source, first: date, last: date) -> Iterator[list[tuple[date, RawTables]]]:
    """The days of a range with their raw tables, one promotion week at a time, in one pass over the upstream."""
    pending: list[tuple[date, RawTables]] = []
    for day, raw in source.read_range(first, last):
        if pending and source.promotion_week(day) == day:
            yield pending
            pending = []
        pending.append((day, raw))
    if pending:
        yield pending
