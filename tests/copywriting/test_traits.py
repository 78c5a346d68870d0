"""Traits: read from the words alone, the same for whoever wrote them, in both languages."""

from __future__ import annotations

import numpy as np
import pytest

from mktgen.copywriting.traits import TRAITS, matrix, traits
from mktgen.copywriting.wording import Wording


def of(subject: str, body: str, language: str = "en", origin: str = "model") -> set[str]:
    return set(traits(Wording("email", language, "deal", subject, body, origin)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subject", "body", "has", "has_not"),
    [
        ("{{item}}: your coupon", "Use it until {{valid_to}}.", "item_first asks_to_act short", "question long"),
        (
            "Ready for {{item}}?",
            "Thank you. We are glad. See you soon! Bye.",
            "question thanks shop_speaks exclamation looks_forward long",
            "item_first short",
        ),
        (
            "{{discount}} off",
            "Until {{valid_to}}, take {{discount}} off {{item}}.",
            "discount_in_subject discount_first date_first asks_to_act",
            "more_items",
        ),
        (
            "{{item}}",
            "{{item}} until {{valid_to}}: {{discount}} off. Also {{also}}.",
            "more_items",
            "discount_first date_first discount_in_subject",
        ),
    ],
)
def test_what_is_said_is_found_and_nothing_else(subject: str, body: str, has: str, has_not: str) -> None:
    found = of(subject, body)
    assert set(has.split()) <= found
    assert not set(has_not.split()) & found


def test_the_same_things_are_found_in_chinese() -> None:
    found = of(
        "「{{item}}」立减{{discount}}",
        "感谢您的光顾！期待您再次光临。请使用这张优惠券，有效期至{{valid_to}}。需要吗？",
        "zh",
    )
    assert {
        "item_first",
        "discount_in_subject",
        "thanks",
        "exclamation",
        "looks_forward",
        "asks_to_act",
        "question",
        "long",
    } <= found


def test_who_wrote_it_makes_no_difference() -> None:
    assert of("Ready for {{item}}?", "Yes.", origin="model") == of("Ready for {{item}}?", "Yes.", origin="template")


def test_a_matrix_has_a_row_for_each_wording() -> None:
    pair = [Wording("sms", "en", "deal", "", body, "template") for body in ("Take {{item}}!", "{{item}}, no more")]
    found = matrix(pair)
    assert found.shape == (2, len(TRAITS))
    names = [trait.name for trait in TRAITS]
    assert found[:, names.index("exclamation")].tolist() == [1.0, 0.0]
    assert found[:, names.index("item_first")].tolist() == [0.0, 1.0]
    assert matrix([]).shape == (0, len(TRAITS))
    assert set(np.unique(found)) <= {0.0, 1.0}
