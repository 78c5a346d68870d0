"""The policy's promises: propensities that are true, a budget that holds for every draw, a hold-out left alone."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import chisquare

from mktgen.contracts import OFFER_SCORES
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from mktgen.strategy import arms
from mktgen.strategy.decision_rows import NO_CONTACT, Versions
from mktgen.strategy.policy import POLICY_VERSION, PolicyResult, decide

DAY = date(2017, 10, 1)
VERSIONS = Versions(model="m1", config="c1", policy=POLICY_VERSION, derivation="d1")
ALONE = StrategySettings().no_contact_floor
NOBODY = pl.DataFrame(schema={"customer_id": pl.String, "contacts": pl.Int64})


def customers(number: int) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "segment_id": pl.String}
    return pl.DataFrame({"customer_id": [f"c{n:04d}" for n in range(number)], "segment_id": ["s01"] * number}, schema)


def candidates(number: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(number):
        for offer in range(int(rng.integers(0, 4))):
            p = float(rng.uniform(0, 0.3))
            cost = int(rng.integers(50, 200))
            rows.append((f"c{n:04d}", "14", f"14:{offer}", "i01", 0.1, p, p / 2, min(1, 2 * p), cost, 650 * p - 40))
    return pl.DataFrame(rows, schema=OFFER_SCORES.columns, orient="row")


def run(number: int, seed: int = 1, partition: date = DAY, **changes: object) -> PolicyResult:
    chosen = StrategySettings(**changes)  # type: ignore[arg-type]
    return decide(candidates(number), customers(number), chosen, partition, seed, VERSIONS, "key", NOBODY)


def test_every_customer_has_one_decision_with_propensities_that_sum_to_one() -> None:
    decisions = run(300).decisions
    assert decisions["customer_id"].to_list() == customers(300)["customer_id"].to_list()
    for row in decisions.iter_rows(named=True):
        assert row["action_set"][0] == NO_CONTACT
        assert sum(row["action_propensities"]) == pytest.approx(1)
        assert row["propensity"] == row["action_propensities"][row["action_set"].index(row["action"])]
        if row["arm"] == arms.POLICY:
            assert min(row["action_propensities"]) >= 0.02 - 1e-12
        else:
            assert row["propensity"] == 1.0


def test_drawn_frequencies_match_the_propensities() -> None:
    """Chi-square over many seeds, per customer with a choice; Bonferroni over the customers."""
    seeds, watched = 300, Counter[tuple[str, str]]()
    for seed in range(seeds):
        drawn = run(24, seed, propensity_floor=0.1, budget_minor=1_200).decisions
        watched.update(zip(drawn["customer_id"], drawn["action"], strict=True))
    open_sets = drawn.filter((pl.col("action_set").list.len() > 1) & (pl.col("arm") == arms.POLICY))
    assert open_sets.height >= 10
    for row in open_sets.iter_rows(named=True):
        observed = [watched[(row["customer_id"], action)] for action in row["action_set"]]
        expected = [seeds * p for p in row["action_propensities"]]
        assert chisquare(observed, expected).pvalue > 0.001 / 24


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(0, 60),
    budget=st.integers(0, 20_000),
    seed=st.integers(0, 10_000),
    floor=st.sampled_from([0.01, 0.02, 0.1, 0.4]),
    usual=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_no_draw_overspends(number: int, budget: int, seed: int, floor: float, usual: float) -> None:
    result = run(number, seed, budget_minor=budget, propensity_floor=floor, usual_share=usual)
    assert result.decisions["cost_minor"].sum() <= result.allocation.worst_case_cost_minor <= budget
    policy = result.decisions.filter((pl.col("arm") == arms.POLICY) & (pl.col("action_set").list.len() > 1))
    least = policy["action_propensities"].list.min().min()
    assert least is None or least >= result.allocation.propensity_floor - 1e-12  # type: ignore[operator]
    if policy.height and result.allocation.propensity_floor < min(floor, (1 - ALONE) / 4):
        assert result.notes
    for row in policy.iter_rows(named=True):
        alone = row["action_propensities"][row["action_set"].index(NO_CONTACT)]
        assert alone >= result.allocation.propensity_floor + ALONE - 1e-12


def test_what_is_known_and_affordable_is_done_but_for_the_floor() -> None:
    """With the posterior a point and a budget for all, everybody's best action has all that the floors leave."""
    result = run(200, budget_minor=10**6, holdout_share=0, usual_share=0)
    best = (
        candidates(200).filter(pl.col("value_minor") > 0).sort("customer_id", "value_minor", descending=[False, True])
    )
    best = best.unique("customer_id", keep="first", maintain_order=True)
    likeliest = result.decisions.join(best.select("customer_id", best="offer_id"), on="customer_id", how="left")
    for row in likeliest.filter(pl.col("action_set").list.len() > 1).iter_rows(named=True):
        index = row["action_set"].index(row["best"] or NO_CONTACT)
        others = len(row["action_set"]) - 1
        alone = ALONE if row["best"] else 0.0
        assert row["action_propensities"][index] == pytest.approx(1 - 0.02 * others - alone)
    assert result.allocation.shadow_price == 0


def test_an_uncertain_best_action_is_drawn_as_often_as_it_is_the_best() -> None:
    one = candidates(200).group_by("customer_id", maintain_order=True).head(1).with_columns(value_minor=pl.lit(30.0))
    third = pl.Series([[90.0, -30.0, -30.0]] * one.height, dtype=pl.Array(pl.Float64, 3))
    draws = one.select("customer_id", "offer_id", draws=third)
    chosen = StrategySettings(budget_minor=10**6, holdout_share=0, usual_share=0)
    decisions = decide(one, customers(200), chosen, DAY, 1, VERSIONS, "key", NOBODY, value_draws=draws).decisions
    for p in decisions.filter(pl.col("action_set").list.len() > 1)["action_propensities"].to_list():
        assert p[1] == pytest.approx((1 - 0.04 - ALONE) / 3 + 0.02)


def test_a_binding_budget_is_spent_on_what_pays_most_for_it() -> None:
    result = run(400, budget_minor=4_000, propensity_floor=1e-6, usual_share=0)
    plan = result.allocation
    assert plan.shadow_price > 0
    assert 4_000 - 250 <= plan.expected_cost_minor <= 4_000
    assert plan.value_minor == pytest.approx(plan.expected_value_minor, rel=0.02)
    assert plan.expected_value_minor <= plan.bound_minor * (1 + 1e-6)


def test_business_as_usual_sends_to_those_likeliest_to_redeem_with_its_share_of_the_budget() -> None:
    result = run(600, budget_minor=5_000, usual_share=0.3)
    usual = result.decisions.filter(arm=arms.USUAL)
    assert 120 < usual.height < 240
    sent, others = (usual.filter(pl.col("action") != NO_CONTACT), usual.filter(pl.col("action") == NO_CONTACT))
    assert sent["cost_minor"].sum() <= result.allocation.usual_budget_minor
    assert result.allocation.usual_budget_minor == pytest.approx(5_000 * 0.3 / 0.9, rel=0.25)
    offered = candidates(600).join(others, on="customer_id", how="semi")["p_redeem"]
    assert sent["p_redeem"].mean() > offered.mean()  # type: ignore[operator]


def test_each_campaign_leaves_its_own_customers_alone() -> None:
    result = run(500, campaign_holdout_share=0.2, budget_minor=10**6, usual_share=0)
    plain = run(500, budget_minor=10**6, usual_share=0)
    open_now, open_before = (
        set(one.decisions.filter(pl.col("action_set").list.len() > 1)["customer_id"]) for one in (result, plain)
    )
    assert open_now < open_before
    assert 0.1 < 1 - len(open_now) / len(open_before) < 0.3


def test_the_hold_out_is_stable_and_never_contacted() -> None:
    today, tomorrow = run(1_000), run(1_000, seed=9, partition=DAY + timedelta(days=1))
    assert today.decisions["holdout"].equals(tomorrow.decisions["holdout"])
    held = today.decisions.filter("holdout")
    assert set(held["action"]) == {NO_CONTACT}
    assert set(held["propensity"]) == {1.0}
    assert 60 < held.height < 140
    other_key = [arms.is_held_out(c, 0.1, "other") for c in today.decisions["customer_id"]]
    assert other_key != today.decisions["holdout"].to_list()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 5_000), (0.1, 1_000)])
def test_the_hold_out_has_its_share(share: float, expected: int) -> None:
    held = sum(arms.is_held_out(f"customer-{n}", share, "key") for n in range(10_000))
    assert abs(held - expected) <= 4 * (10_000 * share * (1 - share)) ** 0.5


def test_customers_at_the_contact_cap_are_left_alone() -> None:
    everyone = customers(200)
    recent = everyone.head(50).select("customer_id", pl.lit(1, dtype=pl.Int64).alias("contacts"))
    chosen = StrategySettings()
    decisions = decide(candidates(200), everyone, chosen, DAY, 1, VERSIONS, "key", recent).decisions
    capped = decisions.join(recent, on="customer_id", how="semi")
    assert set(capped["action"]) == {NO_CONTACT}
    assert capped["action_set"].list.len().unique().to_list() == [1]


def test_reruns_are_equal_and_the_order_of_rows_does_not_matter() -> None:
    chosen = StrategySettings()
    shuffled = candidates(200).sample(fraction=1.0, shuffle=True, seed=5)
    first = run(200).decisions
    second = decide(shuffled, customers(200)[::-1], chosen, DAY, 1, VERSIONS, "key", NOBODY).decisions
    assert_frame_equal(first, second)
    assert not first["decision_id"].equals(run(200, partition=DAY + timedelta(days=1)).decisions["decision_id"])


def test_a_tiny_budget_turns_exploration_off_and_says_so() -> None:
    result = run(100, budget_minor=60)
    assert result.allocation.propensity_floor == 0
    assert "exploration is off" in result.notes[0]
    assert result.decisions["cost_minor"].sum() <= 60


def test_nobody_to_contact_is_a_valid_day() -> None:
    result = decide(OFFER_SCORES.empty(), customers(20), StrategySettings(), DAY, 1, VERSIONS, "key", NOBODY)
    assert result.allocation.contacts == 0
    assert set(result.decisions["action"]) == {NO_CONTACT}


def test_further_items_follow_the_item_of_the_offer() -> None:
    recommended = pl.DataFrame(
        {"customer_id": ["c0001"] * 3, "item_id": ["i05", "i01", "i06"], "seen": [True, True, False], "rank": [1, 2, 1]}
    )
    offered = candidates(40).filter(pl.col("customer_id") == "c0001")
    chosen = StrategySettings(holdout_share=0, items_per_message=3)
    result = decide(
        offered.with_columns(pl.lit(500.0).alias("value_minor")),
        customers(40),
        chosen,
        DAY,
        3,
        VERSIONS,
        "key",
        NOBODY,
        recommended,
    )
    sent = result.decisions.filter(pl.col("action") != NO_CONTACT)
    assert all(ids == ["i01", "i05", "i06"] for ids in sent["item_ids"].to_list())


def test_a_candidate_without_a_posterior_is_refused() -> None:
    offered = candidates(20)
    draws = offered.head(1).select("customer_id", "offer_id", draws=pl.lit([1.0], dtype=pl.Array(pl.Float64, 1)))
    with pytest.raises(PermanentError, match="candidates have no posterior"):
        decide(offered, customers(20), StrategySettings(), DAY, 1, VERSIONS, "key", NOBODY, value_draws=draws)


@pytest.mark.parametrize("bars", ["cap", "holdout", "usual"])
def test_a_day_on_which_nobody_may_be_drawn_is_decided_with_draws_too(bars: str) -> None:
    offered, everyone = candidates(40), customers(40)
    draws = offered.select("customer_id", "offer_id").with_columns(
        draws=pl.Series(np.ones((offered.height, 4)), dtype=pl.Array(pl.Float64, 4))
    )
    shares = {"cap": (0.0, 0.0), "holdout": (0.5, 0.0), "usual": (0.0, 0.4)}[bars]
    chosen = StrategySettings(holdout_share=shares[0], usual_share=shares[1])
    among = arms.arms(everyone["customer_id"], chosen, "key")
    left = {"cap": arms.POLICY, "holdout": arms.HOLDOUT, "usual": arms.USUAL}[bars]
    everyone = everyone.join(among.filter(arm=left), on="customer_id", how="semi")
    capped = everyone.select("customer_id", contacts=pl.lit(9, pl.Int64)) if bars == "cap" else NOBODY
    decisions = decide(offered, everyone, chosen, DAY, 1, VERSIONS, "key", capped, value_draws=draws).decisions
    assert decisions.height == everyone.height > 0
    if bars != "usual":
        assert set(decisions["action"]) == {NO_CONTACT}
