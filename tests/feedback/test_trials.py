"""Decisions as trials: what was drawn, by which chance, and what came of it inside the window."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from mktgen import contracts
from mktgen.feedback.trials import matured_trials
from mktgen.settings import StrategySettings
from tests.feedback.shop import DAY, day, decision, decisions, outcome, outcomes, sends

SETTINGS = StrategySettings(margin_share=0.3, contact_cost_minor=40)
OFFERS = pl.DataFrame(
    [("18:c1", "18", "c1", DAY, date(2017, 12, 31), 150)], schema=contracts.OFFERS.columns, orient="row"
)
END = day(7)


def trials(
    made: list[dict[str, object]], sent: pl.DataFrame, happened: list[dict[str, object]], known: date = END
) -> pl.DataFrame:
    return matured_trials(decisions(made), sent, outcomes(happened), OFFERS, DAY, END, known, SETTINGS)


def test_the_reward_is_margin_less_face_value_less_contact() -> None:
    made = [decision(1), decision(2), decision(3, action="no_contact"), decision(4)]
    happened = [
        outcome("customer0001", day(2), ["i1", "i2"], ["18:c1"]),
        outcome("customer0001", day(7), ["i3"]),
        outcome("customer0002", day(1), ["i1"]),
        outcome("customer0003", day(3), ["i1"]),
    ]
    found = trials(made, sends(["d1-0001", "d1-0002", "d1-0004"]), happened).sort("customer_id")
    assert found["reward_minor"].to_list() == pytest.approx([90 - 150 - 40, 30 - 40, 30, -40])
    assert found["converted"].to_list() == [True, True, True, False]
    assert found["propensity"].to_list() == [0.5] * 4


def test_only_the_window_counts() -> None:
    happened = [outcome("customer0001", DAY, ["i1"]), outcome("customer0001", day(8), ["i1"], ["18:c1"])]
    found = trials([decision(1)], sends(["d1-0001"]), happened)
    assert found.select("reward_minor", "converted").row(0) == (-40.0, False)


def test_a_redemption_that_is_reported_late_still_costs_and_a_later_purchase_is_no_outcome() -> None:
    late = [outcome("customer0001", day(3), ["i1"]), outcome("customer0001", day(12), ["i1"], ["18:c1"])]
    rewards = [trials([decision(1)], sends(["d1-0001"]), late, day(n))["reward_minor"][0] for n in (7, 11, 12)]
    assert rewards == pytest.approx([30 - 40, 30 - 40, 30 - 150 - 40])


def test_an_offer_of_another_customer_costs_nothing_here() -> None:
    found = trials(
        [decision(1, action="no_contact")], sends(["d1-0009"]), [outcome("customer0001", day(1), ["i"], ["18:c1"])]
    )
    assert found["reward_minor"].to_list() == [30.0]


def test_what_was_drawn_counts_though_it_could_not_be_sent() -> None:
    found = trials([decision(1), decision(2)], sends(["d1-0001"], "refused"), [])
    assert found["action"].to_list() == ["18:c1", "18:c1"]
    assert found["reward_minor"].to_list() == [0.0, 0.0]


def test_a_day_that_was_never_dispatched_tried_nothing() -> None:
    assert trials([decision(1)], sends([]), []).is_empty()


def test_business_as_usual_is_no_trial_and_a_hold_out_is_kept_apart() -> None:
    usual = decision(1) | {"arm": "business_as_usual"}
    held = decision(2, action="no_contact", holdout=True)
    found = trials([usual, held], sends(["d1-0001"]), [])
    assert found.select("customer_id", "holdout").rows() == [("customer0002", True)]
