"""What happens at a wave: nothing without a contact, the same whatever the order, and never less for a larger coupon."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mktgen.market_sim.behaviour import chances
from mktgen.market_sim.panel import PanelError
from mktgen.market_sim.people import nature
from mktgen.market_sim.response import RESPONSE, respond
from mktgen.market_sim.scenario import NO_CONTACT, Scenario, load, names

CHANGES = (
    "incremental_minor",
    "skipped_minor",
    "pull_forward_minor",
    "face_value_minor",
    "contact_minor",
    "profit_minor",
)


def everyone(panel: pl.DataFrame, action: str) -> pl.Series:
    return pl.Series([action] * panel.height, dtype=pl.String)


def drawn(panel: pl.DataFrame, scenario: Scenario, seed: int) -> pl.Series:
    rng = np.random.default_rng(seed)
    return pl.Series(np.array(scenario.actions)[rng.integers(0, len(scenario.actions), panel.height)])


@pytest.mark.parametrize("name", names())
def test_nobody_contacted_is_what_happened(name: str, small: pl.DataFrame) -> None:
    found = respond(small, everyone(small, NO_CONTACT), load(name), 1)
    assert found.select(pl.sum_horizontal(pl.col(CHANGES).abs()).sum()).item() == 0
    assert not found["redeemed"].any()
    assert found["orders"].equals(small["organic_orders"].alias("orders"))
    assert found["net_minor"].equals(small["organic_minor"].alias("net_minor"))


@pytest.mark.parametrize("name", names())
def test_the_same_whatever_the_order_and_whoever_else_is_there(name: str, small: pl.DataFrame) -> None:
    scenario = load(name)
    actions = drawn(small, scenario, 1)
    first = respond(small, actions, scenario, 3)
    assert first.schema == pl.Schema(RESPONSE)
    assert respond(small, actions, scenario, 3).equals(first)
    both = small.with_columns(actions.alias("action")).sample(fraction=0.5, shuffle=True, seed=4)
    again = respond(both.drop("action"), both["action"], scenario, 3)
    assert again.equals(both.select("customer_id").join(first, on="customer_id", maintain_order="left"))
    assert not respond(small, actions, scenario, 4).equals(first)


def test_accounts_balance(small: pl.DataFrame, strong: Scenario) -> None:
    found = respond(small, drawn(small, strong, 1), strong, 3)
    lost = pl.col("skipped_minor") + pl.col("pull_forward_minor")
    margin = strong.margin_share * (pl.col("incremental_minor") - lost)
    cost = pl.col("face_value_minor") + pl.col("contact_minor")
    wrong = found.hstack(small.select("organic_minor")).filter(
        ((margin - cost - pl.col("profit_minor")).abs() > 1e-6)
        | (pl.col("net_minor") != pl.col("organic_minor") + pl.col("incremental_minor") - pl.col("skipped_minor"))
        | ((strong.margin_share * pl.col("net_minor") - cost - pl.col("reward_minor")).abs() > 1e-6)
        | (pl.col("net_minor") < 0)
        | (pl.col("stays_away") & (pl.col("redeemed") | pl.col("incremental") | (pl.col("net_minor") > 0)))
        | (pl.col("redeemed") & (pl.col("orders") == 0))
        | (pl.col("redeemed") != (pl.col("face_value_minor") > 0))
    )
    assert wrong.is_empty(), wrong
    assert found["redeemed"].any()
    assert found["stays_away"].any()
    assert found["borrows"].any()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(face=st.integers(1, 2_000), more=st.integers(1, 2_000))
def test_a_higher_face_value_never_lowers_redemption(
    small: pl.DataFrame, strong: Scenario, face: int, more: int
) -> None:
    markets = [_with_face(strong, value) for value in (face, face + more)]
    own = nature(small["customer_id"], strong)
    low, high = (chances(small, own, market) for market in markets)
    assert (high.answers >= low.answers).all()
    few, many = (respond(small, everyone(small, "large_coupon"), market, 5)["redeemed"] for market in markets)
    assert not (few & ~many).any(), "common draws: who redeems the small one redeems the large one"


def test_fatigue_lowers_answers_and_raises_annoyance(small: pl.DataFrame, strong: Scenario) -> None:
    own = nature(small["customer_id"], strong)
    fresh, tired = (chances(small.with_columns(recent_contacts=pl.lit(n)), own, strong) for n in (0.0, 3.0))
    assert (tired.answers[:, 1:] < fresh.answers[:, 1:]).all()
    assert (tired.annoyed[:, 1:] > fresh.annoyed[:, 1:]).all()


def test_null_changes_no_purchase(small: pl.DataFrame) -> None:
    null = load("null")
    found = respond(small, drawn(small, null, 1), null, 2)
    assert found.select(pl.sum_horizontal(*CHANGES[:3]).sum()).item() == 0
    assert found["redeemed"].any(), "coupons are redeemed all the same"
    assert found.filter(pl.col("action") != NO_CONTACT)["profit_minor"].max() < 0  # type: ignore[operator]


def test_feedback_comes_late_and_sometimes_never(small: pl.DataFrame) -> None:
    late = load("delayed_and_lost_feedback")
    redeemed = pl.concat(
        respond(small, everyone(small, "small_coupon"), late, seed).filter("redeemed") for seed in range(10)
    )
    share = redeemed["reported_after_days"].null_count() / redeemed.height
    assert abs(share - late.reporting.lost) < 4 * np.sqrt(0.2 * 0.8 / redeemed.height)
    assert set(redeemed["reported_after_days"].drop_nulls()) == set(late.reporting.delay_days)


def test_without_such_a_scenario_it_comes_at_once(small: pl.DataFrame, strong: Scenario) -> None:
    found = respond(small, everyone(small, "small_coupon"), strong, 1)
    assert set(found.filter("redeemed")["reported_after_days"]) == {0}
    assert found.filter(~pl.col("redeemed"))["reported_after_days"].null_count() == (~found["redeemed"]).sum()


def test_an_action_that_does_not_exist_is_refused(small: pl.DataFrame, strong: Scenario) -> None:
    with pytest.raises(PanelError, match="rebate"):
        respond(small, everyone(small, "rebate"), strong, 1)
    with pytest.raises(PanelError, match="got 3 for"):
        respond(small, everyone(small.head(3), NO_CONTACT), strong, 1)


def _with_face(scenario: Scenario, face: int) -> Scenario:
    offers = scenario.offers | {
        "large_coupon": scenario.offers["large_coupon"].model_copy(update={"face_value_minor": face})
    }
    return scenario.model_copy(update={"offers": offers})
