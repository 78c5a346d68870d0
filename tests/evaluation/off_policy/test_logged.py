"""A log that can't be right is refused, by the name of its fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.logged import Logged, RefusedLog

GOOD: dict[str, Any] = {
    "action": np.array([0, 1, 2]),
    "reward": np.array([1.0, 0.0, 2.5]),
    "propensity": np.array([0.5, 0.25, 1.0]),
    "policy": np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]]),
    "q_hat": np.full((3, 3), 0.5),
    "cluster": np.array(["a", "a", "b"]),
}
ALL_ACTIONS = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
NAN = np.array([1.0, np.nan, 0.0])
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("empty", {"action": np.array([], dtype=np.int64)}),
    ("shapes_differ", {"reward": np.ones(2)}),
    ("shapes_differ", {"propensity": np.full((3, 2), 0.5)}),
    ("shapes_differ", {"q_hat": np.ones(3)}),
    ("shapes_differ", {"cluster": np.array(["a", "b"])}),
    ("shapes_differ", {"policy": np.ones(3)}),
    ("shapes_differ", {"action": np.array([[0], [1], [2]])}),
    ("not_a_number", {"reward": NAN}),
    ("not_a_number", {"propensity": NAN}),
    ("not_a_number", {"policy": np.full((3, 3), np.inf)}),
    ("not_a_number", {"q_hat": np.full((3, 3), np.nan)}),
    ("not_a_number", {"reward": np.array([1, 0, 2])}),
    ("action_not_an_index", {"action": np.array([0, 1, 3])}),
    ("action_not_an_index", {"action": np.array([0, -1, 2])}),
    ("action_not_an_index", {"action": np.array([0.0, 1.0, 2.0])}),
    ("propensity_not_in_0_1", {"propensity": np.array([0.5, 0.0, 1.0])}),
    ("propensity_not_in_0_1", {"propensity": np.array([0.5, 1.2, 1.0])}),
    ("propensity_not_in_0_1", {"propensity": ALL_ACTIONS[:, ::-1]}),
    ("propensity_not_in_0_1", {"propensity": np.array([[1.5, -0.5, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])}),
    ("logging_does_not_sum_to_1", {"propensity": ALL_ACTIONS * 0.9}),
    ("policy_not_in_0_1", {"policy": np.array([[1.5, -0.5, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])}),
    ("policy_does_not_sum_to_1", {"policy": np.full((3, 3), 0.3)}),
    ("cluster_not_an_id", {"cluster": np.array([1.0, np.nan, 2.0])}),
]


@pytest.mark.parametrize(("fault", "change"), FAULTS, ids=[f"{f}-{'-'.join(c)}" for f, c in FAULTS])
def test_what_can_not_be_right_is_refused_by_name(fault: str, change: dict[str, Any]) -> None:
    with pytest.raises(RefusedLog, match=fault) as refused:
        Logged(**{**GOOD, **change})
    assert refused.value.fault == fault
    assert isinstance(refused.value, PermanentError)


def test_an_estimator_that_needs_expected_rewards_says_so() -> None:
    with pytest.raises(RefusedLog, match="no_reward_model"):
        _ = Logged(**{**GOOD, "q_hat": None}).rewards


def test_weights_are_the_same_from_one_propensity_or_all_of_them() -> None:
    one, all_of_them = Logged(**GOOD), Logged(**{**GOOD, "propensity": ALL_ACTIONS})
    assert one.weight == pytest.approx([0.4, 4.0, 0.8])
    assert np.array_equal(one.weight, all_of_them.weight)
    assert one.logging is None
    assert one.clusters == 2


def test_one_decision_is_a_log() -> None:
    log = Logged(np.array([0]), np.array([3.0]), np.array([0.5]), np.array([[1.0]]))
    assert log.weight == pytest.approx([2.0])
    assert log.clusters == 1


def test_another_policy_is_checked_as_the_first_one_was() -> None:
    with pytest.raises(RefusedLog, match="policy_does_not_sum_to_1"):
        Logged(**GOOD).under(np.full((3, 3), 0.5))
