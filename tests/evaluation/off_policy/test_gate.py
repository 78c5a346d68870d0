"""The launch gate: better, not surely better, not knowable, an experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mktgen.documents import Allocation, Comparison, Gate, Interval, LaunchEvidence
from mktgen.evaluation.off_policy.estimate import difference
from mktgen.evaluation.off_policy.gate import Experiment, launch_gate, strategy_gate
from mktgen.settings import EvaluationSettings, StrategySettings
from tests.support.bandit_world import Draw, World, draw, make_world

SETTINGS = EvaluationSettings()


def drawn_for(policy: np.ndarray, customers: int = 4_000) -> tuple[World, Draw]:
    """A log of business as usual, and a candidate to judge on it."""
    usual = make_world(tilt=0.3)
    world = World(usual.rewards, usual.logging, policy)
    return world, draw(world, customers, seed=11)


def best_action(world: World) -> np.ndarray:
    chosen: np.ndarray = np.eye(world.rewards.shape[1])[world.rewards.argmax(axis=1)]
    return chosen


def test_a_better_policy_passes_with_the_bound_as_value() -> None:
    world, drawn = drawn_for(best_action(make_world(tilt=0.3)))
    gate = launch_gate(drawn.log, world.logging[drawn.segment], SETTINGS)
    assert gate.name == "off_policy_value"
    assert gate.passed is True
    assert gate.threshold == 0.0
    assert gate.value is not None
    assert 0 < gate.value < world.value - world.value_of(world.logging)
    assert "calibrated_dr" in gate.detail


def test_a_worse_policy_fails_and_so_does_the_same_policy() -> None:
    usual = make_world(tilt=0.3)
    worst = np.eye(4)[usual.rewards.argmin(axis=1)]
    for policy in (worst, usual.logging):
        world, drawn = drawn_for(policy)
        gate = launch_gate(drawn.log, world.logging[drawn.segment], SETTINGS)
        assert gate.passed is False
        assert "refused" not in gate.detail


def test_the_difference_is_tighter_than_the_two_values() -> None:
    usual = make_world(tilt=0.3)
    world, drawn = drawn_for(0.9 * usual.logging + 0.1 * best_action(usual))
    found = difference(drawn.log, world.logging[drawn.segment], SETTINGS.off_policy)
    assert found.se is not None
    assert found.se < drawn.log.reward.std() / np.sqrt(drawn.log.rows) / 4
    assert abs(found.value - (world.value - world.value_of(world.logging))) < 3 * found.se


def test_an_unsupported_candidate_is_refused_by_name() -> None:
    usual = make_world(tilt=0.3)
    usual.logging[:, 1] = 0.0
    usual.logging[:] /= usual.logging.sum(axis=1, keepdims=True)
    world = World(usual.rewards, usual.logging, np.tile([0.0, 1.0, 0.0, 0.0], (5, 1)))
    drawn = draw(world, 2_000, seed=1)
    gate = launch_gate(drawn.log, world.logging[drawn.segment], SETTINGS)
    assert gate.passed is False
    assert gate.detail.startswith("refused, unsupported_actions")


def test_an_incumbent_that_the_log_can_not_value_is_refused_too() -> None:
    world, drawn = drawn_for(best_action(make_world(tilt=0.3)))
    strict = SETTINGS.model_copy(
        update={"off_policy": SETTINGS.off_policy.model_copy(update={"min_effective_sample": 2_000})}
    )
    rare = np.tile(np.eye(4)[0], (drawn.log.rows, 1))
    gate = launch_gate(replace(drawn.log, policy=world.logging[drawn.segment]), rare, strict)
    assert gate.passed is False
    assert "incumbent: under this policy" in gate.detail


def test_an_estimator_without_an_interval_launches_nothing() -> None:
    world, drawn = drawn_for(best_action(make_world(tilt=0.3)))
    log = replace(drawn.log, q_hat=world.rewards[drawn.segment])
    alone = SETTINGS.model_copy(update={"off_policy": SETTINGS.off_policy.model_copy(update={"estimator": "dm"})})
    gate = launch_gate(log, world.logging[drawn.segment], alone)
    assert gate.passed is False
    assert "no_interval" in gate.detail


def test_the_best_of_many_candidates_needs_a_clearer_lead() -> None:
    usual = make_world(tilt=0.3)
    world, drawn = drawn_for(0.95 * usual.logging + 0.05 * best_action(usual), customers=2_000)
    bounds = [launch_gate(drawn.log, world.logging[drawn.segment], SETTINGS, compared=n).value for n in (1, 50)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[1] < bounds[0]


@pytest.mark.parametrize(
    ("planned", "budget", "passed"),
    [(100, 100, True), (101, 100, False), (0, 100, False), (-1, 100, False), (np.nan, 100, False), (5, np.nan, False),
     (5, np.inf, False)],
)  # fmt: skip
def test_an_experiment_passes_within_a_budget_that_is_stated(planned: float, budget: float, passed: bool) -> None:
    world, drawn = drawn_for(best_action(make_world(tilt=0.3)))
    gate = launch_gate(drawn.log, world.logging[drawn.segment], SETTINGS, experiment=Experiment(planned, budget))
    assert gate.passed is passed
    assert "not known yet" in gate.detail


# -- what past trials allow a strategy to do ------------------------------------------------------------------------------
def evidence(standing: str, *lows: float | None) -> LaunchEvidence:
    gate = Gate(name="off_policy_value", passed=None, detail="told")
    found = [None if low is None else Interval(value=low + 1, low=low, high=low + 2) for low in lows]
    comparisons = [Comparison(incumbent=f"i{n}", difference=one, gate=gate) for n, one in enumerate(found)]
    return LaunchEvidence.model_validate(
        {"partition": "2017-10-01", "standing": standing, "reason": "why", "value": None, "logged": None, "facts": {}}
        | {"comparisons": [one.model_dump() for one in comparisons]}
    )


def plan(worst: int, contacts: int = 5) -> Allocation:
    return Allocation(
        budget_minor=1_000, worst_case_cost_minor=worst, expected_cost_minor=0.0, expected_value_minor=0.0,
        allocated_cost_minor=0, value_minor=0.0, bound_minor=0.0, gap_share=0.0, shadow_price=0.0, propensity_floor=0.0,
        contacts=contacts, candidates=contacts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "worst", "passed"),
    [
        (evidence("proven", 0.1, 2.0), 1_000, True),
        (evidence("proven", 0.1, -0.1), 1_000, False),  # the word alone opens no gate
        (evidence("proven", 0.1, None), 1_000, False),
        (evidence("proven"), 1_000, False),
        (evidence("experiment"), 200, True),
        (evidence("experiment"), 201, False),
        (evidence("experiment", -0.1), 201, False),
        (evidence("not_judged"), 1_000, None),
    ],
)
def test_a_strategy_goes_out_proven_or_as_an_experiment_within_its_budget(
    found: LaunchEvidence, worst: int, passed: bool | None
) -> None:
    strategy = StrategySettings(budget_minor=1_000, experiment_budget_share=0.2)
    assert strategy_gate(found, plan(worst), strategy).passed is passed


def test_where_nobody_is_contacted_nothing_is_launched() -> None:
    strategy = StrategySettings(budget_minor=1_000, experiment_budget_share=0.2)
    assert strategy_gate(evidence("experiment"), plan(0, contacts=0), strategy).passed is None


@pytest.mark.parametrize(("standing", "passed"), [("experiment", True), ("futile", False)])
def test_contacts_that_cost_nothing_may_be_tried_until_trials_speak_against_them(standing: str, passed: bool) -> None:
    strategy = StrategySettings(budget_minor=1_000, experiment_budget_share=0.2)
    assert strategy_gate(evidence(standing, -3.0), plan(0), strategy).passed is passed
