"""Regret: what a choice was worth once the true values are known, against the best that could have been chosen.

Formula: regret = value of the best allocation under the true values - value of the choice under them. The best is known
up to its own gap, so regret comes with an upper bound. Assumption: `truth` holds the worth of every action of every
customer, as in a simulated market; observed outcomes show one action each, and an estimate of the others put in their
place makes this an estimate too. When it fails: chosen noise looks like regret; with estimated truths the best in
hindsight is optimistic. Reference: Bell (1982), Regret in decision making under uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.objectives import Floats, expected
from mktgen.strategy.allocation.pricing import Choice, Market, tally
from mktgen.strategy.allocation.problem import Problem, prepare
from mktgen.strategy.allocation.report import AllocationResult, Bound, report
from mktgen.strategy.allocation.solver import solve


@dataclass(frozen=True)
class Regret:
    """All in minor units: the choice under the true values, the best found in hindsight, and its bound."""

    chosen_minor: float
    best_minor: float
    bound_minor: float

    @property
    def regret_minor(self) -> float:
        """At least this much was missed; 0 where nothing better was found."""
        return max(0.0, self.best_minor - self.chosen_minor)

    @property
    def most_minor(self) -> float:
        """At most this much was missed."""
        return max(0.0, self.bound_minor - self.chosen_minor)


def regret(problem: Problem, choice: Choice, truth: Floats) -> Regret:
    """problem: as it was solved; choice [N]: what was chosen; truth [N, A]: true values, NaN where not allowed.

    Raises PermanentError where a chosen action has no true value, or the choice does not keep the constraints.
    """
    known = replace(problem, value=truth, sd=None, objective=expected)
    chosen = _worth(known, choice)
    _, best = solve(known)
    return Regret(
        chosen.value_minor, max(best.value_minor, chosen.value_minor), max(best.bound_minor, chosen.value_minor)
    )


def _worth(problem: Problem, choice: Choice) -> AllocationResult:
    rows, terms, facts = prepare(problem)
    if choice.shape != (len(rows),) or choice.dtype.kind not in "iu" or (choice >= rows.value.shape[1]).any():
        raise PermanentError(
            f"allocation: a choice of shape {choice.shape} does not fit {len(rows)} customers' actions"
        )
    for part in rows.blocks():
        worth = rows.values(part)[np.arange(part.stop - part.start), choice[part]]
        if np.isnan(worth).any():
            row = part.start + int(np.flatnonzero(np.isnan(worth))[0])
            raise PermanentError(f"allocation: no true value of action {int(choice[row])}, chosen in row {row}")
    market = Market(terms, facts)
    return report(market, tally(rows, market, choice), Bound(np.inf, 0.0, np.zeros(len(terms.limit))))
