"""The bootstrap's intervals, the promotion rule, and who is kept out of it."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen.documents import Gate, TaskPromotion
from mktgen.errors import GateFailed, PermanentError
from mktgen.evaluation.bootstrap import auc_leads, mean_leads, paired_difference
from mktgen.evaluation.floor import untrained_floor
from mktgen.evaluation.promotion import failed_gates, promote_customer, promote_ranking

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


def test_auc_leads_see_a_better_score_and_refuse_one_class() -> None:
    rng = np.random.default_rng(5)
    label = rng.random(400) < 0.3
    good, bad = label + rng.normal(0, 0.8, 400), label + rng.normal(0, 3.0, 400)
    got = auc_leads(label, {"good": good, "bad": bad, "same": bad}, "bad", resamples=200, seed=1)
    assert 0 < got["good"].low < got["good"].value < got["good"].high
    assert (got["same"].low, got["same"].value, got["same"].high) == (0, 0, 0)
    assert auc_leads(label, {"bad": bad}, "bad", resamples=50, seed=1) == {}
    with pytest.raises(ValueError, match="both classes"):
        auc_leads(np.zeros(5, dtype=bool), {"a": np.ones(5), "b": np.ones(5)}, "a", resamples=50, seed=1)
    with pytest.raises(ValueError, match="as many"):
        auc_leads(label, {"good": good[:5], "bad": bad}, "bad", resamples=50, seed=1)


def test_bounds_widen_with_kinds_that_differ_and_not_with_copies() -> None:
    rng = np.random.default_rng(8)
    base, noise = rng.random(300), rng.normal(0, 0.2, (300, 10))
    alone, copies, different = (
        mean_leads(
            {"old": frame(base), **{f"new {n}": frame(base + noise[:, at]) for n, at in enumerate(columns)}},
            "old", "ndcg_at_10", resamples=2_000, seed=1,
        )["new 0"]
        for columns in ([0], [0] * 10, list(range(10)))
    )  # fmt: skip
    error = noise[:, 0].std() / np.sqrt(300)
    assert (alone.value - alone.low) / error == pytest.approx(1.645, abs=0.15)
    assert copies.low == pytest.approx(alone.low)
    # Ten independent ones: 1 - 0.95 ** 0.1 = 0.5% each, 2.57 standard errors.
    assert (different.value - different.low) / error == pytest.approx(2.57, abs=0.2)


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


def test_the_best_of_many_kinds_without_a_lead_is_seldom_promoted() -> None:
    """A world without any lead and nine challengers: with an interval for one, every fifth cut would promote one."""
    rng, wins, plain = np.random.default_rng(11), 0, 0
    for _ in range(200):
        base = rng.random(150)
        kinds = {"old": frame(base)} | {f"new {n}": frame(base + rng.normal(0, 0.2, 150)) for n in range(9)}
        got = promote_ranking(kinds, "old", resamples=400, seed=1)
        wins += got.champion != "old"
        plain += paired_difference(kinds[got.challenger], kinds["old"], "ndcg_at_10", resamples=200, seed=1).low > 0
    assert wins <= 19, "5% of 200 are 10; more than 19 come by chance once in 250 times"
    assert plain > 25, "the world is one in which the choice among many matters"


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


# -- gates ----------------------------------------------------------------------------------------------------------------
BEFORE = date(2017, 9, 24)
LEAK = "point_in_time: scores with another future: 3 of 100 customers differ"


def field() -> dict[str, pl.DataFrame]:
    """`best` is far ahead, `good` surely better than `old`, `even` is not."""
    rng = np.random.default_rng(2)
    base, noise = rng.random(400) / 2, rng.normal(0, 0.1, (3, 400))
    leads = zip((0.3, 0.1, 0.0), noise - noise.mean(axis=1, keepdims=True), strict=True)
    best, good, even = (frame(base + lead + part) for lead, part in leads)
    return {"old": frame(base), "best": best, "good": good, "even": even}


def decide(kinds: dict[str, pl.DataFrame], barred: dict[str, str], kept_from: date | None = BEFORE) -> TaskPromotion:
    return promote_ranking(kinds, "old", resamples=100, seed=1, barred=barred, kept_from=kept_from)


def test_a_barred_kind_is_no_candidate_and_is_named() -> None:
    got = decide(field(), {"best": LEAK})
    assert (got.champion, got.challenger, got.kept_from) == ("good", "good", None)
    assert got.barred == {"best": LEAK}
    assert got.reason.endswith("left out: best")


def test_a_barred_incumbent_is_beaten_only_by_a_sure_win_over_its_figures() -> None:
    got = decide(field(), {"old": LEAK})
    assert (got.champion, got.kept_from) == ("best", None)
    kinds = field()
    kept = decide({name: kinds[name] for name in ("old", "even")}, {"old": LEAK})
    assert (kept.champion, kept.challenger, kept.kept_from) == ("old", "even", BEFORE)
    assert kept.reason.startswith(f"old of {BEFORE} stays: today's failed {LEAK}")


def test_with_everyone_barred_the_earlier_champion_stays_and_without_one_promotion_stops() -> None:
    barred = dict.fromkeys(field(), LEAK)
    kept = decide(field(), barred)
    assert (kept.champion, kept.challenger, kept.kept_from, kept.difference) == ("old", "old", BEFORE, None)
    assert kept.barred == barred
    with pytest.raises(GateFailed, match=r"no honest kind, and no earlier champion to keep: best failed point_in_time"):
        decide(field(), barred, kept_from=None)


def test_without_an_earlier_champion_the_best_honest_kind_takes_a_barred_ones_place() -> None:
    kinds = field()
    got = decide({name: kinds[name] for name in ("old", "even")}, {"old": LEAK}, kept_from=None)
    assert (got.champion, got.kept_from) == ("even", None)
    assert "even takes the place of old, which failed point_in_time" in got.reason


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(["old", "best", "good", "even"])), st.sampled_from([None, BEFORE]))
def test_no_barred_version_ever_becomes_champion(out: set[str], kept_from: date | None) -> None:
    try:
        got = decide(field(), dict.fromkeys(out, LEAK), kept_from)
    except GateFailed:
        assert kept_from is None
        assert out == set(field())
        return
    assert got.champion not in out or (got.champion, got.kept_from) == ("old", BEFORE)
    assert got.kept_from in (None, kept_from)
    assert set(got.barred) == out


def test_a_barred_kind_is_left_out_of_the_customer_task_too() -> None:
    rng = np.random.default_rng(4)
    churned = rng.random(400) < 0.2
    outcomes = pl.DataFrame({"customer_id": IDS, "purchased_28d": ~churned})
    chances = {
        kind: pl.DataFrame({"customer_id": IDS, "p_purchase_28d": 1 / (1 + np.exp(2 * churned + rng.normal(0, noise, 400)))})
        for kind, noise in (("old", 4.0), ("leaky", 0.1), ("fair", 1.0))
    }  # fmt: skip
    got = promote_customer(chances, outcomes, "old", resamples=100, seed=1, barred={"leaky": LEAK})
    assert (got.champion, got.barred) == ("fair", {"leaky": LEAK})


def test_gates_bear_on_the_tasks_that_they_are_about() -> None:
    def gate(name: str, passed: bool | None = False) -> Gate:
        return Gate(name=name, passed=passed, detail=f"of {name}")

    gates = [gate("label_leakage"), gate("untrained_floor"), gate("row_order"), gate("point_in_time", True)]
    assert failed_gates(gates, "customer") == "label_leakage: of label_leakage; row_order: of row_order"
    assert failed_gates(gates, "ranking") == "untrained_floor: of untrained_floor; row_order: of row_order"
    assert failed_gates([gate("point_in_time", True), gate("skew", None)], "ranking") == ""


def test_who_was_never_held_against_the_untrained_line_is_barred_from_ranking_with_the_reason() -> None:
    kinds = field()
    asked = {kind: untrained_floor(kind, kinds, set(), resamples=100, seed=1) for kind in kinds}
    assert {gate.passed for gate in asked.values()} == {None}
    barred = {kind: failed_gates([gate], "ranking") for kind, gate in asked.items()}
    assert set(barred.values()) == {
        "untrained_floor: no untrained kind was evaluated: add transition_counter or popularity to models.kinds"
    }
    assert {failed_gates([gate], "customer") for gate in asked.values()} == {""}
    with pytest.raises(GateFailed, match=r"no honest kind.*add transition_counter or popularity to models\.kinds"):
        promote_ranking(kinds, "old", resamples=100, seed=1, barred=barred)
    kept = promote_ranking(kinds, "old", resamples=100, seed=1, barred=barred, kept_from=date(2017, 1, 2))
    assert (kept.champion, kept.kept_from) == ("old", date(2017, 1, 2))


def test_the_untrained_line_must_be_beaten_surely() -> None:
    kinds = field() | {"popularity": frame(np.full(400, 0.05))}
    lines = {"old", "popularity"}

    def floor(kind: str, untrained: set[str] = lines) -> Gate:
        return untrained_floor(kind, kinds, untrained, resamples=100, seed=1)

    won = floor("good")
    assert won.passed is True
    assert won.value is not None
    assert 0.08 < won.value < 0.1
    assert "of old, which only counts: +0.1000" in won.detail
    assert floor("even").passed is False
    assert "the untrained line itself" in floor("old").detail
    assert "untrained too, below old" in floor("popularity").detail
    assert [floor(kind).passed for kind in sorted(lines)] == [False, False]
    assert floor("good", set()).passed is None


def test_a_kind_no_better_than_counting_seldom_passes_for_better() -> None:
    passes = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        base = rng.random(100)
        kinds = {"counter": frame(base), "idle": frame(base + rng.normal(0, 0.2, 100))}
        passes += untrained_floor("idle", kinds, {"counter"}, resamples=100, seed=seed).passed is True
    assert passes <= 9  # the interval's 2.5% of 100, a little more at 100 households; above 9 about once in a thousand
