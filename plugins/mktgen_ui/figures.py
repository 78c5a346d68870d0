"""Figures that several pages show of a strategy."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

import polars as pl

from mktgen.documents import Strategy
from mktgen.store import Store

Json = dict[str, Any]


def gate_counts(strategy: Strategy) -> dict[str, int]:
    """How many checks passed, failed, or had nothing to ask."""
    outcomes = [gate.passed for gate in strategy.evaluation.gates] if strategy.evaluation else []
    return {name: outcomes.count(outcome) for name, outcome in (("passed", True), ("failed", False), ("noted", None))}


def is_incremental(strategy: Strategy) -> bool:
    """Whether the campaigns' values were learned from trials; else they rest on assumptions."""
    values = [campaign.expected_value_minor for campaign in strategy.campaigns if campaign.expected_value_minor]
    return bool(values) and all(value.method.startswith("incremental") for value in values)


def is_simulated(strategy: Strategy) -> bool:
    return "simulated" in strategy.source_notice.lower()


def expected(strategy: Strategy) -> Json | None:
    """Profit expected of the day's contacts, minor units; bounds are sums of the campaigns' and null where one has none."""
    if not strategy.campaigns:
        return None
    known = [campaign.expected_value_minor for campaign in strategy.campaigns]
    intervals = [value for value in known if value is not None]
    whole = len(intervals) == len(known)
    bounds = {name: math.fsum(getattr(one, name) for one in intervals) if whole else None for name in ("low", "high")}
    value = math.fsum(one.value for one in intervals) if whole else strategy.allocation.expected_value_minor
    return {"value": value, **bounds, "incremental": is_incremental(strategy)}


def ledger(store: Store) -> pl.DataFrame:
    """contracts.EFFECT_LEDGER as last known; it holds all earlier waves."""
    days = store.partitions("effect_ledger")
    newest = next((found for day in reversed(days) if (found := store.current("effect_ledger", day))), None)
    return _empty() if newest is None else store.read_table(newest)


def _empty() -> pl.DataFrame:
    from mktgen.contracts import EFFECT_LEDGER

    return EFFECT_LEDGER.empty()


def realised(known: pl.DataFrame, day: date, window_days: int) -> Json | None:
    """The programme's row of the wave that a day belongs to; None where its wave is not over."""
    rows = known.filter((pl.col("campaign_id") == "") & (pl.col("wave") <= day)).sort("wave").to_dicts()
    if not rows or rows[-1]["wave"] + timedelta(days=window_days) <= day:
        return None
    row = rows[-1]
    return {
        "wave": row["wave"], "value": row["realised_minor"], "low": row["realised_low_minor"],
        "high": row["realised_high_minor"], "reason": row["reason"],
    }  # fmt: skip
