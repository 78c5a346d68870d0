"""Lift, relative lift, what could be shown, and return on cost."""

from __future__ import annotations

from math import inf

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.errors import PermanentError
from mktgen.feedback.effect.estimate import Estimate, pool
from mktgen.feedback.effect.lift import (
    Lift,
    customers_needed,
    fieller,
    lift,
    minimal_detectable,
    power_of,
    relative,
    roi,
)
from tests.feedback.effect.worlds import rows


def estimate(value: float, se: float, df: float = inf, influence: list[float] | None = None) -> Estimate:
    moved = np.array(influence or [])
    return Estimate(value, se, df, "m", tuple(f"c{n}" for n in range(moved.size)), moved)


def test_a_lift_says_what_its_covariates_paid() -> None:
    frame = rows(600, seed=2)
    plain, adjusted = lift(frame, "y"), lift(frame, "y", ["x"])
    assert plain.variance_ratio == 1
    assert plain.raw == adjusted.raw == plain.adjusted
    assert adjusted.variance_ratio == pytest.approx((adjusted.adjusted.se / adjusted.raw.se) ** 2)
    assert adjusted.variance_ratio < 0.3
    assert adjusted.minimal_detectable < plain.minimal_detectable
    assert adjusted.treated_customers + adjusted.control_customers == 600
    shown = adjusted.adjusted.interval()
    assert shown.low < 5 < shown.high
    assert adjusted.relative is not None
    assert adjusted.relative.low < 5 / 30 < adjusted.relative.high


@pytest.mark.parametrize("adjustment", ["none", "cuped", "interacted"])
def test_every_adjustment_finds_the_same_planted_effect(adjustment: str) -> None:
    found: Lift = lift(rows(2_000, waves=1), "y", ["x"], adjustment)  # type: ignore[arg-type]
    assert abs(found.adjusted.value - 5) < 4 * found.adjusted.se
    assert found.adjusted.se < 1.0


def test_a_relative_lift_needs_a_control_that_surely_buys() -> None:
    assert relative(estimate(1, 0.1, influence=[0.1]), estimate(0.1, 0.1, influence=[0.1])) is None
    found = relative(estimate(1, 0.1, influence=[0.1, 0.0]), estimate(10, 0.1, influence=[0.0, 0.1]))
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.hypot(0.01, 0.001), rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(se=st.floats(0.01, 100), df=st.floats(30, 1e5), alpha=st.floats(0.01, 0.1), power=st.floats(0.7, 0.95))
def test_the_minimal_detectable_effect_has_the_power_it_was_asked_for(
    se: float, df: float, alpha: float, power: float
) -> None:
    effect = estimate(0.0, se, df)
    least = minimal_detectable(effect, alpha, power)
    assert power_of(least, effect, alpha) == pytest.approx(power, abs=0.02)
    assert power_of(-least, effect, alpha) == pytest.approx(power_of(least, effect, alpha), abs=1e-4)
    assert power_of(0.0, effect, alpha) == pytest.approx(alpha, abs=1e-4)


def test_half_the_effect_takes_four_times_the_customers() -> None:
    found = lift(rows(400), "y", ["x"])
    now = customers_needed(found.minimal_detectable, found)
    assert now == pytest.approx(400, abs=1)
    assert customers_needed(found.minimal_detectable / 2, found) == pytest.approx(4 * now, abs=4)
    assert customers_needed(0.0, found) == inf


def test_power_where_nothing_varies() -> None:
    certain = estimate(0.0, 0.0)
    assert (power_of(0.0, certain), power_of(1.0, certain)) == (0.05, 1.0)
    assert (certain.p_value(), certain.p_value(1.0)) == (1.0, 0.0)


# -- ratios -------------------------------------------------------------------------------------------------------------
@settings(max_examples=50, deadline=None)
@given(
    n=st.floats(-50, 50), d=st.floats(5, 50),
    influence=st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.3, 0.3)), min_size=3, max_size=20),
)  # fmt: skip
def test_the_bounds_of_fieller_are_where_its_statistic_meets_the_quantile(
    n: float, d: float, influence: list[tuple[float, float]]
) -> None:
    moved = np.array(influence)
    one, other = (
        estimate(value, float(np.linalg.norm(moved[:, k])), 1e6, moved[:, k].tolist()) for k, value in enumerate((n, d))
    )
    found = fieller(one, other)
    assert found is not None
    assert found.low - 1e-12 <= n / d <= found.high + 1e-12
    for bound in (found.low, found.high):
        spread = float(((moved[:, 0] - bound * moved[:, 1]) ** 2).sum())
        assert (n - bound * d) ** 2 == pytest.approx(1.96**2 * spread, rel=1e-3, abs=1e-6)


def test_a_cost_that_is_not_surely_above_nothing_gives_no_return() -> None:
    gain = estimate(5, 1, influence=[1.0, 0.0])
    assert fieller(gain, estimate(1, 1, influence=[0.0, 1.0])) is None
    assert fieller(gain, estimate(-10, 1, influence=[0.0, 1.0])) is None
    with pytest.raises(PermanentError, match="same rows"):
        fieller(gain, estimate(1, 1))


def test_a_return_is_incremental_margin_over_incremental_cost() -> None:
    frame = rows(400, waves=2).with_columns(
        (0.3 * pl.col("y")).alias("margin"), pl.when(pl.col("arm") == "treated").then(0.5).otherwise(0.0).alias("cost")
    )
    found = roi(frame, "margin", "cost", ["x"])
    effect = lift(frame, "y", ["x"]).adjusted
    assert found is not None
    assert found.value == pytest.approx(0.3 * effect.value / 0.5 - 1)
    bounds = effect.interval()
    assert [found.low, found.high] == pytest.approx([0.6 * bounds.low - 1, 0.6 * bounds.high - 1])
    assert roi(frame.with_columns(pl.lit(0.0).alias("cost")), "margin", "cost") is None


# -- pooling ------------------------------------------------------------------------------------------------------------
def test_pooling_weighs_by_precision_and_counts_a_shared_customer_once() -> None:
    one, other = estimate(1, 1, influence=[1.0, 0.0]), estimate(3, 1, influence=[1.0, 0.0])
    found = pool([one, other])
    assert found.estimate.value == 2
    assert found.independent_se == pytest.approx(np.sqrt(0.5))
    assert found.estimate.se == pytest.approx(1.0)  # the same customer moved both
    apart = pool([one, estimate(3, 1, influence=[0.0, 1.0])])
    assert apart.estimate.se == pytest.approx(np.sqrt(0.5))
    assert pool([estimate(1, 1), estimate(3, 0.5)]).estimate.value == pytest.approx((1 + 12) / 5)


def test_effects_that_scatter_widen_the_random_effects() -> None:
    alike, apart = ([estimate(value, 1) for value in values] for values in ((1.0, 1.0, 1.0), (-10.0, 0.0, 13.0)))
    assert pool(alike).between_sd == 0
    assert pool(alike).random_effects.se == pytest.approx(pool(alike).independent_se)
    assert pool(apart).between_sd > 5
    assert pool(apart).random_effects.se > 5 * pool(apart).independent_se
    with pytest.raises(PermanentError, match="at least one"):
        pool([])
    with pytest.raises(PermanentError, match="standard error above 0"):
        pool([estimate(1, 0)])
