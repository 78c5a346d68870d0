"""SIMULATED: eight waves of the product's own decisions in the market whose truth is known, beside other ways to decide.

    python -m benchmarks.closed_loop [--scenario strong ...] [--seeds 0 1 ...] [--copies 9] [--waves 8] [--json FILE]
    python -m benchmarks.closed_loop_picture --json FILE --out FILE.png    # the picture of it

Each wave, as in the daily loop: a response model of all trials so far, with its gates, and one mean effect per offer where
differences between customers are exaggerated (a version that fails a gate does not serve: the one before goes on). The policy
as learned now is judged on past trials against no contact, and has the whole budget if it is proven, an experiment's share if
not, nothing where exploring can't pay any more; without a version that may serve it is an experiment. Draws of the posterior
narrow as trials come in; chances by mixture.py, drawn by rounding.py; the market answers; what a shop would see of it is the
next wave's trials. Where a wave earns surely less than foretold, trials from before it are doubted. Hold-out and floor are
part of it. Nothing is learned before the first wave: it is an experiment with the whole budget. Left out here, and run through
Airflow (benchmarks/airflow_waves.py): a new version held against the one that serves, business as usual as a second incumbent
and as an arm, the placebo gate, and everything that is sent.

Every way to decide lives in a market of its own, because contacts tire. Beside it: at random, by the true chance of redemption,
by habit (the small coupon to the biggest spenders), and the oracle, which knows the scenario and what customers are by nature,
not the future, and spends the budget at its best (linear relaxation, rounded). All have the same budget: half of what the
oracle of `strong` would spend on its first wave. Reported: expected profit of what was drawn, per 1,000 customers of the wave,
hold-out and exploration included; and regret against hindsight: what the best allocation under the true effects, at the same
budget and in the same market, would have brought more. `drift` begins four weeks before its drift.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.closed_loop_learner import Choice, Learner, problem_of
from mktgen.market_sim.chance import Floats
from mktgen.market_sim.oracle import expected, expected_costs, oracle_values, reserved_costs
from mktgen.market_sim.panel import Organic, panel
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.simulated_market import open_source
from mktgen.strategy import allocation
from mktgen.strategy.mixture import mixture
from mktgen.strategy.rounding import draw_actions

FIRST_WAVE: Final = date(2017, 7, 3)
BEFORE_DRIFT: Final = 4  # waves before the day of a scenario's drift
SMALL: Final = 10.0  # per 1,000 customers; a share of less says nothing


@dataclass
class Market:
    """One way to decide, in a market of its own: contacts so far; profit, and regret where asked for, by wave per 1,000
    customers."""

    scenario: Scenario
    contacts: list[pl.DataFrame] = field(default_factory=list)
    profit: list[float] = field(default_factory=list)
    regret: list[float] = field(default_factory=list)

    def panel(self, organic: Organic, wave: date) -> pl.DataFrame:
        return panel(organic, wave, self.scenario, pl.concat(self.contacts) if self.contacts else None)

    def look_back(self, table: pl.DataFrame, chosen: Choice, cost: Floats, budget: float) -> None:
        """Regret of a choice, before it is settled."""
        values = oracle_values(table, self.scenario)
        problem = allocation.Problem(
            values, cost.astype(np.int64), self.scenario.actions, (allocation.budget(int(budget)),)
        )
        self.regret.append(allocation.regret(problem, chosen, values).regret_minor / table.height * 10)

    def settle(self, table: pl.DataFrame, chosen: Choice) -> None:
        truth = expected(table, self.scenario)
        self.profit.append(float(truth[np.arange(table.height), chosen].mean()) * 10)
        made = table.filter(pl.Series(chosen > 0)).select("customer_id", contacted_on="wave")
        self.contacts.append(made)


def greedy(score: Floats, cost: Floats, budget: float) -> Choice:
    """The best action by score of each customer, in order of score per cost, until the budget is spent."""
    best, worth = score.argmax(axis=1), score.max(axis=1)
    order = np.argsort(-worth / np.maximum(cost[best], 1), kind="stable")
    order = order[(worth[order] > 0) & (best[order] > 0)]
    taken = order[np.cumsum(cost[best][order]) <= budget]
    chosen = np.zeros(len(score), dtype=np.int64)
    chosen[taken] = best[taken]
    return chosen


def peers(scenario: Scenario, seed: int) -> dict[str, Callable[[pl.DataFrame], Floats]]:
    """Scores [N, A] of the other ways to decide; no contact has 0."""
    rng = np.random.default_rng(seed)
    cost = reserved_costs(scenario)
    small = 1 + int(np.argmin(np.where(cost[1:] > scenario.contact_cost_minor, cost[1:], np.inf)))

    def redemption(table: pl.DataFrame) -> Floats:
        face = np.maximum(cost - scenario.contact_cost_minor, 1)
        return (expected_costs(table, scenario) - scenario.contact_cost_minor) / face * (cost > 0)

    def habit(table: pl.DataFrame) -> Floats:
        score = np.zeros((table.height, len(cost)))
        score[:, small] = table["spend_minor_84d"].to_numpy()
        return score

    return {
        "oracle": lambda table: oracle_values(table, scenario),
        "random": lambda table: np.column_stack([np.zeros(table.height), rng.random((table.height, len(cost) - 1))]),
        "by redemption": redemption,
        "by habit": habit,
    }


def first_wave(scenario: Scenario) -> date:
    return scenario.drift.first_day - timedelta(days=7 * BEFORE_DRIFT) if scenario.drift else FIRST_WAVE


def first_budget(organic: Organic, wave: date) -> float:
    scenario = load("strong")  # in a world where nothing pays the oracle spends nothing, and nobody could lose anything
    first = panel(organic, wave, scenario)
    return float(reserved_costs(scenario)[oracle_values(first, scenario).argmax(axis=1)].sum()) / 2


def beside(organic: Organic, scenario: Scenario, waves: int, budget: float) -> dict[str, list[float]]:
    """Profit by wave of the other ways to decide."""
    cost, scores = reserved_costs(scenario), peers(scenario, 0)
    markets = {name: Market(scenario) for name in scores}
    for number in range(waves):
        wave = first_wave(scenario) + timedelta(days=7 * number)
        for name, score in scores.items():
            table = markets[name].panel(organic, wave)
            values = score(table)
            markets[name].settle(
                table, best(values, cost, budget) if name == "oracle" else greedy(values, cost, budget)
            )
    return {name: market.profit for name, market in markets.items()}


def best(values: Floats, cost: Floats, budget: float) -> Choice:
    """The linear relaxation's optimum within the budget, rounded."""
    found = mixture(problem_of(values[None, :, 1:], cost.astype(np.int64), 1.0), budget - float(cost.max()), 0.0)
    return draw_actions(found.p, cost.astype(np.int64), np.arange(len(values), dtype=np.uint64), 0)


def study(organic: Organic, scenario: Scenario, waves: int, seed: int, budget: float) -> dict[str, Any]:
    cost, market, learner = reserved_costs(scenario), Market(scenario), Learner(scenario, seed)
    for number in range(waves):
        wave = first_wave(scenario) + timedelta(days=7 * number)
        table = market.panel(organic, wave)
        chosen, p, part = learner.decide(table, wave, cost, budget)
        if cost[chosen].sum() > budget:
            raise RuntimeError(f"the learner spent {cost[chosen].sum()} of {budget}")
        happened = respond(table, pl.Series(np.array(scenario.actions)[chosen]), scenario, seed)
        learner.remember(table, happened, chosen, p, part)
        market.look_back(table, chosen, cost, budget)
        market.settle(table, chosen)
    return {
        "customers": table.height,
        "profit": market.profit,
        "regret": market.regret,
        "stages": learner.stages,
        "notes": learner.notes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=names(), default=["strong"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--copies", type=int, default=9, help="customers per household; 9 are about 20,000 a wave")
    parser.add_argument("--waves", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    market = open_source(SourceSettings(market=MarketSettings(copies=arguments.copies)), "the benchmark")
    found: dict[str, Any] = {}
    for name in arguments.scenario:
        scenario = load(name)
        first = first_wave(scenario)
        after = timedelta(days=7 * arguments.waves + scenario.horizon_days)
        organic = market.organic(first - timedelta(days=84), min(market.last_day, first + after))
        budget = first_budget(organic, first)
        found[name] = {"beside": beside(organic, scenario, arguments.waves, budget), "seeds": {}}
        for seed in arguments.seeds:
            found[name]["seeds"][seed] = study(organic, scenario, arguments.waves, seed, budget)
            _show_notes(name, seed, found[name]["seeds"][seed])
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        _show(name, found[name])


def _show_notes(scenario: str, seed: int, result: dict[str, Any]) -> None:
    print(f"SIMULATED, {scenario}, seed {seed}: " + " ".join(f"{one:.0f}" for one in result["profit"]), flush=True)
    for note in result["notes"]:
        print(f"  {note}", flush=True)


def _show(scenario: str, found: dict[str, Any]) -> None:
    runs = list(found["seeds"].values())
    print(
        f"\nSIMULATED, scenario {scenario}, {runs[0]['customers']} customers, {len(runs)} seeds: "
        "profit per 1,000 customers by wave"
    )
    profits = np.array([run["profit"] for run in runs])
    rows = {"mktgen": profits.mean(axis=0)}
    if len(runs) > 1:
        rows |= {"least of seeds": profits.min(axis=0), "most of seeds": profits.max(axis=0)}
    for name, values in {**rows, **found["beside"]}.items():
        print(f"{name:16}" + "".join(f"{value:9.1f}" for value in values))
    oracle = np.array(found["beside"]["oracle"])
    print(
        f"{'of the oracle':16}"
        + "".join(f"{a / b:9.2f}" if b > SMALL else f"{'-':>9}" for a, b in zip(rows["mktgen"], oracle, strict=True))
    )
    regrets = np.array([run["regret"] for run in runs]).mean(axis=0)
    print(f"{'regret':16}" + "".join(f"{value:9.1f}" for value in regrets))
    stages = [[run["stages"][wave] for run in runs] for wave in range(len(oracle))]
    for stage in ("launched", "experiment", "stopped"):
        print(f"{stage:16}" + "".join(f"{one.count(stage):9d}" for one in stages))


if __name__ == "__main__":
    main()
