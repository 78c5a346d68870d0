"""Trials of loud customers count less, whatever the effects are."""

from __future__ import annotations

import numpy as np
import pytest

from mktgen.response.noise import precision

RNG = np.random.default_rng(3)
ROWS = 20_000
X = RNG.normal(size=ROWS)
DESIGN = np.column_stack([np.ones(ROWS), X])
EVEN = np.ones(ROWS)


def test_weights_follow_the_inverse_variance_and_have_mean_one() -> None:
    sd = np.exp(0.7 * X)
    weight = precision(DESIGN, RNG.normal(size=ROWS) * sd, EVEN)
    assert weight.mean() == pytest.approx(1.0)
    inside = np.abs(X) < 1.2  # beyond the quantiles they are cut
    slope = np.polyfit(X[inside], np.log(weight[inside]), 1)[0]
    assert -1.5 < slope < -0.9  # the truth is -1.4; the floor under small residuals draws it towards even weights


def test_a_mean_so_weighted_errs_less() -> None:
    sd = np.exp(1.0 * X[:400])
    rng = np.random.default_rng(4)
    plain, weighted = [], []
    for _ in range(200):
        noise = rng.normal(size=400) * sd
        weight = precision(DESIGN[:400], noise, EVEN[:400])
        plain.append(noise.mean())
        weighted.append(np.average(noise, weights=weight))
    assert np.std(weighted) < 0.7 * np.std(plain)
    assert abs(np.mean(weighted)) < 3 * np.std(weighted) / np.sqrt(200)


def test_where_noise_is_alike_weights_are_nearly_so() -> None:
    weight = precision(DESIGN, RNG.normal(size=ROWS), EVEN)
    assert weight.std() < 0.1


def test_an_outcome_foretold_exactly_weighs_all_alike() -> None:
    assert (precision(DESIGN, np.zeros(ROWS), EVEN) == 1).all()
