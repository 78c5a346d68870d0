"""The checker fails closed: whatever a message adds to the facts is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mktgen.copywriting.checker import Facts, catalogue_names, problems

FACTS = Facts(
    item="Soft Drinks",
    also=("Pasta Sauce",),
    category="Soft Drinks",
    brand=None,
    valid_to="November 8, 2017",
    discount="$1.00",
)
CATALOGUE = catalogue_names(["SOFT DRINKS", "PASTA SAUCE", "CAT FOOD", "CHEESE", "ICE", "COUPON"])
GOOD = (
    "A coupon for Soft Drinks",
    "Take $1.00 off Soft Drinks until November 8, 2017. You may also like: Pasta Sauce.",
)


def test_a_true_message_passes() -> None:
    assert problems(*GOOD, FACTS, CATALOGUE) == []


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("Save 20% today.", "number"),
        ("Only $2.00!", "number"),
        ("Half price: a few dollars.", "amount"),
        ("Valid until November 9, 2017.", "number"),
        ("Try our cat food.", "cat food"),
        ("Cheese, too!", "cheese"),
        ("It is free.", "free"),
        ("Guaranteed.", "guarantee"),
        ("全网最低价", "最低"),
        ("打五折", "amount"),
        ("{discount}", "slot"),
        ("x" * 900, "longer"),
    ],
)
def test_an_invented_fact_is_refused(addition: str, complaint: str) -> None:
    subject, body = GOOD
    found = problems(subject, f"{body}\n{addition}", FACTS, CATALOGUE)
    assert found
    assert complaint in " ".join(found)


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("Hello", "Until November 8, 2017."),
        ("A coupon for Soft Drinks", "Use it soon."),
        ("", GOOD[1]),
        ("Soft Drinks\nBcc: someone", GOOD[1]),
    ],
)
def test_what_must_be_said_is_said(subject: str, body: str) -> None:
    assert problems(subject, body, FACTS, CATALOGUE)


@given(number=st.integers(0, 10**6))
def test_no_number_gets_past(number: int) -> None:
    subject, body = GOOD
    assert problems(subject, f"{body} {number}", FACTS, CATALOGUE)


def test_a_discount_that_is_not_known_may_not_be_named() -> None:
    unknown = Facts("Soft Drinks", ("Pasta Sauce",), "Soft Drinks", None, "November 8, 2017", None)
    assert problems(*GOOD, unknown, CATALOGUE)


@pytest.mark.parametrize(
    "made_up",
    ["Come by Sunday.", "Until December.", "Only tomorrow!", "星期日有效", "十二月前有效", "Half price!", "全场半价"],
)
def test_no_day_or_rebate_in_words_gets_past(made_up: str) -> None:
    subject, body = GOOD
    assert problems(subject, f"{body} {made_up}", FACTS, CATALOGUE)
