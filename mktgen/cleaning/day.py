"""Clean everything that arrived on one day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from mktgen.cleaning.rules import Cleaned, Table, apply
from mktgen.contracts import CAMPAIGNS, CLICKS, OFFERS, ORDER_LINES, QUARANTINE, RESPONSES, contract
from mktgen.errors import PermanentError
from mktgen.settings import CleaningSettings


class EmptyDay(PermanentError):
    """A day without rows that the source does not declare closed."""


@dataclass(frozen=True)
class Inputs:
    """raw: table -> rows of the day. tables: its mappings. items: contracts.ITEMS. promotions: contracts.CONTEXT_PROMOTIONS
    of the day's week, None where the source has none. closed: the source declares the day a holiday."""

    raw: Mapping[str, pl.DataFrame]
    tables: Mapping[str, Table]
    items: pl.DataFrame
    promotions: pl.DataFrame | None
    closed: bool


@dataclass(frozen=True)
class CleanDay:
    """Canonical tables of a day (orders and responses always, clicks too where the source records any, others when they
    arrived), and what was refused.

    `overflow` is a message for a person when too many rows of a table broke rules; the step must then stop.
    """

    tables: dict[str, pl.DataFrame]
    quarantine: pl.DataFrame
    notes: list[str]
    overflow: str | None


def clean_day(day: date, inputs: Inputs, settings: CleaningSettings, max_chars: int) -> CleanDay:
    """Canonical tables of a day. Raises EmptyDay for a day without orders that is not a declared holiday."""
    if not inputs.closed and inputs.raw["transactions"].is_empty():
        raise EmptyDay(
            f"{day}: no transactions arrived and the source does not declare the day closed; check the delivery"
        )
    tables: dict[str, pl.DataFrame] = {"order_lines": ORDER_LINES.empty(), "responses": RESPONSES.empty()}
    if "clicks" in inputs.tables:  # a day without clicks is known to have none
        tables["clicks"] = CLICKS.empty()
    results: list[Cleaned] = []
    promotions = inputs.promotions
    for name in sorted(inputs.raw, key=_ORDER.index):
        table, raw = inputs.tables[name], inputs.raw[name]
        cleaned = apply(table, raw, _context(name, raw, inputs.items, promotions, tables), settings, max_chars)
        tables[table.canonical] = _with(tables.get(table.canonical), cleaned.good, table)
        results.append(cleaned)
        if name == "promotions":
            promotions = cleaned.good
    if "offer_items" in tables:
        tables["offers"] = _offers(tables["offer_items"], _campaigns(tables), tables.get("offers"))
    quarantine = pl.concat([QUARANTINE.empty(), *(result.quarantine for result in results)])
    notes = [_note(result) for result in results]
    return CleanDay(tables, quarantine, notes, _overflow(day, results, settings))


# Promotions before transactions (lines are flagged with them), campaigns before their mailing lists and coupons.
_ORDER = [
    "promotions",
    "promotion_plan",
    "transactions",
    "coupon_redemptions",
    "campaign_descriptions",
    "campaigns",
    "coupons",
    "offers",
    "deliveries",
    "clicks",
]


def _context(
    name: str, raw: pl.DataFrame, items: pl.DataFrame, promotions: pl.DataFrame | None, tables: dict[str, pl.DataFrame]
) -> pl.DataFrame | None:
    """Looked-up columns beside the raw ones, row for row."""
    if name == "transactions":
        catalogue = items.select(pl.col("item_id").alias("product_id"), "category", "merchandise")
        frame = raw.join(catalogue, on="product_id", how="left", maintain_order="left")
        if promotions is None:
            return frame.with_columns(display=pl.lit(None, pl.Boolean), mailer=pl.lit(None, pl.Boolean))
        # Only about 1% of promoted (item, store) pairs are bought on a day: filter before joining.
        keys = {"item_id": "product_id", "store_id": "store_id"}
        flags = promotions.rename(keys).drop("week_start").join(raw, on=["product_id", "store_id"], how="semi")
        return frame.join(flags, on=["product_id", "store_id"], how="left", maintain_order="left")
    if name in ("campaigns", "coupons"):
        starts = _campaigns(tables).select("campaign_id", "start_date")
        return raw.join(starts, on="campaign_id", how="left", maintain_order="left")
    return None


def _campaigns(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Campaigns of the same delivery; mailing lists and coupons that arrive without theirs break `campaign_unknown`."""
    return tables.get("campaigns", CAMPAIGNS.empty())


def _with(before: pl.DataFrame | None, rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Raw tables that mean the same canonical table are put together; a key in two of them breaks the contract."""
    return rows if before is None or before.is_empty() else contract(table.canonical).check(pl.concat([before, rows]))


def _offers(offer_items: pl.DataFrame, campaigns: pl.DataFrame, described: pl.DataFrame | None) -> pl.DataFrame:
    """Offers that the source describes itself, and one for each of the others that has items."""
    described = OFFERS.empty() if described is None else described
    parts = pl.col("offer_id").str.split_exact(":", 1)
    offers = (
        offer_items.join(described, on="offer_id", how="anti")
        .select("offer_id")
        .unique()
        .with_columns(campaign_id=parts.struct.field("field_0"), coupon_id=parts.struct.field("field_1"))
    )
    dated = offers.join(campaigns, on="campaign_id", how="inner").select(
        "offer_id", "campaign_id", "coupon_id", pl.col("start_date").alias("valid_from"),
        pl.col("end_date").alias("valid_to"), pl.lit(None, pl.Int64).alias("face_value_minor"),
    )  # fmt: skip
    return OFFERS.check(pl.concat([described, dated])).sort("offer_id")


def _note(result: Cleaned) -> str:
    refused = result.quarantine.group_by("rule").len().sort("rule")
    rules = ", ".join(f"{rule} {count}" for rule, count in refused.iter_rows()) or "none"
    return (
        f"{result.table}: {result.read} read = {result.good.height} good + {result.quarantine.height} refused ({rules})"
    )


def _overflow(day: date, results: list[Cleaned], settings: CleaningSettings) -> str | None:
    problems = []
    for result in results:
        bad = sum(result.faults.values())
        if result.read < settings.min_rows_for_share or bad <= settings.max_quarantine_share * result.read:
            continue
        rule, count = max(result.faults.items(), key=lambda pair: (pair[1], pair[0]))
        row = result.quarantine.filter(pl.col("rule") == rule).row(0, named=True)
        problems.append(
            f"{result.table} of {day}: {bad} of {result.read} rows ({bad / result.read:.1%}) broke rules, more than "
            f"{settings.max_quarantine_share:.1%}. By rule: {result.faults}. Most: {rule} ({count}), e.g. row {row['row']}: "
            f"{row['value']!r}. The refused rows are in the artefact quarantine/dt={day}. Mend the delivery and run the day "
            f"again, or raise cleaning.max_quarantine_share if this is to be accepted."
        )
    return " ".join(problems) or None
