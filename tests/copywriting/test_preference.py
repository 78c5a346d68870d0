"""What is learned of wordings: known truths are found with honest intervals, nothing where there is nothing, by draws only."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import expit

from mktgen.contracts import WORDING_TRIALS
from mktgen.copywriting.bank import bank
from mktgen.copywriting.pool import EVEN, Pool
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_fit import TooFewClicks, fit
from mktgen.copywriting.preference_use import (
    expected_gain,
    held_out,
    preference_pairs,
    split,
    trait_lines,
    wilson,
    wording_lines,
)
from mktgen.copywriting.traits import TRAITS, matrix
from mktgen.copywriting.wording import TONES, Wording
from mktgen.errors import CorruptArtefact
from tests.support.words_world import FIRST, KNOWN, SEGMENTS, row, taste, trials, wordings

WORLDS = 6


@cache
def learned(seed: int, strength: float = 1.0) -> Preference:
    return fit(trials(liked(seed, strength), seed), 30)


def liked(seed: int, strength: float = 1.0):  # type: ignore[no-untyped-def]
    return taste(seed, 0.3 * strength, 0.15 * strength, 0.1 * strength)


# -- a truth that is known ------------------------------------------------------------------------------------------------
def test_differences_between_wordings_are_found_and_their_intervals_hold_the_truth() -> None:
    """95% intervals of 120 differences, as far as 6 worlds can tell: those of one world go together."""
    inside, away = [], []
    for seed in range(WORLDS):
        for tone in TONES:
            pool = wordings(tone)
            logits = learned(seed).logits(pool, 1)
            low, high = np.quantile(logits - logits[:, :1], [0.025, 0.975], axis=0)
            truth = liked(seed).logit(pool)
            inside += list((low <= truth - truth[0]) & (truth - truth[0] <= high))[1:]
            away.append(np.corrcoef(logits.mean(axis=0), truth)[0, 1])
    assert np.mean(inside) > 0.85
    assert np.mean(away) > 0.7


def test_bands_of_traits_hold_all_of_them_at_once() -> None:
    names, holds = [trait.name for trait in TRAITS], []
    for seed in range(WORLDS):
        found = learned(seed)
        truth = liked(seed).common + found.share @ liked(seed).by_tone
        lines = {line.trait: line.log_odds for line in trait_lines(found)}
        told = [
            name for name in names if name not in ("discount_first", "short")
        ]  # all of these wordings have it, or none
        holds.append(all(lines[name].low <= truth[names.index(name)] <= lines[name].high for name in told))
    assert sum(holds) >= WORLDS - 2


def test_where_no_word_matters_no_trait_is_claimed_to_work() -> None:
    claims = [any(line.works or line.harms for line in trait_lines(learned(100 + seed, 0.0))) for seed in range(WORLDS)]
    assert sum(claims) <= 1


def test_a_strong_taste_is_claimed_and_chosen() -> None:
    strong = taste(0, 0.0, 0.0, 0.0)
    strong.common[[trait.name for trait in TRAITS].index("question")] = 1.2
    found = fit(trials(strong, 3), 30)
    assert [line.trait for line in trait_lines(found) if line.works] == ["question"]
    pool = wordings("everyday")
    asks = matrix(pool)[:, [trait.name for trait in TRAITS].index("question")] > 0
    assert sum(p for p, one in zip(found.best(pool, 0), asks, strict=True) if one) > 0.95


def test_what_a_day_or_a_segment_is_like_teaches_nothing_of_words() -> None:
    """Two wordings alike, one of them sent mostly on good days: raw rates differ threefold, and it is known why."""
    pool = wordings("deal")[:2]
    rows = []
    for good, chance in ((True, 0.9), (False, 0.1)):
        for place, one in enumerate(pool):
            share = chance if place == 0 else 1 - chance
            sends = int(2_000 * share)
            rows.append(row(one, FIRST, "s01" if good else "s02", share, sends, int(sends * (0.20 if good else 0.05))))
    table = pl.DataFrame(rows, schema=WORDING_TRIALS.columns)
    by_wording = table.group_by("wording_id").agg(rate=pl.col("clicks").sum() / pl.col("sends").sum())["rate"]
    assert by_wording.max() > 2 * by_wording.min()  # type: ignore[operator]
    logits = fit(table, 30).logits(pool, 0)
    assert (logits[:, 0] - logits[:, 1]).mean() == pytest.approx(0, abs=0.05)


# -- wordings never sent ----------------------------------------------------------------------------------------------------
def test_a_wording_that_was_never_sent_is_known_by_its_traits_and_less_surely() -> None:
    for seed in range(2):
        found, sent = learned(seed), wordings("everyday")
        fresh = [
            one for one in bank("en").wordings("email", "everyday", KNOWN, 60, "others") if one.id not in found.wordings
        ]
        new, old = found.logits(fresh, 0), found.logits(sent, 0)
        assert new.std(axis=0).min() >= found.spread.mean() * 0.9
        assert new.std(axis=0).mean() > old.std(axis=0).mean()
        assert np.corrcoef(new.mean(axis=0), liked(seed).logit(fresh))[0, 1] > 0.4


def test_a_tone_that_was_never_sent_has_the_common_part_alone() -> None:
    some = trials(liked(1), 1).filter(pl.col("tone") != "win_back")
    found = fit(some, 30)
    assert found.share[TONES.index("win_back")] == 0
    assert found.share.sum() == pytest.approx(1)
    assert found.best(wordings("win_back"), 0)


# -- the choice -----------------------------------------------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TONES), st.integers(0, 2**40), st.integers(1, 40), st.booleans())
def test_chances_add_up_and_none_is_forgotten(tone: str, seed: int, count: int, drafts: bool) -> None:
    mine = bank("en").wordings("email", tone, KNOWN, count, "drafts")  # type: ignore[arg-type]
    pool = Pool("email", "en", mine if drafts else (), lambda them: learned(0).best(them, seed))
    chances = pool.chances(tone, KNOWN)  # type: ignore[arg-type]
    assert sum(chance for _, chance in chances) == pytest.approx(1)
    assert min(chance for _, chance in chances) >= EVEN / len(chances) - 1e-12


def test_the_same_inputs_give_the_same_bytes() -> None:
    table = trials(liked(2), 2)
    one, other = fit(table, 30), fit(table[::-1], 30)
    assert one.to_bytes() == other.to_bytes()
    again = Preference.from_bytes(one.to_bytes())
    assert again.to_bytes() == one.to_bytes()
    pool = wordings("deal")
    assert again.best(pool, 5) == one.best(pool, 5)
    assert sum(one.best(pool, 5)) == pytest.approx(1, abs=1e-9)
    assert one.best([], 5) == []


@pytest.mark.parametrize("content", [b"", b"not a model", learned(0).to_bytes()[:500]])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptArtefact, match="learn it again"):
        Preference.from_bytes(content)


# -- refusals -------------------------------------------------------------------------------------------------------------
def test_nothing_is_learned_of_too_few_clicks_or_of_what_was_not_drawn() -> None:
    with pytest.raises(TooFewClicks, match="0 of 0 randomised messages"):
        fit(WORDING_TRIALS.empty(), 30)
    table = trials(liked(0), 0, days=1)
    with pytest.raises(TooFewClicks, match="10000 clicks are needed"):
        fit(table, 10_000)
    alone = table.unique("cell").with_columns(chance=1.0, sends=pl.lit(1_000, pl.Int64), clicks=pl.lit(100, pl.Int64))
    with pytest.raises(TooFewClicks, match="0 of 0"):
        fit(alone, 30)


# -- pairs and judge --------------------------------------------------------------------------------------------------------
def test_pairs_are_of_one_cell_and_prefer_what_is_clicked_more() -> None:
    right = []
    for seed in range(2):
        table = trials(liked(seed), seed)
        found = preference_pairs(learned(seed), table, 0.9, seed)
        assert found.height > 0
        assert found["weight"].is_between(0.8, 1).all()
        for one in found.iter_rows(named=True):
            sides = [
                Wording("email", "en", one["tone"], one[f"{side}_subject"], one[f"{side}_body"], "template")
                for side in ("chosen", "rejected")
            ]
            assert {side.id for side in sides} <= {known.id for known in wordings(one["tone"])}
            right.append(np.diff(liked(seed).logit(sides))[0] < 0)
    assert np.mean(right) > 0.85
    assert_frame_equal(
        preference_pairs(learned(0), trials(liked(0), 0)[::-1], 0.9, 0),
        preference_pairs(learned(0), trials(liked(0), 0), 0.9, 0),
    )


def test_held_out_segments_teach_the_judge_alone() -> None:
    table = trials(liked(0), 0, days=3)
    tuning, apart = split(table, 0.33)
    assert tuning.height + apart.height == table.height
    assert set(apart["segment_id"]) == {name for name in SEGMENTS if held_out(name, 0.33)} == {"s04", "s06"}
    assert not set(tuning["segment_id"]) & set(apart["segment_id"])


def test_a_judge_expects_what_is_true_of_drafts_it_never_saw() -> None:
    inside = []
    for seed in range(5):
        judge, truth = fit(split(trials(liked(seed), seed, sends=120), 0.33)[1], 30), liked(seed)
        drafts = [
            one
            for tone in ("everyday", "win_back")
            for one in bank("en").wordings("email", tone, KNOWN, 80, f"drafts {seed}")
        ]  # type: ignore[misc]
        # By one trait: a choice by the truth itself would be one that no posterior can foresee.
        asks = matrix(drafts)[:, [trait.name for trait in TRAITS].index("question")] > 0
        good, bad = ([one for one, has in zip(drafts, asks, strict=True) if has == side] for side in (True, False))
        found = expected_gain(judge, good, bad, seed)
        assert found is not None
        sides = [
            [
                np.mean(expit(-2.5 + truth.logit([one for one in side if one.tone == tone])))
                for tone in ("everyday", "win_back")
            ]
            for side in (good, bad)
        ]
        weights = [judge.share[TONES.index(tone)] for tone in ("everyday", "win_back")]
        inside.append(found.low <= np.average(np.subtract(*sides), weights=weights) <= found.high)
    assert sum(inside) >= 4


def test_drafts_with_nothing_in_common_are_not_compared() -> None:
    mine, theirs = (bank(language).wordings("email", "everyday", KNOWN, 3, "") for language in ("en", "zh"))
    assert expected_gain(learned(0), mine, theirs, 0) is None
    assert expected_gain(learned(0), mine, [], 0) is None
    same = expected_gain(learned(0), mine, mine, 0)
    assert same is not None
    assert same.value == pytest.approx(0, abs=1e-12) or same.low < 0 < same.high


# -- the report -------------------------------------------------------------------------------------------------------------
def test_the_report_counts_what_was_sent() -> None:
    table = trials(liked(0), 0)
    lines = wording_lines(table)
    assert sum(line.sends for line in lines) == table["sends"].sum()
    assert all(line.click_rate.low <= line.click_rate.value <= line.click_rate.high for line in lines)
    assert wording_lines(WORDING_TRIALS.empty()) == []
    assert (wilson(0, 50).low, round(wilson(0, 50).high, 3)) == (0.0, 0.071)  # Wilson's: z^2 / (n + z^2)
