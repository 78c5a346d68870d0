"""The state is a fold, and nothing after the cut changes anything."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen import features
from mktgen.contracts import ORDER_LINES
from mktgen.features.training import labels, training_examples, weekly_cuts
from mktgen.settings import FeatureSettings

FIRST = date(2017, 1, 1)
SETTINGS = FeatureSettings(window_days=84, item_window_days=28, sequence_events=16)

line = st.tuples(
    st.integers(0, 59),  # day
    st.integers(0, 4),  # customer
    st.integers(0, 7),  # item
    st.integers(0, 5_000),  # net
    st.integers(0, 300),  # discount
    st.booleans(),  # merchandise
    st.booleans(),  # on display
)


def lines_of(rows: list[tuple[int, int, int, int, int, bool, bool]]) -> pl.DataFrame:
    records = {}
    for day, customer, item, net, discount, goods, display in rows:
        business_date = FIRST + timedelta(days=day)
        order = f"o{day}-{customer}"
        records[(order, item)] = {
            "order_id": order,
            "item_id": f"i{item}",
            "customer_id": f"c{customer}",
            "store_id": "1",
            "event_time": datetime(2017, 1, 1, 12, tzinfo=UTC) + timedelta(days=day, minutes=customer),
            "business_date": business_date,
            "category": f"k{item % 3}",
            "merchandise": goods,
            "units": 1,
            "net_minor": net,
            "gross_minor": net + discount,
            "loyalty_disc_minor": discount,
            "coupon_disc_minor": discount // 2,
            "match_disc_minor": 0,
            "paid_minor": net,
            "on_display": display,
            "on_mailer": False,
            "ingested_at": datetime(2017, 1, 2, tzinfo=UTC) + timedelta(days=day),
        }
    return pl.DataFrame(list(records.values()), schema=dict(ORDER_LINES.columns))


def upto(lines: pl.DataFrame, cut: date) -> pl.DataFrame:
    return lines.filter(pl.col("business_date") < cut)


@settings(max_examples=60, deadline=None)
@given(st.lists(line, max_size=80), st.integers(1, 59))
def test_two_folds_equal_one(rows: list[tuple[int, int, int, int, int, bool, bool]], split: int) -> None:
    lines, cut, last = lines_of(rows), FIRST + timedelta(days=split), FIRST + timedelta(days=59)
    once = features.fold(features.empty_state(), lines, last, SETTINGS)
    half = features.fold(features.empty_state(), upto(lines, cut), cut - timedelta(days=1), SETTINGS)
    twice = features.fold(half, lines.filter(pl.col("business_date") >= cut), last, SETTINGS)
    for name, table in once.tables().items():
        assert table.equals(twice.tables()[name]), name


@settings(max_examples=60, deadline=None)
@given(st.lists(line, max_size=80), st.lists(line, max_size=40), st.integers(1, 59))
def test_rows_after_the_cut_change_nothing(
    rows: list[tuple[int, int, int, int, int, bool, bool]],
    later: list[tuple[int, int, int, int, int, bool, bool]],
    day: int,
) -> None:
    cut = FIRST + timedelta(days=day)
    known = upto(lines_of(rows), cut)
    future = lines_of([row for row in later if row[0] >= day])

    def at_cut(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        state = features.fold(features.empty_state(), upto(lines, cut), cut - timedelta(days=1), SETTINGS)
        return features.customer_features(state, cut), features.item_features(state, cut)

    for mine, theirs in zip(at_cut(known), at_cut(pl.concat([known, future])), strict=True):
        assert mine.equals(theirs)


@settings(max_examples=30, deadline=None)
@given(st.lists(line, min_size=1, max_size=80), st.lists(line, max_size=40))
def test_examples_of_a_cut_depend_on_features_before_and_labels_after(
    rows: list[tuple[int, int, int, int, int, bool, bool]], later: list[tuple[int, int, int, int, int, bool, bool]]
) -> None:
    cut = FIRST + timedelta(days=29)
    lines, end = lines_of(rows), cut + timedelta(days=28)
    beyond = lines_of([row for row in later if FIRST + timedelta(days=row[0]) >= end])
    once = training_examples(upto(lines, end), [cut], SETTINGS)
    assert once.equals(training_examples(pl.concat([upto(lines, end), beyond]), [cut], SETTINGS))


def test_worked_example() -> None:
    rows = [(0, 0, 0, 1000, 100, True, True), (0, 0, 1, 500, 0, True, False)]
    lines = lines_of([*rows, (10, 0, 0, 700, 0, True, False), (10, 0, 5, 900, 0, False, False)])
    cut = FIRST + timedelta(days=12)
    state = features.fold(features.empty_state(), lines, cut - timedelta(days=1), SETTINGS)
    row = features.customer_features(state, cut).row(0, named=True)
    assert (row["recency_days"], row["tenure_days"], row["orders_7d"], row["orders_28d"]) == (2, 12, 1, 2)
    assert (row["net_minor_7d"], row["net_minor_28d"], row["other_minor_84d"]) == (700, 2200, 900)
    assert row["gap_days_mean"] == 10
    assert row["recency_over_gap"] == 0.2
    assert row["lines_per_order_84d"] == 1.5
    assert row["discount_share_84d"] == (100 + 50) / 2300
    assert row["promo_share_84d"] == 1 / 3
    item = features.item_features(state, cut).filter(pl.col("item_id") == "i0").row(0, named=True)
    assert (item["lines_all"], item["recency_days"], item["price_minor"]) == (2, 2, 850)


def test_labels_look_at_exactly_28_days() -> None:
    lines = lines_of([(7, 0, 0, 1, 0, True, False), (27, 1, 0, 1, 0, True, False), (28, 2, 0, 1, 0, True, False)])
    found = {row["customer_id"]: (row["purchased_7d"], row["purchased_28d"]) for row in labels(lines, FIRST).to_dicts()}
    assert found == {"c0": (False, True), "c1": (False, True)}


def test_label_windows_end_before_the_evaluation() -> None:
    cuts = weekly_cuts(date(2017, 9, 3), 16, FIRST)
    assert len(cuts) == 16
    assert max(cuts) + timedelta(days=28) == date(2017, 9, 3)
    assert weekly_cuts(date(2017, 3, 1), 16, FIRST)[0] >= FIRST + timedelta(days=28)


def test_an_empty_day_is_a_state() -> None:
    state = features.fold(features.empty_state(), ORDER_LINES.empty(), FIRST, SETTINGS)
    assert features.customer_features(state, FIRST + timedelta(days=1)).is_empty()


def test_units_by_category_leave_out_what_is_no_merchandise_and_count_what_is_unknown() -> None:
    lines = lines_of([(0, 0, 0, 100, 0, True, False), (0, 1, 3, 100, 0, True, False), (0, 2, 6, 100, 0, True, False),
                      (0, 3, 0, 100, 0, False, False)])  # fmt: skip
    lines = lines.with_columns(
        pl.when(pl.col("item_id") == "i3").then(None).otherwise(pl.lit(5, pl.Int32)).alias("units")
    )
    state = features.fold(features.empty_state(), lines, FIRST, SETTINGS)
    assert state.category_days.rows() == [("k0", FIRST, 10, 2, 1)]
