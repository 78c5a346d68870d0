"""Intervals cover planted truths, and what nobody measured is refused: the benchmark, shortened."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.coverage_effect import (
    EFFECT,
    coverage,
    observed,
    observed_estimates,
    randomised,
    randomised_estimates,
    refused_by,
    reports,
)

SOUND = (
    "difference of means, CR2",
    "CUPED, CR2",
    "interacted (Lin), CR2",
    "relative lift, delta method",
    "ROI, Fieller",
)


def test_the_worlds_hold_the_effect_they_say() -> None:
    rows, truth = randomised(np.random.default_rng(1), customers=20_000)
    means = dict(rows.group_by("arm").agg(pl.col("net_minor").mean()).iter_rows())
    assert means["treated"] - means["control"] == pytest.approx(truth, abs=1.0)
    confounded, effect = observed(np.random.default_rng(1), customers=20_000)
    gap = dict(confounded.group_by("arm").agg(pl.col("net_minor").mean()).iter_rows())
    assert effect == EFFECT
    assert gap["treated"] - gap["control"] > effect + 5


def test_intervals_cover_about_as_often_as_they_say() -> None:
    found = {one.name: one for one in coverage(randomised_estimates, 40, seed=2)}
    assert all(found[name].share >= 0.85 for name in SOUND)
    assert found["rows as if independent (Welch)"].width < 0.85 * found["difference of means, CR2"].width
    assert found["CUPED, CR2"].width < 0.9 * found["difference of means, CR2"].width
    doubly = {one.name: one for one in coverage(observed_estimates, 15, seed=2)}
    assert doubly["AIPW"].share >= 0.8
    assert doubly["naive difference"].share == 0


def test_unmeasured_confounding_is_refused_by_placebo_or_negative_control() -> None:
    assert refused_by(reports(1.0, 0.0, 4, seed=3), "placebo", "negative_control") == 1.0


@pytest.mark.slow
def test_coverage_over_500_repetitions_lies_within_93_and_97_percent() -> None:
    found = {one.name: one for one in coverage(randomised_estimates, 500, seed=1)}
    doubly = {one.name: one for one in coverage(observed_estimates, 500, seed=1)}
    for one in (*(found[name] for name in SOUND), doubly["AIPW"], doubly["overlap-R"]):
        assert 0.93 <= one.share <= 0.97, one
    assert found["rows as if independent (Welch)"].share < 0.93
    unmeasured = reports(1.0, 0.0, 200, seed=1)
    assert refused_by(unmeasured, "placebo", "negative_control") > 0.95
    assert all(one.verdict == "refused" for one in unmeasured)
