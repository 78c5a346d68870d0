"""The bootstrap's intervals and the promotion rule."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.evaluation.bootstrap import auc_difference, paired_difference
from mktgen.evaluation.promotion import promote_customer, promote_ranking

IDS = [f"c{index:04d}" for index in range(400)]


def frame(values: np.ndarray[tuple[int], np.dtype[np.float64]], ids: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": ids or IDS[: values.size], "ndcg_at_10": values})


def test_interval_of_a_difference_agrees_with_the_normal_one() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(400)
    gain = rng.normal(0.05, 0.2, 400)
    got = paired_difference(frame(base + gain), frame(base), "ndcg_at_10", resamples=2000, seed=1)
    error = gain.std() / np.sqrt(400)
    assert got.value == pytest.approx(gain.mean())
    assert got.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.15 * error)


def test_a_constant_lead_has_no_width_and_order_of_rows_is_irrelevant() -> None:
    base = np.linspace(0, 0.5, 50)
    got = paired_difference(frame(base + 0.1).reverse(), frame(base), "ndcg_at_10", resamples=50, seed=1)
    assert (got.value, got.low, got.high) == pytest.approx((0.1, 0.1, 0.1))
    again = paired_difference(frame(base + 0.1), frame(base).reverse(), "ndcg_at_10", resamples=50, seed=1)
    assert got == again


def test_different_customers_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same customers"):
        paired_difference(frame(np.ones(3)), frame(np.ones(3), ["x", "y", "z"]), "ndcg_at_10", resamples=50, seed=1)


def test_interval_covers_a_true_difference_of_zero_about_as_often_as_it_says() -> None:
    misses = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        base = rng.random(80)
        got = paired_difference(
            frame(base + rng.normal(0, 0.3, 80)), frame(base), "ndcg_at_10", resamples=200, seed=seed
        )
        misses += not got.low <= 0 <= got.high
    assert misses <= 15  # 5% of 120 = 6; 15 would be exceeded once in a thousand


def test_auc_difference_sees_a_better_score_and_refuses_one_class() -> None:
    rng = np.random.default_rng(5)
    label = rng.random(400) < 0.3
    good, bad = label + rng.normal(0, 0.8, 400), label + rng.normal(0, 3.0, 400)
    got = auc_difference(label, good, bad, resamples=200, seed=1)
    assert 0 < got.low < got.value < got.high
    same = auc_difference(label, good, good, resamples=50, seed=1)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="both classes"):
        auc_difference(np.zeros(5, dtype=bool), np.ones(5), np.ones(5), resamples=50, seed=1)
    with pytest.raises(ValueError, match="as many"):
        auc_difference(label, good[:5], bad, resamples=50, seed=1)


def test_a_sure_winner_replaces_the_incumbent() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(400)
    kinds = {"old": frame(base), "new": frame(base + rng.normal(0.1, 0.1, 400)), "worse": frame(base - 0.2)}
    got = promote_ranking(kinds, "old", resamples=200, seed=1)
    assert (got.champion, got.challenger, got.incumbent) == ("new", "new", "old")
    assert got.difference is not None
    assert got.difference.low > 0
    assert "new replaces old" in got.reason
    assert got == promote_ranking(dict(reversed(kinds.items())), "old", resamples=200, seed=1)


@pytest.mark.parametrize("lead", [0.002, 0.0, -0.1])
def test_without_a_sure_win_the_incumbent_stays_and_the_reason_says_so(lead: float) -> None:
    rng = np.random.default_rng(2)
    base, noise = rng.random(400), rng.normal(0, 0.2, 400)
    kinds = {"old": frame(base), "new": frame(base + lead + noise - noise.mean())}
    got = promote_ranking(kinds, "old", resamples=200, seed=1)
    assert got.champion == "old"
    assert "old stays: new did not win" in got.reason
    assert got.difference is not None
    assert got.difference.value == pytest.approx(lead)


def test_a_lone_incumbent_stays_and_an_absent_one_is_an_error() -> None:
    alone = promote_ranking({"old": frame(np.ones(9))}, "old", resamples=50, seed=1)
    assert alone.champion == alone.challenger == "old"
    assert alone.difference is None
    with pytest.raises(PermanentError, match="'gone' was not evaluated"):
        promote_ranking({"old": frame(np.ones(9))}, "gone", resamples=50, seed=1)


def test_customer_task_compares_the_auc_of_churn() -> None:
    rng = np.random.default_rng(4)
    churned = rng.random(400) < 0.2
    outcomes = pl.DataFrame({"customer_id": IDS, "purchased_28d": ~churned})

    def scores(noise: float) -> pl.DataFrame:
        p = 1 / (1 + np.exp(2 * churned - 1 + rng.normal(0, noise, 400)))
        return pl.DataFrame({"customer_id": IDS, "p_purchase_28d": p})

    kinds = {"poor": scores(6.0), "good": scores(0.5), "fair": scores(3.0)}
    got = promote_customer(kinds, outcomes, "poor", resamples=200, seed=1)
    assert (got.task, got.metric, got.champion) == ("customer", "auc", "good")
    kept = promote_customer(kinds, outcomes, "good", resamples=200, seed=1)
    assert (kept.champion, kept.challenger) == ("good", "fair")
    with pytest.raises(PermanentError, match="both outcomes"):
        promote_customer(kinds, outcomes.with_columns(purchased_28d=pl.lit(True)), "poor", resamples=50, seed=1)
