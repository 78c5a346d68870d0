"""Reasons in plain words: a customer's own rhythm, and what the named past events did to a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal


def visit_rhythm(facts: Mapping[str, Any]) -> str:
    """Of a row of contracts.CUSTOMER_FEATURES: "no visit for 23 days, usual gap 6; 1 visit in 28 days, 9 in 84"."""
    silent = round(facts["recency_days"]) - 1  # the day before the cut is 0 days ago
    if facts["orders_all"] <= 1:
        return f"one visit only, {_ago(silent)}"
    gap = max(round(facts["gap_days_mean"]), 1)
    last = f"no visit for {_count(silent, 'day')}" if silent > gap else f"last visit {_ago(silent)}"
    recent, longer = round(facts["orders_28d"]), round(facts["orders_84d"])
    return f"{last}, usual gap {gap}; {_count(recent, 'visit')} in 28 days, {longer} in 84"


def item_rhythm(days: Sequence[date], category: str, category_days: Sequence[date], partition: date) -> str:
    """days: on which the customer bought the item, category_days: anything of its category; sorted, distinct.

    "bought 6 times, about every 12 days, last 14 days ago"; "new to this customer, who bought CHEESE 3 times, ...".
    """
    if days:
        return f"bought {_rhythm(days, partition)}"
    if category_days:
        return f"new to this customer, who bought {category} {_rhythm(category_days, partition)}"
    return f"new to this customer, as is {category}"


def _rhythm(days: Sequence[date], partition: date) -> str:
    last = f"last {_ago((partition - days[-1]).days)}" if len(days) > 1 else _ago((partition - days[0]).days)
    if len(days) == 1:
        return f"once, {last}"
    gap = max(round((days[-1] - days[0]).days / (len(days) - 1)), 1)
    return f"{len(days)} times, about every {_count(gap, 'day')}, {last}"


def effect_text(row: Mapping[str, Any], about: Literal["item", "churn"]) -> str:
    """Of a row with occasion, kind, target, events (lines), baskets, category, first_day, last_day, scores, at_least."""
    what, several = _events(row)
    without = "without them" if several else "without it"
    if about == "churn":
        return f"{what}: {without} the risk would be {row['score_without']:.0%} instead of {row['score']:.0%}"
    bound = "at most " if row["at_least"] else ""
    return f"{what}: {without} the score would be {bound}{row['score_without']:.3g} instead of {row['score']:.3g}"


def _events(row: Mapping[str, Any]) -> tuple[str, bool]:
    """The events in words, and whether they are several."""
    first, last, events, baskets = row["first_day"], row["last_day"], row["events"], row["baskets"]
    span = _date(first) if first == last else f"{_date(first)} to {_date(last)}"
    match row["kind"]:
        case "basket":
            return f"the basket of {span} ({_count(events, 'line')})", False
        case "week":
            return f"{_count(baskets, 'visit')} in the week of {span}", baskets > 1
        case "earlier":
            return f"{_count(baskets, 'visit')} from {span}", baskets > 1
        case "category":
            return f"{_count(events, 'other purchase')} in {row['category']}, {span}", events > 1
    own = row["occasion"] == f"item:{row['target']}"
    return f"{_count(events, 'purchase')} of {'it' if own else row['category']}, {span}", events > 1


def _date(day: date) -> str:
    return f"{day.day} {day:%b}"


def _ago(days: int) -> str:
    return "today" if days <= 0 else f"{_count(days, 'day')} ago"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
