"""How often 95% intervals of off-policy values hold the truth, and how often wrong propensities are noticed.

    python -m benchmarks.coverage_off_policy [--customers 2000] [--repetitions 500] [--waves 3] [--tilt 1.0] [--seed 0]
        [--plain] [--json FILE]

The world is tests/support/bandit_world.py: customers in five segments with a hidden type of their own (so that the waves of
one customer are alike), four actions, a log that leans to good ones; its value is exact. Expected rewards are cross-fitted
means by segment and action, mixed with noise so that they help but are not right. Three logs of the same decisions are
judged: with true propensities; with propensities claimed uniform; with none (the mean reward of rows whose action is
the policy's most likely one). Coverage of 500 repetitions has itself a 95% interval of about +-1.9 points.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from mktgen.evaluation.off_policy.diagnostics import diagnose, refusals
from mktgen.evaluation.off_policy.estimate import ESTIMATORS
from mktgen.evaluation.off_policy.estimators import Terms
from mktgen.evaluation.off_policy.intervals import Bounds, bootstrap, empirical_bernstein, normal
from mktgen.evaluation.off_policy.logged import Floats, Logged
from mktgen.settings import OffPolicySettings
from tests.support.bandit_world import Draw, World, draw, make_world

WITH_INTERVAL: Final = ("ips", "snips", "dr", "sndr", "calibrated_dr")
BIASED: Final = ("dm", "clipped_ips", "switch_dr", "dros")
LEVEL: Final = 0.95
SETTINGS: Final = OffPolicySettings()


@dataclass(frozen=True)
class Line:
    """Of one estimator and one kind of interval: share of repetitions that hold the truth, and mean half-width."""

    name: str
    covered: float
    half_width: float
    bias: float
    spread: float


@dataclass(frozen=True)
class Report:
    truth: float
    effective_sample: float
    lines: list[Line]
    refused_true: float  # share of logs with true propensities that are refused: false alarms
    refused_uniform: float  # share of logs with propensities claimed uniform that are refused
    bias_uniform: float  # of calibrated_dr on those, had it been believed
    bias_matching: float  # of the mean reward of matching actions


def run(world: World, *, customers: int, repetitions: int, waves: int, seed: int, resampled: bool = True) -> Report:
    """Draw `repetitions` logs and judge each. `resampled`: also by the bootstrap, which takes most of the time."""
    held: dict[str, list[tuple[bool, float, float]]] = {}
    refused_true, refused_uniform, uniform, matching, worth = [], [], [], [], []
    for drawn in _draws(world, customers, repetitions, waves, seed):
        log = replace(drawn.log, q_hat=segment_means(drawn))
        for name, value, bounds in _intervals(log, world, resampled):
            inside = bounds.low is not None and bounds.high is not None and bounds.low <= world.value <= bounds.high
            width = (bounds.high - bounds.low) / 2 if bounds.low is not None and bounds.high is not None else np.nan
            held.setdefault(name, []).append((inside, width, value - world.value))
        terms = ESTIMATORS["calibrated_dr"](log)
        found = diagnose(log, terms, SETTINGS)
        worth.append(found.effective_sample)
        refused_true.append(bool(refusals(found, terms, SETTINGS)))
        claimed = replace(log, propensity=np.full_like(log.policy, 1 / log.actions))
        wrong = ESTIMATORS["calibrated_dr"](claimed)
        refused_uniform.append(bool(refusals(diagnose(claimed, wrong, SETTINGS), wrong, SETTINGS)))
        uniform.append(wrong.value - world.value)
        matching.append(float(log.reward[log.action == log.policy.argmax(axis=1)].mean()) - world.value)
    lines = []
    for name, found_ in held.items():
        errors = [error for _, _, error in found_]
        lines.append(
            Line(
                name,
                float(np.mean([inside for inside, _, _ in found_])),
                float(np.mean([width for _, width, _ in found_])),
                float(np.mean(errors)),
                float(np.std(errors)),
            )
        )
    return Report(
        world.value, float(np.mean(worth)), lines, float(np.mean(refused_true)), float(np.mean(refused_uniform)),
        float(np.mean(uniform)), float(np.mean(matching)),
    )  # fmt: skip


def segment_means(drawn: Draw, folds: int = 2) -> Floats:
    """[n, A] mean reward by segment and action in the other fold of customers, plus a wave that is wrong everywhere."""
    log = drawn.log
    fold = log.groups % folds
    table = np.empty_like(log.policy)
    for number in range(folds):
        learnt = fold != number
        cell = drawn.segment[learnt] * log.actions + log.action[learnt]
        size = drawn.context.shape[1] * log.actions
        taken = np.bincount(cell, minlength=size)
        total = np.bincount(cell, weights=log.reward[learnt], minlength=size)
        means = (total + log.reward[learnt].mean()) / (taken + 1)
        table[~learnt] = means.reshape(-1, log.actions)[drawn.segment[~learnt]]
    return table + 0.1 * np.sin(np.arange(log.actions))


def _draws(world: World, customers: int, repetitions: int, waves: int, seed: int) -> Iterator[Draw]:
    for repetition in range(repetitions):
        yield draw(world, customers, seed * 1_000_003 + repetition, waves=waves)


def _intervals(log: Logged, world: World, resampled: bool) -> Iterator[tuple[str, float, Bounds]]:
    heaviest = float((world.policy / world.logging).max())
    by_name: dict[str, Terms] = {name: ESTIMATORS[name](log) for name in (*WITH_INTERVAL, *BIASED)}
    for name in WITH_INTERVAL:
        terms = by_name[name]
        yield name, terms.value, normal(terms.value, terms.influence, log.groups, 1 - LEVEL)
        if resampled:
            bounds = bootstrap(terms.value, terms.influence, log.groups, 1 - LEVEL, resamples=500, seed=1)
            yield f"{name}, bootstrap", terms.value, bounds
    bare = replace(log, q_hat=None)
    for name, given, reach in (("ips", bare, (0.0, 1.0)), ("dr", log, (-0.2, 1.2))):
        terms = by_name[name]
        bounds = empirical_bernstein(
            given, terms, 1 - LEVEL, modelled=name == "dr", reward_range=reach, max_weight=heaviest
        )
        yield f"{name}, Bernstein", terms.value, bounds
    for name in BIASED:  # what a standard error would claim, were it believed
        terms = by_name[name]
        yield f"({name})", terms.value, normal(terms.value, terms.influence, log.groups, 1 - LEVEL)


def show(report: Report, tell: Callable[[str], None] = print) -> None:
    tell(f"truth {report.truth:.4f}; a log is worth {report.effective_sample:.0f} customers under the policy")
    tell(f"{'estimator':26s} {'coverage':>9s} {'half-width':>11s} {'bias':>9s} {'spread':>8s}")
    for line in report.lines:
        tell(f"{line.name:26s} {line.covered:9.1%} {line.half_width:11.4f} {line.bias:+9.4f} {line.spread:8.4f}")
    tell("(in brackets: biased on purpose; the product gives these no interval, nor lets them launch anything)")
    tell(f"true propensities refused (false alarms) {report.refused_true:.1%}")
    tell(f"propensities claimed uniform: refused {report.refused_uniform:.1%}; bias had it been believed "
         f"{report.bias_uniform:+.4f}")  # fmt: skip
    tell(f"mean reward of matching actions, no propensities: bias {report.bias_matching:+.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--waves", type=int, default=3)
    parser.add_argument("--tilt", type=float, default=1.0, help="how much the log leans to good actions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without the bootstrap, which takes most of the time")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    world = make_world(tilt=asked.tilt)
    report = run(
        world,
        customers=asked.customers,
        repetitions=asked.repetitions,
        waves=asked.waves,
        seed=asked.seed,
        resampled=not asked.plain,
    )
    show(report)
    if asked.json:
        body = {**report.__dict__, "lines": [line.__dict__ for line in report.lines]}
        asked.json.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
