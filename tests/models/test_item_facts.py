"""What is known of items at a cut: promotion plans in time, and factors of taste."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.contracts import ITEM_PROMOTIONS
from mktgen.models._events import day_number, encode_events
from mktgen.models._item_facts import plans
from mktgen.models._taste import Taste
from mktgen.models._vocabulary import Vocabulary
from tests.support.shop import events_on, item_features

MONDAY = date(2017, 9, 4)
IDS = pl.Series("item_id", ["a", "b", "c"])


def promotions(rows: list[tuple[str, date, date, float, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=ITEM_PROMOTIONS.columns, orient="row")


def test_a_plan_counts_by_the_days_it_covers_and_only_once_it_is_known() -> None:
    rows = [
        ("b", MONDAY, MONDAY - timedelta(7), 0.7, 0.0),
        ("b", MONDAY + timedelta(7), MONDAY, 0.0, 0.35),
        ("zzz", MONDAY, MONDAY - timedelta(7), 1.0, 1.0),
    ]
    days = np.array([day_number(MONDAY + timedelta(n)) for n in (-7, 0, 2, 7)], dtype=np.int64)
    found = plans(promotions(rows), IDS, days)
    assert found.shape == (4, 3, 4)
    assert not found[:, [0, 2]].any()
    expected = [
        [0, 0, 0, 0],  # the plan came in on this very day: not known before it
        [0.7, 0, 0, 0],  # next week's plan comes in on the cut's day
        [0.7 * 5 / 7, 0.35 * 2 / 7, 0.7 * 2 / 28, 0],
        [0, 0.35, 0.7 * 7 / 28, 0],
    ]
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-6)


@given(late=st.integers(0, 20), share=st.floats(0, 1))
def test_what_becomes_known_on_or_after_a_cut_changes_nothing(late: int, share: float) -> None:
    known = ("a", MONDAY, MONDAY - timedelta(7), 0.5, 0.25)
    row = ("c", MONDAY, MONDAY + timedelta(late), share, share)
    at = np.array([day_number(MONDAY)], dtype=np.int64)
    np.testing.assert_array_equal(plans(promotions([known]), IDS, at), plans(promotions([known, row]), IDS, at))


def test_no_plan_is_no_promotion() -> None:
    at = np.array([day_number(MONDAY)], dtype=np.int64)
    assert not plans(ITEM_PROMOTIONS.empty(), IDS, at).any()


def shop_of_two_tastes() -> list[tuple[str, date, str]]:
    """Thirty customers buy among items of one group, thirty among those of the other."""
    rows = []
    for number in range(60):
        group = "xy"[number % 2]
        rows += [
            (f"u{number:02}", MONDAY - timedelta(1 + (number + k) % 50), f"{group}{(number + k) % 8}") for k in range(5)
        ]
    return rows


def taste_of(frame: pl.DataFrame, cut: date) -> tuple[Taste, list[str]]:
    vocabulary = Vocabulary.learn(item_features(events_on(shop_of_two_tastes()), MONDAY), 1)
    log = encode_events(frame, vocabulary, MONDAY, sorted({row[0] for row in shop_of_two_tastes()}))
    return Taste.learn(log, day_number(cut), vocabulary.size, 4, seed=0), vocabulary.item_ids.tolist()


@pytest.mark.parametrize("days", [0, 20])
def test_taste_puts_items_together_that_the_same_customers_buy(days: int) -> None:
    taste, items = taste_of(events_on(shop_of_two_tastes()), MONDAY - timedelta(days))
    assert not taste.factors[0].any()
    assert taste.weight[0] == 0
    group = np.array([name[0] for name in items])
    unit = taste.factors[1:] / np.linalg.norm(taste.factors[1:], axis=1, keepdims=True).clip(1e-9)
    like, same = unit @ unit.T, group[:, None] == group[None, :]
    assert like[same].mean() > like[~same].mean() + 0.3


def test_taste_sees_nothing_from_its_cut_on() -> None:
    first, frame = MONDAY - timedelta(20), events_on(shop_of_two_tastes())
    mine, cut_short = taste_of(frame, first)[0], taste_of(frame.filter(pl.col("business_date") < first), first)[0]
    np.testing.assert_array_equal(mine.factors, cut_short.factors)
    np.testing.assert_array_equal(mine.weight, cut_short.weight)
    assert not np.array_equal(mine.factors, taste_of(frame, MONDAY)[0].factors)


def test_without_events_there_is_no_taste() -> None:
    assert not taste_of(events_on(shop_of_two_tastes()).clear(), MONDAY)[0].factors.any()
