"""Clustered regression equals its dense definition; the estimators equal what they are said to be."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import ttest_ind

from mktgen.errors import PermanentError
from mktgen.feedback.effect import linear
from mktgen.feedback.effect.estimate import Matrix, Vector
from mktgen.feedback.effect.linear import cuped, difference_of_means, identified, interacted, least_squares
from mktgen.feedback.effect.sample import CONTROL, Sample, arm_rows
from tests.feedback.effect.worlds import DAY, rows


def dense(design: Matrix, y: Vector, cluster: Vector, contrast: Vector) -> tuple[float, float]:
    """CR2 variance and Satterthwaite df of a combination, from n x n matrices as the papers write them."""
    inverse = np.linalg.inv(design.T @ design)
    rest = np.eye(y.size) - design @ inverse @ design.T
    residual, score, columns = rest @ y, np.zeros(design.shape[1]), []
    variance = 0.0
    for group in np.unique(cluster):
        own = np.flatnonzero(cluster == group)
        adjustment = np.real(np.linalg.inv(np.asarray(sqrtm(rest[np.ix_(own, own)]))))
        lever = adjustment @ design[own] @ inverse @ contrast
        variance += float(lever @ residual[own]) ** 2
        columns.append(rest[:, own] @ lever)
        score += design[own].T @ adjustment @ residual[own]
    values = np.linalg.eigvalsh(np.array(columns) @ np.array(columns).T)
    return variance, float(values.sum() ** 2 / (values**2).sum())


@pytest.mark.parametrize("waves", [1, 4])
def test_the_clustered_error_and_its_df_equal_their_dense_definition(waves: int) -> None:
    sample = Sample.of(rows(30, waves, seed=waves), "y", ["x", "z"])
    treated = sample.treated.astype(np.float64)
    design = np.column_stack([np.ones(sample.rows), treated, sample.covariates])
    fit = least_squares(design, sample.outcome, sample.cluster)
    for contrast in np.eye(4):
        variance, df = dense(design, sample.outcome, sample.cluster.astype(np.float64), contrast)
        found = fit.estimate(contrast, sample.customers, "m")
        assert found.se**2 == pytest.approx(variance, rel=1e-8)
        assert found.df == pytest.approx(max(df, 1.0), rel=1e-6)


def test_one_row_per_customer_gives_the_error_of_welch() -> None:
    frame = rows(80, waves=1)
    found = difference_of_means(Sample.of(frame, "y")).effects["treated"]
    arms = [frame.filter(pl.col("arm") == arm)["y"].to_numpy() for arm in ("treated", "control")]
    welch = ttest_ind(*arms, equal_var=False)
    assert found.value == pytest.approx(arms[0].mean() - arms[1].mean())
    assert found.value / found.se == pytest.approx(float(welch.statistic))


def test_waves_of_a_customer_do_not_count_as_new_customers() -> None:
    once = rows(60, waves=1)
    tenfold = pl.concat([once.with_columns(pl.lit(DAY).dt.offset_by(f"{n}d").alias("wave")) for n in range(10)])
    alone, repeated = (difference_of_means(Sample.of(frame, "y")).effects["treated"] for frame in (once, tenfold))
    assert repeated.value == pytest.approx(alone.value)
    assert repeated.se == pytest.approx(alone.se)


def test_so_many_rows_that_cr1_is_used_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample.of(rows(400), "y", ["x"])
    exact = interacted(sample).effects["treated"]
    monkeypatch.setattr(linear, "MAX_PAIRS", 1)
    plain = interacted(sample).effects["treated"]
    assert "CR2" in exact.method
    assert "CR1" in plain.method
    assert plain.value == exact.value
    assert plain.se == pytest.approx(exact.se, rel=0.02)
    assert plain.df == pytest.approx(exact.df, rel=0.05)


def test_the_interacted_form_is_the_gap_of_each_arms_own_regression_at_the_mean_customer() -> None:
    sample = Sample.of(rows(200, arms=2), "y", ["x", "z"])
    found = interacted(sample)
    middle = sample.covariates.mean(axis=0)

    def at_the_mean(arm: str) -> float:
        own = sample.in_arm(arm)
        table = np.column_stack([np.ones(own.sum()), sample.covariates[own] - middle])
        return float(np.linalg.lstsq(table, sample.outcome[own], rcond=None)[0][0])

    assert sorted(found.effects) == ["treated0", "treated1"]
    assert found.control.value == pytest.approx(at_the_mean(CONTROL))
    for arm, effect in found.effects.items():
        assert effect.value == pytest.approx(at_the_mean(arm) - at_the_mean(CONTROL))


def test_cuped_is_the_difference_of_what_the_pooled_slope_leaves() -> None:
    sample = Sample.of(rows(200), "y", ["x"])
    found = cuped(sample).effects["treated"]
    x, y, treated = sample.covariates[:, 0], sample.outcome, sample.treated
    within_x, within_y = x.copy(), y.copy()
    for side in (treated, ~treated):
        within_x[side] -= x[side].mean()
        within_y[side] -= y[side].mean()
    left = y - (x - x.mean()) * (within_x @ within_y) / (within_x @ within_x)
    assert found.value == pytest.approx(left[treated].mean() - left[~treated].mean())


def test_covariates_from_before_narrow_the_interval_and_noise_does_not() -> None:
    frame = rows(400)
    plain = difference_of_means(Sample.of(frame, "y")).effects["treated"]
    known, noise = (interacted(Sample.of(frame, "y", [name])).effects["treated"] for name in ("x", "z"))
    assert known.se < 0.6 * plain.se
    assert noise.se == pytest.approx(plain.se, rel=0.05)


def test_covariates_that_repeat_each_other_or_never_vary_are_left_out() -> None:
    frame = rows(200).with_columns((2 * pl.col("x") + 1).alias("same"), pl.lit(3.0).alias("constant"))
    sample = Sample.of(frame, "y", ["x", "same", "constant", "z"])
    assert sample.names == ("x", "same", "z")
    assert identified(sample).shape[1] == 2
    alone = interacted(Sample.of(frame, "y", ["x", "z"])).effects["treated"]
    assert interacted(sample).effects["treated"].value == pytest.approx(alone.value)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 100), seed=st.integers(0, 5))
def test_units_and_the_order_of_rows_do_not_matter(shift: float, scale: float, seed: int) -> None:
    frame = rows(40, seed=seed)
    found = interacted(Sample.of(frame, "y", ["x"])).effects["treated"]
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    assert interacted(Sample.of(shuffled, "y", ["x"])).effects["treated"] == found
    moved = frame.with_columns(pl.col("y") * scale + shift, pl.col("x") / scale - shift)
    other = interacted(Sample.of(moved, "y", ["x"])).effects["treated"]
    assert other.value == pytest.approx(scale * found.value, rel=1e-5, abs=1e-6 * scale)
    assert other.se == pytest.approx(scale * found.se, rel=1e-5)


def test_nothing_that_varies_gives_an_effect_that_is_certain() -> None:
    found = difference_of_means(Sample.of(rows(20).with_columns(pl.lit(7.0).alias("y")), "y")).effects["treated"]
    assert [found.value, found.se] == pytest.approx([0.0, 0.0], abs=1e-9)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows(20).clear(), "no rows"),
        (rows(20).drop("y"), "lack the columns"),
        (rows(20).with_columns(pl.lit(float("nan")).alias("y")), "null, NaN or infinite"),
        (pl.concat([rows(20), rows(20).head(1)]), "share customer and wave"),
        (rows(20).with_columns(pl.lit(None, dtype=pl.String).alias("arm")), "has no"),
    ],
    ids=["empty", "no outcome", "nan", "twice", "no arm"],
)
def test_rows_that_are_no_sample_are_refused(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        Sample.of(frame, "y", ["x"])


def test_an_effect_needs_two_arms_and_more_customers_than_coefficients() -> None:
    frame = rows(40)
    with pytest.raises(PermanentError, match="another arm"):
        difference_of_means(Sample.of(frame.filter(pl.col("arm") == "control"), "y"))
    with pytest.raises(PermanentError, match="no rows of a treated arm"):
        arm_rows(frame, "elsewhere")
    alone = frame.head(2).with_columns(
        pl.lit("c0").alias("customer_id"), pl.Series("wave", [DAY, DAY.replace(year=2018)]),
        pl.Series("arm", ["control", "treated"]),
    )  # fmt: skip
    with pytest.raises(PermanentError, match="of 1 customers"):
        difference_of_means(Sample.of(alone, "y"))
    few = rows(12, waves=1)
    many = few.with_columns(pl.col("x").shift(n, fill_value=0.0).alias(f"x{n}") for n in range(1, 8))
    with pytest.raises(PermanentError, match="fewer covariates"):
        interacted(Sample.of(many, "y", [f"x{n}" for n in range(1, 8)]))
