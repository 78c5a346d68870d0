"""Ranking metrics on a case small enough to check by hand, and their invariants."""

from __future__ import annotations

from math import log2

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen.evaluation import ranking

PAIR = {"customer_id": pl.String(), "item_id": pl.String()}
SCORED = {**PAIR, "score": pl.Float64()}


def scored(rows: list[tuple[str, str, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCORED, orient="row")


def pairs(rows: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PAIR, orient="row")


def test_worked_example() -> None:
    """a b c d ranked; b and d bought, and x that was not ranked; b and a were bought before."""
    ranked = scored([("u", "a", 4.0), ("u", "b", 3.0), ("u", "c", 2.0), ("u", "d", 1.0)])
    row = ranking.per_customer(ranked, pairs([("u", "b"), ("u", "d"), ("u", "x")]), pairs([("u", "a"), ("u", "b")]))
    got = row.row(0, named=True)
    ideal = 1 + 1 / log2(3) + 1 / 2
    assert got["ndcg_at_10"] == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)
    assert got["recall_at_10"] == pytest.approx(2 / 3)
    assert got["hit_rate_at_10"] == 1.0
    assert got["repeat.ndcg_at_10"] == pytest.approx(1 / log2(3))  # a b; b is second of the one repeat bought
    assert got["repeat.recall_at_10"] == 1.0
    assert got["novel.ndcg_at_10"] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))  # c d; d and x bought
    assert got["novel.recall_at_20"] == pytest.approx(0.5)


def test_only_the_first_ten_and_twenty_count() -> None:
    ranked = scored([("u", f"i{index:02d}", 100.0 - index) for index in range(30)])
    at = {place: pairs([("u", f"i{place - 1:02d}")]) for place in (10, 11, 20, 21)}
    none = pairs([])
    got = {place: ranking.per_customer(ranked, truth, none).row(0, named=True) for place, truth in at.items()}
    assert [got[place]["recall_at_10"] for place in (10, 11, 20, 21)] == [1, 0, 0, 0]
    assert [got[place]["recall_at_20"] for place in (10, 11, 20, 21)] == [1, 1, 1, 0]
    assert got[10]["ndcg_at_10"] == pytest.approx(1 / log2(11))
    assert got[11]["ndcg_at_10"] == 0


def test_equal_scores_are_ordered_by_item() -> None:
    ranked = scored([("u", item, 1.0) for item in reversed("abcdefghijkl")])
    first = ranking.per_customer(ranked, pairs([("u", "a")]), pairs([]))
    last = ranking.per_customer(ranked, pairs([("u", "l")]), pairs([]))
    assert first["ndcg_at_10"].item() == 1.0
    assert last["ndcg_at_10"].item() == 0.0


def test_customers_without_purchase_or_ranking_are_left_out() -> None:
    ranked = scored([("u", "a", 1.0), ("v", "a", 1.0)])
    got = ranking.per_customer(ranked, pairs([("v", "a"), ("w", "a")]), pairs([("v", "a")]))
    assert got["customer_id"].to_list() == ["v"]
    assert got["novel.ndcg_at_10"].item() is None
    named = ranking.summary(got)
    assert named["ranking.customers"] == 1.0
    assert named["ranking.ndcg_at_10"] == named["ranking.repeat.ndcg_at_10"] == 1.0
    assert "ranking.novel.ndcg_at_10" not in named


ids = st.integers(0, 14).map(lambda index: f"i{index:02d}")
lists = st.lists(st.tuples(st.sampled_from("uvw"), ids), unique=True, max_size=30)


@settings(deadline=None)
@given(ranked=lists, truth=lists, before=lists, seed=st.randoms(use_true_random=False))
def test_metrics_are_bounded_and_depend_on_the_order_of_scores_alone(
    ranked: list[tuple[str, str]], truth: list[tuple[str, str]], before: list[tuple[str, str]], seed: object
) -> None:
    rows = [(customer, item, float(seed.randint(0, 3))) for customer, item in ranked]  # type: ignore[attr-defined]
    got = ranking.per_customer(scored(rows), pairs(truth), pairs(before))
    for name in got.columns[1:]:
        assert got[name].drop_nulls().is_between(0.0, 1.0 + 1e-12).all()
    shuffled = scored(list(reversed([(customer, item, 7 * score - 1) for customer, item, score in rows])))
    again = ranking.per_customer(shuffled, pairs(list(reversed(truth))), pairs(before + before[:1]))
    assert_frame_equal(got, again, check_exact=True)


@settings(deadline=None)
@given(truth=st.lists(ids, unique=True, min_size=1, max_size=9))
def test_a_perfect_list_has_ndcg_one(truth: list[str]) -> None:
    perfect = scored([("u", item, 1.0) for item in truth] + [("u", f"x{index}", 0.0) for index in range(12)])
    got = ranking.per_customer(perfect, pairs([("u", item) for item in truth]), pairs([]))
    assert got["ndcg_at_10"].item() == pytest.approx(1.0)
    assert got["recall_at_10"].item() == 1.0


def test_weeks_are_averaged_by_customer_over_those_that_have_a_value() -> None:
    first = ranking.per_customer(
        scored([("u", "a", 2.0), ("u", "b", 1.0), ("v", "a", 1.0)]),
        pairs([("u", "a"), ("v", "a")]),
        pairs([("u", "a")]),
    )
    second = ranking.per_customer(
        scored([("u", "a", 2.0), ("u", "b", 1.0), ("w", "c", 1.0)]),
        pairs([("u", "b"), ("w", "x")]),
        pairs([("u", "a")]),
    )
    both = ranking.mean_of_weeks([first, second])
    assert both["customer_id"].to_list() == ["u", "v", "w"]
    assert both.columns == first.columns
    u = both.row(0, named=True)
    assert u["ndcg_at_10"] == pytest.approx((1.0 + 1 / log2(3)) / 2)
    assert u["repeat.ndcg_at_10"] == 1.0, "of the first week alone: in the second nothing was bought again"
    assert u["novel.ndcg_at_10"] == 1.0
    assert both.row(2, named=True)["ndcg_at_10"] == 0.0
    assert_frame_equal(ranking.mean_of_weeks([first]), first)
    assert_frame_equal(ranking.mean_of_weeks([first, first]), first)
