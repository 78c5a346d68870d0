"""What the pages show, read from the artefacts `strategy`, `published`, `approval`, `demand_forecast`, `churn_warnings`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mktgen.documents import Approval, Interval, PublishedStrategy, Strategy
from mktgen.store import Store, parse_uri

DAYS_LISTED: Final = 60
ROWS_SHOWN: Final = 10  # categories, and customers at risk


@dataclass(frozen=True)
class Row:
    """One day in the list."""

    partition: date
    status: str
    customers: int
    contacted: int
    holdout: int


@dataclass(frozen=True)
class Page:
    """One strategy. `published`: the manifest's run, where it was published."""

    strategy: Strategy
    status: str
    run: str
    published: str | None
    approval: Approval | None


@dataclass(frozen=True)
class Foresight:
    """What is to come after a day. totals and demand: rows of contracts.DEMAND_FORECAST, demand by category with both
    horizons side by side; warnings: the first of contracts.CHURN_WARNINGS, of `warned` in all."""

    totals: list[dict[str, Any]]
    demand: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    warned: int


def foreseen(store: Store, partition: date) -> Foresight:
    """The day's demand forecast and churn warnings, the largest first; empty where they were not made."""
    sold, warned = (_table(store, name, partition) for name in ("demand_forecast", "churn_warnings"))
    totals = sorted((row for row in sold if row["level"] == "all"), key=lambda row: row["horizon_days"])
    week, month = (
        {row["category"]: row for row in sold if row["level"] == "category" and row["horizon_days"] == days}
        for days in (7, 28)
    )
    largest = sorted(month, key=lambda name: (-month[name]["units"], name))[:ROWS_SHOWN]
    demand = [{"category": name, "week": week[name], "month": month[name]} for name in largest]
    return Foresight(totals, demand, sorted(warned, key=lambda row: row["rank"])[:ROWS_SHOWN], len(warned))


def _table(store: Store, name: str, partition: date) -> list[dict[str, Any]]:
    manifest = store.current(name, partition)
    return [] if manifest is None else store.read_table(manifest).to_dicts()


def listed(store: Store, days: int = DAYS_LISTED) -> list[Row]:
    """The newest `days` strategies, newest first."""
    rows = []
    for partition in store.partitions("strategy")[-days:][::-1]:
        page = detailed(store, partition)
        if page is not None:
            made = page.strategy
            rows.append(Row(partition, page.status, made.customers, made.contacted, made.holdout))
    return rows


def detailed(store: Store, partition: date) -> Page | None:
    """A day's strategy as it stands; None where none was made."""
    manifest = store.current("strategy", partition)
    if manifest is None:
        return None
    strategy = store.read_document(manifest, Strategy)
    release = store.current("published", partition)
    # A strategy that was made anew after the last publication is not the published one.
    if release is not None:
        shown = store.read_document(release, PublishedStrategy).strategy_uri
        release = release if parse_uri(shown)[2] == manifest.run else None
    answer = store.current("approval", partition) if release is not None else None
    approval = None if answer is None else store.read_document(answer, Approval)
    if approval is not None and approval.strategy_run != manifest.run:
        approval = None
    status = _status(strategy, release is not None, approval)
    return Page(strategy, status, manifest.run, release.run if release else None, approval)


def _status(strategy: Strategy, published: bool, approval: Approval | None) -> str:
    if strategy.status == "stopped":
        return "stopped"
    if not published:
        return strategy.status
    if approval is None:
        return "published"
    return "approved" if approval.approved else "rejected"


def money(minor: int | float, decimals: int = 2) -> str:
    """Minor units as a number with thousands separators; the currency is the shop's."""
    return f"{minor / 100:,.{decimals}f}"


def units(row: dict[str, Any]) -> str:
    """`120 (96 to 149)`: expected pieces with the 80% interval, or without where there was too little history."""
    if row["low_80"] is None:
        return f"{row['units']:,.0f}"
    return f"{row['units']:,.0f} ({row['low_80']:,.0f} to {row['high_80']:,.0f})"


def interval(value: Interval | None, scale: float = 1.0, decimals: int = 1) -> str:
    """`12.3 (10.1 to 14.0)`; a dash where the data supports no estimate."""
    if value is None:
        return "–"
    numbers = (f"{part * scale:,.{decimals}f}" for part in (value.value, value.low, value.high))
    return "{} ({} to {})".format(*numbers)
