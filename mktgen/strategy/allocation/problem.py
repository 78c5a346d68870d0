"""The problem: one action for each customer, so that the sum of values is largest within the constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.constraints import Constraint, Terms, compile_terms
from mktgen.strategy.allocation.objectives import Floats, Objective, expected

Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]

BLOCK_CELLS: Final = 80_000  # a block of values that stays in the processor's cache


@dataclass(frozen=True)
class Problem:
    """N customers, A actions; arrays may be memory maps, they are read in blocks and never changed.

    value [N, A]: worth in minor units, NaN where an action isn't allowed; action 0 is no contact, worth 0 and free.
    cost: whole minor units, [A] or [N, A]. actions: A names, the first for no contact. group [N]: codes from 0.
    key [N]: unique number of each customer, which breaks ties; None: the row's number, and then rows may not be
    reordered between runs. contactable [N]: False where only no contact is allowed. sd [N, A]: for objectives with risk.
    """

    value: Floats
    cost: Ints
    actions: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()
    group: Ints | None = None
    key: Keys | None = None
    contactable: Bools | None = None
    sd: Floats | None = None
    objective: Objective = expected

    @property
    def customers(self) -> int:
        return int(self.value.shape[0])


@dataclass(frozen=True)
class Rows:
    """Customers of a problem, all or some; weight [n]: how many customers each stands for (None: one)."""

    value: Floats
    cost: Ints
    sd: Floats | None
    objective: Objective
    group: Ints | None
    key: Keys | None
    contactable: Bools | None
    order: tuple[int, ...]  # columns in the order in which equals are preferred: no contact, then by name
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return int(self.value.shape[0])

    def blocks(self) -> Iterator[slice]:
        size = max(256, BLOCK_CELLS // self.value.shape[1])
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def values(self, part: slice | Ints) -> Floats:
        """[rows, actions]: the objective; NaN where not allowed."""
        spread = None if self.sd is None else np.asarray(self.sd[part])
        worth = self.objective(np.asarray(self.value[part]), spread)
        if self.contactable is not None and not (allowed := np.asarray(self.contactable[part])).all():
            worth = worth.copy()
            worth[~allowed, 1:] = np.nan
        return worth

    def costs(self, part: slice | Ints) -> Ints:
        """[A], or [rows, A] where costs are the customers' own."""
        return self.cost if self.cost.ndim == 1 else np.asarray(self.cost[part])

    def groups(self, part: slice | Ints) -> Ints | None:
        return None if self.group is None else np.asarray(self.group[part])

    def keys(self, part: slice | Ints) -> Keys:
        if self.key is not None:
            return np.asarray(self.key[part])
        return np.arange(part.start, part.stop, dtype=np.uint64) if isinstance(part, slice) else part.astype(np.uint64)

    def take(self, index: Ints, weight: NDArray[np.float64] | None = None) -> tuple[Ints, Rows]:
        """These rows as arrays of their own, by key; and their positions in that order. Raises PermanentError for a key
        that two of them share."""
        order = np.argsort(self.keys(index), kind="stable")
        index = index[order]
        key = self.keys(index)
        if len(key) > 1 and not (key[1:] > key[:-1]).all():
            shared = key[1:][key[1:] == key[:-1]][0]
            raise PermanentError(f"allocation: two customers share the key {shared}; keys must be unique")
        cost = self.cost if self.cost.ndim == 1 else np.asarray(self.cost[index])
        kept = None if weight is None else weight[order]
        return index, Rows(
            self.values(index), cost, None, expected, self.groups(index), key, None, self.order, kept
        )  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """largest, largest_cost: the largest absolute value, and cost. mean_cost: of pairs that cost something. missing: whether
    some pair isn't allowed. reachable [groups]: customers with an allowed contact; members [groups]: all of them."""

    largest: float
    largest_cost: int
    mean_cost: float
    missing: bool
    reachable: NDArray[np.int64]
    members: NDArray[np.int64]


def prepare(problem: Problem) -> tuple[Rows, Terms, Facts]:
    """The problem's rows and constraints as arrays, checked in one pass over the values.

    Raises PermanentError, naming what is wrong, for shapes that don't fit, costs that aren't whole or are negative,
    infinite values, a no contact that isn't worth 0 and free, and coverage that asks for more than can be contacted.
    """
    groups = _check_shapes(problem)
    terms = compile_terms(problem.constraints, problem.actions, groups)
    order = (0, *sorted(range(1, len(problem.actions)), key=lambda index: problem.actions[index]))
    rows = Rows(
        problem.value, problem.cost, problem.sd, problem.objective, problem.group, problem.key, problem.contactable, order
    )  # fmt: skip
    facts = _facts(rows, groups)
    _check_members(terms, facts)
    return rows, terms, facts


def _check_shapes(problem: Problem) -> int:
    """The number of groups."""
    if problem.value.ndim != 2 or problem.value.shape[1] != len(problem.actions) or not problem.actions:
        raise PermanentError(
            f"allocation: values have the shape {problem.value.shape} for {len(problem.actions)} actions; [N, A] is needed"
        )
    customers, actions = problem.value.shape
    if len(set(problem.actions)) != actions:
        raise PermanentError("allocation: two actions share a name")
    if problem.value.dtype.kind != "f" or problem.cost.dtype.kind not in "iu":
        kinds = f"{problem.value.dtype} and {problem.cost.dtype}"
        raise PermanentError(f"allocation: values and costs are {kinds}; floats and whole minor units are needed")
    _check_lengths(problem, customers, actions)
    if problem.group is None or customers == 0:
        return 1
    if int(problem.group.min()) < 0:
        raise PermanentError("allocation: a group code is negative; codes start at 0")
    return int(problem.group.max()) + 1


def _check_lengths(problem: Problem, customers: int, actions: int) -> None:
    if problem.cost.shape not in ((actions,), (customers, actions)):
        raise PermanentError(f"allocation: costs have the shape {problem.cost.shape}; [A] or [N, A] is needed")
    if problem.sd is not None and problem.sd.shape != (customers, actions):
        raise PermanentError(f"allocation: sd has the shape {problem.sd.shape}, values {problem.value.shape}")
    named: Sequence[tuple[str, Any]] = (
        ("group", problem.group), ("key", problem.key), ("contactable", problem.contactable)
    )  # fmt: skip
    for name, array in named:
        if array is not None and array.shape != (customers,):
            raise PermanentError(f"allocation: {name} has the shape {array.shape} for {customers} customers")
    if problem.key is not None and problem.key.dtype != np.uint64:
        raise PermanentError(f"allocation: keys are {problem.key.dtype}; uint64 is needed")


def _facts(rows: Rows, groups: int) -> Facts:
    largest, dearest, missing, paid, pairs = 0.0, 0, False, 0, 0
    reachable, members = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    for part in rows.blocks():
        worth, cost, group = rows.values(part), rows.costs(part), rows.groups(part)
        with np.errstate(invalid="ignore"):
            top = float(np.fmax.reduce(np.abs(worth), axis=None))
        if not np.isfinite(top) or (worth[:, 0] != 0).any():
            raise PermanentError(_unusable(worth, part.start))
        if int(cost.min()) < 0 or cost[..., 0].any():
            raise PermanentError("allocation: costs must not be negative, and no contact (action 0) must be free")
        largest, dearest = max(largest, top), max(dearest, int(cost.max()))
        paid, pairs = paid + int(cost.sum(dtype=np.int64)), pairs + int(np.count_nonzero(cost))
        lacking = np.isnan(worth.sum(axis=1))
        missing = missing or bool(lacking.any())
        open_ = np.ones(len(worth), bool)
        open_[lacking] = (~np.isnan(worth[lacking, 1:])).any(axis=1)
        members += _counts(group, np.ones(len(worth), bool), groups)
        reachable += _counts(group, open_ if worth.shape[1] > 1 else np.zeros(len(worth), bool), groups)
    return Facts(largest, dearest, paid / max(pairs, 1), missing, reachable, members)


def _counts(group: Ints | None, chosen: Bools, groups: int) -> NDArray[np.int64]:
    if group is None:
        return np.array([chosen.sum()], np.int64)
    return np.bincount(group[chosen], minlength=groups).astype(np.int64)


def _unusable(worth: Floats, start: int) -> str:
    bad = np.isinf(worth).any(axis=1) | (worth[:, 0] != 0)
    row = int(np.flatnonzero(bad)[0])
    return (
        f"allocation: the values of row {start + row} can't be used: {worth[row].tolist()}; they must be finite (NaN: not "
        "allowed), and no contact (action 0) must be worth 0"
    )


def _check_members(terms: Terms, facts: Facts) -> None:
    for constraint in terms.constraints:
        if not constraint.at_least:
            continue
        groups = sorted(constraint.groups) if constraint.groups is not None else list(range(len(facts.members)))
        reachable, members = int(facts.reachable[groups].sum()), int(facts.members[groups].sum())
        if constraint.limit > reachable:
            raise PermanentError(
                f"allocation: {constraint.name!r} asks for {constraint.limit} contacts, but only {reachable} of its {members} "
                f"customers can be contacted: {constraint.limit - reachable} too many"
            )
