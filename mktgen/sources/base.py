"""What a source gives: rows as received, and how its columns map to the canonical tables."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import polars as pl

from mktgen.errors import PermanentError


class SourceError(PermanentError):
    """The source can't give the day asked for; the message says which days it has."""


@dataclass(frozen=True)
class Capabilities:
    """What the source's data can support. A metric is computed only where its capabilities are there."""

    has_impressions: bool
    has_clicks: bool
    has_propensity: bool
    has_randomised_holdout: bool
    has_cost: bool
    has_offer_level_exposure: bool

    def as_dict(self) -> dict[str, bool]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Rule:
    """A row that meets `broken` is refused under `name`; `column` is the raw column shown as the offending value."""

    name: str
    column: str
    broken: pl.Expr


@dataclass(frozen=True)
class TableMapping:
    """One raw table to one canonical table.

    `parsed` are expressions over raw strings, cast leniently (null where they don't parse); `rules` are expressions over
    raw and parsed columns, checked in order, the first broken one counts; `columns` are the canonical columns over both.
    `key`: raw columns that identify a row; a later row with a key already seen breaks `duplicate_key` (a property of the
    source rather than a fault where `duplicates_expected`); its flags in `merge_by_or` are merged into the first row.
    """

    table: str
    canonical: str
    parsed: dict[str, pl.Expr]
    rules: tuple[Rule, ...]
    columns: dict[str, pl.Expr]
    key: tuple[str, ...]
    duplicates_expected: bool = False
    merge_by_or: tuple[str, ...] = ()


class ObjectReader(Protocol):
    """The only thing a source may know of S3: objects that another part of the product wrote for it."""

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix, in order."""

    def get(self, key: str) -> bytes | None:
        """The object; None where there is none."""


class Source(Protocol):
    """An upstream whose partitions are business days in its own time zone.

    Tables whose cadence is not daily arrive on the day that `tables_of` names them.
    """

    name: str
    version: str
    timezone: str
    currency: str
    notice: str
    capabilities: Capabilities
    live: bool  # its customers can receive what we send; False for a replayed history
    renews_offers: bool  # each message brings a coupon of its own, so who has redeemed an offer may get it again
    first_day: date
    last_day: date
    tables: tuple[str, ...]  # that arrive by day
    reference_tables: tuple[str, ...]

    def fingerprint(self, day: date) -> str:
        """Identity of what `read(day)` will give: version, or hash of the file that was dropped for that day."""

    def is_closed(self, day: date) -> bool:
        """The shop was closed: a day without rows is valid and empty."""

    def promotion_week(self, day: date) -> date:
        """First day of the promotion week that `day` lies in."""

    def read(self, day: date) -> dict[str, pl.DataFrame]:
        """Raw tables that arrive on a day: String columns plus `row` (UInt32). Raises SourceError."""

    def read_range(self, first: date, last: date) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
        """`read` for each day of a range, in one pass over the upstream."""

    def read_reference(self) -> dict[str, pl.DataFrame]:
        """Raw tables that do not belong to a day (catalogue, customer attributes)."""

    def mappings(self, day: date, reference: Mapping[str, pl.DataFrame]) -> dict[str, TableMapping]:
        """Raw table -> mapping, for the rows of a day; `reference` holds the canonical reference tables."""


def pseudonym(value: str, key: str) -> str:
    """Keyed hash of a customer identifier: HMAC-SHA-256, 64 bits kept (P(collision) < 3e-8 among a million customers)."""
    return "c" + hmac.new(key.encode(), value.encode(), hashlib.sha256).hexdigest()[:16]


def pseudonymise(frame: pl.DataFrame, column: str, key: str, valid: str) -> pl.DataFrame:
    """Replace identifiers by pseudonyms; one that doesn't match the pattern `valid` gets the prefix `invalid-`."""
    if frame.height == 0:
        return frame
    values = frame[column].unique().drop_nulls().to_list()
    fine = set(frame.select(pl.col(column).filter(pl.col(column).str.contains(valid)).unique())[column].to_list())
    mapped = [("" if value in fine else "invalid-") + pseudonym(value, key) for value in values]
    table = pl.DataFrame({column: values, "_pseudonym": mapped}, schema={column: pl.String, "_pseudonym": pl.String})
    joined = frame.join(table, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.col("_pseudonym").alias(column)).drop("_pseudonym")
