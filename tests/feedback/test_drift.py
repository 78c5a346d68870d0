"""Drift: silent where nothing moved, found where something did."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import CUSTOMER_FEATURES, ContractError
from mktgen.feedback.drift import GROWING, detect_drift, population_stability_index
from mktgen.settings import FeedbackSettings

NUMERIC = [name for name, dtype in CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64]


def customers(n: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {name: rng.gamma(2, 10, n) for name in NUMERIC}
    columns["orders_7d"] = rng.poisson(0.8, n).astype(float)  # tied values, most of them 0
    columns["net_minor_28d"] = rng.gamma(2, 10, n) * (1 + shift)
    return pl.DataFrame({"customer_id": [f"c{i:05d}" for i in range(n)], **columns, "top_category": ["x"] * n}).select(
        list(CUSTOMER_FEATURES.columns)
    )


def test_no_drift_raises_no_alarm() -> None:
    reference, alarms = customers(2_000, 1), 0
    for seed in range(2, 12):
        found = detect_drift(reference, customers(2_000, seed), FeedbackSettings())
        assert found["feature"].to_list() == sorted(set(NUMERIC) - GROWING)
        alarms += found["drifted"].sum()
    assert alarms == 0


def test_a_day_passing_is_no_drift() -> None:
    """Everyone is a day older: tenure alone would cross any threshold in a panel that began on one day."""
    reference = customers(2_000, 1).with_columns(tenure_days=pl.lit(270.0))
    assert (
        detect_drift(reference, reference.with_columns(tenure_days=pl.lit(271.0)), FeedbackSettings())["psi"].max() == 0
    )


def test_without_drift_psi_is_as_large_as_theory_says() -> None:
    rng = np.random.default_rng(3)
    found = [population_stability_index(rng.normal(size=2_000), rng.normal(size=2_000)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(9 * (1 / 2_000 + 1 / 2_000), rel=0.15)


def test_a_shifted_feature_is_found_and_named() -> None:
    found = detect_drift(customers(2_000, 1), customers(2_000, 2, shift=1.0), FeedbackSettings())
    assert found.filter("drifted")["feature"].to_list() == ["net_minor_28d"]


def test_psi_of_two_bins_is_the_formula() -> None:
    reference, current = np.repeat([0.0, 1.0], [500, 500]), np.repeat([0.0, 1.0], [800, 200])
    assert population_stability_index(reference, current) == pytest.approx(
        0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5), rel=0.01
    )


def test_a_value_that_most_customers_have_can_not_hide_a_shift() -> None:
    reference = np.repeat([0.0, 1.0, 2.0], [950, 30, 20])
    assert population_stability_index(reference, np.repeat([0.0, 1.0, 2.0], [500, 480, 20])) > 0.5


def test_missing_values_are_a_bin() -> None:
    reference = np.random.default_rng(1).normal(size=1_000)
    current = reference.copy()
    current[:400] = np.nan
    assert population_stability_index(reference, current) > 1


def test_too_few_customers_are_refused() -> None:
    with pytest.raises(ContractError, match="current has 100 customers"):
        detect_drift(customers(500, 1), customers(100, 2), FeedbackSettings())


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=2, max_size=60),
    others=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=2, max_size=60),
)
def test_psi_is_finite_and_zero_only_for_itself(values: list[float], others: list[float]) -> None:
    one, other = np.array(values), np.array(others)
    assert population_stability_index(one, one) == 0
    assert 0 <= population_stability_index(one, other) < np.inf
    shuffled = np.random.default_rng(0).permutation(other)
    assert population_stability_index(one, shuffled) == population_stability_index(one, other)
