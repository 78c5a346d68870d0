"""Comparisons of scores and tables: what differs is found, what doesn't isn't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen.contracts import ORDER_LINES
from mktgen.evaluation import sameness
from mktgen.evaluation.corruption import corrupt_future, reordered
from tests.support.shop import make_shop, order_lines

CUT = date(2017, 4, 2)
LINES = order_lines(make_shop(customers=12, items=20, days=120).events)


def scores(rows: list[tuple[str, str, int, str, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=sameness.SCORES, orient="row")


RANKED = scores([("u", "seen", 1, "a", 0.9), ("u", "seen", 2, "b", 0.5), ("v", "p_purchase_7d", 0, "", 0.25)])


def changed(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    records = frame.to_dicts()
    records[row] |= values
    return pl.DataFrame(records, schema=frame.schema)


def test_rankings_and_probabilities_are_stacked() -> None:
    ranking = pl.DataFrame(
        [("u", "a", True, 1, 0.9), ("u", "b", False, 1, 0.5)],
        schema={"customer_id": pl.String, "item_id": pl.String, "seen": pl.Boolean, "rank": pl.Int32, "score": pl.Float64},
        orient="row",
    )  # fmt: skip
    chances = pl.DataFrame({"customer_id": ["u"], "p_purchase_7d": [0.2], "p_purchase_28d": [0.6]})
    stacked = sameness.stacked(ranking, chances)
    assert dict(stacked.schema) == sameness.SCORES
    assert dict(stacked.select("measure", "score").iter_rows()) == {
        "p_purchase_28d": 0.6, "p_purchase_7d": 0.2, "seen": 0.9, "unseen": 0.5,
    }  # fmt: skip
    assert sameness.stacked(None, None).is_empty()


@pytest.mark.parametrize("compare", [sameness.same_scores, sameness.close_scores])
def test_equal_scores_are_the_same(compare: Callable[[str, pl.DataFrame, pl.DataFrame], sameness.Finding]) -> None:
    found = compare("scores", RANKED, RANKED.clone())
    assert (found.compared, found.different) == (2, 0)
    assert sameness.gate("g", [found]).passed is True


@pytest.mark.parametrize(
    ("found", "customer"),
    [
        (changed(RANKED, 0, score=np.nextafter(0.9, 1.0)), "u"),
        (changed(RANKED, 0, item_id="c"), "u"),
        (RANKED.head(2), "v"),
        (changed(RANKED, 2, score=float("nan")), "v"),
    ],
)
def test_same_scores_finds_the_last_bit(found: pl.DataFrame, customer: str) -> None:
    finding = sameness.same_scores("scores with another future", RANKED, found)
    gate = sameness.gate("point_in_time", [finding])
    assert finding.different == 1
    assert gate.passed is False
    assert f"customer {customer}" in gate.detail
    assert "scores with another future: 1 of 2 customers differ" in gate.detail


def test_close_scores_forgives_rounding_and_what_it_decides() -> None:
    swapped = scores(
        [("u", "seen", 1, "b", 0.900000001), ("u", "seen", 2, "a", 0.9), ("v", "p_purchase_7d", 0, "", 0.25)]
    )
    near = changed(RANKED, 1, item_id="b", score=0.900000001)
    assert sameness.close_scores("s", near, swapped).different == 0
    # At the last place rounding decides which of two items is in.
    assert sameness.close_scores("s", RANKED, changed(RANKED, 1, item_id="z", score=0.5000001)).different == 0


@pytest.mark.parametrize(
    "found",
    [
        changed(RANKED, 0, score=0.901),
        changed(RANKED, 0, item_id="z"),
        changed(changed(RANKED, 0, item_id="b"), 1, item_id="a"),
        changed(RANKED, 2, score=float("nan")),
        RANKED.head(2),
    ],
)
def test_close_scores_finds_other_scores_other_items_and_missing_customers(found: pl.DataFrame) -> None:
    assert sameness.close_scores("s", RANKED, found).different == 1
    assert sameness.close_scores("s", found, RANKED).different == 1


def test_tables_are_compared_row_by_row() -> None:
    table = pl.DataFrame({"a": [1, 2, 3], "b": [0.1, None, 0.3]})
    same = sameness.same_tables("tables", {"t": table}, {"t": table.clone()})
    assert (same.compared, same.different) == (3, 0)
    other = sameness.same_tables("tables", {"t": table}, {"t": changed(table, 1, b=0.2)})
    assert (other.different, other.example) == (1, "t, b of row 1: None became 0.2")
    assert sameness.same_tables("tables", {"t": table}, {"t": table.reverse()}).different == 2
    assert sameness.same_tables("tables", {"t": table}, {"t": table.head(2)}).different == 1
    assert "2 columns became 3 rows of 1 columns" in str(
        sameness.same_tables("tables", {"t": table}, {"t": table.drop("b")})
    )


def test_nothing_to_compare_is_neither_passed_nor_failed() -> None:
    assert sameness.gate("g", []).passed is None
    assert sameness.gate("g", [sameness.same_scores("s", RANKED.clear(), RANKED.clear())]).passed is None


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 90), st.integers(0, 2**32))
def test_a_corrupted_future_leaves_the_past_alone_and_keeps_the_contract(day: int, seed: int) -> None:
    cut = date(2017, 1, 15) + timedelta(days=day)
    late = pl.col("business_date") >= cut
    found = ORDER_LINES.check(corrupt_future(LINES, cut, seed))
    assert_frame_equal(found.filter(~late), LINES.filter(~late))
    future, before = found.filter(late), LINES.filter(late)
    assert future.height == before.height
    assert set(future["order_id"]).isdisjoint(before["order_id"])
    for name in ("customer_id", "item_id", "business_date"):
        assert sorted(future[name]) == sorted(before[name])
    assert int(future["net_minor"].sum()) == 3 * int(before["net_minor"].sum()) + before.height
    assert_frame_equal(found, corrupt_future(LINES, cut, seed))


def test_reordered_rows_are_the_same_rows() -> None:
    found = reordered(LINES, seed=1)
    assert not found.equals(LINES)
    assert_frame_equal(found, LINES, check_row_order=False)
