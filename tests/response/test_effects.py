"""What is learned in worlds whose truth is known, and what happens where there is little or nothing to learn."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.response.basis import UnusableCovariates
from mktgen.response.fitting import fit_response
from mktgen.response.held_out import HeldOut
from mktgen.response.model import ResponseModel
from mktgen.response.trials import TooFewTrials
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, TrialWorld, make_trials, nothing

SETTINGS = ResponseSettings(hinged_covariates=2, crossed_covariates=2, boosting_from=5_000)


def fitted(world: TrialWorld, settings: ResponseSettings = SETTINGS) -> tuple[ResponseModel, HeldOut]:
    return fit_response(world.trials, world.covariates, settings, PARTITION, 7)


def beside_truth(world: TrialWorld, model: ResponseModel) -> pl.DataFrame:
    return model.effects(world.features).join(world.truth, on=["customer_id", "action"])


def covered(table: pl.DataFrame) -> float:
    return float(table.select(pl.col("truth").is_between("low", "high").mean()).item())


def bent(x: np.ndarray) -> np.ndarray:
    """A coupon works where x0 is in the middle, and more for x1 the better x2."""
    both = 120 * np.exp(-(x[:, 0] ** 2)) + 25 * x[:, 1] * x[:, 2]
    return np.column_stack([both, 0.5 * both])


@pytest.fixture(scope="module")
def world() -> TrialWorld:
    return make_trials(4000, 11)


@pytest.fixture(scope="module")
def learned(world: TrialWorld) -> tuple[ResponseModel, HeldOut]:
    return fitted(world)


def test_straight_effects_are_found(world: TrialWorld, learned: tuple[ResponseModel, HeldOut]) -> None:
    table = beside_truth(world, learned[0])
    assert covered(table) > 0.85
    coupon = table.filter(pl.col("action") == "coupon")
    assert np.corrcoef(coupon["truth"], coupon["effect_minor"])[0, 1] > 0.9
    assert coupon["effect_minor"].mean() == pytest.approx(40, abs=25)
    assert table.columns == ["customer_id", "action", "effect_minor", "sd", "low", "high", "truth"]


def test_held_out_effects_foretell_as_well(world: TrialWorld, learned: tuple[ResponseModel, HeldOut]) -> None:
    held = learned[1].frame().join(world.truth, on=["customer_id", "action"])
    assert held.height == 8000
    assert np.corrcoef(held["truth"], held["effect_minor"])[0, 1] > 0.8
    assert held["score_minor"].mean() == pytest.approx(35, abs=25)


def test_effects_that_bend_are_followed(world: TrialWorld) -> None:
    curved = make_trials(10_000, 5, bent)
    model, _ = fitted(curved, ResponseSettings(hinged_covariates=4, crossed_covariates=4))
    assert model.facts["reward predicted by"] in ("ridge", "boosted trees")
    table = beside_truth(curved, model).filter(pl.col("action") == "coupon")
    assert np.corrcoef(table["truth"], table["effect_minor"])[0, 1] > 0.8
    assert covered(table) > 0.7  # a hinged line is no bell: less than 95%, and said so in basis.py


def test_an_exploring_policy_teaches_too() -> None:
    """90% get what a rule prefers, by covariates that move the outcome as well: only the chances make this right."""
    biased = make_trials(12_000, 3, explored=0.1)
    table = beside_truth(biased, fitted(biased)[0])
    assert covered(table) > 0.85
    for action, truth in (("coupon", 40), ("mail", 30)):
        part = table.filter(pl.col("action") == action)
        assert part["effect_minor"].to_numpy().mean() == pytest.approx(truth, abs=3 * np.median(part["sd"].to_numpy()))


def test_where_there_is_no_effect_hardly_one_is_seen() -> None:
    seen = []
    for seed in range(8):
        none = make_trials(1500, 100 + seed, nothing)
        seen.append(fitted(none)[0].effects(none.features).select((pl.col("low") > 0).mean()).item())
    assert np.mean(seen) < 0.05


def test_conversion_effects_have_the_sign_of_the_truth(
    world: TrialWorld, learned: tuple[ResponseModel, HeldOut]
) -> None:
    table = learned[0].conversion_effects(world.features).join(world.truth, on=["customer_id", "action"])
    assert np.corrcoef(table["truth"], table["effect"])[0, 1] > 0.6
    assert table["low"].min() >= -1  # type: ignore[operator]
    base = learned[0].base_conversion(world.features)
    assert base["base_conversion"].mean() == pytest.approx(1 / (1 + np.exp(1.5)), abs=0.05)


def test_the_order_of_rows_changes_no_byte(world: TrialWorld) -> None:
    small = make_trials(400, 2)
    one = fitted(small)[0]
    mixed = fit_response(
        small.trials.sample(fraction=1.0, shuffle=True, seed=1),
        small.covariates.sample(fraction=1.0, shuffle=True, seed=2),
        SETTINGS, PARTITION, 7,
    )[0]  # fmt: skip
    assert one.to_bytes() == mixed.to_bytes()
    shuffled = small.features.sample(fraction=1.0, shuffle=True, seed=3)
    assert_frame_equal(one.effects(small.features), one.effects(shuffled))


def test_an_action_that_was_possible_and_never_drawn_is_as_good_as_unknown(world: TrialWorld) -> None:
    small = 0.0005
    rare = world.trials.head(1500).with_columns(
        pl.col("action_set").list.concat(pl.lit(["call"])),
        (pl.col("action_propensities").list.eval(pl.element() * (1 - small))).list.concat(pl.lit([small])),
        pl.col("propensity") * (1 - small),
    )
    model, held = fit_response(rare, world.covariates, SETTINGS, PARTITION, 7)
    table = model.effects(world.features)
    sd = dict(table.group_by("action").agg(pl.col("sd").median()).iter_rows())
    assert sd["call"] > 1.2 * max(sd["coupon"], sd["mail"])
    assert model.facts["drawn: call"] == 0
    assert np.isfinite(held.reward.effect).all()


def test_an_action_nobody_knows_has_the_common_effect_and_a_wide_interval(
    world: TrialWorld, learned: tuple[ResponseModel, HeldOut]
) -> None:
    table = learned[0].effects(world.features, ["coupon", "new"])
    new, coupon = (table.filter(pl.col("action") == name) for name in ("new", "coupon"))
    assert new["sd"].median() > 1.2 * coupon["sd"].median()  # type: ignore[operator]
    assert 0 < new["effect_minor"].mean() < 80  # type: ignore[operator]


def test_few_trials_have_wide_intervals_and_fewer_are_refused() -> None:
    few, many = make_trials(320, 1), make_trials(3200, 1)
    widths = [fitted(each)[0].effects(each.features)["sd"].median() for each in (few, many)]
    assert widths[0] > 1.5 * widths[1]  # type: ignore[operator]
    with pytest.raises(TooFewTrials, match=r"250 randomised trials, drawn .*needed: 300"):
        fitted(make_trials(250, 1))
    one_sided = few.trials.with_columns(action=pl.lit("mail"), propensity=pl.lit(1 / 3))
    with pytest.raises(TooFewTrials, match="two actions drawn 20 times"):
        fit_response(one_sided, few.covariates, SETTINGS, PARTITION, 7)


def test_a_constant_reward_is_refused(world: TrialWorld) -> None:
    flat = world.trials.head(400).with_columns(reward_minor=pl.lit(12.0))
    with pytest.raises(TooFewTrials, match=r"the reward of all 400 trials is 12.0"):
        fit_response(flat, world.covariates, SETTINGS, PARTITION, 7)


@pytest.mark.parametrize("converted", [True, False])
def test_when_all_or_none_converted_the_effect_is_near_nothing_and_not_certain(
    world: TrialWorld, converted: bool
) -> None:
    one = world.trials.head(400).with_columns(converted=pl.lit(converted))
    model, _ = fit_response(one, world.covariates, SETTINGS, PARTITION, 7)
    table = model.conversion_effects(world.features)
    assert table["effect"].abs().max() < 0.01  # type: ignore[operator]
    assert table["sd"].min() > 1e-4  # type: ignore[operator]
    base = model.base_conversion(world.features)["base_conversion"]
    assert ((base > 0.99) if converted else (base < 0.01)).all()


def test_nulls_and_nan_in_covariates_are_no_obstacle(world: TrialWorld) -> None:
    holes = world.covariates.with_columns(
        x0=pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise("x0"),
        x3=pl.when(pl.int_range(pl.len()) % 7 == 0).then(float("nan")).otherwise("x3"),
        x4=pl.lit(None, dtype=pl.Float64),
    )
    model, _ = fit_response(world.trials, holes, SETTINGS, PARTITION, 7)
    table = model.effects(holes.drop("decided_on"))
    assert table.select(pl.all().is_null().any()).row(0) == (False,) * 6
    assert table["effect_minor"].is_finite().all()


def test_covariates_that_do_not_fit_the_trials_are_refused(world: TrialWorld) -> None:
    few = world.trials.head(400)
    for covariates, message in (
        (world.covariates.drop("decided_on"), "lack"),
        (pl.concat([world.covariates, world.covariates.head(1)]), "several rows of one customer and day"),
        (
            world.covariates.with_columns(pl.col("decided_on") + timedelta(days=1)),
            "400 of 400 trials have no covariates",
        ),
    ):
        with pytest.raises(UnusableCovariates, match=message):
            fit_response(few, covariates, SETTINGS, PARTITION, 7)


def test_after_a_change_of_taste_three_waves_of_four_weeks_are_enough() -> None:
    """Six waves in which mail repels, then three in which it attracts; half-life 42 days. Weights of the new: 2^(-28k/42)."""
    waves = []
    for wave in range(9):  # 0 is the newest

        def effect(x: np.ndarray, sign: float = 1.0 if wave < 3 else -1.0) -> np.ndarray:
            return np.column_stack([sign * (60 + 40 * x[:, 0])] * 2)

        part = make_trials(600, 40 + wave, effect, age=28 * wave + 29)
        other = pl.format("w{}{}", pl.lit(wave), "customer_id").alias("customer_id")
        unique = pl.format("w{}{}", pl.lit(wave), "decision_id").alias("decision_id")
        waves.append((part.trials.with_columns(other, unique), part.covariates.with_columns(other)))
    trials, covariates = (pl.concat(wave[k] for wave in waves) for k in range(2))
    forgetful, _ = fit_response(trials, covariates, SETTINGS, PARTITION, 7)
    stubborn, _ = fit_response(trials, covariates, SETTINGS.model_copy(update={"half_life_days": 1e5}), PARTITION, 7)
    features = waves[0][1].drop("decided_on")
    assert forgetful.effects(features)["effect_minor"].mean() > 15  # type: ignore[operator]
    assert stubborn.effects(features)["effect_minor"].mean() < 0  # type: ignore[operator]


def test_trials_that_have_not_happened_are_refused(world: TrialWorld) -> None:
    with pytest.raises(Exception, match="not decided before 2024-01-01"):
        fit_response(world.trials, world.covariates, SETTINGS, date(2024, 1, 1), 7)
