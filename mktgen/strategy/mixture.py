"""How likely each action should be for each customer: what is best under the budget, how sure that is, and a floor.

What: values of actions come as draws of a posterior (one draw: they are taken as known). At a price l of the budget, the weight
of an action is the share of draws in which it is the customer's best, value - l * cost, no contact being worth 0 at no
cost (Thompson sampling). Every action gets at least the floor f, and no contact g more: it is what effects are measured
against, and where its chance is tiny nothing can be said of the action that has the rest.
Formula: p_i(a) = (1 - g - f |A_i|) q_i(a; l) + f + g 1[a = no contact], with l the lowest price at which
sum_i sum_a p_i(a) c_i(a) fits the budget; between the two prices at which that sum jumps over it, the mixture of both that
spends it exactly. For one draw and f = g = 0 that is the optimum of the linear relaxation, so its expected value is the
upper bound of every allocation.
Assumption: values add up over customers. When it fails: few draws make coarse chances; the floor then carries exploration.
Reference: Thompson (1933); Badanidiyuru, Kleinberg & Slivkins (2018), Bandits with Knapsacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Spending = Callable[[Floats], float]
BISECTIONS: Final = 50
_FINE: Final = 1e-6  # of the budget
# Exploration may cost at most this share of the budget; beyond it the floor is lowered, openly.
EXPLORATION_BUDGET_SHARE: Final = 0.5


@dataclass(frozen=True)
class Problem:
    """N customers with at most K actions each, of which the first is no contact.

    value: [S, N, K] expected profit in minor units, one per draw of the posterior; cost: [N, K] minor units, what the budget is
    charged; allowed: [N, K]; the first column is allowed, free and worth 0.
    """

    value: Floats
    cost: Ints
    allowed: NDArray[np.bool_]

    def by(self, order: Ints) -> Problem:
        """The same with each customer's actions in another order [N, K]."""
        value = np.stack([np.take_along_axis(draw, order, axis=1) for draw in self.value])
        cost, allowed = np.take_along_axis(self.cost, order, axis=1), np.take_along_axis(self.allowed, order, axis=1)
        return Problem(value, cost, allowed)

    @property
    def mean(self) -> Floats:
        result: Floats = self.value.mean(axis=0)
        return result


@dataclass(frozen=True)
class Mixture:
    """p: [N, K]. price: value of a further minor unit. floor: the least chance of an allowed action.

    cost_minor, value_minor: expected over the draw of actions (value: mean over the posterior).
    """

    p: Floats
    price: float
    floor: float
    cost_minor: float
    value_minor: float


def affordable_floor(problem: Problem, budget: float, floor: float, no_contact: float = 0.0) -> float:
    """The floor, or as much of it as half of the budget can pay."""
    actions = problem.allowed.sum(axis=1)
    wanted = min(floor, (1.0 - no_contact) / float(actions.max(initial=1)))
    needed = wanted * float(np.where(problem.allowed, problem.cost, 0).sum())
    can = EXPLORATION_BUDGET_SHARE * budget
    return wanted if needed <= can else wanted * can / needed


def mixture(problem: Problem, budget: float, floor: float, no_contact: float = 0.0) -> Mixture:
    """The chances of every action within an expected cost of `budget` minor units (>= 0).

    no_contact: least chance of no contact on top of the floor, in [0, 1).
    """
    floor = affordable_floor(problem, budget, floor, no_contact)
    order = np.argsort(problem.cost, axis=1, kind="stable")
    found = _mixture(problem.by(order), budget, floor, no_contact)
    return replace(found, p=np.take_along_axis(found.p, np.argsort(order, axis=1, kind="stable"), axis=1))


def _mixture(problem: Problem, budget: float, floor: float, no_contact: float) -> Mixture:
    """Of actions in order of cost, so no contact is the first."""
    left = 1.0 - no_contact - floor * problem.allowed.sum(axis=1)
    fixed = floor * float(np.where(problem.allowed, problem.cost, 0).sum())

    def spent(q: Floats) -> float:
        return fixed + float((left * (q * problem.cost).sum(axis=1)).sum())

    price, q = _within(problem, budget, spent)
    p = np.where(problem.allowed, left[:, None] * q + floor, 0.0)
    p[:, 0] += no_contact
    p /= p.sum(axis=1, keepdims=True)
    mean = np.where(problem.allowed, problem.mean, 0.0)
    return Mixture(p, price, floor, float((p * problem.cost).sum()), float((p * mean).sum()))


def chances(value: Floats, cost: Ints, allowed: NDArray[np.bool_], price: float) -> Floats:
    """q: [N, K] share of draws in which each action is best at a price; of equals the first is. Actions in order of cost."""
    charged = np.where(allowed, price * cost, np.inf)
    first = np.arange(cost.shape[0]) * cost.shape[1]
    counts = np.zeros(cost.size, dtype=np.int64)
    for draw in value:
        counts += np.bincount(first + (draw - charged).argmax(axis=1), minlength=cost.size)
    return np.asarray(counts.reshape(cost.shape) / value.shape[0], dtype=np.float64)


def _within(problem: Problem, budget: float, spent: Spending) -> tuple[float, Floats]:
    """The lowest price whose chances fit the budget, and these mixed with those just below the price."""

    def at(price: float) -> Floats:
        return chances(problem.value, problem.cost, problem.allowed, price)

    q = at(0.0)
    if spent(q) <= budget:
        return 0.0, q
    paid = problem.allowed & (problem.cost > 0)
    rates = np.where(paid, problem.value / np.maximum(problem.cost, 1), 0.0)
    low, high = 0.0, float(rates.max()) * (1 + 1e-9) + 1e-12
    below, above = q, at(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        q = at(middle)
        if spent(q) <= budget:
            high, above = middle, q
        else:
            low, below = middle, q
        if spent(below) - spent(above) <= _FINE * budget:
            break  # no jump of more is left between the two
    more, less = spent(below), spent(above)
    share = (budget - less) / (more - less) if more > less and budget > less else 0.0
    return high, share * below + (1 - share) * above
