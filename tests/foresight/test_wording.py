"""Reasons in plain words."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from mktgen.foresight.wording import effect_text, item_rhythm, visit_rhythm

TODAY = date(2017, 10, 1)


def ago(*days: int) -> list[date]:
    return [TODAY - timedelta(days=number) for number in days]


@pytest.mark.parametrize(
    ("own", "category", "text"),
    [
        (ago(74, 62, 50, 38, 26, 14), [], "bought 6 times, about every 12 days, last 14 days ago"),
        (ago(1, 0), [], "bought 2 times, about every 1 day, last today"),
        (ago(9), [], "bought once, 9 days ago"),
        ([], ago(30, 10), "new to this customer, who bought CHEESE 2 times, about every 20 days, last 10 days ago"),
        ([], [], "new to this customer, as is CHEESE"),
    ],
)
def test_how_an_item_is_bought(own: list[date], category: list[date], text: str) -> None:
    assert item_rhythm(own, "CHEESE", category, TODAY) == text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ((24.0, 6.2, 9.0, 1.0, 9.0), "no visit for 23 days, usual gap 6; 1 visit in 28 days, 9 in 84"),
        ((4.0, 30.0, 5.0, 1.0, 3.0), "last visit 3 days ago, usual gap 30; 1 visit in 28 days, 3 in 84"),
        ((1.0, 3.0, 5.0, 2.0, 5.0), "last visit today, usual gap 3; 2 visits in 28 days, 5 in 84"),
        ((40.0, 39.0, 1.0, 0.0, 1.0), "one visit only, 39 days ago"),
    ],
)
def test_how_a_customer_visits(facts: tuple[float, ...], text: str) -> None:
    names = ("recency_days", "gap_days_mean", "orders_all", "orders_28d", "orders_84d")
    assert visit_rhythm(dict(zip(names, facts, strict=True))) == text


def row(kind: str, **values: Any) -> dict[str, Any]:
    base = {
        "kind": kind, "occasion": f"{kind}:i1", "target": "i1", "events": 3, "baskets": 2, "category": "CHEESE",
        "first_day": date(2017, 9, 3), "last_day": date(2017, 9, 17), "score": 0.31, "score_without": 0.0204,
        "at_least": False,
    }  # fmt: skip
    return base | values


@pytest.mark.parametrize(
    ("given", "about", "text"),
    [
        (row("item"), "item", "3 purchases of it, 3 Sep to 17 Sep: without them the score would be 0.0204 instead of 0.31"),
        (row("item", target="i2", events=1, last_day=date(2017, 9, 3), at_least=True), "item",
         "1 purchase of CHEESE, 3 Sep: without it the score would be at most 0.0204 instead of 0.31"),
        (row("category"), "item",
         "3 other purchases in CHEESE, 3 Sep to 17 Sep: without them the score would be 0.0204 instead of 0.31"),
        (row("basket", last_day=date(2017, 9, 3)), "churn",
         "the basket of 3 Sep (3 lines): without it the risk would be 2% instead of 31%"),
        (row("week"), "churn",
         "2 visits in the week of 3 Sep to 17 Sep: without them the risk would be 2% instead of 31%"),
        (row("earlier", baskets=1), "churn", "1 visit from 3 Sep to 17 Sep: without it the risk would be 2% instead of 31%"),
    ],
)  # fmt: skip
def test_what_events_do(given: dict[str, Any], about: Any, text: str) -> None:
    assert effect_text(given, about) == text
