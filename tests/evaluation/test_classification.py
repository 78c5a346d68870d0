"""Classification measures against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mktgen.evaluation import classification

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 20).map(lambda value: value / 20)), min_size=2, max_size=60)
both = rows.filter(lambda pairs: len({label for label, _ in pairs}) == 2)


def arrays(pairs: list[tuple[bool, float]]) -> tuple[classification.Bools, classification.Floats]:
    return np.array([label for label, _ in pairs]), np.array([score for _, score in pairs])


@settings(deadline=None)
@given(both)
def test_measures_equal_scikit_learns(pairs: list[tuple[bool, float]]) -> None:
    label, score = arrays(pairs)
    assert classification.auc(label, score) == pytest.approx(metrics.roc_auc_score(label, score))
    assert classification.average_precision(label, score) == pytest.approx(
        metrics.average_precision_score(label, score)
    )
    assert classification.brier(label, score) == pytest.approx(metrics.brier_score_loss(label, score))
    clipped = np.clip(score, 1e-7, 1 - 1e-7)
    assert classification.log_loss(label, score) == pytest.approx(metrics.log_loss(label, clipped))


@settings(deadline=None)
@given(both)
def test_auc_of_the_opposite_adds_to_one_and_ignores_the_scale(pairs: list[tuple[bool, float]]) -> None:
    label, score = arrays(pairs)
    assert classification.auc(label, score) + classification.auc(label, -score) == pytest.approx(1.0)
    assert classification.auc(label, score) + classification.auc(~label, score) == pytest.approx(1.0)
    assert classification.auc(label, score**3 * 5) == pytest.approx(classification.auc(label, score))


@settings(deadline=None)
@given(rows, st.integers(1, 12))
def test_reliability_groups_hold_every_customer_once(pairs: list[tuple[bool, float]], bins: int) -> None:
    label, score = arrays(pairs)
    table = classification.reliability(label, score, bins)
    assert table["customers"].sum() == label.size
    assert (table["predicted"].diff().fill_null(0.0) > -1e-12).all()  # means of equal numbers differ in the last bit
    assert (table["observed"] * table["customers"]).sum() == pytest.approx(label.sum())
    assert 0 <= classification.expected_calibration_error(table) <= 1


def test_calibration_error_by_hand() -> None:
    """Two groups of two: predicted .25 and .75, observed 0 and 1, so every customer is .25 off."""
    label = np.array([False, False, True, True])
    table = classification.reliability(label, np.array([0.2, 0.3, 0.7, 0.8]), bins=2)
    assert table["predicted"].to_list() == pytest.approx([0.25, 0.75])
    assert classification.expected_calibration_error(table) == pytest.approx(0.25)


def test_customer_task_names_purchase_and_churn() -> None:
    outcomes = pl.DataFrame(
        {"customer_id": ["a", "b", "c"], "purchased_7d": [True, False, False], "purchased_28d": [True, True, False]}
    )
    probabilities = pl.DataFrame(
        {
            "customer_id": ["c", "b", "a", "z"],
            "p_purchase_7d": [0.1, 0.2, 0.9, 0.5],
            "p_purchase_28d": [0.3, 0.6, 0.95, 0.5],
        }
    )
    got = classification.customer_task(probabilities, outcomes)
    assert got["churn_28d.auc"] == got["purchase_28d.auc"] == got["purchase_7d.auc"] == 1.0
    assert got["churn_28d.base_rate"] == pytest.approx(1 / 3)
    assert got["churn_28d.customers"] == 3.0
    assert got["churn_28d.log_loss"] == pytest.approx(got["purchase_28d.log_loss"])
    assert classification.churn_reliability(probabilities, outcomes, 3)["customers"].to_list() == [1, 1, 1]
    both_in_one = probabilities.join(outcomes, on="customer_id")
    assert classification.customer_task(both_in_one, outcomes) == got


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([], [], "at least 1"),
        ([True], [0.5, 0.5], "need as many"),
        ([True], [1.5], "outside"),
        ([True], [np.nan], "NaN"),
    ],
)
def test_wrong_input_is_refused(label: list[bool], score: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification.summary("x", np.array(label, dtype=bool), np.array(score))


def test_one_class_has_no_auc_and_a_missing_customer_is_named() -> None:
    alone = classification.summary("x", np.array([True, True]), np.array([0.5, 0.6]))
    assert "x.auc" not in alone
    assert alone["x.base_rate"] == 1.0
    with pytest.raises(ValueError, match="both classes"):
        classification.auc(np.array([True]), np.array([0.5]))
    with pytest.raises(ValueError, match="no probability"):
        classification.align(pl.DataFrame({"customer_id": ["a"]}), pl.DataFrame({"customer_id": ["a", "b"]}))
