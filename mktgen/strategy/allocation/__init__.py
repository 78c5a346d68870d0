"""Who gets what: one action for each customer, so that the sum of values is largest within budgets, stock and coverage.

    problem + constraints + objective -> prices (dual) -> open pairs (restricted, core) -> whole customers (integral) -> report

A multiple-choice knapsack with several constraints (Sinha & Zoltners 1979), solved through its Lagrangian dual; every
answer comes with the bound it is measured against. `allocate` is the front for frames of candidates.
"""

from mktgen.strategy.allocation.constraints import Constraint, budget, campaign_budget, coverage, stock
from mktgen.strategy.allocation.frame import allocate
from mktgen.strategy.allocation.hindsight import Regret, regret
from mktgen.strategy.allocation.objectives import expected, lower_bound, mean_less_risk
from mktgen.strategy.allocation.problem import Problem
from mktgen.strategy.allocation.report import AllocationResult, ConstraintUse
from mktgen.strategy.allocation.solver import solve

__all__ = [
    "AllocationResult", "Constraint", "ConstraintUse", "Problem", "Regret", "allocate", "budget", "campaign_budget",
    "coverage", "expected", "lower_bound", "mean_less_risk", "regret", "solve", "stock",
]  # fmt: skip
