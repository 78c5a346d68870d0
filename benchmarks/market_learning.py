"""SIMULATED: how much of the oracle's profit a plain learner reaches in the simulated market, by waves of exploration.

    python -m benchmarks.market_learning [--scenario strong ...] [--copies 9] [--waves 8] [--json FILE]

Weekly waves from 2017-07-03 on; every customer gets one of all actions by even chance. The learner sees what a shop sees: the
panel's covariates, the action, and margin of the window's net less face value redeemed and contact cost. It takes out of the
reward what covariates say about it whatever the action (ridge on squares and products, weighted by the inverse of a
modelled variance), then fits one ridge per action to what is left. Judged on the wave after the last, by the exact expected
profit of the actions it would take, without a budget and within half of what the oracle would spend. Redemptions count as
known at once, so `delayed_and_lost_feedback` is `strong` here; `drift` with --waves 9 judges what was learned before the
change on the first wave after it.

Beside it: the oracle (knows the scenario and the customers' nature, not the future), the attainable (does not know their
nature), ranking by true redemption probability, and chance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.market_sim.chance import Floats
from mktgen.market_sim.oracle import attainable_values, expected, expected_costs, oracle_values, reserved_costs
from mktgen.market_sim.panel import Organic, covariates, panel
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.simulated_market import open_source

FIRST_WAVE: Final = date(2017, 7, 3)
SMALL: Final = 10.0  # per 1,000 customers; a share of less says nothing
SHRINK_ALL, SHRINK_ACTION = 10.0, 400.0  # ridge penalties, of all rows and of one action's


def features(table: pl.DataFrame, scenario: Scenario, centre: Floats, spread: Floats) -> Floats:
    """1, covariates on a log or root scale, their squares and products."""
    z = np.clip((_scaled(table, scenario) - centre) / spread, -3, 3)
    pairs = [z[:, i] * z[:, j] for i in range(z.shape[1]) for j in range(i)]
    return np.column_stack([np.ones(len(z)), z, z**2 - 1, *pairs])


def _scaled(table: pl.DataFrame, scenario: Scenario) -> Floats:
    columns = [table[name].cast(pl.Float64).to_numpy() for name in covariates(scenario) if name != "recent_contacts"]
    return np.column_stack([np.log1p(column) if column.max() > 1 else np.sqrt(column) for column in columns])


def ridge(design: Floats, target: Floats, weight: Floats, penalty: float) -> Floats:
    """Weighted ridge; the first column, the intercept, is not shrunk."""
    shrink = np.eye(design.shape[1]) * penalty
    shrink[0, 0] = 0
    weighted = design.T * (weight / weight.mean())
    return np.asarray(np.linalg.solve(weighted @ design + shrink, weighted @ target), dtype=np.float64)


def learned(design: Floats, actions: NDArray[np.int64], reward: Floats, count: int) -> Floats:
    """Coefficients [features, actions] of what an action adds to leaving the customer alone."""
    even = np.ones(len(reward))
    rough = reward - design @ ridge(design, reward, even, SHRINK_ALL)
    spread = design @ ridge(design, np.log(rough**2 + 1e4), even, SHRINK_ALL)
    weight = np.exp(-np.clip(spread, np.quantile(spread, 0.05), None))
    rest = reward - design @ ridge(design, reward, weight, SHRINK_ALL)
    by = [ridge(design[actions == a], rest[actions == a], weight[actions == a], SHRINK_ACTION) for a in range(count)]
    return np.column_stack([own - by[0] for own in by])


def within(score: Floats, cost: Floats, budget: float) -> NDArray[np.int64]:
    """The best action by score of each customer, in order of score per cost, until the budget is spent."""
    best = score.argmax(axis=1)
    worth = score.max(axis=1)
    order = np.argsort(-worth / np.maximum(cost[best], 1), kind="stable")
    order = order[worth[order] > 0]
    taken = order[np.cumsum(cost[best][order]) <= budget]
    chosen = np.zeros(len(score), dtype=np.int64)
    chosen[taken] = best[taken]
    return chosen


def judged(score: Floats, truth: Floats, cost: Floats, budget: float) -> dict[str, float]:
    """Expected profit per 1,000 customers in currency units: of the best action by score, and within the budget."""
    rows = np.arange(len(score))
    free, bound = score.argmax(axis=1), within(score, cost, budget)
    return {"free": float(truth[rows, free].mean()) * 10, "budget": float(truth[rows, bound].mean()) * 10}


def waves(organic: Organic, scenario: Scenario, count: int) -> Iterator[pl.DataFrame]:
    for number in range(count):
        yield panel(organic, FIRST_WAVE + timedelta(days=7 * number), scenario)


def study(organic: Organic, scenario: Scenario, count: int, seed: int = 1) -> dict[str, Any]:
    *before, last = waves(organic, scenario, count + 1)
    places = np.arange(len(scenario.actions))
    truth, oracle, cost = expected(last, scenario), oracle_values(last, scenario), reserved_costs(scenario)
    budget = float(cost[oracle.argmax(axis=1)].sum()) / 2
    contact = scenario.contact_cost_minor * (places > 0)
    redeem = (expected_costs(last, scenario) - contact) / np.maximum(cost - contact, 1)
    rng = np.random.default_rng(seed)
    rows = {
        "oracle": judged(oracle, truth, cost, budget),
        "attainable": judged(attainable_values(last, scenario), truth, cost, budget),
        "by redemption": judged(redeem, truth, cost, budget),
        "chance": judged(rng.random(truth.shape), truth, cost, budget),
    }
    base = _scaled(before[0], scenario)
    centre, spread = base.mean(axis=0), np.maximum(base.std(axis=0), 1e-9)
    tried, rewards, designs = [], [], []
    for number, table in enumerate(before, start=1):
        drawn = rng.integers(0, len(places), table.height)
        happened = respond(table, pl.Series(np.array(scenario.actions)[drawn]), scenario, seed)
        designs.append(features(table, scenario, centre, spread))
        tried.append(drawn)
        rewards.append(happened["reward_minor"].to_numpy())
        if number & (number - 1) == 0 or number == count:
            added = learned(np.vstack(designs), np.concatenate(tried), np.concatenate(rewards), len(places))
            score = features(last, scenario, centre, spread) @ added
            rows[f"learner, {number} wave{'s' if number > 1 else ''}"] = judged(score, truth, cost, budget)
    left_alone = float((oracle.argmax(axis=1) == 0).mean())
    return {"customers": last.height, "left_alone": left_alone, "budget": budget / last.height * 10, "rows": rows}


def _share(value: float, best: float) -> str:
    return f"{value / best:6.2f}" if best >= SMALL else "     -"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=names(), default=["strong"])
    parser.add_argument("--copies", type=int, default=9, help="customers per household; 9 are about 20,000 a wave")
    parser.add_argument("--waves", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    market = open_source(SourceSettings(market=MarketSettings(copies=arguments.copies)), "the benchmark")
    after = timedelta(days=7 * arguments.waves + market.scenario.horizon_days)
    organic = market.organic(FIRST_WAVE - timedelta(days=84), min(market.last_day, FIRST_WAVE + after))
    found = {}
    for name in arguments.scenario:
        found[name] = study(organic, load(name), arguments.waves)
        head = f"{found[name]['customers']} customers, best left alone {found[name]['left_alone']:.0%}"
        print(f"\nSIMULATED, scenario {name}: {head}; profit per 1,000 customers, share of the oracle's")
        best = found[name]["rows"]["oracle"]
        for label, row in found[name]["rows"].items():
            shares = [f"{row[key]:7.0f} {_share(row[key], best[key])}" for key in ("free", "budget")]
            print(f"{label:18} free {shares[0]}   budget {found[name]['budget']:.0f} {shares[1]}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
