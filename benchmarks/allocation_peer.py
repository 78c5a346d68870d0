"""The peers' side of benchmarks/allocation.py: one solver on the problem in a file, in the peers' own environment.

    PEER/bin/python benchmarks/allocation_peer.py PROBLEM.npz --solver highs --gap 1e-4 --time-limit 1200

PROBLEM.npz: value [P] and row [P] of each pair, use [K, P] and limit [K] of the constraints, rows. At most one pair of each
row is taken, so that the sum of values is largest and use @ taken <= limit. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack

Solve = Callable[[], tuple[np.ndarray, float, str]]  # taken [P] in [0, 1], bound, status


def matrix(problem: dict[str, np.ndarray]) -> tuple[Any, np.ndarray]:
    """One line for each customer, then one for each limit; and the right-hand sides."""
    rows, pairs = int(problem["rows"]), len(problem["value"])
    once = csr_array((np.ones(pairs), (problem["row"], np.arange(pairs))), shape=(rows, pairs))
    lines = vstack([once, csr_array(problem["use"].astype(float))]).tocsr()
    return lines, np.concatenate([np.ones(rows), problem["limit"].astype(float)])


def highs(problem: dict[str, np.ndarray], gap: float, seconds: float, whole: bool = True) -> Solve:
    import highspy

    lines, most = matrix(problem)
    pairs = len(problem["value"])
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_, lp.sense_ = pairs, len(most), highspy.ObjSense.kMaximize
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = problem["value"], np.zeros(pairs), np.ones(pairs)
    lp.row_lower_, lp.row_upper_ = np.full(len(most), -highspy.kHighsInf), most
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = lines.indptr, lines.indices, lines.data
    if whole:
        lp.integrality_ = [highspy.HighsVarType.kInteger] * pairs
    solver = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "mip_rel_gap": gap, "time_limit": seconds}.items():
        solver.setOptionValue(name, value)
    solver.passModel(lp)

    def run() -> tuple[np.ndarray, float, str]:
        solver.run()
        info, status = solver.getInfo(), str(solver.modelStatusToString(solver.getModelStatus())).lower()
        bound = info.mip_dual_bound if whole else info.objective_function_value
        return np.array(solver.getSolution().col_value), float(bound), status

    return run


def ortools(problem: dict[str, np.ndarray], gap: float, seconds: float, name: str) -> Solve:
    from ortools.math_opt.python import mathopt

    lines, most = matrix(problem)
    model = mathopt.Model()
    taken = [model.add_binary_variable() for _ in range(len(problem["value"]))]
    for line, limit in enumerate(most.tolist()):
        own = slice(lines.indptr[line], lines.indptr[line + 1])
        constraint = model.add_linear_constraint(ub=limit)
        for index, value in zip(lines.indices[own].tolist(), lines.data[own].tolist(), strict=True):
            constraint.set_coefficient(taken[index], value)
    model.objective.is_maximize = True
    for variable, value in zip(taken, problem["value"].tolist(), strict=True):
        model.objective.set_linear_coefficient(variable, value)
    told = mathopt.SolveParameters(time_limit=timedelta(seconds=seconds), threads=1, relative_gap_tolerance=gap)

    def run() -> tuple[np.ndarray, float, str]:
        found = mathopt.solve(model, mathopt.SolverType[name], params=told)
        status = found.termination.reason.name.lower()
        if not found.has_primal_feasible_solution():
            return np.zeros(len(taken)), float("inf"), f"{status}, nothing found"
        return np.array(found.variable_values(taken)), found.dual_bound(), status

    return run


def scipy(problem: dict[str, np.ndarray], gap: float, seconds: float) -> Solve:
    lines, most = matrix(problem)

    def run() -> tuple[np.ndarray, float, str]:
        found = milp(
            -problem["value"], constraints=LinearConstraint(lines, -np.inf, most), bounds=Bounds(0, 1),
            integrality=np.ones(len(problem["value"])), options={"mip_rel_gap": gap, "time_limit": seconds},
        )  # fmt: skip
        if found.x is None:
            return np.zeros(len(problem["value"])), float("inf"), "nothing found"
        return found.x, -float(found.mip_dual_bound), "optimal" if found.status == 0 else "stopped"

    return run


SOLVERS: dict[str, Callable[[dict[str, np.ndarray], float, float], Solve]] = {
    "highs": highs,
    "highs_relaxed": lambda problem, gap, seconds: highs(problem, gap, seconds, whole=False),
    "ortools_scip": lambda problem, gap, seconds: ortools(problem, gap, seconds, "GSCIP"),
    "ortools_cp_sat": lambda problem, gap, seconds: ortools(problem, gap, seconds, "CP_SAT"),
    "scipy": scipy,
}


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--solver", choices=sorted(SOLVERS), required=True)
    parser.add_argument("--gap", type=float, required=True)
    parser.add_argument("--time-limit", type=float, required=True)
    asked = parser.parse_args()
    with np.load(asked.problem) as stored:
        problem = dict(stored)
    begun = cpu()
    run = SOLVERS[asked.solver](problem, asked.gap, asked.time_limit)
    started, clock = cpu(), time.perf_counter()
    taken, bound, status = run()
    seconds, wall = cpu() - started, time.perf_counter() - clock
    if asked.solver != "highs_relaxed":
        taken = np.rint(taken)
    value = float(problem["value"] @ taken)
    over = problem["use"] @ taken - problem["limit"]
    facts = {
        "value": value, "bound": bound, "gap": (bound - value) / abs(bound) if np.isfinite(bound) else 1.0, "cpu": seconds,
        "wall": wall, "build_cpu": started - begun, "status": status, "over": float(over.max()),
        "twice": int((np.bincount(problem["row"], taken, int(problem["rows"])) > 1 + 1e-6).sum()),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
