"""Values no model can use are refused by name, once for all kinds: before anything is learned or scored from them."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from mktgen.errors import PermanentError

_KEYS: Final = ("customer_id", "order_id", "item_id")


def refuse_unusable(cut: date, events: pl.DataFrame, people: pl.DataFrame, items: pl.DataFrame) -> None:
    """events: contracts.SEQUENCES. people: customer features or examples. items: contracts.ITEM_FEATURES.

    Prices and the numbers of items must be finite. A customer's number may be null or NaN, which means that nothing was
    seen, but not infinite. Frames without rows or without such columns pass: a model that needs them says so itself.
    Raises PermanentError naming table, column, how many rows and the first of them.
    """
    _refuse(cut, "events", events, [name for name in ("net_minor",) if name in events.columns], missing_is_fine=False)
    _refuse(cut, "items", items, _numbers(items), missing_is_fine=False)
    _refuse(cut, "customer features", people, _numbers(people), missing_is_fine=True)


def _numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_numeric()]


def _refuse(cut: date, table: str, frame: pl.DataFrame, names: list[str], missing_is_fine: bool) -> None:
    if not names or frame.is_empty():
        return
    allowed = "a finite number or missing" if missing_is_fine else "a finite number"
    bad = {name: _unusable(frame.schema[name], name, missing_is_fine) for name in names}
    counts = frame.select(rule.sum().alias(name) for name, rule in bad.items()).row(0, named=True)
    for name, count in counts.items():
        if count:
            keys = [key for key in _KEYS if key in frame.columns]
            example = frame.filter(bad[name]).select(*keys, name).row(0, named=True)
            raise PermanentError(
                f"{table} as of {cut}: {name} is not {allowed} in {count} of {frame.height} rows, e.g. {example}; "
                "mend them where the table is made, or leave these rows out"
            )


def _unusable(dtype: pl.DataType, name: str, missing_is_fine: bool) -> pl.Expr:
    column = pl.col(name)
    infinite = column.is_infinite().fill_null(False) if dtype.is_float() else pl.lit(False)
    if missing_is_fine:
        return infinite
    return (column.is_nan().fill_null(False) | infinite if dtype.is_float() else pl.lit(False)) | column.is_null()
