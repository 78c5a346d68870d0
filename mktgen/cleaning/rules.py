"""Apply a table's rules: good rows go on, the others go to quarantine under the name of the first rule they broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from mktgen.contracts import QUARANTINE, contract
from mktgen.settings import CleaningSettings

TOO_LONG: Final = "value_too_long"
DUPLICATE: Final = "duplicate_key"
_SHOWN_CHARS: Final = 200


class NamedRule(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def broken(self) -> pl.Expr: ...


class Table(Protocol):
    """What cleaning needs to know of a raw table; sources give it (see sources/base.py)."""

    @property
    def table(self) -> str: ...
    @property
    def canonical(self) -> str: ...
    @property
    def parsed(self) -> Mapping[str, pl.Expr]: ...
    @property
    def rules(self) -> tuple[NamedRule, ...]: ...
    @property
    def columns(self) -> Mapping[str, pl.Expr]: ...
    @property
    def key(self) -> tuple[str, ...]: ...
    @property
    def duplicates_expected(self) -> bool: ...
    @property
    def merge_by_or(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Cleaned:
    """One table of one day. `faults` counts refused rows by rule, without duplicates that the source is known for."""

    table: str
    good: pl.DataFrame
    quarantine: pl.DataFrame
    read: int
    faults: dict[str, int]


def apply(
    table: Table, raw: pl.DataFrame, context: pl.DataFrame | None, settings: CleaningSettings, max_chars: int
) -> Cleaned:
    """Clean one raw table (String columns plus `row`); good rows stay in the order they were delivered in.

    `context`: `raw` with looked-up columns joined to it (same rows, same order), where the mapping needs any.
    Raises ContractError if the good rows break the canonical contract, RuntimeError if a row went missing.
    """
    texts = [name for name, dtype in raw.schema.items() if dtype == pl.String]
    frame = (raw if context is None else context).with_columns(
        _max_units=pl.lit(settings.max_units, pl.Int64), _max_line_minor=pl.lit(settings.max_line_minor, pl.Int64)
    )
    too_long = pl.any_horizontal([pl.col(name).str.len_bytes() > max_chars for name in texts]).fill_null(False)
    frame = frame.with_columns(**table.parsed).with_columns(_rule=_first_broken(table, too_long))
    frame = _mark_duplicates(frame, table)
    bad = frame.filter(pl.col("_rule").is_not_null())
    passed = frame.filter(pl.col("_rule").is_null())
    good = passed.select([expr.alias(name) for name, expr in table.columns.items()])
    if table.merge_by_or:
        good = _merge_flags(good, bad, table)
    schema = contract(table.canonical)
    good = schema.check(good.cast(pl.Schema(schema.columns)))
    quarantine = _quarantine(bad, table, texts)
    if good.height + quarantine.height != raw.height:
        raise RuntimeError(f"{table.table}: {raw.height} rows read, {good.height} good + {quarantine.height} refused")
    return Cleaned(table.table, good, quarantine, raw.height, _faults(quarantine, table))


def _first_broken(table: Table, too_long: pl.Expr) -> pl.Expr:
    broken = pl.lit(None, pl.String)
    for rule in reversed(table.rules):
        # A rule that can't be evaluated is broken: the earlier rules name what could not be parsed.
        broken = pl.when(rule.broken.fill_null(True)).then(pl.lit(rule.name)).otherwise(broken)
    return pl.when(too_long).then(pl.lit(TOO_LONG)).otherwise(broken)


def _mark_duplicates(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Of the rows that broke nothing, all but the first of a key."""
    valid = frame.filter(pl.col("_rule").is_null())
    first = valid.unique(subset=list(table.key), keep="first")
    if first.height == valid.height:
        return frame
    again = valid.select("row").join(first.select("row"), on="row", how="anti").with_columns(_again=pl.lit(DUPLICATE))
    joined = frame.join(again, on="row", how="left", maintain_order="left")
    return joined.with_columns(_rule=pl.coalesce("_rule", "_again")).drop("_again")


def _merge_flags(good: pl.DataFrame, bad: pl.DataFrame, table: Table) -> pl.DataFrame:
    """OR the flags of refused duplicates into the row that was kept."""
    same = [name for name in good.columns if name not in table.merge_by_or]
    again = bad.filter(pl.col("_rule") == DUPLICATE).select([expr.alias(name) for name, expr in table.columns.items()])
    if again.is_empty():
        return good
    more = again.group_by(same).agg(pl.col(table.merge_by_or).any().name.suffix("_again"))
    joined = good.join(more, on=same, how="left", maintain_order="left")
    merged = [(pl.col(name) | pl.col(f"{name}_again").fill_null(False)).alias(name) for name in table.merge_by_or]
    return joined.with_columns(merged).select(good.columns)


def _quarantine(bad: pl.DataFrame, table: Table, texts: list[str]) -> pl.DataFrame:
    columns = {rule.name: rule.column for rule in table.rules}
    value = pl.lit(None, pl.String)
    for name, column in columns.items():
        value = pl.when(pl.col("_rule") == name).then(pl.col(column).str.slice(0, _SHOWN_CHARS)).otherwise(value)
    raw = pl.struct([pl.col(name).str.slice(0, _SHOWN_CHARS) for name in texts]).struct.json_encode()
    frame = bad.select(
        table=pl.lit(table.table),
        row=pl.col("row"),
        rule=pl.col("_rule"),
        value=value.alias("value"),
        raw=raw.alias("raw"),
    )
    return QUARANTINE.check(frame).sort("row")


def _faults(quarantine: pl.DataFrame, table: Table) -> dict[str, int]:
    counts = quarantine.group_by("rule").len().sort("rule")
    known = {DUPLICATE} if table.duplicates_expected else set()
    return {rule: count for rule, count in counts.iter_rows() if rule not in known}
