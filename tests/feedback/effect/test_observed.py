"""Cross-fitting keeps customers apart; doubly robust and overlap-weighted estimates find what was planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from benchmarks.coverage_effect import COVARIATES, EFFECT, observed
from mktgen.errors import PermanentError
from mktgen.feedback.effect import diagnostics
from mktgen.feedback.effect.crossfit import Nuisance, fold_of, nuisance
from mktgen.feedback.effect.linear import difference_of_means
from mktgen.feedback.effect.observed import doubly_robust, overlap_weighted
from mktgen.feedback.effect.sample import Sample
from tests.feedback.effect.worlds import rows

TRIM = 0.05


def sample(seed: int = 3, customers: int = 1_500) -> Sample:
    return Sample.of(observed(np.random.default_rng(seed), customers=customers)[0], "net_minor", COVARIATES)


@pytest.mark.parametrize("outcome_model", ["ridge", "boosting", "mean"])
def test_measured_confounding_is_removed(outcome_model: str) -> None:
    data = sample()
    fitted = nuisance(data, 5, outcome_model, seed=0)  # type: ignore[arg-type]
    naive = difference_of_means(data).effects["treated"]
    assert naive.value - EFFECT > 5 * naive.se
    for found in (doubly_robust(data, fitted, TRIM), overlap_weighted(data, fitted)):
        assert abs(found.value - EFFECT) < 3 * found.se
        assert found.se < 1.2


def test_a_wrong_outcome_model_or_a_wrong_propensity_alone_is_forgiven() -> None:
    data = sample(4)
    fitted = nuisance(data, 5, "ridge", seed=0)
    flat = np.full(data.rows, data.outcome.mean())
    constant = np.full(data.rows, data.treated.mean())
    for wrong in (replace(fitted, control=flat, treated=flat), replace(fitted, propensity=constant)):
        found = doubly_robust(data, wrong, TRIM)
        assert abs(found.value - EFFECT) < 3 * found.se
    both = doubly_robust(data, replace(fitted, control=flat, treated=flat, propensity=constant), TRIM)
    assert both.value - EFFECT > 5 * both.se


def test_a_customer_is_predicted_by_models_that_never_saw_it() -> None:
    data = Sample.of(rows(80, waves=3), "y", ["x", "z"])
    part = fold_of(data, 4, seed=1)
    for number in range(len(data.customers)):
        assert np.unique(part[data.cluster == number]).size == 1
    first = nuisance(data, 4, "ridge", seed=1)
    changed = data.outcome.copy()
    changed[data.cluster == 7] += 1_000
    second = nuisance(replace(data, outcome=changed), 4, "ridge", seed=1)
    own = data.cluster == 7
    assert np.array_equal(first.either[own], second.either[own])
    assert not np.array_equal(first.either[part != part[own][0]], second.either[part != part[own][0]])


def test_every_fold_holds_both_arms_and_the_seed_alone_deals_them() -> None:
    data = sample()
    part = fold_of(data, 5, seed=2)
    shares = [data.treated[part == fold].mean() for fold in range(5)]
    assert max(shares) - min(shares) < 0.01
    assert np.array_equal(part, fold_of(data, 5, seed=2))
    assert not np.array_equal(part, fold_of(data, 5, seed=3))


def test_too_few_customers_or_nothing_to_adjust_for_are_refused() -> None:
    frame = rows(12, waves=1)
    with pytest.raises(PermanentError, match="can't be dealt into 5 folds"):
        nuisance(Sample.of(frame, "y", ["x"]), 5, "ridge", seed=0)
    with pytest.raises(PermanentError, match="adjusting for nothing"):
        nuisance(Sample.of(frame.with_columns(pl.lit(1.0).alias("x")), "y", ["x"]), 2, "ridge", seed=0)


def test_no_overlap_leaves_no_effect_to_estimate() -> None:
    data = sample(customers=200)
    certain = Nuisance(np.where(data.treated, 0.99, 0.01), data.outcome, data.outcome, data.outcome)
    with pytest.raises(PermanentError, match="0 treated and 0 control customers are left"):
        doubly_robust(data, certain, TRIM)
    assert diagnostics.overlap(data, certain.propensity, TRIM)["overlap_treated"] == 0


def test_the_influences_of_an_estimate_are_its_error() -> None:
    data = sample()
    fitted = nuisance(data, 5, "ridge", seed=0)
    for found in (doubly_robust(data, fitted, TRIM), overlap_weighted(data, fitted)):
        assert found.influence.sum() == pytest.approx(0.0, abs=1e-9)
        assert np.linalg.norm(found.influence) == pytest.approx(found.se, rel=1e-3)
        assert found.customers == data.customers


# -- diagnostics ----------------------------------------------------------------------------------------------------------
def test_inverse_weights_balance_what_chose_the_treated() -> None:
    data = sample()
    fitted = nuisance(data, 5, "ridge", seed=0)
    gaps = diagnostics.balance(data, diagnostics.inverse_weights(data, fitted.propensity, TRIM))
    chosen_by = [data.names.index(name) for name in ("x0", "x1", "x2")]
    assert (abs(gaps.before[chosen_by]) > 0.2).all()
    assert (abs(gaps.after) < 0.1).all()


def test_a_standardised_difference_is_in_standard_deviations() -> None:
    made = pl.DataFrame({
        "customer_id": ["a", "b", "c", "d"], "wave": [rows(1)["wave"][0]] * 4, "arm": ["control"] * 2 + ["treated"] * 2,
        "y": [0.0] * 4, "x": [0.0, 2.0, 3.0, 5.0],
    })  # fmt: skip
    gaps = diagnostics.balance(Sample.of(made, "y", ["x"]), np.array([1.0, 0.0, 1.0, 1.0]))
    assert gaps.before[0] == pytest.approx(3.0)  # means 4 and 1, deviations of 1
    assert gaps.after[0] == pytest.approx(4.0)


def test_the_effective_share_falls_as_weights_differ() -> None:
    assert diagnostics.effective_share(np.ones(10)) == pytest.approx(1.0)
    assert diagnostics.effective_share(np.array([1.0, 1.0, 0.0])) == pytest.approx(1.0)
    assert diagnostics.effective_share(np.array([9.0, 1.0])) == pytest.approx(100 / 164)
    assert diagnostics.effective_share(np.zeros(3)) == 0


@pytest.mark.parametrize("redrawn", [False, True])
def test_the_sample_ratio_counts_customers_unless_they_are_drawn_anew(redrawn: bool) -> None:
    frame = rows(300, waves=4, control_share=0.4)
    if redrawn:
        rng = np.random.default_rng(0)
        arms = np.where(rng.random(frame.height) < 0.4, "control", "treated")
        frame = frame.with_columns(pl.Series("arm", arms))
    data = Sample.of(frame, "y")
    held, units, p_value = diagnostics.sample_ratio(data, 0.4)
    assert units == (frame.height if redrawn else 300)
    assert held == pytest.approx(0.4 * units, rel=0.2)
    assert p_value > 0.01
    assert diagnostics.sample_ratio(data, 0.6)[2] < 1e-6


def test_contamination_is_a_share_of_each_arm() -> None:
    frame = rows(200).with_columns((pl.col("arm") == "treated").alias("other"))
    assert diagnostics.contamination(frame, "other") == {"contaminated_treated": 1.0, "contaminated_control": 0.0}
