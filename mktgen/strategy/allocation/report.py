"""What an allocation came to: value, bound, shadow prices; and its regret once the true values are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mktgen.errors import PermanentError
from mktgen.strategy.allocation.constraints import BUDGET
from mktgen.strategy.allocation.pricing import Market, Tally, Vector


@dataclass(frozen=True)
class ConstraintUse:
    """A constraint in an allocation. shadow_price: value per unit by which it were relaxed, at the bound's prices."""

    name: str
    counts: Literal["minor", "contacts"]
    at_least: bool
    limit: int
    used: int
    shadow_price: float

    @property
    def binding(self) -> bool:
        """Whether relaxing it would be worth something."""
        return self.shadow_price > 0


@dataclass(frozen=True)
class Bound:
    """No allocation is worth more than `value`, of which `rounding` allows for floats; the dual at `prices` [K] says so."""

    value: float
    rounding: float
    prices: Vector


@dataclass(frozen=True)
class AllocationResult:
    """Facts of an allocation, all in minor units; constraints are sorted by name. rounding_minor: part of the bound."""

    cost_minor: int
    value_minor: float
    bound_minor: float
    rounding_minor: float
    constraints: tuple[ConstraintUse, ...]

    @property
    def gap_share(self) -> float:
        """(bound - value) / |bound|; 0 where they differ by rounding only."""
        gap = self.bound_minor - self.value_minor
        return gap / abs(self.bound_minor) if gap > self.rounding_minor else 0.0

    @property
    def shadow_prices(self) -> dict[str, float]:
        return {use.name: use.shadow_price for use in self.constraints}

    @property
    def binding(self) -> tuple[str, ...]:
        return tuple(use.name for use in self.constraints if use.binding)

    @property
    def shadow_price(self) -> float:
        """Value per further minor unit of the budget; 0 where there is no budget."""
        return self.shadow_prices.get(BUDGET, 0.0)


def report(market: Market, found: Tally, bound: Bound) -> AllocationResult:
    """Raises PermanentError where the choice exceeds a limit or misses a coverage: it must not leave the solver."""
    uses = []
    prices, totals = bound.prices.tolist(), found.used.tolist()
    for constraint, price, used in zip(market.terms.constraints, prices, totals, strict=True):
        own = -used if constraint.at_least else used
        if own < constraint.limit if constraint.at_least else own > constraint.limit:
            raise PermanentError(f"allocation: {constraint.name!r} was not kept: {own} against {constraint.limit}")
        uses.append(
            ConstraintUse(constraint.name, constraint.counts, constraint.at_least, constraint.limit, own, float(price))
        )
    # The bound is a sum of floats; it may lie below the value by rounding only.
    return AllocationResult(
        int(found.cost), found.value, max(bound.value, found.value), bound.rounding, tuple(uses)
    )  # fmt: skip
