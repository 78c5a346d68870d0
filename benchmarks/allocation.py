"""Who gets which offer, at the size of a large shop: gap, seconds, memory; and the same problem beside HiGHS and OR-tools.

    python -m benchmarks.allocation [--runs budget:10000000 several:1000000 several:10000000] [--json FILE]
        [--peer-python PEER/bin/python] [--peer-runs budget:20000 several:20000] [--peer-gap 1e-4] [--time-limit 1200]

The peers have an environment of their own, never the project's:

    python3 -m venv PEER && PEER/bin/pip install highspy==1.16.0 ortools==9.15.6755 scipy==1.17.1 numpy==2.4.6

Customers are made up, ten actions each, no contact included; values in float32, one in twenty pairs not allowed. budget: a
budget for all. several: also budgets of two campaigns, two stocks, and coverage of a group that would get less. own_costs:
a budget, and what a coupon costs depends on the customer. Limits are counted anew here, from the choice alone.

Every line is a process of its own on one thread. Compared is processor time, which other work on the machine disturbs less
than the clock: ours of everything from the arrays to the checked report, theirs of the solver's call alone, after the model
is built. Peers are asked for one gap, and one that does not reach it in its time has no ratio; ours goes on beyond it. Gap:
(bound - value) / bound, each with its own bound. The relaxation's optimum by HiGHS stands beside them: no choice is worth
more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from mktgen.strategy.allocation import Constraint, Problem, budget, campaign_budget, coverage, solve, stock
from mktgen.strategy.allocation.pricing import Choice

ACTIONS: Final = ("none", "mail", "sms", "push", "coupon_1", "coupon_2", "coupon_3", "call", "gift_1", "gift_2")
COST: Final = np.array([0, 1, 4, 8, 20, 50, 80, 100, 200, 300])
KINDS: Final = ("budget", "several", "own_costs")
GROUPS: Final = 8
SOLVERS: Final = ("highs", "ortools_scip", "ortools_cp_sat")
GOAL_GAP: Final = 1e-4
GOAL_RATIO: Final = 50.0
REPEATS: Final = 3  # of ours beside peers: it is over in a moment
_BLOCK: Final = 100_000
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def market(kind: str, customers: int, seed: int) -> Problem:
    """Made-up customers, drawn block by block, so that a larger market begins with the smaller one."""
    value = np.empty((customers, len(ACTIONS)), np.float32)
    group = np.empty(customers, np.int8)
    cost = np.tile(COST.astype(np.int32), (customers, 1)) if kind == "own_costs" else COST
    for block, start in enumerate(range(0, customers, _BLOCK)):
        draw = np.random.Generator(np.random.PCG64([seed, block]))
        part = slice(start, min(start + _BLOCK, customers))
        value[part], group[part] = _block(draw, part.stop - start)
        if kind == "own_costs":
            cost[part, 4:7] += draw.integers(-9, 10, (part.stop - start, 3), dtype=np.int32)
    key = None  # the row's number
    return Problem(value, cost, ACTIONS, limits(kind, customers), group, key)


def _block(draw: np.random.Generator, size: int) -> tuple[Any, Any]:
    """[size, actions] what a contact adds to the margin, in minor units; [size] groups.

    A customer buys with some chance and spends some margin; a stronger offer moves the chance more, on another curve for
    each customer and action, and sometimes down.
    """
    margin = draw.lognormal(6.0, 1.0, (size, 1)).astype(np.float32)
    bent = draw.normal(-4.0, 1.2, (size, 1)).astype(np.float32)
    strength = np.log1p(COST / 20).astype(np.float32) + 0.5 * draw.standard_normal(
        (size, len(ACTIONS)), dtype=np.float32
    )
    value = margin * (1 / (1 + np.exp(-bent - strength)) - 1 / (1 + np.exp(-bent)))
    value[draw.random((size, len(ACTIONS)), dtype=np.float32) < 0.05] = np.nan
    group = draw.integers(0, GROUPS, size).astype(np.int8)
    value[group == 0] *= np.float32(0.5)
    value[:, 0] = 0
    return value, group


def limits(kind: str, customers: int) -> tuple[Constraint, ...]:
    if kind != "several":
        return (budget(15 * customers),)
    return (
        budget(12 * customers),
        campaign_budget("messages", ACTIONS[1:4], 2 * customers),
        campaign_budget("coupons", ACTIONS[4:7], 6 * customers),
        stock("agents", ["call"], customers // 50),
        stock("gifts", ACTIONS[8:], customers // 100),
        coverage("group 0", [0], customers // 10),
    )


def exceeded(problem: Problem, choice: Choice) -> dict[str, int]:
    """By how much each limit is exceeded or missed, counted from the choice; 0 or less is fine."""
    costs = problem.cost[choice] if problem.cost.ndim == 1 else problem.cost[np.arange(len(choice)), choice]
    found = {}
    for constraint in problem.constraints:
        inside = choice > 0
        if constraint.actions is not None:
            inside &= np.isin(choice, [problem.actions.index(name) for name in constraint.actions])
        if constraint.groups is not None and problem.group is not None:
            inside &= np.isin(problem.group, list(constraint.groups))
        used = int(costs[inside].sum(dtype=np.int64)) if constraint.counts == "minor" else int(inside.sum())
        found[constraint.name] = constraint.limit - used if constraint.at_least else used - constraint.limit
    return found


def measured(kind: str, customers: int, seed: int, repeats: int = 1) -> dict[str, Any]:
    """One run of the solver. peak_mb: of the whole process; arrays_mb: of the problem's arrays."""
    problem = market(kind, customers, seed)
    before = _peak_mb()
    cpu, wall = [], []
    for _ in range(repeats):
        started = time.process_time(), time.perf_counter()
        choice, result = solve(problem)
        cpu.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    arrays = [problem.value, problem.cost, problem.group]
    return {
        "kind": kind, "customers": customers, "value": result.value_minor, "bound": result.bound_minor,
        "gap": result.gap_share, "cpu": statistics.median(cpu), "wall": statistics.median(wall), "peak_mb": _peak_mb(),
        "before_mb": before, "arrays_mb": sum(array.nbytes for array in arrays if array is not None) / 2**20,
        "exceeded": exceeded(problem, choice), "prices": result.shadow_prices,
        "used": {use.name: use.used for use in result.constraints}, "contacts": int((choice > 0).sum()),
    }  # fmt: skip


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def for_peers(problem: Problem, path: Path) -> None:
    """The problem as pairs, all limits as used <= limit. No contact is left out: a customer has at most one pair. So are
    pairs that add nothing, where no coverage may ask for them."""
    at_least = any(constraint.at_least for constraint in problem.constraints)
    allowed = ~np.isnan(problem.value) if at_least else problem.value > 0
    allowed[:, 0] = False
    row, action = np.nonzero(allowed)
    cost = problem.cost[action] if problem.cost.ndim == 1 else problem.cost[row, action]
    group = np.zeros(problem.customers, np.int64) if problem.group is None else problem.group
    use, most = [], []
    for constraint in problem.constraints:
        inside = np.ones(len(row), bool)
        if constraint.actions is not None:
            inside &= np.isin(action, [problem.actions.index(name) for name in constraint.actions])
        if constraint.groups is not None:
            inside &= np.isin(group[row], list(constraint.groups))
        amount = inside * (cost if constraint.counts == "minor" else 1)
        use.append(-amount if constraint.at_least else amount)
        most.append(-constraint.limit if constraint.at_least else constraint.limit)
    value = problem.value[row, action].astype(np.float64)
    np.savez(path, value=value, row=row, use=np.array(use), limit=np.array(most), rows=problem.customers)


def beside_peers(kind: str, customers: int, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours and each peer on one problem."""
    found = [{"solver": "ours", **_worker(kind, customers, asked.seed, REPEATS)}]
    script = Path(__file__).with_name("allocation_peer.py")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "problem.npz"
        for_peers(market(kind, customers, asked.seed), path)
        for solver in asked.solvers:
            told = ["--solver", solver, "--gap", str(asked.peer_gap), "--time-limit", str(asked.time_limit)]
            found.append({"solver": solver, **_run([str(asked.peer_python), str(script), str(path), *told])})
    return found


def _worker(kind: str, customers: int, seed: int, repeats: int) -> dict[str, Any]:
    told = ["--worker", f"{kind}:{customers}", "--seed", str(seed), "--repeats", str(repeats)]
    return _run([sys.executable, "-m", "benchmarks.allocation", *told])


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, env=os.environ | _ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def show(found: list[dict[str, Any]]) -> None:
    print(f"| {'market':9s} | {'customers':>10s} | {'gap':>8s} | {'CPU s':>7s} | {'peak MB':>7s} | over a limit by |")
    print("|---|---:|---:|---:|---:|---:|")
    for run in found:
        over = max(run["exceeded"].values())
        print(
            f"| {run['kind']:9s} | {run['customers']:10,d} | {run['gap']:8.1e} | {run['cpu']:7.2f} | {run['peak_mb']:7,.0f} "
            f"| {max(over, 0)} |"
        )
    worst = max(run["gap"] for run in found)
    print(f"largest gap {worst:.1e}; goal {GOAL_GAP:g}: {'met' if worst <= GOAL_GAP else 'missed'}", flush=True)


def show_beside(kind: str, customers: int, found: list[dict[str, Any]], gap: float = GOAL_GAP) -> dict[str, float]:
    """Prints the table; ratios of processor time by solver, of those that reached the gap."""
    ours = found[0]
    print(f"\n{kind}, {customers:,d} customers, one thread")
    print("| solver | value | bound | gap | CPU s | model's own | status | ratio |")
    print("|---|---:|---:|---:|---:|---:|---|---:|")
    ratios = {}
    for run in found:
        ratio, reached = run["cpu"] / ours["cpu"], run["gap"] <= gap * (1 + 1e-6)
        if run is not ours and run["solver"] in SOLVERS and reached:
            ratios[run["solver"]] = ratio
        print(
            f"| {run['solver']} | {run['value']:,.2f} | {run['bound']:,.2f} | {run['gap']:.1e} | {run['cpu']:.2f} | "
            f"{run.get('build_cpu', 0.0):.2f} | {run.get('status', 'kept all limits')} | "
            f"{'' if reached else 'over '}{ratio:.1f} |"
        )
    if ratios:
        nearest = min(ratios, key=lambda name: ratios[name])
        goal = "met" if ratios[nearest] >= GOAL_RATIO else "missed"
        print(f"the fastest peer, {nearest}, took {ratios[nearest]:.1f} times our time; goal {GOAL_RATIO:g}: {goal}")
    return ratios


def _pair(text: str) -> tuple[str, int]:
    kind, _, customers = text.partition(":")
    if kind not in KINDS or not customers.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: KIND:CUSTOMERS is needed, KIND one of {', '.join(KINDS)}")
    return kind, int(customers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [("budget", 10_000_000), ("several", 1_000_000), ("several", 10_000_000)]
    parser.add_argument("--runs", type=_pair, nargs="*", default=sizes, help="KIND:CUSTOMERS")
    parser.add_argument("--peer-python", type=Path, help="python of the peers' environment")
    parser.add_argument("--peer-runs", type=_pair, nargs="*", default=[("budget", 20_000), ("several", 20_000)])
    parser.add_argument("--solvers", nargs="+", choices=(*SOLVERS, "highs_relaxed", "scipy"),
                        default=["highs_relaxed", *SOLVERS])  # fmt: skip
    parser.add_argument("--peer-gap", type=float, default=GOAL_GAP, help="that peers may stop at")
    parser.add_argument("--time-limit", type=float, default=1200.0, help="of each peer, seconds by its clock")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", type=_pair, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    asked = _arguments()
    if asked.worker:
        print(json.dumps(measured(*asked.worker, asked.seed, asked.repeats)))
        return
    if asked.peer_python and not asked.peer_python.exists():
        raise SystemExit(f"no {asked.peer_python}: make the peers' environment as the docstring says")
    told: dict[str, Any] = {"alone": [_worker(kind, size, asked.seed, 1) for kind, size in asked.runs], "beside": []}
    if told["alone"]:
        show(told["alone"])
    for kind, size in asked.peer_runs if asked.peer_python else []:
        found = beside_peers(kind, size, asked)
        told["beside"].append({"runs": found, "ratios": show_beside(kind, size, found, asked.peer_gap)})
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
