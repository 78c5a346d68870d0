"""What no model can use is refused by name, once for all kinds: before anything is learned or scored from it. The order of
rows says nothing: training gets them in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from mktgen.errors import PermanentError

_KEYS: Final = ("customer_id", "order_id", "item_id", "cut")
_DATES: Final = ("business_date", "event_time", "cut")
_FLAGS: Final = ("on_promotion", "purchased_7d", "purchased_28d")
_MEND: Final = "mend them where the table is made, or leave these rows out"


def refuse_unusable(
    cut: date,
    events: pl.DataFrame,
    people: pl.DataFrame,
    items: pl.DataFrame,
    item_attributes: pl.DataFrame,
    customer_attributes: pl.DataFrame,
) -> None:
    """events: contracts.SEQUENCES. people: customer features, or examples, which have a `cut`. items: contracts.ITEM_FEATURES.
    item_attributes, customer_attributes: contracts.ITEMS and CUSTOMERS.

    No two rows have the same item_id (items, their attributes), customer_id (features, attributes) or customer_id and cut
    (examples). Identifiers, dates, flags and the labels of examples are known. Prices and the numbers of items must be
    finite. A customer's number may be null or NaN, which means that nothing was seen, but not infinite. Frames without rows
    or without such columns pass: a model that needs them says so itself.
    Raises PermanentError naming table, column or key, how many rows, one of them, and what to do.
    """
    whose = ("customer_id", "cut") if "cut" in people.columns else ("customer_id",)
    persons = "examples" if "cut" in people.columns else "customer features"
    for table, frame, key in (
        ("events", events, ()),
        (persons, people, whose),
        ("items", items, ("item_id",)),
        ("item attributes", item_attributes, ("item_id",)),
        ("customer attributes", customer_attributes, ("customer_id",)),
    ):
        _refuse_unknown(cut, table, frame)
        _refuse_repeated(cut, table, frame, key)
    _refuse_numbers(cut, "events", events, [name for name in ("net_minor",) if name in events.columns], False)
    _refuse_numbers(cut, "items", items, _numbers(items), missing_is_fine=False)
    labels = [name for name in ("spend_28d_minor",) if name in people.columns]
    _refuse_numbers(cut, persons, people, labels, missing_is_fine=False)
    _refuse_numbers(cut, persons, people, _numbers(people), missing_is_fine=True)


def in_order(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The rows by `key`, and by all else where that is equal; as they are where they are so already, or lack the key."""
    if frame.height < 2 or not set(key) <= set(frame.columns):
        return frame
    sorted_so: pl.Expr = pl.lit(True)
    for name in reversed(key):
        now, last = pl.col(name), pl.col(name).shift(1)
        sorted_so = (last < now) | ((last == now) & sorted_so)
    if frame.select(sorted_so.slice(1).all()).item():
        return frame
    return frame.sort([*key, *(name for name in frame.columns if name not in key)], maintain_order=True)


def _numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_numeric()]


def _refuse_unknown(cut: date, table: str, frame: pl.DataFrame) -> None:
    names = [name for name in (*_KEYS, *_DATES, *_FLAGS) if name in frame.columns]
    counts = frame.select(pl.col(names).null_count()).row(0, named=True) if names and frame.height else {}
    for name, count in counts.items():
        if count:
            raise PermanentError(_told(cut, table, frame, pl.col(name).is_null(), name, f"{name} is missing", count))


def _refuse_repeated(cut: date, table: str, frame: pl.DataFrame, key: tuple[str, ...]) -> None:
    if not key or frame.is_empty() or not set(key) <= set(frame.columns):
        return
    repeated = frame.select(key).is_duplicated()
    if repeated.any():
        example = frame.filter(repeated).select(key).sort(key).row(0, named=True)
        raise PermanentError(
            f"{table} as of {cut}: {int(repeated.sum())} of {frame.height} rows share their {' and '.join(key)} with another, "
            f"e.g. {example}; there must be one row each, leave the others out where the table is made"
        )


def _refuse_numbers(cut: date, table: str, frame: pl.DataFrame, names: list[str], missing_is_fine: bool) -> None:
    if not names or frame.is_empty():
        return
    allowed = "a finite number or missing" if missing_is_fine else "a finite number"
    bad = {name: _unusable(frame.schema[name], name, missing_is_fine) for name in names}
    counts = frame.select(rule.sum().alias(name) for name, rule in bad.items()).row(0, named=True)
    for name, count in counts.items():
        if count:
            raise PermanentError(_told(cut, table, frame, bad[name], name, f"{name} is not {allowed}", count))


def _told(cut: date, table: str, frame: pl.DataFrame, bad: pl.Expr, name: str, what: str, count: int) -> str:
    keys = [key for key in _KEYS if key in frame.columns and key != name]
    example = frame.filter(bad).select(*keys, name).row(0, named=True)
    return f"{table} as of {cut}: {what} in {count} of {frame.height} rows, e.g. {example}; {_MEND}"


def _unusable(dtype: pl.DataType, name: str, missing_is_fine: bool) -> pl.Expr:
    column = pl.col(name)
    infinite = column.is_infinite().fill_null(False) if dtype.is_float() else pl.lit(False)
    if missing_is_fine:
        return infinite
    return (column.is_nan().fill_null(False) | infinite if dtype.is_float() else pl.lit(False)) | column.is_null()
