"""A known world of logged decisions: customers in segments, some with several waves, a policy whose value is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mktgen.evaluation.off_policy.logged import Floats, Ints, Logged

SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.1])  # of customers by segment
TILT = 0.08  # hidden type of a customer, which moves all its rewards up or down


@dataclass(frozen=True)
class World:
    """rewards, logging, policy: [segments, actions]. A reward is 0 or 1."""

    rewards: Floats
    logging: Floats
    policy: Floats

    @property
    def value(self) -> float:
        return self.value_of(self.policy)

    def value_of(self, policy: Floats) -> float:
        return float(SHARES @ (policy * self.rewards).sum(axis=1))


@dataclass(frozen=True)
class Draw:
    log: Logged
    segment: Ints  # [n]

    @property
    def context(self) -> Floats:
        """[n, segments] dummies."""
        return np.eye(len(SHARES))[self.segment]


def make_world(actions: int = 4, *, seed: int = 0, tilt: float = 1.0, floor: float = 0.05) -> World:
    """The log leans to good actions by `tilt`, the judged policy to others; each action has at least `floor`."""
    rng = np.random.default_rng(seed)
    rewards = rng.uniform(0.1, 0.7, (len(SHARES), actions))
    lean = (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std()
    return World(rewards, _leaning(tilt * lean, floor), _leaning(rng.normal(0, 1, rewards.shape) + 0.5 * lean, 0.0))


def draw(world: World, customers: int, seed: int, *, waves: int = 1) -> Draw:
    """A log of `customers`, each with 1 to `waves` decisions, all propensities known, q_hat absent."""
    rng = np.random.default_rng(seed)
    segments = rng.choice(len(SHARES), size=customers, p=SHARES)
    kinds = rng.choice([-TILT, TILT], size=customers)
    customer = np.repeat(np.arange(customers), rng.integers(1, waves + 1, customers))
    segment, n = segments[customer], len(customer)
    logging = world.logging[segment]
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(max=logging.shape[1] - 1)
    chance = world.rewards[segment, action] + kinds[customer]
    reward = (rng.random(n) < chance).astype(np.float64)
    return Draw(Logged(action, reward, logging, world.policy[segment], cluster=customer), segment)


def _leaning(score: Floats, floor: float) -> Floats:
    soft = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    mixed: Floats = floor + (1 - floor * score.shape[1]) * soft
    return mixed
