"""A column that is the label is caught; honest and meaningless ones are not, in many random worlds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mktgen.evaluation.leakage import MIN_CUSTOMERS, label_leakage, standard_error

BOUND = 0.90
LABELS = ("purchased_7d", "purchased_28d")
Column = np.ndarray[tuple[int], np.dtype[np.float64]]


def examples(customers: int, weeks: int, seed: int, rate: float = 0.3) -> pl.DataFrame:
    """Weekly rows of customers whose own rate decides both labels, with the rate itself as `habit`, seen through noise."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(0, 1, customers), weeks)
    chance = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + own)))
    week = rng.random(own.size) < chance
    return pl.DataFrame(
        {
            "customer_id": np.repeat([f"c{number:05d}" for number in range(customers)], weeks),
            "cut": np.tile(np.arange(weeks), customers),
            "purchased_7d": week,
            "purchased_28d": week | (rng.random(own.size) < chance),
            "habit": own + rng.normal(0, 0.5, own.size),
        }
    ).with_columns(pl.date(2017, 1, 1) + pl.duration(weeks=pl.col("cut")).alias("cut"))


def leaked(frame: pl.DataFrame, values: Column | pl.Series | pl.Expr) -> tuple[bool | None, str]:
    column = values if isinstance(values, pl.Expr) else pl.Series("oops", values)
    gate = label_leakage(frame.with_columns(column.alias("oops")), LABELS, BOUND)
    return gate.passed, gate.detail


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_label_with_noise_is_caught_whichever_way_round(label: str, sign: float) -> None:
    frame = examples(400, 6, seed=1)
    noise = np.random.default_rng(2).normal(0, 0.4, frame.height)
    passed, detail = leaked(frame, sign * (frame[label].to_numpy() + noise))
    assert passed is False
    assert "oops alone tells" in detail
    assert "habit alone" not in detail


def test_the_label_as_flag_text_or_gap_is_caught() -> None:
    frame, label = examples(400, 6, seed=1), pl.col("purchased_28d")
    assert leaked(frame, label.alias("oops"))[0] is False
    assert leaked(frame, pl.when(label).then(pl.lit("A")).otherwise(pl.lit("B")))[0] is False
    passed, detail = leaked(frame, pl.when(label).then(1.0))
    assert passed is False
    assert "oops is missing alone" in detail
    nan_where_bought = pl.when(label).then(float("nan")).otherwise(1.0)
    assert leaked(frame, nan_where_bought)[0] is False


def test_a_text_that_names_the_customer_is_no_leak() -> None:
    frame = examples(400, 6, seed=1)
    assert leaked(frame, pl.concat_str(pl.lit("name of "), "customer_id"))[0] is True


def test_honest_habit_passes_and_is_named_with_its_figure() -> None:
    gate = label_leakage(examples(400, 6, seed=1), LABELS, BOUND)
    assert gate.passed is True
    assert "habit alone tells" in gate.detail
    assert gate.value is not None
    assert 0.6 < gate.value < BOUND == gate.threshold


def test_a_shop_too_small_to_tell_is_not_judged() -> None:
    frame = examples(MIN_CUSTOMERS - 1, 3, seed=1)
    assert leaked(frame, pl.col("purchased_7d").cast(pl.Float64))[0] is None
    assert leaked(examples(400, 6, seed=1).with_columns(purchased_7d=True, purchased_28d=True), pl.lit(1.0))[0] is None


def test_meaningless_columns_are_never_called_leaks() -> None:
    alarms = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        frame = examples(60, 2, seed)
        noise = pl.DataFrame({f"n{index}": rng.normal(0, 1, frame.height) for index in range(20)})
        alarms += label_leakage(pl.concat([frame, noise], how="horizontal"), LABELS, BOUND).passed is False
    assert alarms == 0  # 3,360 chances; .90 lies more than five standard errors from chance with 30 customers a side


def test_an_honest_column_just_below_the_bound_is_seldom_called_a_leak() -> None:
    alarms, shift = 0, 1.75  # two normals 1.75 apart: AUC = Phi(1.75 / sqrt 2) = .892
    for seed in range(120):
        rng = np.random.default_rng(seed)
        label = np.arange(120) % 2 == 0
        frame = pl.DataFrame({"customer_id": [f"c{n}" for n in range(120)], "y": label})
        column = pl.Series("x", label * shift + rng.normal(0, 1, 120))
        alarms += label_leakage(frame.with_columns(column), ("y",), BOUND).passed is False
    assert alarms <= 9  # at most the interval's 2.5% of 120, which is 3; more than 9 about once in a thousand


def test_the_standard_error_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(3)
    areas = []
    for _ in range(2000):
        positive, negative = rng.exponential(1.0, 40), rng.exponential(0.25, 60)
        areas.append((positive[:, None] > negative[None, :]).mean())
    assert standard_error(0.8, 40, 60) == pytest.approx(float(np.std(areas)), rel=0.05)  # their model: exponentials
