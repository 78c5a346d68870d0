"""The verifier fails closed: thousands of hostile messages, made by rule, of which none passes; and right ones, which do."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mktgen.copywriting.facts import facts, printable
from mktgen.copywriting.forms import FORMS, sms_parts
from mktgen.copywriting.verifier import Text, problems
from tests.support.hostile_copy import ATTACKS, TITLES, hostile, right

SEED = 20170101


def test_no_hostile_message_passes() -> None:
    counts: Counter[str] = Counter()
    passed = []
    for case in hostile(24, SEED):
        counts[case.attack] += 1
        if not problems(case.text, case.facts, case.form):
            passed.append(case)
    assert sum(counts.values()) > 5_000
    assert set(counts) == set(ATTACKS)
    assert passed == []


def test_right_messages_pass() -> None:
    wrong = [(case.text, found) for case in right(1_000, SEED) if (found := problems(case.text, case.facts, case.form))]
    assert wrong == []


@pytest.mark.parametrize("title", TITLES)
def test_a_hostile_title_is_never_printed(title: str) -> None:
    told = facts("en", title, [title, "Bread"], 100, date(2017, 11, 8), "$")
    assert not printable(title)
    assert (told.item, told.also) == ("selected products", "Bread")


@pytest.mark.parametrize(
    "label",
    [
        "Soft Drinks",
        "Can Catfd Gourmet/Sup Prem",
        "7 Up",
        "Gluten Free Bread",
        "Crème Brûlée",
        "Baby Foods",
        "牛奶",
        "M&M's",
    ],
)
def test_an_ordinary_label_is_printed_as_it_is(label: str) -> None:
    assert printable(label)


@given(st.text(min_size=1, max_size=30))
@example("\x00")  # the verifier's own mark for a fact that it cut out
def test_whatever_is_added_to_a_message_is_words_that_were_reviewed_or_it_is_refused(addition: str) -> None:
    case = next(right(1, SEED))
    added = Text(case.text.subject, f"{case.text.body}\n{addition}")
    if not problems(added, case.facts, case.form):
        assert all(
            character in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,!?:;'’-\n" for character in addition
        )
        assert not any(character.isdigit() for character in addition)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a" * 160, 1), ("a" * 161, 2), ("a" * 159 + "€", 2), ("€" * 80, 1), ("你" * 70, 1), ("你" * 71, 2), ("a" * 69 + "你", 1),
     ("a" * 70 + "你", 2), ("😀" * 35, 1), ("😀" * 36, 2), ("a" * 306, 2), ("a" * 307, 3), ("你" * 134, 2), ("你" * 135, 3)],
)  # fmt: skip
def test_sms_are_counted_as_the_network_counts_them(text: str, parts: int) -> None:
    assert sms_parts(text) == parts


def test_one_character_outside_the_alphabet_costs_a_message_its_room() -> None:
    told = facts("en", "Crème Brûlée", [], None, date(2017, 11, 8), "$")
    body = f"Your coupon for {told.item} is valid until {told.valid_to}. Reply STOP to opt out."
    assert [one.rule for one in problems(Text("", body), told, FORMS["sms"])] == ["length"]
