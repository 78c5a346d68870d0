"""A log of decisions with propensities, and one policy to judge on it. What can't be right is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mktgen.errors import PermanentError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Fault = Literal[
    "empty", "shapes_differ", "not_a_number", "action_not_an_index", "propensity_not_in_0_1", "logging_does_not_sum_to_1",
    "policy_not_in_0_1", "policy_does_not_sum_to_1", "cluster_not_an_id", "no_reward_model",
]  # fmt: skip

TOLERANCE: Final = 1e-6  # of sums of probabilities


class RefusedLog(PermanentError):
    """The log can't be used. `fault` names why; the message says where, and what to do."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"off-policy log refused, {fault}: {detail}")
        self.fault: Fault = fault


@dataclass(frozen=True, eq=False)
class Logged:
    """n decisions among A actions, and the policy to judge. Rows may come in any order: results don't depend on it.

    action: [n] index of the action taken. reward: [n] what followed, any unit. propensity: probability with which the
    logging policy took it: [n], or [n, A] for all actions (then what the log can't support is seen, not inferred).
    policy: [n, A] probabilities of the judged policy. q_hat: [n, A] expected rewards that were not fitted on the row's own
    cluster (reward_model.py makes such). cluster: [n] ids (string or integer) of what is independent of one another, such
    as customers with several waves; None: every row. Raises RefusedLog.
    """

    action: Ints
    reward: Floats
    propensity: Floats
    policy: Floats
    q_hat: Floats | None = None
    cluster: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_numbers(self)
        _check_probabilities(self)

    @property
    def rows(self) -> int:
        return int(self.action.shape[0])

    @property
    def actions(self) -> int:
        return int(self.policy.shape[1])

    @property
    def logging(self) -> Floats | None:
        """[n, A] of the logging policy; None where only the propensities of the taken actions were logged."""
        return self.propensity if self.propensity.ndim == 2 else None

    @cached_property
    def taken(self) -> Floats:
        """[n] propensity of the action that was taken."""
        return self.propensity if self.propensity.ndim == 1 else self.at_action(self.propensity)

    @cached_property
    def weight(self) -> Floats:
        """[n] probability of the action taken under the judged policy, over its propensity."""
        weight: Floats = self.at_action(self.policy) / self.taken
        return weight

    @cached_property
    def groups(self) -> Ints:
        """[n] number of the row's cluster, from 0."""
        if self.cluster is None:
            return np.arange(self.rows, dtype=np.int64)
        return np.unique(self.cluster, return_inverse=True)[1].astype(np.int64)

    @property
    def clusters(self) -> int:
        return int(self.groups.max()) + 1

    @property
    def rewards(self) -> Floats:
        """[n, A] expected rewards. Raises RefusedLog where none were given."""
        if self.q_hat is None:
            raise RefusedLog("no_reward_model", "this estimator needs q_hat; see reward_model.py")
        return self.q_hat

    def at_action(self, table: Floats) -> Floats:
        """[n] entry of the action taken, of an [n, A] table."""
        entries: Floats = table[np.arange(self.rows), self.action]
        return entries

    def expected(self, table: Floats) -> Floats:
        """[n] mean over the judged policy's actions of an [n, A] table."""
        mean: Floats = (self.policy * table).sum(axis=1)
        return mean

    def under(self, policy: Floats) -> Logged:
        """The same log, to judge another policy. policy: [n, A]."""
        return replace(self, policy=policy)


def _check_shapes(log: Logged) -> None:
    n = log.action.shape[0] if log.action.ndim == 1 else -1
    if n == 0:
        raise RefusedLog("empty", "there is no decision in it")
    shape = log.policy.shape
    if n < 0 or len(shape) != 2 or shape[0] != n or shape[1] == 0:
        raise RefusedLog("shapes_differ", f"action must be [n] and policy [n, A]; they are {log.action.shape}, {shape}")
    allowed = {"reward": [(n,)], "propensity": [(n,), shape], "q_hat": [shape], "cluster": [(n,)]}
    for name, shapes in allowed.items():
        array = getattr(log, name)
        if array is not None and array.shape not in shapes:
            raise RefusedLog("shapes_differ", f"{name} is {array.shape}; expected {' or '.join(map(str, shapes))}")


def _check_numbers(log: Logged) -> None:
    if log.action.dtype.kind not in "iu" or (log.action < 0).any() or (log.action >= log.actions).any():
        raise RefusedLog("action_not_an_index", f"actions are whole numbers from 0 to {log.actions - 1}")
    for name in ("reward", "propensity", "policy", "q_hat"):
        array = getattr(log, name)
        if array is None:
            continue
        if array.dtype.kind != "f":
            raise RefusedLog("not_a_number", f"{name} must be of floats; it is of {array.dtype}")
        wrong = int((~np.isfinite(array)).sum())
        if wrong:
            raise RefusedLog(
                "not_a_number", f"{name} has {wrong} entries that are NaN or infinite; leave such rows out"
            )
    if log.cluster is not None and log.cluster.dtype.kind not in "iuUST":
        raise RefusedLog("cluster_not_an_id", f"cluster ids are strings or integers; these are {log.cluster.dtype}")


def _check_probabilities(log: Logged) -> None:
    wrong = int(((log.taken <= 0) | (log.taken > 1 + TOLERANCE)).sum())
    if wrong:
        raise RefusedLog(
            "propensity_not_in_0_1", f"{wrong} of {log.rows} actions taken have one of 0, or not in (0, 1]"
        )
    if log.logging is not None:
        _check_distribution(log.logging, "propensity_not_in_0_1", "logging_does_not_sum_to_1")
    _check_distribution(log.policy, "policy_not_in_0_1", "policy_does_not_sum_to_1")


def _check_distribution(table: Floats, bounds: Fault, total: Fault) -> None:
    wrong = int(((table < 0) | (table > 1 + TOLERANCE)).any(axis=1).sum())
    if wrong:
        raise RefusedLog(bounds, f"{wrong} of {len(table)} rows have a probability below 0 or above 1")
    off = np.abs(table.sum(axis=1) - 1)
    wrong = int((off > TOLERANCE).sum())
    if wrong:
        raise RefusedLog(total, f"{wrong} of {len(table)} rows are off by up to {float(off.max()):.3g}")
