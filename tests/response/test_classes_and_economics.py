"""Customer classes by their rule, and costs and values by theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.response.classes import customer_classes
from mktgen.response.economics import expected_cost, priced
from mktgen.response.fitting import fit_response
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, make_trials, nothing

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=0)


def sorted_out(x: np.ndarray) -> np.ndarray:
    """Contact makes those with a large x1 buy and keeps those with a small one from it."""
    return np.column_stack([150 * x[:, 1], 150 * x[:, 1]])


@pytest.fixture(scope="module")
def model() -> ResponseModel:
    world = make_trials(4000, 41, sorted_out, base=0.0)
    return fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 7)[0]


def customers(**columns: list[float]) -> pl.DataFrame:
    number = len(next(iter(columns.values())))
    named = {f"x{k}": columns.get(f"x{k}", [0.0] * number) for k in range(4)}
    return pl.DataFrame({"customer_id": [f"k{row}" for row in range(number)], **named})


def test_whom_contact_moves_and_whom_it_drives_away(model: ResponseModel) -> None:
    table = customer_classes(model, customers(x1=[1.5, -1.5, 0.0]), SETTINGS)
    assert table["class"].to_list() == ["persuadable", "do_not_disturb", "uncertain"]
    assert table["low"][0] > 0 > table["high"][1]


def test_one_interval_of_several_is_judged_more_strictly(model: ResponseModel) -> None:
    both = customer_classes(model, customers(x1=[1.5]), SETTINGS)
    one = customer_classes(model, customers(x1=[1.5]), SETTINGS, [both["best_action"][0]])
    assert both["low"][0] < one["low"][0]
    assert both["effect"][0] == one["effect"][0]


def test_where_nothing_is_changed_the_base_tells_sure_from_lost(model: ResponseModel) -> None:
    zero = replace(
        model.conversion,
        mean=np.zeros_like(model.conversion.mean),
        covariance=1e-8 * np.eye(len(model.conversion.mean)),
    )
    sure = customer_classes(replace(model, conversion=zero), customers(x0=[2.0, -2.0]), SETTINGS)
    assert sure["class"].to_list() == ["sure_buyer", "lost_cause"]
    assert sure["base_conversion"][0] > 0.5 > sure["base_conversion"][1]


def test_without_effects_one_in_forty_is_called_persuadable() -> None:
    called = []
    for seed in range(12):
        world = make_trials(1000, 500 + seed, nothing)
        fitted = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 7)[0]
        classes = customer_classes(fitted, world.features, SETTINGS)
        called.append(classes.filter(pl.col("class") == "persuadable").height / classes.height)
    assert np.mean(called) <= 0.04  # 1/40, and what twelve worlds can be off


def test_cost_is_contact_and_what_will_be_redeemed() -> None:
    frame = pl.DataFrame({"p": [0.0, 0.5, 1.0]})
    assert frame.select(expected_cost(40, pl.col("p"), 100)).to_series().to_list() == [40.0, 90.0, 140.0]


def test_an_effect_is_the_profit_and_the_cost_is_added_back() -> None:
    effects = pl.DataFrame({"customer_id": ["a", "a"], "action": ["coupon", "mail"], "effect_minor": [25.0, -40.0]})
    offers = pl.DataFrame({"action": ["coupon", "mail"], "contact_cost_minor": [40, 40], "face_value_minor": [100, 0]})
    chances = pl.DataFrame({"customer_id": ["a", "a"], "action": ["coupon", "mail"], "p_redeem": [0.2, 0.0]})
    found = priced(effects, offers, chances)
    assert found["expected_cost_minor"].to_list() == [60.0, 40.0]
    assert found["net_minor"].to_list() == [25.0, -40.0]
    assert found["gross_minor"].to_list() == [85.0, 0.0]
    with pytest.raises(PermanentError, match="1 of 2 effects have no offer"):
        priced(effects, offers.head(1), chances)
    with pytest.raises(PermanentError, match="a negative cost"):
        priced(effects, offers.with_columns(contact_cost_minor=pl.lit(-1)), chances)
    with pytest.raises(PermanentError, match="outside"):
        priced(effects, offers, chances.with_columns(p_redeem=pl.lit(1.5)))
