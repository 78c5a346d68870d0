"""Gates: a sound world passes, and each kind of fault fails its own gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mktgen.documents import Gate
from mktgen.response.checks import (
    calibration,
    covariate_balance,
    final_stage,
    mean_effect,
    monotone,
    no_harm_in_scale,
    placebo_effect,
    randomisation,
    sanity_gates,
)
from mktgen.response.fitting import fit_response
from mktgen.response.held_out import HeldOut
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, TrialWorld, make_trials

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=0, boosting_from=2_000)
OFFERS = pl.DataFrame(
    {"action": ["coupon", "mail"], "mechanic": ["off", "off"], "face_value_minor": [200, 100]},
)


@pytest.fixture(scope="module")
def world() -> TrialWorld:
    return make_trials(3000, 31)


@pytest.fixture(scope="module")
def held(world: TrialWorld) -> HeldOut:
    return fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 7)[1]


def placebo(world: TrialWorld, kick: float = 0.0) -> pl.DataFrame:
    before = 100 + 50 * world.x[:, 0] + 20 * np.random.default_rng(1).normal(size=len(world.x))
    contacted = (world.trials["action"] != "no_contact").to_numpy()
    return pl.DataFrame({"decision_id": world.trials["decision_id"], "placebo_minor": before + kick * contacted})


def test_a_sound_world_passes_all(world: TrialWorld, held: HeldOut) -> None:
    gates = {gate.name: gate for gate in sanity_gates(held, OFFERS, placebo(world))}
    assert set(gates) == {
        "randomisation", "covariate_balance", "mean_effect", "effect_calibration", "individual_effects", "monotone",
        "placebo", "final_stage",
    }  # fmt: skip
    assert {name: gate.passed for name, gate in gates.items() if name != "final_stage"} == dict.fromkeys(
        set(gates) - {"final_stage"}, True
    )
    assert gates["final_stage"].passed is None
    assert "coupon: model" in gates["mean_effect"].detail


def test_chances_that_were_not_those_of_the_draw_are_noticed(world: TrialWorld) -> None:
    wrong = [0.5, 0.25, 0.25]
    names = ["coupon", "mail", "no_contact"]
    lied = world.trials.with_columns(
        action_propensities=pl.lit(wrong),
        propensity=pl.col("action").replace_strict(dict(zip(names, wrong, strict=True)), return_dtype=pl.Float64),
    )
    assert randomisation(fit_response(lied, world.covariates, SETTINGS, PARTITION, 7)[1]).passed is False


def test_covariates_that_were_measured_afterwards_are_noticed(world: TrialWorld) -> None:
    after = world.covariates.with_columns(
        x3=pl.col("x3") + 0.3 * (world.trials["action"] != "no_contact").cast(pl.Float64)
    )
    gate = covariate_balance(fit_response(world.trials, after, SETTINGS, PARTITION, 7)[1])
    assert gate.passed is False
    assert "standard errors over" in gate.detail


def test_an_effect_on_the_past_is_noticed(world: TrialWorld, held: HeldOut) -> None:
    assert placebo_effect(held, placebo(world)).passed
    assert placebo_effect(held, placebo(world, kick=20.0)).passed is False
    assert placebo_effect(held, None).passed is None


def changed(held: HeldOut, effect: np.ndarray) -> HeldOut:
    return replace(held, reward=replace(held.reward, effect=effect))


def test_exaggerated_differences_are_noticed_and_timid_ones_are_not_a_fault(held: HeldOut) -> None:
    middle = held.reward.effect.mean(axis=0)
    bold = changed(held, middle + 4 * (held.reward.effect - middle))
    assert calibration(bold).passed is False
    assert no_harm_in_scale(bold).passed is False
    timid = calibration(changed(held, middle + 0.3 * (held.reward.effect - middle)))
    assert timid.passed
    assert timid.value is not None
    assert timid.value > 1.5
    flat = calibration(changed(held, np.broadcast_to(middle, held.reward.effect.shape)))
    assert flat.passed is None


def test_a_mean_that_is_off_is_noticed(held: HeldOut) -> None:
    assert mean_effect(changed(held, held.reward.effect + 60)).passed is False


def test_a_larger_face_value_that_repels_is_noticed(world: TrialWorld, held: HeldOut) -> None:
    sent = world.trials.select("decision_id", "action")
    rng = np.random.default_rng(3)
    low, high = (rng.random(sent.height) < p for p in (0.1, 0.3))
    redeemed = sent.with_columns(
        redeemed=pl.when(pl.col("action") == "coupon").then(pl.Series(low)).otherwise(pl.Series(high))
    )
    gate = monotone(held, OFFERS, redeemed)
    assert gate.passed is False
    assert "redemption" in gate.detail
    turned = OFFERS.with_columns(face_value_minor=pl.Series([100, 200]))
    assert monotone(held, turned, redeemed).passed
    apart = OFFERS.with_columns(mechanic=pl.Series(["off", "gift"]))
    assert monotone(held, apart, redeemed).passed is None


def test_trees_are_compared_where_there_are_enough_trials(held: HeldOut) -> None:
    assert "than boosted trees" in final_stage(held).detail
    assert final_stage(replace(held, reward=replace(held.reward, boosted=None))).passed is None


def test_sound_worlds_seldom_fail() -> None:
    failed: list[Gate] = []
    for seed in range(10):
        world = make_trials(400, 300 + seed)
        held = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, seed)[1]
        failed += [gate for gate in sanity_gates(held, OFFERS, placebo(world)) if gate.passed is False]
    assert len(failed) <= 2, failed
