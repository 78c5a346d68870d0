"""The category metrics on tables small enough to check by hand."""

from __future__ import annotations

import polars as pl
import pytest

from mktgen.evaluation import categories

SCORES = pl.DataFrame(
    [("a", "BREAD", 0.9), ("a", "MILK", 0.5), ("a", "SOAP", 0.1), ("b", "BREAD", 0.4), ("b", "MILK", 0.3), ("b", "SOAP", 0.2)],
    schema=["customer_id", "category", "p_7d"],
    orient="row",
)  # fmt: skip
TRUTH = pl.DataFrame([("a", "MILK"), ("a", "MILK")], schema=["customer_id", "category"], orient="row")
BEFORE = pl.DataFrame([("a", "BREAD"), ("b", "SOAP")], schema=["customer_id", "category"], orient="row")


def test_a_category_at_the_second_place_among_all_and_the_first_among_new_ones() -> None:
    found = categories.per_customer(SCORES, TRUTH, BEFORE)
    assert found["customer_id"].to_list() == ["a"]
    row = found.row(0, named=True)
    assert row["ndcg_at_10"] == pytest.approx(1 / 1.584962500721156)
    assert row["novel.ndcg_at_10"] == 1.0
    assert row["repeat.ndcg_at_10"] is None


def test_pairs_hold_who_bought_nothing_and_every_pair_once() -> None:
    marked = categories.pairs(SCORES, TRUTH)
    assert marked.height == SCORES.height
    assert marked.filter("bought").select("customer_id", "category").rows() == [("a", "MILK")]


def test_micro_auc_is_the_share_of_pairs_below_the_one_bought() -> None:
    assert categories.micro_auc(SCORES, TRUTH) == pytest.approx(4 / 5)
    with pytest.raises(ValueError, match="both classes"):
        categories.micro_auc(SCORES, TRUTH.clear())
