"""One action per customer from chances, so that each keeps its chance exactly and what is spent is what was expected.

What: dependent rounding. Two customers whose actions are still open trade: one moves chance to its dearer action, the other
to its cheaper one, by as much as keeps the sum of expected costs; which of them gives is drawn so that neither chance
changes in the mean. Each trade closes at least one action of one customer. The last customer left is drawn alone.
Formula: with dc a customer's difference of costs of its two actions, chance d / dc moves: up by u = min(p_i(b) dc_i,
p_j(a) dc_j) or down by v = min(p_i(a) dc_i, p_j(b) dc_j), with probabilities v / (u + v) and u / (u + v), so E[change] = 0.
So P(a) = p(a) for every customer, and |cost - expected cost| is at most one customer's largest difference of costs.
Assumption: none on p or cost. When it fails: two customers' draws are not independent (they balance each other).
Reference: Srinivasan (2001), Distributions on level-sets with applications to approximation algorithms; Gandhi, Khuller,
Parthasarathy & Srinivasan (2006), Dependent rounding and its applications.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CLOSED: Final = 1e-12  # a chance so small, or so near 1, is no longer open


def draw_actions(p: Floats, cost: Ints, customers: pl.Series, seed: int) -> Ints:
    """[N] the action of each customer.

    p: [N, K] chances, rows summing to 1; cost: [N, K] minor units; customers: [N] distinct ids. The same for the same ids,
    chances and seed, whatever the order of rows.
    """
    keys = np.array([_key(customer) for customer in customers.to_list()], dtype=np.uint64)
    order = np.argsort(keys, kind="stable")
    settled = _settled(p[order].copy(), cost[order].astype(np.float64), np.random.default_rng(seed))
    result = np.empty(p.shape[0], dtype=np.int64)
    result[order] = settled.argmax(axis=1) if p.shape[0] else 0
    return result


def _settled(p: Floats, cost: Floats, rng: np.random.Generator) -> Floats:
    _close(p)
    open_rows = np.flatnonzero((p > 0).sum(axis=1) > 1)
    while open_rows.size:
        rows = open_rows[rng.permutation(open_rows.size)]
        dear, cheap, difference = _two_actions(p, cost, rows)
        alone = difference == 0.0
        if rows.size == 1:
            alone[:] = True
        _draw_alone(p, rows[alone], dear[alone], cheap[alone], rng)
        left = np.flatnonzero(~alone)
        left = left[: left.size - left.size % 2]
        _trade(p, rows, dear, cheap, difference, left[::2], left[1::2], rng)
        _close(p, rows)
        open_rows = np.sort(rows[(p[rows] > 0).sum(axis=1) > 1])
    return p


def _two_actions(p: Floats, cost: Floats, rows: Ints) -> tuple[Ints, Ints, Floats]:
    """The two likeliest open actions of each row, the dearer first, and the difference of their costs."""
    likeliest = np.argsort(-p[rows], axis=1, kind="stable")[:, :2]
    first, second = likeliest[:, 0], likeliest[:, 1]
    swap = cost[rows, first] < cost[rows, second]
    dear, cheap = np.where(swap, second, first), np.where(swap, first, second)
    return dear, cheap, cost[rows, dear] - cost[rows, cheap]


def _draw_alone(p: Floats, rows: Ints, dear: Ints, cheap: Ints, rng: np.random.Generator) -> None:
    both = p[rows, dear] + p[rows, cheap]
    takes = rng.random(rows.size) * both < p[rows, dear]
    p[rows, dear], p[rows, cheap] = np.where(takes, both, 0.0), np.where(takes, 0.0, both)


def _trade(
    p: Floats, rows: Ints, dear: Ints, cheap: Ints, difference: Floats, one: Ints, other: Ints, rng: np.random.Generator
) -> None:
    """`one`, `other`: places in `rows` of the customers that trade."""
    i, j = rows[one], rows[other]
    up = np.minimum(p[i, cheap[one]] * difference[one], p[j, dear[other]] * difference[other])
    down = np.minimum(p[i, dear[one]] * difference[one], p[j, cheap[other]] * difference[other])
    moved = np.where(rng.random(one.size) * (up + down) < down, up, -down)
    p[i, dear[one]] += moved / difference[one]
    p[i, cheap[one]] -= moved / difference[one]
    p[j, dear[other]] -= moved / difference[other]
    p[j, cheap[other]] += moved / difference[other]


def _close(p: Floats, rows: Ints | slice = slice(None)) -> None:
    """Chances that are all but 0 are 0, and rows sum to 1 again."""
    part = np.where(p[rows] < _CLOSED, 0.0, p[rows])
    p[rows] = part / part.sum(axis=1, keepdims=True)


def _key(customer: str) -> int:
    return int.from_bytes(hashlib.blake2b(customer.encode(), digest_size=8).digest(), "big")
