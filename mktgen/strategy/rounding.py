"""One action for each customer, drawn from its distribution, with the total cost held at its expectation.

What: dependent rounding. Independent draws have the right marginals, but a total cost that strays by sqrt(N) customers;
these keep the marginals exactly and let the total stray by one customer.
Formula: a step moves probability along a direction d with sum(d) = 0 and sum(cost * d) = 0, forwards by t+ (as far as no
probability becomes negative) with chance t- / (t+ + t-), else backwards by t-. Its mean is 0, so P(action) = p for every
pair (a bounded martingale), and the expected cost of all customers never changes. First each customer alone, over three
of its actions at a time, until at most two are left; then pairs of customers, over their two actions each, d being
(+1/D_i, -1/D_i, -1/D_j, +1/D_j) with D the difference of their costs; a customer whose two actions cost the same is drawn
alone. At most one customer is left at the end, drawn alone: |cost - expected cost| <= its D.
Termination: every step makes at least one probability 0, none rises from 0 again (a direction holds only actions still
open), and each customer keeps at least one; so there are at most N (A - 1) steps. A round over pairs settles at least one of
each pair: ceil(m / 2) of m customers are left, about log2 N rounds.
Assumption: costs are certain once the action is. When it fails: draws of different customers are dependent (one's dear
action makes another's less likely), so joint propensities are not products; means of off-policy estimates don't need
them, variances by the independent formula err on the large side for quantities that grow with cost.
References: Srinivasan (2001), Distributions on level-sets; Gandhi, Khuller, Parthasarathy & Srinivasan (2006), Dependent
rounding and its applications to approximation algorithms.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.keys import fraction, scrambled

Floats = NDArray[np.floating[Any]]
Vector = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]
Keys = NDArray[np.uint64]

_BLOCK: Final = 65_536  # customers
_SUM_TOLERANCE: Final = 1e-4  # of a row of probabilities, which is then scaled to 1


def draw_actions(probabilities: Floats, cost: Ints, key: Keys, seed: int) -> NDArray[np.int64]:
    """The drawn action (column) of each customer [N].

    probabilities [N, A]: rows sum to 1. cost: whole minor units, [A] or [N, A]. key [N]: unique number of each customer; the
    draw depends on seed, keys, probabilities and costs, never on the order of rows. The total cost differs from its
    expectation by at most the largest difference of two costs of one customer, and rounding of floats.
    Raises PermanentError for shapes that don't fit, keys that are shared, and rows that are no distributions.
    """
    _check(probabilities, cost, key)
    customers = len(probabilities)
    low, high = np.zeros(customers, np.int64), np.zeros(customers, np.int64)
    share, difference = np.zeros(customers), np.zeros(customers)
    for start in range(0, customers, _BLOCK):
        part = slice(start, min(start + _BLOCK, customers))
        own = cost if cost.ndim == 1 else cost[part]
        low[part], high[part], share[part], difference[part] = _two_actions(probabilities[part], own, key[part], seed)
    share = _pair_off(share, difference, key, seed)
    takes_high = fraction(key, _salt(seed, "last", 0)) < share
    return np.where(takes_high, high, low)


def _check(probabilities: Floats, cost: Ints, key: Keys) -> None:
    shape = probabilities.shape
    if len(shape) != 2 or shape[1] == 0 or cost.shape not in (shape, shape[1:]) or key.shape != shape[:1]:
        raise PermanentError(
            f"rounding: probabilities {shape}, costs {cost.shape}, keys {key.shape}; [N, A], [A] or [N, A], and [N] are needed"
        )
    if probabilities.dtype.kind != "f" or cost.dtype.kind not in "iu" or key.dtype != np.uint64:
        kinds = f"{probabilities.dtype}, {cost.dtype}, {key.dtype}"
        raise PermanentError(
            f"rounding: probabilities, costs, keys are {kinds}; floats, whole numbers, uint64 are needed"
        )
    sums = probabilities.sum(axis=1, dtype=np.float64)
    wrong = ~((probabilities >= 0).all(axis=1) & (np.abs(sums - 1) <= _SUM_TOLERANCE))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise PermanentError(f"rounding: row {row} is no distribution: {probabilities[row].tolist()}")
    ordered = np.sort(key)
    if (ordered[1:] == ordered[:-1]).any():
        shared = ordered[1:][ordered[1:] == ordered[:-1]][0]
        raise PermanentError(f"rounding: two customers share the key {shared}; keys must be unique")


def _two_actions(
    probabilities: Floats, cost: Ints, key: Keys, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Vector, Vector]:
    """Steps within each customer: a cheaper and a dearer action, the probability of the dearer, and what it costs more."""
    customers, actions = probabilities.shape
    rank = np.broadcast_to(np.argsort(cost, axis=-1, kind="stable"), (customers, actions))
    mass = np.take_along_axis(probabilities, rank, axis=1).astype(np.float64)
    price = np.take_along_axis(np.broadcast_to(cost, (customers, actions)), rank, axis=1).astype(np.float64)
    # Of each customer's two actions so far: position among its actions by cost, and probability.
    low, high = np.zeros(customers, np.int64), np.zeros(customers, np.int64)
    below, above = mass[:, 0].copy(), np.zeros(customers)
    rows = np.arange(customers)
    for third in range(1, actions):
        chance = fraction(key, _salt(seed, "own", third))
        parts = _three_to_two(
            below, above, mass[:, third], price[rows, low], price[rows, high], price[:, third], chance
        )
        below, above, kept_low, kept_high = parts
        low, high = np.choose(kept_low, [low, high, third]), np.choose(kept_high, [low, high, third])
    share = above / (below + above)
    return rank[rows, low], rank[rows, high], share, price[rows, high] - price[rows, low]


def _three_to_two(
    first: Vector, second: Vector, third: Vector, cost_1: Vector, cost_2: Vector, cost_3: Vector, chance: Vector
) -> tuple[Vector, Vector, NDArray[np.int64], NDArray[np.int64]]:
    """One step over three actions with cost_1 <= cost_2 <= cost_3; the two probabilities left, and whose they are (0, 1, 2).

    Forwards raises the first and third and lowers the second; where all three cost the same, it moves the second to the
    first.
    """
    same = cost_3 == cost_1
    up_1 = np.where(same, 1.0, cost_3 - cost_2)
    down_2 = np.where(same, 1.0, cost_3 - cost_1)
    up_3 = cost_2 - cost_1
    forwards = second / down_2
    until_1 = np.divide(first, up_1, out=np.full(len(first), np.inf), where=up_1 > 0)
    until_3 = np.divide(third, up_3, out=np.full(len(first), np.inf), where=up_3 > 0)
    backwards = np.minimum(until_1, until_3)
    # Without anything to lower there is nothing to move: forwards by 0 drops the second.
    ahead = (forwards == 0) | (chance * (forwards + backwards) < backwards)
    step = np.where(ahead, forwards, -backwards)
    first, second, third = first + step * up_1, second - step * down_2, third + step * up_3
    drops_1 = ~ahead & (until_1 <= until_3)
    kept_low = np.where(drops_1, 1, 0)
    kept_high = np.where(ahead | drops_1, 2, 1)
    low = np.maximum(np.where(drops_1, second, first), 0.0)
    high = np.maximum(np.where(kept_high == 2, third, second), 0.0)
    return low, high, kept_low, kept_high


def _pair_off(share: Vector, difference: Vector, key: Keys, seed: int) -> Vector:
    """Steps between pairs of customers, until at most one whose actions differ in cost is undecided."""
    share = share.copy()
    undecided = np.flatnonzero((share > 0) & (share < 1) & (difference > 0))
    undecided = undecided[np.argsort(scrambled(key[undecided], _salt(seed, "pairs", 0)))]
    for turn in range(len(undecided).bit_length() + 1):
        pairs = len(undecided) // 2
        if pairs == 0:
            break
        one, other = undecided[: 2 * pairs : 2], undecided[1 : 2 * pairs : 2]
        chance = fraction(key[one], _salt(seed, "turn", turn))
        share[one], share[other] = _exchange(share[one], share[other], difference[one], difference[other], chance)
        undecided = undecided[(share[undecided] > 0) & (share[undecided] < 1)]
    return share


def _exchange(one: Vector, other: Vector, cost_1: Vector, cost_2: Vector, chance: Vector) -> tuple[Vector, Vector]:
    """Cost moved from the other's dearer action to the one's (forwards) or back, until one of both is decided."""
    gain_1, gain_2 = (1 - one) * cost_1, other * cost_2
    loss_1, loss_2 = one * cost_1, (1 - other) * cost_2
    forwards, backwards = np.minimum(gain_1, gain_2), np.minimum(loss_1, loss_2)
    ahead = chance * (forwards + backwards) < backwards
    step = np.where(ahead, forwards, -backwards)
    first = np.clip(one + step / cost_1, 0.0, 1.0)
    second = np.clip(other - step / cost_2, 0.0, 1.0)
    # The side that reached its end is set there, whatever the rounding.
    first = np.where(ahead & (gain_1 <= gain_2), 1.0, np.where(~ahead & (loss_1 <= loss_2), 0.0, first))
    second = np.where(ahead & (gain_2 <= gain_1), 0.0, np.where(~ahead & (loss_2 <= loss_1), 1.0, second))
    return first, second


def _salt(seed: int, stage: str, turn: int) -> int:
    return int.from_bytes(hashlib.sha256(f"rounding:{seed}:{stage}:{turn}".encode()).digest()[:8], "big")
