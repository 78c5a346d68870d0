"""The basis: nulls, hostile values and vectors have a defined place; what can't be used is refused by name."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from mktgen.response.basis import GROUPS, UnusableCovariates, fit_basis, loop_covariates
from mktgen.settings import ResponseSettings
from tests.support.campaign_world import make_world

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=2, vector_components=2)


def frame(rows: int = 300, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    two = rng.normal(size=(rows, 2))
    return pl.DataFrame(
        {
            "customer_id": [f"c{row}" for row in range(rows)],
            "decided_on": [date(2024, 1, 1)] * rows,
            "money": np.exp(rng.normal(size=rows)) * 100,
            "plain": rng.normal(size=rows),
            "gaps": [None if row % 3 == 0 else float(row % 7) for row in range(rows)],
            "flag": rng.random(rows) < 0.3,
            "same": np.ones(rows),
            "vector": (two @ rng.normal(size=(2, 5)) + 3).tolist(),
        },
        schema_overrides={"vector": pl.List(pl.Float32)},
    )


def test_functions_are_standardised_and_the_constant_column_is_gone() -> None:
    given = frame()
    basis = fit_basis(given, given["plain"].to_numpy(), SETTINGS)
    design = basis.design(given)
    assert (design[:, 0] == 1).all()
    assert design[:, 1:].mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert design[:, 1:].std(axis=0) == pytest.approx(1)
    sizes = {name: int((basis.group == number).sum()) for number, name in enumerate(GROUPS)}
    # Linear: four that vary, the level of the logged one and an indicator of the gaps; hinges of the strongest at three knots;
    # one product; two components.
    assert sizes == {"intercept": 1, "linear": 6, "hinge": 3, "product": 1, "vector": 2}


def test_money_is_logged_and_outliers_are_cut() -> None:
    given = frame()
    basis = fit_basis(given, given["plain"].to_numpy(), SETTINGS)
    place = basis.columns.index("money")
    assert basis.logged[place] == 1
    assert basis.logged[basis.columns.index("plain")] == 0
    wild = given.head(2).with_columns(money=pl.Series([1e12, -5.0]))
    assert np.abs(basis.design(wild)).max() < 10


def test_null_nan_and_infinity_are_the_mean() -> None:
    given = frame()
    basis = fit_basis(given, given["plain"].to_numpy(), SETTINGS)
    hostile = given.head(3).with_columns(plain=pl.Series([None, float("nan"), float("inf")]))
    design = basis.design(hostile)
    column = 1 + basis.columns.index("plain")
    assert design[:, column] == pytest.approx(0, abs=0.2)
    assert np.isfinite(design).all()


def test_the_leading_directions_of_the_vector_are_kept() -> None:
    given = frame()
    basis = fit_basis(given, given["plain"].to_numpy(), ResponseSettings(vector_components=4))
    assert len(basis.components) == 2  # the vectors lie in a plane
    assert (basis.components @ basis.components.T) == pytest.approx(np.eye(2), abs=1e-6)
    lost = given.head(2).with_columns(vector=pl.Series([None, [float("nan")] * 5], dtype=pl.List(pl.Float32)))
    known = basis.design(lost)[:, basis.group == GROUPS.index("vector")]
    assert known == pytest.approx(0, abs=1e-6)


def test_the_order_of_columns_has_no_say() -> None:
    given = frame()
    outcome = given["plain"].to_numpy()
    one = fit_basis(given, outcome, SETTINGS)
    other = fit_basis(given.select(sorted(given.columns, reverse=True)), outcome, SETTINGS)
    assert (one.design(given) == other.design(given)).all()


def test_a_covariate_that_is_nowhere_known_says_nothing() -> None:
    given = frame().with_columns(gaps=pl.lit(None, dtype=pl.Float64))
    basis = fit_basis(given, given["plain"].to_numpy(), SETTINGS)
    assert np.isfinite(basis.design(given)).all()
    assert basis.indicated == []


def test_the_loops_features_and_scores_are_usable_as_they_come() -> None:
    world = make_world(customers=40)
    known = loop_covariates(world.features, world.scores.head(30))
    assert known.height == 40
    assert "top_category" not in known.columns
    assert known["p_purchase_7d"].null_count() == 10
    basis = fit_basis(known, known["orders_84d"].to_numpy(), SETTINGS)
    assert np.isfinite(basis.design(known)).all()
    assert len(basis.components) == 2


def test_what_cannot_be_used_is_refused_by_name() -> None:
    given = frame()
    outcome = given["plain"].to_numpy()
    basis = fit_basis(given, outcome, SETTINGS)
    with pytest.raises(UnusableCovariates, match=r"\['money'\] are missing"):
        basis.design(given.drop("money"))
    with pytest.raises(UnusableCovariates, match=r"\['text'\] are no numbers"):
        fit_basis(given.with_columns(text=pl.lit("x")), outcome, SETTINGS)
    with pytest.raises(UnusableCovariates, match="vector is missing"):
        basis.design(given.drop("vector"))
    with pytest.raises(UnusableCovariates, match="must be a list of numbers"):
        fit_basis(given.with_columns(vector=pl.lit(1.0)), outcome, SETTINGS)
    with pytest.raises(UnusableCovariates, match=r"have \[2, 5\] numbers"):
        fit_basis(
            given.with_columns(pl.Series("vector", [[1.0, 2.0], *given["vector"][1:].to_list()])), outcome, SETTINGS
        )
    with pytest.raises(UnusableCovariates, match=r"have \[3\] numbers"):
        basis.design(given.with_columns(vector=pl.lit([1.0, 2.0, 3.0])))
    with pytest.raises(UnusableCovariates, match="no covariates"):
        fit_basis(given.select("customer_id", "decided_on"), outcome, SETTINGS)


def test_what_is_logged_is_there_as_a_straight_line_too() -> None:
    given = frame()
    basis = fit_basis(given, given["money"].log1p().to_numpy(), SETTINGS)
    design = basis.design(given)
    money = given["money"].to_numpy().astype(np.float64)
    inside = (money > np.quantile(money, 0.02)) & (money < np.quantile(money, 0.98))
    straight = [abs(np.corrcoef(design[inside, k], money[inside])[0, 1]) for k in range(1, basis.size)]
    assert max(straight) == pytest.approx(1, abs=1e-6)


def test_a_customer_without_a_figure_is_in_the_middle_of_its_level() -> None:
    given = frame()
    basis = fit_basis(given, given["plain"].to_numpy(), SETTINGS)
    design = basis.design(given.head(3).with_columns(money=pl.lit(None, pl.Float64)))
    assert np.isfinite(design).all()
