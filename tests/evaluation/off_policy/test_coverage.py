"""95% intervals hold the truth in about 95% of logs from a known world, and claimed propensities are found out."""

from __future__ import annotations

import pytest

from benchmarks.coverage_off_policy import WITH_INTERVAL, Report, run
from tests.support.bandit_world import make_world


def covered(report: Report) -> dict[str, float]:
    return {line.name: line.covered for line in report.lines}


def test_intervals_hold_the_truth_and_claimed_propensities_do_not_pass() -> None:
    """60 logs: with 95% coverage, fewer than 52 would come once in 2,000 times."""
    report = run(make_world(), customers=1_000, repetitions=60, waves=2, seed=7, resampled=False)
    shares = covered(report)
    for name in WITH_INTERVAL:
        assert shares[name] >= 52 / 60, (name, shares)
    assert shares["ips, Bernstein"] == shares["dr, Bernstein"] == 1.0
    assert report.refused_true <= 1 / 60
    assert report.refused_uniform >= 59 / 60


@pytest.mark.slow
@pytest.mark.parametrize(("customers", "waves", "tilt"), [(2_000, 3, 1.0), (1_000, 1, 0.5)])
def test_coverage_of_each_estimator_is_93_to_97_percent(customers: int, waves: int, tilt: float) -> None:
    report = run(make_world(tilt=tilt), customers=customers, repetitions=1_000, waves=waves, seed=0, resampled=False)
    shares = covered(report)
    for name in WITH_INTERVAL:
        assert 0.93 <= shares[name] <= 0.97, (name, shares)
    assert report.refused_true <= 0.01
    assert report.refused_uniform >= 0.99
    assert abs(report.bias_uniform) > 0.002
    for line in report.lines:
        if line.name in WITH_INTERVAL:
            assert abs(line.bias) < 4 * line.spread / 1_000**0.5, line
