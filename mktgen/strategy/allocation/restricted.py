"""The pairs that are still open: a linear programme over those near a tie at the prices, everyone else held.

What: at good prices nearly every customer's action is settled, and only pairs whose net value lies within a narrow window
of their customer's best can matter. The programme over these pairs has few rows and gives the exact prices of the
restricted problem and a choice in which at most as many customers are split as constraints bind.
Reference: Balas & Zemel (1980), An algorithm for large zero-one knapsack problems (the core); Sinha & Zoltners (1979).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from mktgen.strategy.allocation.pricing import Market, Vector, net_values
from mktgen.strategy.allocation.problem import Ints, Rows

Floats = NDArray[np.float64]

_NODES: Final = 50  # of branch and bound, where not all pairs are open
_ALL_NODES: Final = 5_000


@dataclass(frozen=True)
class OpenPairs:
    """Pairs of some rows, in canonical order. row, action [P]: which; value [P]; use [K, P]: of each constraint; left [K]:
    what the others leave of each limit."""

    row: Ints
    action: Ints
    value: Floats
    use: NDArray[np.int64]
    left: NDArray[np.int64]


@dataclass(frozen=True)
class Relaxation:
    """Solution of the linear programme: share [P] of each pair, the value, and the prices [K] of the constraints."""

    share: Floats
    value: float
    prices: Vector


def nearest(margin: NDArray[np.float32], rank: NDArray[np.uint64], number: int) -> Ints:
    """Positions of the `number` smallest margins; equals by rank. Sorted by position."""
    if number >= len(margin):
        return np.arange(len(margin))
    edge = np.partition(margin, number - 1)[number - 1]
    inside, ties = np.flatnonzero(margin < edge), np.flatnonzero(margin == edge)
    ties = ties[np.argsort(rank[ties], kind="stable")[: number - len(inside)]]
    return np.sort(np.concatenate([inside, ties]))


def use_of(rows: Rows, market: Market, row: Ints, action: Ints) -> NDArray[np.int64]:
    """[K, P]: what pairs use of each constraint."""
    group = np.zeros(len(row), np.int64) if rows.group is None else np.asarray(rows.group)[row]
    cost = (rows.cost[action] if rows.cost.ndim == 1 else rows.cost[row, action]).astype(np.int64)
    terms = market.terms
    return terms.cost_sign[:, group, action] * cost + terms.unit_sign[:, group, action]


def open_pairs(rows: Rows, market: Market, prices: Vector, window: Vector, left: NDArray[np.int64]) -> OpenPairs:
    """Pairs of rows (gathered by Rows.take) whose net value is within window [n] of their row's best."""
    net = net_values(rows, market, prices)
    # Margins are kept in float32: a little more lets their rounding not close a pair.
    near = (net.max(axis=1)[:, None] - net <= window[:, None] * (1 + 1e-6)) & (net > -np.inf)
    row, rank = np.nonzero(near[:, list(rows.order)])
    action = np.asarray(rows.order)[rank]
    value = rows.value[row, action].astype(np.float64)
    return OpenPairs(row, action, value, use_of(rows, market, row, action), left)


def relax(pairs: OpenPairs, rows: int) -> Relaxation | None:
    """The linear programme over the open pairs; None where they can't respect the constraints."""
    size, weight = _sizes(pairs)
    if len(weight) == 0:
        return _unconstrained(pairs, rows)
    use: Any = csr_array(pairs.use / weight[:, None])
    found = linprog(
        -pairs.value / size,
        A_ub=use,
        b_ub=pairs.left / weight,
        A_eq=_one_each(pairs, rows),
        b_eq=np.ones(rows),
        bounds=(0, None),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )
    if found.status != 0 or found.x is None or found.fun is None:
        return None
    prices = np.maximum(-found.ineqlin.marginals, 0.0) * size / weight
    return Relaxation(found.x, -found.fun * size, prices)


def settle(pairs: OpenPairs, rows: int, *, tolerance: float, everything: bool) -> Ints | None:
    """One pair of each row, by branch and bound, within `tolerance` (a value) of the best; None where none was found.

    The limits are kept exactly: use and limits are whole numbers, and what the solver returns is counted again.
    """
    _, weight = _sizes(pairs)
    left = pairs.left.astype(np.float64)
    for _ in range(3):
        limits = [LinearConstraint(_one_each(pairs, rows), 1, 1)]
        if len(weight):
            limits.append(LinearConstraint(csr_array(pairs.use / weight[:, None]), -np.inf, left / weight))
        scale = float(np.abs(pairs.value).max(initial=0.0)) or 1.0
        found = milp(
            -pairs.value / scale, constraints=limits, integrality=np.ones(len(pairs.row), np.int64), bounds=Bounds(0, 1),
            options={
                "node_limit": _ALL_NODES if everything else _NODES,
                "mip_rel_gap": 0.0 if everything else _relative(tolerance, pairs, rows),
            },
        )  # fmt: skip
        if found.x is None:
            return None
        picked = _largest_share(pairs, found.x, rows)
        over = pairs.use[:, picked].sum(axis=1) - pairs.left
        if (over <= 0).all():
            return picked
        left -= np.maximum(over, 0)  # the solver's tolerance let it through; ask for that much more
    return None


def rounded(pairs: OpenPairs, share: Floats, rows: int) -> Ints:
    """The pair of each row with the largest share."""
    return _largest_share(pairs, share, rows)


def _relative(tolerance: float, pairs: OpenPairs, rows: int) -> float:
    top = np.full(rows, -np.inf)
    np.maximum.at(top, pairs.row, pairs.value)
    return float(min(1e-2, tolerance / max(abs(float(top.sum())), tolerance)))


def _largest_share(pairs: OpenPairs, share: Floats, rows: int) -> Ints:
    best = np.lexsort((np.arange(len(share)), -share, pairs.row))
    first = np.searchsorted(pairs.row[best], np.arange(rows))
    return best[first]


def _one_each(pairs: OpenPairs, rows: int) -> Any:
    number = len(pairs.row)
    return csr_array((np.ones(number), (pairs.row, np.arange(number))), shape=(rows, number))


def _sizes(pairs: OpenPairs) -> tuple[float, Floats]:
    size = float(np.abs(pairs.value).max(initial=0.0)) or 1.0
    return size, np.maximum(np.abs(pairs.use).max(axis=1, initial=0), 1).astype(np.float64)


def _unconstrained(pairs: OpenPairs, rows: int) -> Relaxation:
    share = np.zeros(len(pairs.row))
    order = np.lexsort((np.arange(len(share)), -pairs.value, pairs.row))
    share[order[np.searchsorted(pairs.row[order], np.arange(rows))]] = 1.0
    return Relaxation(share, float(pairs.value @ share), np.zeros(0))
