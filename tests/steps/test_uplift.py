"""Figures of a version's targeting: right where the truth is known, absent where nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mktgen.contracts import CAMPAIGNS, OFFER_ITEMS, OFFERS
from mktgen.response.fitting import fit_response
from mktgen.response.held_out import HeldOut
from mktgen.settings import ResponseSettings
from mktgen.steps.uplift import offers_by_scope, targeting_figures
from tests.support.trial_world import PARTITION, linear, make_trials, nothing

SETTINGS = ResponseSettings(hinged_covariates=2, crossed_covariates=2, boosting_from=100_000)
COST = {"coupon": 100, "mail": 100}


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    world = make_trials(4_000, 3, lambda x: 3 * linear(x))
    return fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 1)[1]


def test_an_order_that_knows_who_answers_is_worth_more_than_chance(held_out: HeldOut) -> None:
    found = targeting_figures(held_out, COST, 1)
    assert found["autoc_low"] > 0
    assert found["qini_low"] > 0
    assert found["aucc_low"] > 0.5
    assert found["effect_of_best_action_low"] < found["effect_of_best_action"] < found["effect_of_best_action_high"]
    assert found == targeting_figures(held_out, COST, 1)


def test_the_opposite_order_is_worth_less_than_chance(held_out: HeldOut) -> None:
    """The best action is then the worst one, and it goes to those first whom it harms most."""
    turned = replace(held_out, reward=replace(held_out.reward, effect=-held_out.reward.effect))
    found = targeting_figures(turned, COST, 1)
    assert found["autoc_high"] < 0
    assert found["effect_of_best_action"] < targeting_figures(held_out, COST, 1)["effect_of_best_action"]


def test_where_nothing_works_no_order_is_surely_better_and_no_share_is_told() -> None:
    world = make_trials(2_000, 5, nothing)
    _, silent = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 1)
    found = targeting_figures(silent, COST, 1)
    assert found["autoc_low"] < 0 < found["autoc_high"]
    assert "aucc" not in found, "a share of a gain that may be 0"


def test_too_few_trials_have_no_figures(held_out: HeldOut) -> None:
    never = np.full_like(held_out.reward.score, np.nan)
    assert targeting_figures(replace(held_out, reward=replace(held_out.reward, score=never)), COST, 1) == {}


def test_offers_on_the_same_items_are_of_one_mechanic() -> None:
    rows = [
        (f"{n}:c", str(n), "c", PARTITION, PARTITION, face)
        for n, face in ((1, 100), (2, 200), (3, 50), (4, None), (5, 300))
    ]
    kinds = [(str(n), "B" if n == 5 else "A", PARTITION, PARTITION) for n in range(1, 6)]
    items = [
        ("1:c", "a"),
        ("1:c", "b"),
        ("2:c", "b"),
        ("2:c", "a"),
        ("3:c", "a"),
        ("4:c", "a"),
        ("5:c", "a"),
        ("5:c", "b"),
    ]
    found = offers_by_scope(
        pl.DataFrame(rows, schema=OFFERS.columns, orient="row"),
        pl.DataFrame(items, schema=OFFER_ITEMS.columns, orient="row"),
        pl.DataFrame(kinds, schema=CAMPAIGNS.columns, orient="row"),
    ).sort("action")
    assert found["action"].to_list() == ["1:c", "2:c", "3:c", "5:c"], "without a face value nothing can be larger"
    assert found["mechanic"].n_unique() == 3, "other items, or another type of campaign, are another mechanic"
    assert found["mechanic"][0] == found["mechanic"][1]
