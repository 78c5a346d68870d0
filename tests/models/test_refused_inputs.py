"""What no kind can use is refused by name when the input is put together: two rows for one, unknown keys, flags and labels,
numbers that are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.models.base import History
from tests.support.shop import make_shop

CUT = date(2017, 6, 4)
SHOP = make_shop(customers=40, items=50)
DATA = SHOP.training_set(CUT)
HISTORY = SHOP.history(CUT)


Bad = tuple[Callable[[History], History], str]


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.head(2)])


def unknown_at(frame: pl.DataFrame, column: str, row: int = 3) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(here).then(None).otherwise(pl.col(column)).alias(column))


BAD_HISTORIES: dict[str, Bad] = {
    "items": (
        lambda h: replace(h, items=twice(h.items)),
        r"^items as of 2017-06-04: 4 of 52 rows share their item_id with another, e\.g\. \{'item_id': 'i0000'\}; .*one row",
    ),
    "features": (
        lambda h: replace(h, features=twice(h.features)),
        r"^customer features as of 2017-06-04: 4 of \d+ rows share their customer_id with another, e\.g\. .*'c0000'.*one row",
    ),
    "item attributes": (
        lambda h: replace(h, item_attributes=twice(h.item_attributes)),
        r"^item attributes as of 2017-06-04: 4 of 52 rows share their item_id .*'i0000'",
    ),
    "customer attributes": (
        lambda h: replace(h, customer_attributes=twice(h.customer_attributes)),
        r"^customer attributes as of 2017-06-04: 4 of \d+ rows share their customer_id .*'c0001'",
    ),
    "flag": (
        lambda h: replace(h, events=unknown_at(h.events, "on_promotion")),
        r"^events as of 2017-06-04: on_promotion is missing in 1 of \d+ rows, e\.g\. .*'c0000'.*; mend them",
    ),
    **{
        f"events without {column}": (
            lambda h, column=column: replace(h, events=unknown_at(h.events, column)),  # type: ignore[misc]
            rf"^events as of 2017-06-04: {column} is missing in 1 of \d+ rows",
        )
        for column in ("customer_id", "event_time", "business_date", "order_id", "item_id")
    },
    "item without a name": (
        lambda h: replace(h, items=unknown_at(h.items, "item_id")),
        r"^items as of 2017-06-04: item_id is missing in 1 of 50 rows",
    ),
    "features of nobody": (
        lambda h: replace(h, features=unknown_at(h.features, "customer_id")),
        r"^customer features as of 2017-06-04: customer_id is missing in 1 of",
    ),
}


@pytest.mark.parametrize("what", BAD_HISTORIES)
def test_two_rows_for_one_and_unknown_keys_or_flags_are_refused_by_name(what: str) -> None:
    """Before any kind is asked to score."""
    spoil, said = BAD_HISTORIES[what]
    with pytest.raises(PermanentError, match=said):
        spoil(HISTORY)


BAD_TRAINING: dict[str, tuple[dict[str, pl.DataFrame], str]] = {
    "items": ({"items": twice(DATA.items)}, r"^items .* 4 of 52 rows share their item_id with another, .*'i0000'"),
    "examples": (
        {"examples": twice(DATA.examples)},
        r"^examples as of 2017-06-04: 4 of \d+ rows share their customer_id and cut with another, e\.g\. .*'c0000'.*2017",
    ),
    "flag": ({"events": unknown_at(DATA.events, "on_promotion")}, r"^events .*on_promotion is missing in 1 of"),
    "label": ({"examples": unknown_at(DATA.examples, "purchased_7d")}, r"^examples .*purchased_7d is missing in 1 of"),
    "amount": (
        {"examples": unknown_at(DATA.examples, "spend_28d_minor")},
        r"^examples .*spend_28d_minor is not a finite",
    ),
    "day": ({"examples": unknown_at(DATA.examples, "cut")}, r"^examples .*cut is missing in 1 of"),
}


@pytest.mark.parametrize("what", BAD_TRAINING)
def test_two_rows_for_one_and_unknown_keys_flags_or_labels_are_not_learned_from(what: str) -> None:
    spoilt, said = BAD_TRAINING[what]
    with pytest.raises(PermanentError, match=said):
        replace(DATA, **spoilt)  # type: ignore[arg-type]


def test_a_customer_of_several_cuts_is_no_repetition() -> None:
    assert DATA.examples["customer_id"].is_duplicated().any()
    answers_of = replace(DATA, examples=DATA.examples)
    assert answers_of.examples.height == DATA.examples.height


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_items_without_counts_are_refused_by_name(value: float | None) -> None:
    broken = HISTORY.items.with_columns(
        pl.when(pl.col("item_id") == "i0003").then(pl.lit(value, pl.Float64)).otherwise("lines_28d").alias("lines_28d")
    )
    with pytest.raises(PermanentError, match=r"items as of 2017-06-04: lines_28d .* in 1 of 50 rows.*i0003"):
        replace(HISTORY, items=broken)


def test_infinite_facts_of_a_customer_are_refused_by_name() -> None:
    infinite = HISTORY.features.with_columns(pl.lit(float("-inf")).alias("net_minor_84d"))
    with pytest.raises(PermanentError, match="customer features as of 2017-06-04: net_minor_84d is not a finite"):
        replace(HISTORY, features=infinite)
    examples = DATA.examples.with_columns(pl.lit(float("inf")).alias("net_minor_84d"))
    with pytest.raises(PermanentError, match="net_minor_84d is not a finite number or missing"):
        replace(DATA, examples=examples)
