"""The truth: what is expected is what happens in the mean, and the scenarios are what they say they are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mktgen.market_sim.chance import Floats
from mktgen.market_sim.oracle import attainable_values, expected, expected_costs, oracle_values, reserved_costs
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario, load, names
from tests.market_sim.conftest import REAL_WAVE, real_panel
from tests.market_sim.test_response import drawn

SEEDS = 60


def value(policy: Floats, panel: pl.DataFrame, scenario: Scenario) -> float:
    """True profit per customer of one action (its place) for each row."""
    return float(expected(panel, scenario)[np.arange(panel.height), policy.astype(int)].mean())


def within_budget(score: Floats, cost: Floats, budget: float) -> Floats:
    """The best action by score of each customer, by score per cost until the budget is spent."""
    best = score.argmax(axis=1)
    worth = score.max(axis=1) / np.maximum(cost[best], 1)
    order = [place for place in np.argsort(-worth, kind="stable") if worth[place] > 0]
    chosen = np.zeros(len(score))
    taken = [place for place, spent in zip(order, np.cumsum(cost[best][order]), strict=True) if spent <= budget]
    chosen[taken] = best[taken]
    return chosen


@pytest.mark.parametrize("name", names())
def test_what_is_expected_is_what_happens_in_the_mean(name: str, small: pl.DataFrame) -> None:
    """Mean of realised - expected over seeds, by action and in all, against its own standard error."""
    scenario = load(name)
    truth = expected(small, scenario)
    gaps = np.zeros((SEEDS, len(scenario.actions)))
    for seed in range(SEEDS):
        actions = drawn(small, scenario, seed)
        place = actions.replace_strict(
            dict(zip(scenario.actions, range(len(scenario.actions)), strict=True))
        ).to_numpy()
        gap = respond(small, actions, scenario, seed)["profit_minor"].to_numpy() - truth[np.arange(small.height), place]
        gaps[seed] = np.bincount(place, gap, len(scenario.actions))
    error = gaps.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    assert (np.abs(gaps.mean(axis=0)) <= 4 * error + 1e-6).all(), gaps.mean(axis=0) / np.maximum(error, 1e-9)
    whole = gaps.sum(axis=1)
    assert abs(whole.mean()) <= 4 * whole.std(ddof=1) / np.sqrt(SEEDS)


def test_expected_costs_are_what_is_paid_in_the_mean(small: pl.DataFrame, strong: Scenario) -> None:
    """Visits of one week are known only in the mean, so the bar is a tenth and not a standard error."""
    paid = [
        respond(small, drawn(small, strong, seed), strong, seed).group_by("action").agg(
            (pl.col("face_value_minor") + pl.col("contact_minor")).mean().alias("paid")
        )
        for seed in range(40)
    ]  # fmt: skip
    mean = dict(pl.concat(paid).group_by("action").agg(pl.col("paid").mean()).iter_rows())
    planned = dict(zip(strong.actions, expected_costs(small, strong).mean(axis=0), strict=True))
    assert mean.keys() == planned.keys()
    assert all(abs(mean[action] - planned[action]) <= 0.1 * planned[action] for action in mean)
    assert (expected_costs(small, strong) <= reserved_costs(strong)).all()


@pytest.mark.parametrize("name", names())
def test_leaving_alone_costs_and_brings_nothing(name: str, small: pl.DataFrame) -> None:
    scenario = load(name)
    for truth in (expected, oracle_values, attainable_values, expected_costs):
        values = truth(small, scenario)
        assert values.shape == (small.height, len(scenario.actions))
        assert (values[:, 0] == 0).all()


def test_attainable_is_the_mean_over_what_nobody_sees(small: pl.DataFrame, strong: Scenario) -> None:
    markets = [strong.model_copy(update={"people_seed": seed}) for seed in range(200)]
    draws = np.stack([oracle_values(small.head(40), market) for market in markets])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(markets))
    gap = np.abs(draws.mean(axis=0) - attainable_values(small.head(40), strong))
    assert (gap <= 4.5 * error + 1e-6).all()


def test_a_row_depends_on_itself_alone(small: pl.DataFrame, strong: Scenario) -> None:
    dealt = small.sample(fraction=0.5, shuffle=True, seed=3)
    rows = small.with_row_index("n").join(dealt.select("customer_id"), on="customer_id", maintain_order="right")["n"]
    for truth in (expected, oracle_values, attainable_values):
        np.testing.assert_allclose(truth(dealt, strong), truth(small, strong)[rows.to_numpy()], rtol=1e-12)


# -- on the real households -------------------------------------------------------------------------------------------
def test_strong_best_actions_differ_and_about_half_are_best_left_alone() -> None:
    panel, strong = real_panel(), load("strong")
    best = oracle_values(panel, strong).argmax(axis=1)
    shares = np.bincount(best, minlength=len(strong.actions)) / panel.height
    assert 0.40 <= shares[0] <= 0.65, "best left alone"
    assert (shares[1:] >= 0.02).all(), dict(zip(strong.actions, shares, strict=True))


@pytest.mark.parametrize("name", ["strong", "adverse"])
def test_ranking_by_redemption_is_a_trap(name: str) -> None:
    """Within half of what the oracle would spend: oracle > attainable > best by redemption."""
    panel, scenario = real_panel(), load(name)
    cost = reserved_costs(scenario)
    truth = oracle_values(panel, scenario)
    redeemed = expected_costs(panel, scenario) - scenario.contact_cost_minor * (cost > 0)
    budget = float(cost[truth.argmax(axis=1)].sum()) / 2
    by = {
        label: value(within_budget(score, cost, budget), panel, scenario)
        for label, score in {
            "oracle": truth,
            "attainable": attainable_values(panel, scenario),
            "redemption": redeemed / np.maximum(cost - scenario.contact_cost_minor, 1),
        }.items()
    }
    assert by["oracle"] > 0
    if name == "adverse":  # next to nobody is worth a contact: the oracle and the attainable are both next to nothing
        assert by["redemption"] < 0
        return
    assert by["oracle"] > by["attainable"] > by["redemption"]
    assert by["redemption"] < 0.4 * by["oracle"]


def test_adverse_sending_to_all_loses_money_and_almost_nobody_is_worth_it() -> None:
    panel, adverse = real_panel(), load("adverse")
    assert (expected(panel, adverse).mean(axis=0)[1:] < 0).all()
    assert (oracle_values(panel, adverse).argmax(axis=1) > 0).mean() < 0.1


def test_null_no_action_pays_for_anybody() -> None:
    null = load("null")
    assert (expected(real_panel(), null)[:, 1:] < 0).all()
    assert (oracle_values(real_panel(), null)[:, 1:] < 0).all()


def test_weak_is_weaker_than_strong() -> None:
    panel = real_panel()
    worth = {
        name: value(oracle_values(panel, load(name)).argmax(axis=1), panel, load(name)) for name in ("weak", "strong")
    }
    assert 0 < worth["weak"] < worth["strong"] / 2


def test_drift_makes_yesterdays_policy_wrong() -> None:
    drift = load("drift")
    assert drift.drift is not None
    before, after = real_panel(REAL_WAVE), real_panel(drift.drift.first_day)
    np.testing.assert_array_equal(expected(before, drift), expected(before, load("strong")))
    old = oracle_values(after, load("strong")).argmax(axis=1)
    new = oracle_values(after, drift).argmax(axis=1)
    assert value(old, after, drift) < 0.5 * value(new, after, drift)
