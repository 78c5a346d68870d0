"""Who is warned of, by the stated rule, and what is said of them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.contracts import CUSTOMER_FEATURES, CUSTOMER_SCORES
from mktgen.foresight.churn import churn_warnings
from mktgen.settings import ForesightSettings

SETTINGS = ForesightSettings(churn_from=0.5, stake_from_minor=1_000, warnings_per_day=3)


def customers(rows: list[tuple[float, float, float]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(p_churn, lifetime spend, tenure in days) of each customer, as features and scores."""
    ids = [f"c{number:03d}" for number in range(len(rows))]
    base = {name: [0.0] * len(rows) for name, kind in CUSTOMER_FEATURES.columns.items() if kind == pl.Float64}
    base |= {"net_minor_all": [row[1] for row in rows], "tenure_days": [row[2] for row in rows]}
    base |= {"recency_days": [24.0] * len(rows), "gap_days_mean": [6.0] * len(rows), "orders_all": [20.0] * len(rows)}
    columns = {"customer_id": ids, **base, "top_category": ["NONE"] * len(rows)}
    features = pl.DataFrame(columns, schema_overrides=CUSTOMER_FEATURES.columns)
    scores = pl.DataFrame(
        {
            "customer_id": ids,
            "p_purchase_7d": [(1 - row[0]) / 2 for row in rows],
            "p_purchase_28d": [1 - row[0] for row in rows],
            "p_churn_28d": [row[0] for row in rows],
            "vector": [[0.0]] * len(rows),
            "customer_model": ["test"] * len(rows),
        },
        schema=CUSTOMER_SCORES.columns,
    )
    return CUSTOMER_FEATURES.check(features.select(list(CUSTOMER_FEATURES.columns))), scores


def test_the_largest_expected_losses_first_and_only_those_the_rule_names() -> None:
    rows = [
        (0.9, 20_000.0, 280.0),  # 2 000 in 28 days: loss 1 800
        (0.6, 50_000.0, 280.0),  # 5 000: 3 000
        (0.49, 90_000.0, 280.0),  # not likely enough
        (0.9, 9_000.0, 280.0),  # 900: not worth enough
        (0.7, 30_000.0, 280.0),  # 3 000: 2 100
        (0.5, 20_000.0, 280.0),  # 2 000: 1 000, the fourth
    ]
    found = churn_warnings(*customers(rows), SETTINGS)
    assert found["customer_id"].to_list() == ["c001", "c004", "c000"]
    assert found["rank"].to_list() == [1, 2, 3]
    assert found["expected_loss_minor"].to_list() == pytest.approx([3_000.0, 2_100.0, 1_800.0])
    assert found["reason"][0] == "no visit for 23 days, usual gap 6; 0 visits in 28 days, 0 in 84"


def test_a_new_customer_counts_as_one_of_28_days() -> None:
    found = churn_warnings(*customers([(0.8, 5_000.0, 2.0)]), SETTINGS)
    assert found["value_at_stake_minor"].to_list() == [5_000.0]


person = st.tuples(st.floats(0, 1), st.floats(0, 100_000), st.floats(1, 400))


@settings(max_examples=50, deadline=None)
@given(st.lists(person, max_size=12))
def test_nobody_is_listed_against_the_rule_and_nobody_better_is_left_out(
    rows: list[tuple[float, float, float]],
) -> None:
    features, scores = customers(rows)
    found = churn_warnings(features, scores, SETTINGS)
    assert found.height <= SETTINGS.warnings_per_day
    assert (found["p_churn_28d"] >= SETTINGS.churn_from).all()
    assert (found["value_at_stake_minor"] >= SETTINGS.stake_from_minor).all()
    everyone = churn_warnings(features, scores, SETTINGS.model_copy(update={"warnings_per_day": 100}))
    assert everyone.head(SETTINGS.warnings_per_day).equals(found)
    assert everyone["expected_loss_minor"].is_sorted(descending=True)
