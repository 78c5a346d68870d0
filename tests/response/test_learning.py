"""A model of mean effects where customers don't differ as foretold; trials that feedback doubts."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from mktgen.response.checks import calibration
from mktgen.response.fitting import Alike, fit_response
from mktgen.response.learning import DIFFERENCES, Learned, learn, not_ruled_out
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, TrialWorld, make_trials

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=0, boosting_from=100_000)
OFFERS = pl.DataFrame(schema={"action": pl.String, "mechanic": pl.String, "face_value_minor": pl.Int64})
MEANS = {"coupon": 40.0, "mail": 30.0}


def alike(x: np.ndarray) -> np.ndarray:
    return np.tile(list(MEANS.values()), (len(x), 1))


def homogeneous(seed: int) -> TrialWorld:
    return make_trials(800, seed, alike, noise=100.0)


def learned(world: TrialWorld, seed: int = 0) -> Learned:
    return learn(world.trials, world.covariates, SETTINGS, PARTITION, seed, OFFERS)


@pytest.fixture(scope="module")
def world() -> TrialWorld:
    """Alike customers, of whom the first fit foretells differences that held-out trials contradict."""
    return homogeneous(0)


def test_where_customers_are_alike_the_mean_effect_serves_for_all(world: TrialWorld) -> None:
    barred = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 0)[1]
    assert calibration(barred).passed is False, "the world must be one that the first fit gets wrong"
    found = learned(world)
    assert found.alike
    assert found.failed == []
    gates = {gate.name: gate for gate in found.gates}
    assert gates["effect_calibration"].passed is None
    assert "mean effect of each action is used for all" in gates[DIFFERENCES].detail
    effects = found.model.effects(world.features)
    for action, truth in MEANS.items():
        own = effects.filter(pl.col("action") == action)
        assert own["effect_minor"].n_unique() == 1
        assert own.select(pl.lit(truth).is_between("low", "high").all()).item()
        assert own["low"].max() > 0, "the mean is known well enough to tell it from nothing"
    assert found.model.base_conversion(world.features)["base_conversion"].n_unique() > 700


def test_a_model_of_means_is_kept_and_drawn_from_like_any_other(world: TrialWorld) -> None:
    model = learned(world).model
    again = ResponseModel.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes() == learned(world).model.to_bytes()
    draws = model.draws(world.features.head(50), 400, 1, ["coupon", "mail", "untried"])
    told = model.effects(world.features.head(50), ["coupon", "mail", "untried"])
    assert draws.mean() == pytest.approx(told["effect_minor"].mean(), abs=3)
    assert draws[:, :, 0].std(axis=0).mean() == pytest.approx(told.filter(action="coupon")["sd"].mean(), rel=0.2)
    assert told.filter(action="untried")["sd"].min() > told.filter(action="coupon")["sd"].max()


def test_where_customers_differ_they_may(world: TrialWorld) -> None:
    found = learned(make_trials(3_000, 31))
    assert not found.alike
    assert found.failed == []
    assert DIFFERENCES not in {gate.name for gate in found.gates}


def test_alike_worlds_are_not_barred_and_their_intervals_hold() -> None:
    found = [(homogeneous(seed), seed) for seed in range(20)]
    models = [(world, learned(world, seed)) for world, seed in found]
    assert sum(one.alike for _, one in models) >= 2
    assert sum(bool(one.failed) for _, one in models) <= 1
    covered = [
        float((row["low"] <= MEANS[row["action"]]) & (MEANS[row["action"]] <= row["high"]))
        for world, one in models
        for row in one.model.effects(world.features).iter_rows(named=True)
    ]
    assert np.mean(covered) > 0.9


def test_differences_that_are_not_ruled_out_widen_what_is_said_of_one_customer(world: TrialWorld) -> None:
    known = (world.trials, world.covariates, SETTINGS, PARTITION, 0, None, None)
    narrow, wide = (fit_response(*known, Alike(sd, sd / 100))[0] for sd in (0.0, 30.0))
    for name, spread in (("effects", 30.0), ("conversion_effects", 0.3)):
        variances = [(getattr(model, name)(world.features)["sd"] ** 2).mean() for model in (narrow, wide)]
        assert variances[1] - variances[0] == pytest.approx(spread**2, rel=0.05)
    held = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, 0)[1]
    differing = make_trials(3_000, 31)
    other = fit_response(differing.trials, differing.covariates, SETTINGS, PARTITION, 0)[1]
    assert not_ruled_out(held, held.reward) < 10 < not_ruled_out(other, other.reward)


def test_doubted_trials_count_for_little() -> None:
    """The coupon lost its effect 30 days ago; a day later there are as many trials of before as of since."""
    before, since = (
        make_trials(2_000, seed, lambda x, size=size: np.full((len(x), 2), size), noise=50.0, age=age)
        for seed, size, age in ((1, 100.0, 40), (2, 0.0, 20))
    )
    trials = pl.concat([before.trials, since.trials.with_columns(pl.col("decision_id", "customer_id") + "n")])
    known = pl.concat([before.covariates, since.covariates.with_columns(pl.col("customer_id") + "n")])
    means = {}
    for doubted in (None, PARTITION - timedelta(days=30)):
        model, _ = fit_response(trials, known, SETTINGS, PARTITION, 0, doubted_before=doubted)
        means[doubted is not None] = model.effects(since.features)["effect_minor"].mean()
    assert means[False] > 30
    assert means[True] < 20
    assert means[True] < means[False] / 2
