"""Complete Journey's canonical tables for the benchmarks: the product's source and cleaning, without storage.

The tables are made once from the installed data package and kept as parquet under a cache folder whose name holds the
source's identity and the cleaning settings, so that another version never meets old files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from mktgen import cleaning, contracts, features
from mktgen.settings import FeatureSettings, Settings
from mktgen.sources import open_source
from mktgen.sources.base import Source
from mktgen.sources.complete_journey import CompleteJourney
from mktgen.steps.data import weeks

KEY: Final = "complete journey benchmark"  # fixed: pseudonyms decide the order of ties
NOTICE: Final = CompleteJourney.notice


@dataclass(frozen=True)
class Tables:
    """Canonical tables (see mktgen.contracts) of the whole of 2017, read when asked for; users filter by date."""

    place: Path

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.place / f"{name}.parquet")

    def scan(self, name: str) -> pl.LazyFrame:
        """For context_promotions, whose 21 million rows nobody needs at once."""
        return pl.scan_parquet(self.place / f"{name}.parquet")

    @cached_property
    def lines(self) -> pl.DataFrame:
        """contracts.ORDER_LINES, fuel and other non-merchandise included."""
        return self.table("order_lines")

    @cached_property
    def events(self) -> pl.DataFrame:
        """contracts.SEQUENCES of all merchandise lines, not truncated."""
        return features.history_events(self.lines)


def canonical(cache: Path, settings: Settings) -> Tables:
    """The tables from `cache`, made first where they are not there (about a minute on one core)."""
    source = open_source(settings.source, KEY)
    identity = source.fingerprint(source.first_day) + settings.cleaning.model_dump_json()
    place = cache / f"complete_journey-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not place.exists():
        unfinished = place.with_suffix(".unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        for name, frame in _clean(source, settings).items():
            frame.write_parquet(unfinished / f"{name}.parquet")
        unfinished.rename(place)
    return Tables(place)


def _clean(source: Source, settings: Settings) -> dict[str, pl.DataFrame]:
    """Every day of the year as the onboarding steps clean it, concatenated by table."""
    limit, first = settings.source.max_field_chars, source.first_day
    raw = source.read_reference()
    result = {
        mapping.canonical: cleaning.apply(mapping, raw[name], None, settings.cleaning, limit).good
        for name, mapping in source.mappings(first, {}).items()
    }
    items, promotions = result["items"], None
    daily: dict[str, list[pl.DataFrame]] = {}
    for week in weeks(source, first, source.last_day):
        for day, tables in week:
            mappings = source.mappings(day, {"items": items})
            inputs = cleaning.Inputs(tables, mappings, items, promotions, source.is_closed(day))
            clean = cleaning.clean_day(day, inputs, settings.cleaning, limit)
            if clean.overflow:
                raise SystemExit(clean.overflow)
            promotions = clean.tables.get("context_promotions", promotions)
            for name, frame in clean.tables.items():
                daily.setdefault(name, []).append(frame)
    ordered = {name: pl.concat(frames).sort(contracts.contract(name).key) for name, frames in daily.items()}
    return result | ordered


def without_sequences(settings: FeatureSettings) -> FeatureSettings:
    """Features don't read the events kept for sequence models; sorting those at every cut costs most of a fold."""
    return settings.model_copy(update={"sequence_events": 16})
