"""Outcomes of a day, and what of them is joined to decisions and mailings."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import ContractError
from mktgen.feedback.attribution import attribute, first_day
from mktgen.feedback.outcomes import collect_outcomes
from mktgen.settings import FeedbackSettings
from tests.feedback import shop
from tests.feedback.shop import day, decision

WEEK = FeedbackSettings(window_days=7)
ONE = "customer0001"


def attributed(partition: date, **given: Any) -> pl.DataFrame:
    usual: dict[str, Any] = {
        "outcomes": shop.outcomes([]), "decisions": {}, "recommendations": {}, "exposures": shop.exposures([]),
        "campaigns": shop.campaigns([("18", day(0), day(30))]), "sends": shop.sends([]), "settings": WEEK,
    }  # fmt: skip
    return attribute(**{**usual, **given}, partition=partition)


def test_outcomes_of_a_day() -> None:
    found = collect_outcomes(
        shop.lines([
            shop.line("a", day(0), "i2", net=100),
            shop.line("a", day(0), "i1", net=250),
            shop.line("a", day(0), "i1", order="second", net=50),
            shop.line("a", day(0), "fuel", net=3_000, merchandise=False),
            shop.line("b", day(1), "i1"),
        ]),
        shop.responses([shop.redemption("a", day(0), "18:c1"), shop.redemption("c", day(0), "18:c2")]),
        day(0),
    )  # fmt: skip
    assert found.rows() == [
        ("a", day(0), 2, 400, ["i1", "i2"], ["18:c1"]),
        ("c", day(0), 0, 0, [], ["18:c2"]),
    ]


def test_a_day_without_rows_has_no_outcomes() -> None:
    assert collect_outcomes(shop.lines([]), shop.responses([]), day(0)).height == 0


def test_a_decision_that_was_not_sent_is_never_a_response() -> None:
    given = {
        "decisions": {day(0): shop.decisions([decision(1), decision(2)])},
        "outcomes": shop.outcomes([
            shop.outcome(ONE, day(2), ["i1", "i9"], ["18:c1"]), shop.outcome("customer0002", day(2), ["i9"], ["18:c1"]),
        ]),
        "recommendations": {day(0): shop.recommendations([(ONE, "i1"), (ONE, "i2")])},
        "sends": shop.sends(["d1-0002"]),
    }  # fmt: skip
    not_sent, sent = attributed(day(3), **given).iter_rows(named=True)
    assert (not_sent["was_sent"], not_sent["redeemed"]) == (False, False)
    assert (not_sent["recommended_bought"], not_sent["recommended"], not_sent["net_minor"]) == (1, 2, 200)
    assert (sent["was_sent"], sent["redeemed"]) == (True, True)


@pytest.mark.parametrize(
    ("status", "counts"), [("sent", True), ("already_sent", True), ("unconfirmed", False), ("refused", False)]
)
def test_only_what_was_sent_counts_as_sent(status: str, counts: bool) -> None:
    frame = attributed(day(3), decisions={day(0): shop.decisions([decision(1)])}, sends=shop.sends(["d1-0001"], status))
    assert frame["was_sent"].to_list() == [counts]


def test_another_campaigns_redemption_is_not_the_decisions() -> None:
    for offer in ("180:c1", "1:c1", "22:c1"):
        frame = attributed(
            day(3),
            decisions={day(0): shop.decisions([decision(1)])},
            sends=shop.sends(["d1-0001"]),
            outcomes=shop.outcomes([shop.outcome(ONE, day(1), [], [offer])]),
        )
        assert frame["redeemed"].to_list() == [False]


def test_one_redemption_belongs_to_the_last_contact_with_its_offer() -> None:
    """Two contacts with the same coupon, both windows open: the coupon costs once."""
    days = {day(n): shop.decisions([decision(1, version=str(n))]) for n in (0, 7, 14)}
    given = {
        "decisions": days,
        "sends": shop.sends(["d0-0001", "d7-0001"]),  # the third was decided and not sent
        "outcomes": shop.outcomes([shop.outcome(ONE, day(15), [], ["18:c1"])]),
    }
    frame = attributed(day(20), settings=FeedbackSettings(window_days=28), **given)
    found = {reference: rest for reference, *rest in frame.select("reference_id", "redeemed", "charged").iter_rows()}
    assert found == {"d0-0001": [True, False], "d7-0001": [True, True], "d14-0001": [False, False]}
    given["outcomes"] = shop.outcomes([shop.outcome(ONE, day(15), [], ["18:c2"])])
    other = attributed(day(20), settings=FeedbackSettings(window_days=28), **given)
    assert not other["charged"].any(), "another offer of the campaign answers it, and costs another contact"
    assert frame["orders"].to_list() == [1, 1, 1], "what was bought is followed for each of them"


def test_window_of_a_decision_begins_the_day_after_and_matures_on_its_last_day() -> None:
    given = {"decisions": {day(0): shop.decisions([decision(1)])}}
    for offset in (0, 1, 7, 8):
        bought = shop.outcomes([shop.outcome(ONE, day(offset), ["i1"])])
        frame = attributed(day(10), outcomes=bought, **given)
        assert frame["orders"].to_list() == [1 if 1 <= offset <= 7 else 0]
    assert [attributed(day(p), **given)["matured"].to_list() for p in (6, 7, 8)] == [[False], [True], [True]]
    assert attributed(day(0), **given).height == 0  # not on its own day
    assert attributed(day(14), **given).height == 1
    assert attributed(day(15), **given).height == 0
    assert first_day(day(14), WEEK) == day(0)


def test_exposures_are_followed_inside_campaign_and_window() -> None:
    given = {
        "exposures": shop.exposures([("a", "18", day(0)), ("a", "9", day(0)), ("b", "18", day(0))]),
        "campaigns": shop.campaigns([("18", day(0), day(30)), ("9", day(0), day(3))]),
        "outcomes": shop.outcomes([
            shop.outcome("a", day(0), [], ["18:c1"]), shop.outcome("a", day(4), [], ["9:c1"]),
            shop.outcome("b", day(8), [], ["18:c1"]),
        ]),
    }  # fmt: skip
    frame = attributed(day(9), **given)
    found = {row["reference_id"]: (row["redeemed"], row["window_end"]) for row in frame.iter_rows(named=True)}
    assert found == {"e-a-18": (True, day(7)), "e-a-9": (False, day(3)), "e-b-18": (False, day(7))}
    assert frame["was_sent"].all()
    assert attributed(day(5), **given).sort("reference_id")["matured"].to_list() == [False, True, False]


def test_an_exposure_of_an_unknown_campaign_is_an_error() -> None:
    with pytest.raises(ContractError, match=r"campaigns of every exposure"):
        attributed(day(3), exposures=shop.exposures([("a", "77", day(0))]))


_when = st.integers(-20, 20)


@settings(max_examples=40, deadline=None)
@given(
    partition=st.integers(0, 10),
    bought=st.lists(st.tuples(st.integers(1, 3), _when, st.booleans()), max_size=12, unique_by=lambda t: t[:2]),
    decided=st.lists(_when, max_size=4, unique=True),
    mailed=st.lists(st.tuples(st.integers(1, 3), _when), max_size=4, unique_by=lambda t: t[0]),
)
def test_nothing_after_the_partition_changes_the_result(
    partition: int, bought: list[tuple[int, int, bool]], decided: list[int], mailed: list[tuple[int, int]]
) -> None:
    def known(until: int) -> pl.DataFrame:
        return attributed(
            day(partition),
            outcomes=shop.outcomes([
                shop.outcome(f"customer{c:04d}", day(on), ["i1"], ["18:c1"] if r else []) for c, on, r in bought if on <= until
            ]),
            decisions={
                day(on): shop.decisions([decision(c, version=str(on)) for c in (1, 2)]) for on in decided if on <= until
            },
            recommendations={
                day(on): shop.recommendations([(ONE, "i1"), ("customer0002", "i1")]) for on in decided if on <= until
            },
            exposures=shop.exposures([(f"customer{c:04d}", "18", day(on)) for c, on in mailed if on <= until]),
            sends=shop.sends([f"d{on}-0001" for on in decided if on <= until]),
        )  # fmt: skip

    assert known(partition).equals(known(20))
