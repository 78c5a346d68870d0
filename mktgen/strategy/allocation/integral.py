"""Whole customers from the fractional choice: branch and bound over the few split ones, then greedy exchanges.

At most as many customers are split as constraints bind; they and the open customers nearest to a tie are chosen anew, all
others held, so that every limit and coverage is kept to the unit. What is left of the limits then goes to the exchanges
that raise the value most for what they use, at the constraints' prices.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.strategy.allocation.core import Candidate
from mktgen.strategy.allocation.keys import scrambled
from mktgen.strategy.allocation.pricing import Choice, Market, Vector
from mktgen.strategy.allocation.problem import Ints, Rows
from mktgen.strategy.allocation.restricted import OpenPairs, rounded, settle, use_of

EXACT: Final = 300  # open pairs up to which branch and bound takes them all
_REOPENED: Final = (40, 160, 640, 2_560)  # customers; more where fewer can't keep the limits
_SPLIT: Final = 1 - 1e-9  # a larger share than this is a whole customer
_PASSES: Final = 20


def whole_customers(rows: Rows, market: Market, candidate: Candidate, tolerance: float) -> Choice | None:
    """The candidate with one action for each customer [N]; None where the constraints could not all be kept.

    tolerance: value that may be left on the table by branch and bound.
    """
    pairs, number = candidate.pairs, len(candidate.open)
    if len(pairs.row) <= EXACT:
        picked = settle(pairs, number, tolerance=0.0, everything=True)
    else:
        picked = _reopen(pairs, candidate, number, tolerance)
    if picked is not None:
        return _filled(candidate, _improve(pairs, picked, candidate.prices))
    if any(constraint.at_least for constraint in market.terms.constraints):
        return None
    return _dropped(rows, market, rounded_choice(candidate))


def rounded_choice(candidate: Candidate) -> Choice:
    """Each customer's largest share [N]; it may miss limits by as many customers as are split."""
    return _filled(candidate, rounded(candidate.pairs, candidate.solution.share, len(candidate.open)))


def _filled(candidate: Candidate, picked: Ints) -> Choice:
    choice = candidate.chosen.copy()
    choice[candidate.open] = candidate.pairs.action[picked]
    return choice


def _reopen(pairs: OpenPairs, candidate: Candidate, number: int, tolerance: float) -> Ints | None:
    """Branch and bound over the split customers and those nearest to a tie."""
    share = candidate.solution.share
    picked = rounded(pairs, share, number)
    net = pairs.value - candidate.prices @ pairs.use
    # How far each customer is from changing: its best net value less the best one of its other pairs.
    top = np.full(number, -np.inf)
    np.maximum.at(top, pairs.row, net)
    loss = top[pairs.row] - net
    loss[picked] = np.inf
    distance = np.full(number, np.inf)
    np.minimum.at(distance, pairs.row, loss)
    distance[share[picked] < _SPLIT] = -1.0
    ranked = np.argsort(distance, kind="stable")
    # Those with the most open pairs too: they have a use for what the others leave.
    widest = np.argsort(-np.bincount(pairs.row, minlength=number), kind="stable")
    for size in _REOPENED:
        again = np.union1d(ranked[:size], widest[: size // 2])
        found = _settle_some(pairs, picked, again, number, tolerance)
        if found is not None:
            return found
        if size >= number:
            break
    return None


def _settle_some(pairs: OpenPairs, picked: Ints, again: Ints, number: int, tolerance: float) -> Ints | None:
    """The rows `again` (sorted) chosen anew, all others as picked."""
    place = np.full(number, -1)
    place[again] = np.arange(len(again))
    inside = np.flatnonzero(place[pairs.row] >= 0)
    held = np.delete(picked, again)
    part = OpenPairs(
        place[pairs.row[inside]], pairs.action[inside], pairs.value[inside], pairs.use[:, inside],
        pairs.left - pairs.use[:, held].sum(axis=1),
    )  # fmt: skip
    found = settle(part, len(again), tolerance=tolerance, everything=False)
    if found is None:
        return None
    picked = picked.copy()
    picked[again] = inside[found]
    return picked


def _improve(pairs: OpenPairs, picked: Ints, prices: Vector) -> Ints:
    """Exchanges within the open pairs that raise the value within what is left, best first, until there is none."""
    picked = picked.copy()
    left = pairs.left - pairs.use[:, picked].sum(axis=1)
    for _ in range(_PASSES):
        gain = pairs.value - pairs.value[picked][pairs.row]
        extra = pairs.use - pairs.use[:, picked][:, pairs.row]
        useful = np.flatnonzero((gain > 0) & (extra <= left[:, None]).all(axis=0))
        if len(useful) == 0:
            break
        paid = np.maximum(prices @ extra[:, useful], 1e-9)
        changed: set[int] = set()
        for pair in useful[np.argsort(-gain[useful] / paid, kind="stable")].tolist():
            row = int(pairs.row[pair])
            if row not in changed and (extra[:, pair] <= left).all():
                picked[row], left = pair, left - extra[:, pair]
                changed.add(row)
    return picked


def _dropped(rows: Rows, market: Market, choice: Choice) -> Choice:
    """Without coverage any choice can be made to fit: the contacts worth least for what they use go first."""
    choice, index = choice.copy(), np.arange(len(rows))
    for k, limit in enumerate(market.terms.limit.tolist()):
        use = use_of(rows, market, index, choice)[k]
        over = int(use.sum()) - limit
        if over <= 0:
            continue
        users = np.flatnonzero(use > 0)
        worth = _worth(rows, users, choice) / use[users]
        order = users[np.lexsort((scrambled(rows.keys(users)), worth))]
        enough = int(np.searchsorted(np.cumsum(use[order]), over)) + 1
        choice[order[:enough]] = 0
    return choice


def _worth(rows: Rows, index: Ints, choice: Choice) -> NDArray[np.float64]:
    return rows.values(index)[np.arange(len(index)), choice[index]].astype(np.float64)
