"""A policy against those that it would replace, on the log of past trials: the figures behind the launch gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from mktgen.documents import Comparison, Interval, LaunchEvidence
from mktgen.evaluation.off_policy.estimate import Estimate, difference, estimate
from mktgen.evaluation.off_policy.gate import verdict
from mktgen.evaluation.off_policy.logged import Floats
from mktgen.evaluation.off_policy.trial_log import TrialLog
from mktgen.settings import EvaluationSettings


def launch_evidence(
    log: TrialLog,
    candidate: Floats,
    incumbents: Mapping[str, Floats],
    settings: EvaluationSettings,
    partition: date,
    seed: int,
) -> LaunchEvidence:
    """Whether `candidate` is surely better than every incumbent; all policies are [n, A] on the trials of `log`.

    What: proven where the lower bound of each paired difference is above 0. Formula: estimate.difference, at level
    1 - alpha for each; a policy that is no better than one of them passes all with a chance of at most alpha / 2 (an
    intersection-union test needs no correction for their number). Assumption: the candidate's chances on a trial were made
    without that customer's outcomes. When it fails: the day is one of many on which the same log is asked, so a candidate
    of no worth gets through now and then over a year. Reference: Berger (1982) for the intersection-union test.
    Raises RefusedLog for a log that can't be right.
    """
    logged = log.under(candidate)
    found = {
        name: difference(logged, policy, settings.off_policy, alpha=settings.alpha, seed=seed)
        for name, policy in incumbents.items()
    }
    comparisons = [
        Comparison(incumbent=name, difference=_interval(one), gate=verdict(one, name=name))
        for name, one in found.items()
    ]
    short = [f"against {one.incumbent}: {one.gate.detail}" for one in comparisons if not one.gate.passed]
    own = estimate(logged, settings.off_policy, alpha=settings.alpha, seed=seed)
    theirs = estimate(log.under(log.logging), settings.off_policy, alpha=settings.alpha, seed=seed)
    return LaunchEvidence(
        partition=partition,
        standing="experiment" if short else "proven",
        reason="; ".join(short) or f"its lower bound beats {' and '.join(incumbents)} on past trials",
        value=_interval(own),
        logged=_interval(theirs),
        comparisons=comparisons,
        facts=_facts(own),
    )


def _interval(found: Estimate) -> Interval | None:
    if found.refused or found.low is None or found.high is None:
        return None
    return Interval(value=found.value, low=found.low, high=found.high, method=f"{found.estimator}, {found.method}")


def _facts(found: Estimate) -> dict[str, float]:
    seen = found.diagnostics
    return {
        "decisions": float(seen.rows),
        "customers": float(seen.clusters),
        "effective_customers": seen.effective_sample,
        "largest_weight": seen.max_weight,
        "overlap": seen.overlap,
    }
