"""What an allocation must respect: a named limit on cost or contacts, over chosen actions and groups of customers.

Each function below makes one constraint; a problem takes any number of them. Its name is what a refusal, a shadow price
or a report calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mktgen.errors import PermanentError

BUDGET = "budget"


@dataclass(frozen=True)
class Constraint:
    """A sum over the chosen (customer, action) pairs, at most or at least a whole number.

    counts: what each pair adds: its cost in minor units, or 1 if it is a contact. actions: names; None is every contact.
    groups: codes of Problem.group; None is everybody.
    """

    name: str
    limit: int
    counts: Literal["minor", "contacts"]
    at_least: bool = False
    actions: frozenset[str] | None = None
    groups: frozenset[int] | None = None


def budget(limit_minor: int, *, reserve_minor: int = 0, name: str = BUDGET) -> Constraint:
    """All costs together stay within the budget less what is kept back, e.g. for exploration.

    Raises PermanentError where the reserve is negative or exceeds the budget.
    """
    if not 0 <= reserve_minor <= max(limit_minor, 0):
        raise PermanentError(f"allocation: {name} of {limit_minor} minor units can't keep {reserve_minor} in reserve")
    return Constraint(name, limit_minor - reserve_minor, "minor")


def campaign_budget(name: str, actions: Iterable[str], limit_minor: int) -> Constraint:
    """The costs of a campaign's actions stay within its own budget."""
    return Constraint(name, limit_minor, "minor", actions=frozenset(actions))


def stock(name: str, actions: Iterable[str], units: int) -> Constraint:
    """At most `units` customers get one of these actions."""
    return Constraint(name, units, "contacts", actions=frozenset(actions))


def coverage(name: str, groups: Iterable[int], minimum: int) -> Constraint:
    """At least `minimum` customers of these groups are contacted, by whatever action."""
    return Constraint(name, minimum, "contacts", at_least=True, groups=frozenset(groups))


@dataclass(frozen=True)
class Terms:
    """Constraints as arrays, sorted by name, all in the form used <= limit (a coverage counts negatively).

    limit [K]. cost_sign, unit_sign [K, groups, actions] in {-1, 0, 1}: whether a pair adds its cost, or 1.
    """

    names: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    limit: NDArray[np.int64]
    cost_sign: NDArray[np.int64]
    unit_sign: NDArray[np.int64]


def compile_terms(constraints: Sequence[Constraint], actions: Sequence[str], groups: int) -> Terms:
    """Raises PermanentError for a name used twice, a negative limit, or an action or group that does not exist."""
    ordered = tuple(sorted(constraints, key=lambda c: c.name))
    names = tuple(c.name for c in ordered)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PermanentError(f"allocation: constraints share the name {twice[0]!r}; each needs one of its own")
    shape = (len(ordered), groups, len(actions))
    cost_sign, unit_sign = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for k, constraint in enumerate(ordered):
        sign = unit_sign if constraint.counts == "contacts" else cost_sign
        sign[k] = _pattern(constraint, actions, groups) * (-1 if constraint.at_least else 1)
    limit = np.array([-c.limit if c.at_least else c.limit for c in ordered], np.int64)
    return Terms(names, ordered, limit, cost_sign, unit_sign)


def _pattern(constraint: Constraint, actions: Sequence[str], groups: int) -> NDArray[np.int64]:
    """[groups, actions]: 1 where a pair counts; no contact never does."""
    name = constraint.name
    if constraint.limit < 0:
        raise PermanentError(f"allocation: {name!r} has the limit {constraint.limit}; it must not be negative")
    contacts = set(actions[1:])
    chosen = contacts if constraint.actions is None else constraint.actions
    if unknown := sorted(chosen - contacts):
        raise PermanentError(f"allocation: {name!r} names the action {unknown[0]!r}; contacts are {sorted(contacts)}")
    members = range(groups) if constraint.groups is None else sorted(constraint.groups)
    if outside := [g for g in members if not 0 <= g < groups]:
        raise PermanentError(f"allocation: {name!r} names the group {outside[0]}; groups are 0 to {groups - 1}")
    pattern = np.zeros((groups, len(actions)), np.int64)
    columns = [index for index, action in enumerate(actions) if action in chosen]
    pattern[np.ix_(list(members), columns)] = 1
    return pattern
