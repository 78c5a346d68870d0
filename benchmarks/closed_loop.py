"""SIMULATED: eight waves of the product's own loop in the market whose truth is known, beside other ways to decide.

    python -m benchmarks.closed_loop [--scenario strong ...] [--seeds 0 1 ...] [--copies 4] [--waves 8] [--json FILE]

Each wave: chances by mixture.py over posterior draws of the response model, within a budget; drawn by rounding.py; the
market answers; what a shop would see of it is a trial of the next wave's model. Hold-out and floor of the settings are part
of it. Every way to decide lives in a market of its own, because contacts tire. Ways beside it: at random, by the true chance
of redemption, by habit (the small coupon to the biggest spenders), and the oracle, which knows the scenario and what
customers are by nature, not the future. All have the same budget: half of what the oracle would spend on the first wave.
Reported: expected profit of what was drawn, per 1,000 customers of the wave, hold-out and exploration included.
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
from numpy.typing import NDArray

from mktgen.contracts import TRIALS
from mktgen.market_sim.chance import Floats, keys
from mktgen.market_sim.oracle import expected, expected_costs, oracle_values, reserved_costs
from mktgen.market_sim.panel import Organic, covariates, panel
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.response.fitting import fit_response
from mktgen.response.model import ResponseModel
from mktgen.response.trials import NotRandomised, TooFewTrials
from mktgen.settings import MarketSettings, ResponseSettings, SourceSettings, StrategySettings
from mktgen.sources.simulated_market import open_source
from mktgen.strategy.arms import is_held_out
from mktgen.strategy.mixture import Problem, mixture
from mktgen.strategy.rounding import draw_actions

FIRST_WAVE: Final = date(2017, 7, 3)
PRIOR_SD_MINOR: Final = 60.0  # before anything was tried: of the mean effect of an offer
STRATEGY: Final = StrategySettings(holdout_share=0.05)
RESPONSE: Final = ResponseSettings()
Choice = NDArray[np.int64]


@dataclass
class Market:
    """One way to decide, in a market of its own: contacts so far, and profit by wave per 1,000 customers."""

    scenario: Scenario
    contacts: list[pl.DataFrame] = field(default_factory=list)
    profit: list[float] = field(default_factory=list)

    def panel(self, organic: Organic, wave: date) -> pl.DataFrame:
        return panel(organic, wave, self.scenario, pl.concat(self.contacts) if self.contacts else None)

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


class Learner:
    """The product's way: a response model of all trials so far, Thompson sampling within the budget, a hold-out."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.trials: list[pl.DataFrame] = []
        self.known: list[pl.DataFrame] = []
        self.notes: list[str] = []

    def decide(self, table: pl.DataFrame, wave: date, cost: Floats, budget: float) -> tuple[Choice, Floats, Choice]:
        """Chosen actions [N], chances of those who take part [n, A], and their places [n]."""
        out = np.array(
            [is_held_out(one, STRATEGY.holdout_share, f"closed loop {self.seed}") for one in table["customer_id"]]
        )
        part = np.flatnonzero(~out)
        value = self._values(table[part.tolist()], wave)
        costs = np.broadcast_to(cost.astype(np.int64), value.shape[1:]).copy()
        problem = Problem(value, costs, np.ones(value.shape[1:], dtype=np.bool_))
        reserve = float(cost.max())
        found = mixture(problem, max(budget - reserve, 0.0), STRATEGY.propensity_floor)
        drawn = draw_actions(found.p, costs, keys(table["customer_id"])[part], self.seed * 1_000 + wave.toordinal())
        chosen = np.zeros(table.height, dtype=np.int64)
        chosen[part] = drawn
        return chosen, found.p, part

    def _values(self, table: pl.DataFrame, wave: date) -> Floats:
        offers, draws = list(self.scenario.actions[1:]), STRATEGY.posterior_draws
        model = self._model(wave)
        if model is None:
            rng = np.random.default_rng([self.seed, wave.toordinal()])
            offered = np.broadcast_to(
                rng.normal(0, PRIOR_SD_MINOR, (draws, 1, len(offers))), (draws, table.height, len(offers))
            )
        else:
            offered = model.draws(facts(table, self.scenario), draws, self.seed, offers)
        return np.concatenate([np.zeros((draws, table.height, 1)), offered], axis=2)

    def _model(self, wave: date) -> ResponseModel | None:
        if not self.trials:
            return None
        try:
            model, _ = fit_response(pl.concat(self.trials), pl.concat(self.known), RESPONSE, wave, self.seed)
        except (NotRandomised, TooFewTrials) as refused:
            self.notes.append(f"{wave}: {refused}")
            return None
        return model

    def remember(self, table: pl.DataFrame, happened: pl.DataFrame, chosen: Choice, p: Floats, part: Choice) -> None:
        actions = np.array(["no_contact", *self.scenario.actions[1:]])
        wave = table["wave"][0]
        ours, came = table[part.tolist()], happened[part.tolist()]
        drawn = chosen[part]
        trials = ours.select(
            decision_id=pl.format("{}:{}", pl.lit(str(wave)), "customer_id"), customer_id="customer_id", decided_on="wave",
            action=pl.Series(actions[drawn]), action_set=pl.Series([actions.tolist()] * len(part)),
            action_propensities=pl.Series(p.tolist()), propensity=pl.Series(p[np.arange(len(part)), drawn]),
            reward_minor=came["reward_minor"], converted=came["orders"] > 0, holdout=pl.lit(False),
        )  # fmt: skip
        self.trials.append(TRIALS.check(trials.select(list(TRIALS.columns))))
        self.known.append(facts(ours, self.scenario).with_columns(decided_on=pl.lit(wave)))


def facts(table: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """What a shop knows of a customer at the wave."""
    return table.select("customer_id", *covariates(scenario))


def study(organic: Organic, scenario: Scenario, waves: int, seed: int) -> dict[str, Any]:
    cost = reserved_costs(scenario)
    first = panel(organic, FIRST_WAVE, scenario)
    budget = float(cost[oracle_values(first, scenario).argmax(axis=1)].sum()) / 2
    scores = peers(scenario, seed)
    markets = {name: Market(scenario) for name in ("learner", *scores)}
    learner = Learner(scenario, seed)
    for number in range(waves):
        wave = FIRST_WAVE + timedelta(days=7 * number)
        table = markets["learner"].panel(organic, wave)
        chosen, p, part = learner.decide(table, wave, cost, budget)
        if cost[chosen].sum() > budget:
            raise RuntimeError(f"the learner spent {cost[chosen].sum()} of {budget}")
        happened = respond(table, pl.Series(np.array(scenario.actions)[chosen]), scenario, seed)
        learner.remember(table, happened, chosen, p, part)
        markets["learner"].settle(table, chosen)
        for name, score in scores.items():
            own = markets[name].panel(organic, wave)
            markets[name].settle(own, greedy(score(own), cost, budget))
    return {"customers": first.height, "budget": budget, "notes": learner.notes} | {
        name: market.profit for name, market in markets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", nargs="+", choices=names(), default=["strong"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--copies", type=int, default=4, help="customers per household")
    parser.add_argument("--waves", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    market = open_source(SourceSettings(market=MarketSettings(copies=arguments.copies)), "the benchmark")
    after = timedelta(days=7 * arguments.waves + market.scenario.horizon_days)
    organic = market.organic(FIRST_WAVE - timedelta(days=84), min(market.last_day, FIRST_WAVE + after))
    found: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.scenario:
        found[name] = []
        for seed in arguments.seeds:
            found[name].append(study(organic, load(name), arguments.waves, seed))
            _show(name, seed, found[name][-1])
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def _show(scenario: str, seed: int, result: dict[str, Any]) -> None:
    print(
        f"\nSIMULATED, scenario {scenario}, seed {seed}, {result['customers']} customers: profit per 1,000 customers by wave"
    )
    for name in ("learner", "oracle", "random", "by redemption", "by habit"):
        print(f"{name:14}" + "".join(f"{value:9.1f}" for value in result[name]))
    shares = [own / best if best else 0.0 for own, best in zip(result["learner"], result["oracle"], strict=True)]
    print(f"{'of the oracle':14}" + "".join(f"{share:9.2f}" for share in shares))
    for note in result["notes"]:
        print(f"  {note}")


if __name__ == "__main__":
    main()
