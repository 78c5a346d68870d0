"""Rows of an effect from the loop's tables: windows, what was known when, and who counts as what."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.contracts import CUSTOMER_DAYS, CUSTOMER_FEATURES
from mktgen.errors import PermanentError
from mktgen.feedback.effect.cohort import COVARIATES, NEGATIVE_CONTROL, OUTCOME, Tables, campaign_cohort, holdout_cohort
from mktgen.feedback.effect.sample import Sample
from tests.execution.conftest import decision
from tests.feedback import shop

START = date(2017, 6, 1)
WINDOW = 28


def features(customers: list[str], recency: float = 5.0) -> pl.DataFrame:
    numbers = {name: 1.0 for name, dtype in CUSTOMER_FEATURES.columns.items() if dtype == pl.Float64}
    made = [
        {**numbers, "customer_id": who, "recency_days": recency, "net_minor_28d": 100.0 * place, "top_category": "c"}
        for place, who in enumerate(customers)
    ]
    return pl.DataFrame(made, schema=CUSTOMER_FEATURES.columns)


def bought(lines: list[tuple[str, int, int, int]]) -> pl.DataFrame:
    """customer, days after the start, merchandise, fuel."""
    empty = dict.fromkeys(CUSTOMER_DAYS.columns, 0)
    made = [
        {
            **empty,
            "customer_id": who,
            "business_date": START + timedelta(days=n),
            "net_minor": net,
            "other_minor": other,
        }
        for who, n, net, other in lines
    ]
    return pl.DataFrame(made, schema=CUSTOMER_DAYS.columns)


def tables(days: pl.DataFrame) -> Tables:
    on = START - timedelta(days=60)
    return Tables(
        customer_days=days,
        exposures=shop.exposures([("a", "18", START), ("a", "9", on), ("b", "9", on), ("b", "20", START + timedelta(days=10))]),
        campaigns=shop.campaigns([
            ("18", START, START + timedelta(days=40)), ("9", on, START - timedelta(days=40)),
            ("20", START + timedelta(days=10), START + timedelta(days=30)),
        ]),
        responses=shop.responses([
            shop.redemption("a", START - timedelta(days=50), "9:x"), shop.redemption("a", START, "18:x")
        ]),
    )  # fmt: skip


def test_outcomes_lie_in_the_window_and_the_placebo_before_it() -> None:
    days = bought([
        ("a", -29, 1, 1), ("a", -28, 10, 2), ("a", -1, 100, 3), ("a", 0, 1_000, 4), ("a", 27, 10_000, 5), ("a", 28, 7, 7),
    ])  # fmt: skip
    made = campaign_cohort("18", features(["a", "b"]), features(["a", "b"]), tables(days), WINDOW, 84)
    assert made.placebo is not None
    assert made.rows.select("customer_id", OUTCOME, NEGATIVE_CONTROL).rows() == [("a", 11_000, 9), ("b", 0, 0)]
    assert made.placebo.select("customer_id", OUTCOME, NEGATIVE_CONTROL).rows() == [("a", 110, 5), ("b", 0, 0)]
    assert made.rows["wave"].to_list() == made.placebo["wave"].to_list() == [START, START]


def test_arms_history_and_other_campaigns() -> None:
    made = campaign_cohort("18", features(["a", "b", "c"]), None, tables(bought([])), WINDOW, 84)
    shown = made.rows.select("customer_id", "arm", "prior_exposures", "prior_redemptions", "in_other_campaign").rows()
    assert shown == [("a", "treated", 1, 1, False), ("b", "control", 1, 0, True), ("c", "control", 0, 0, False)]
    assert made.placebo is None
    sample = Sample.of(made.rows, OUTCOME, COVARIATES)
    assert sample.arms == ("treated",)
    assert {"log_net_minor_28d", "net_minor_28d", "prior_exposures"} <= set(sample.names)


def test_only_customers_active_at_both_cuts_are_in_the_placebo() -> None:
    known, before = features(["a", "b"]), pl.concat([features(["a"]), features(["gone"]), features(["b"], recency=90)])
    made = campaign_cohort("18", known, before, tables(bought([])), WINDOW, 84)
    assert made.placebo is not None
    assert made.placebo["customer_id"].to_list() == ["a"]
    assert campaign_cohort("18", features(["a"], recency=85), None, tables(bought([])), WINDOW, 84).rows.is_empty()


def test_nothing_dated_after_the_window_changes_a_row() -> None:
    honest = tables(bought([("a", 3, 50, 1)]))
    late = START + timedelta(days=WINDOW)
    leaking = Tables(
        pl.concat([honest.customer_days, bought([("a", WINDOW, 9, 9), ("b", 40, 9, 9)])]),
        pl.concat([honest.exposures, shop.exposures([("c", "30", late)])]),
        pl.concat([honest.campaigns, shop.campaigns([("30", late, late)])]),
        pl.concat([honest.responses, shop.responses([shop.redemption("b", START, "20:y")])]),
    )
    known = features(["a", "b", "c"])
    one, other = (campaign_cohort("18", known, known, data, WINDOW, 84) for data in (honest, leaking))
    assert_frame_equal(one.rows, other.rows)
    assert one.placebo is not None
    assert other.placebo is not None
    assert_frame_equal(one.placebo, other.placebo)


def test_an_unknown_campaign_is_refused() -> None:
    with pytest.raises(PermanentError, match="'77' is not among the campaigns"):
        campaign_cohort("77", features(["a"]), None, tables(bought([])), WINDOW, 84)


def decided(held: dict[str, bool]) -> pl.DataFrame:
    made = [
        decision(n, action="no_contact", holdout=out) | {"customer_id": who}
        for n, (who, out) in enumerate(held.items())
    ]
    return shop.decisions(made)


def test_a_holdout_is_followed_over_waves_from_the_day_after_each() -> None:
    days = bought([
        ("a", -27, 3, 0), ("a", 0, 1, 0), ("a", 1, 10, 0), ("b", 28, 100, 0), ("b", 29, 7, 0), ("new", 1, 99, 0),
    ])  # fmt: skip
    known, later = features(["a", "b", "new"]), START + timedelta(days=28)
    made = holdout_cohort(decided({"a": False, "b": True}), START, [later, START], known, known, tables(days), WINDOW)
    assert made.rows.select("customer_id", "wave", "arm", OUTCOME).rows() == [
        ("a", START, "treated", 10), ("a", later, "treated", 0), ("b", START, "control", 100), ("b", later, "control", 7),
    ]  # fmt: skip
    assert made.placebo is not None
    assert made.placebo.select("customer_id", "arm", OUTCOME).rows() == [("a", "treated", 4), ("b", "control", 0)]


def test_a_holdouts_covariates_are_those_of_the_beginning_in_every_wave() -> None:
    made = holdout_cohort(
        decided({"a": False, "b": True}), START, [START, START + timedelta(days=28)], features(["a", "b"]), None,
        tables(bought([("a", 5, 100, 0)])), WINDOW,
    )  # fmt: skip
    assert made.placebo is None
    assert made.rows.select("customer_id", *COVARIATES).unique().height == 2
    for waves in ([], [START - timedelta(days=1)]):
        with pytest.raises(PermanentError, match="give days from then on"):
            holdout_cohort(decided({"a": False}), START, waves, features(["a"]), None, tables(bought([])), WINDOW)
