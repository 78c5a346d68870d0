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
from numpy.typing import NDArray
from scipy.stats import norm

from mktgen.contracts import TRIALS
from mktgen.evaluation.off_policy.evidence import launch_evidence
from mktgen.evaluation.off_policy.trial_log import TrialLog
from mktgen.market_sim.chance import Floats, keys
from mktgen.market_sim.oracle import expected, expected_costs, oracle_values, reserved_costs
from mktgen.market_sim.panel import Organic, covariates, panel
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.response.held_out import HeldOut
from mktgen.response.learning import Learned, learn
from mktgen.response.model import ResponseModel
from mktgen.settings import MarketSettings, ResponseSettings, Settings, SourceSettings, StrategySettings
from mktgen.sources.simulated_market import open_source
from mktgen.steps.judging_policy import believed
from mktgen.strategy import allocation
from mktgen.strategy.arms import is_held_out
from mktgen.strategy.exploration import Exploration, cannot_pay, exploration
from mktgen.strategy.mixture import Ints, Problem, mixture
from mktgen.strategy.rounding import draw_actions

FIRST_WAVE: Final = date(2017, 7, 3)
BEFORE_DRIFT: Final = 4  # waves before the day of a scenario's drift
SMALL: Final = 10.0  # per 1,000 customers; a share of less says nothing
SETTINGS: Final = Settings(
    strategy=StrategySettings(holdout_share=0.05),
    response=ResponseSettings(boosting_from=10**9),  # ridge alone foretells: five times as fast
)
# Each offer of the market is a mechanic of its own: no two face values of one can be compared.
NO_MECHANICS: Final = pl.DataFrame(schema={"action": pl.String, "mechanic": pl.String, "face_value_minor": pl.Int64})
Choice = NDArray[np.int64]


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


class Learner:
    """The product's way. stages: `experiment`, `launched` or `stopped` of each wave."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.trials: list[pl.DataFrame] = []
        self.known: list[pl.DataFrame] = []
        self.notes: list[str] = []
        self.stages: list[str] = []
        self.foretold: Floats | None = (
            None  # of the wave's customers: profit expected of their chances, where it is known
        )
        self.promised: Floats | None = None  # the same of the newest trials
        self.doubted: date | None = None
        self.champion: tuple[ResponseModel, HeldOut, date | None] | None = (
            None  # and the doubt that it was learned under
        )

    def decide(self, table: pl.DataFrame, wave: date, cost: Floats, budget: float) -> tuple[Choice, Floats, Choice]:
        """Chosen actions [N], chances of those who take part [n, A], and their places [n]."""
        share = SETTINGS.strategy.holdout_share
        out = np.array([is_held_out(one, share, f"closed loop {self.seed}") for one in table["customer_id"]])
        part = np.flatnonzero(~out)
        found = self._chances(table[part.tolist()], wave, cost.astype(np.int64), max(budget - float(cost.max()), 0.0))
        seed = self.seed * 1_000 + wave.toordinal()
        chosen = np.zeros(table.height, dtype=np.int64)
        chosen[part] = draw_actions(found, cost.astype(np.int64), keys(table["customer_id"])[part], seed)
        return chosen, found, part

    def _chances(self, table: pl.DataFrame, wave: date, cost: Ints, budget: float) -> Floats:
        actions = len(cost)
        nobody = np.tile(np.eye(actions)[0], (table.height, 1))
        fitted = self._fit(wave)
        if fitted is None:
            self.stages.append("experiment")
            return self._even(table, cost, budget)
        self._succeed(fitted, wave)
        if self.champion is None:
            self.stages.append("experiment")
            return self._even(table, cost, budget * SETTINGS.strategy.experiment_budget_share)
        model, held_out, doubt = self.champion
        offers = list(self.scenario.actions[1:])
        explore = exploration(model.trials_effective if doubt == self.doubted else 0.0, SETTINGS.strategy)
        drawn = model.draws(facts(table, self.scenario), SETTINGS.strategy.posterior_draws, self.seed, offers)
        drawn = drawn[:, :, np.argsort(np.argsort(offers))]
        alone = SETTINGS.strategy.no_contact_floor
        own = mixture(_problem(drawn, cost, explore.width), budget, explore.floor, alone)
        stage, told = self._judge(model, held_out, cost, budget / table.height, explore)
        self.stages.append(stage)
        if stage == "experiment":
            limited = budget * SETTINGS.strategy.experiment_budget_share
            own = mixture(_problem(drawn, cost, explore.width), limited, explore.floor, alone)
        p = nobody if stage == "stopped" else own.p
        self.foretold = (p[:, 1:] * drawn.mean(axis=0)).sum(axis=1)
        self.notes.append(f"{wave} {stage}: {told}")
        return p

    def _even(self, table: pl.DataFrame, cost: Ints, budget: float) -> Floats:
        """All that the budget pays of even chances."""
        self.foretold = None
        each = min(1.0 / len(cost), budget / float(table.height * cost.sum()))
        even = np.full((table.height, len(cost)), each)
        even[:, 0] = 1.0 - each * (len(cost) - 1)
        return even

    def _succeed(self, learned: Learned, wave: date) -> None:
        """The version of the wave serves, unless a gate failed: then the one before goes on."""
        how = "one mean effect per offer, " if learned.alike else ""
        if learned.failed:
            self.notes.append(f"{wave}: {how}does not serve: {'; '.join(learned.failed)}")
            return
        if learned.alike:
            self.notes.append(f"{wave}: {how}for all customers")
        self.champion = (learned.model, learned.held_out, self.doubted)

    def _fit(self, wave: date) -> Learned | None:
        if not self.trials:
            return None
        trials, known = pl.concat(self.trials), pl.concat(self.known)
        known_all = (trials, known, SETTINGS.response, wave, self.seed, NO_MECHANICS)
        learned = learn(*known_all, doubted_before=self.doubted)
        last = self.trials[-1]["decided_on"][0]
        if last != self.doubted and self.promised is not None and (short := self._shortfall(learned.held_out, last)):
            self.doubted = last
            self.notes.append(f"{wave}: {short}")
            return learn(*known_all, doubted_before=last)
        return learned

    def _shortfall(self, held_out: HeldOut, last: date) -> str:
        """Whether the last wave earned surely less than was foretold of it: doubly robust, clustered by customer."""
        frame = held_out.trials.frame
        rows = (frame["decided_on"] == last).to_numpy()
        p = held_out.trials.chance[rows]
        earned = np.nansum(p * held_out.reward.score[rows], axis=1)
        order = self.trials[-1].with_columns(foretold=pl.Series(values=self.promised)).select("decision_id", "foretold")
        foretold = (
            frame.filter(pl.Series(rows)).join(order, on="decision_id", maintain_order="left")["foretold"].to_numpy()
        )
        gap, error = float((earned - foretold).mean()), float((earned - foretold).std() / np.sqrt(len(earned)))
        if gap > norm.ppf(SETTINGS.feedback.effect.drift_alpha) * error:
            return ""
        return f"wave {last} earned {earned.mean():.1f} a customer, foretold {foretold.mean():.1f}: earlier trials are doubted"

    def _judge(
        self, model: ResponseModel, held_out: HeldOut, cost: Ints, budget: float, explore: Exploration
    ) -> tuple[str, str]:
        """What the newest trials say of the policy as learned now, by the product's launch evidence."""
        frame, per_wave = held_out.trials.frame, pl.col("decided_on")
        days = believed(frame, self.doubted)["decided_on"].unique().sort(descending=True).to_list()
        kept = max(SETTINGS.evaluation.off_policy.log_decisions // self.trials[-1].height, 1)
        rows = np.flatnonzero(frame.select(per_wave.is_in(days[:kept])).to_series().to_numpy())
        names = held_out.trials.actions
        place = [names.index(one) for one in self.scenario.actions[1:]]
        value = held_out.reward.effect[rows][:, place]
        spread = self._spread(model, frame[rows.tolist()], place)
        problem, alone = _problem(value + spread, cost, explore.width), SETTINGS.strategy.no_contact_floor
        candidate = mixture(problem, budget * len(rows), explore.floor, alone).p
        back = np.argsort(place)
        chance = np.column_stack([held_out.trials.chance[rows], held_out.trials.chance_none[rows]])
        log = TrialLog(frame[rows.tolist()], [*names, "no_contact"], chance, held_out.reward.q[rows])
        policy = np.column_stack([candidate[:, 1:][:, back], candidate[:, 0]])
        found = launch_evidence(log, policy, {"no contact": log.no_contact}, SETTINGS.evaluation, date.max, self.seed)
        gain = found.comparisons[0].difference
        if gain is None:
            return "experiment", found.reason
        told = f"{gain.value:.1f} [{gain.low:.1f}, {gain.high:.1f}] a customer over no contact"
        told += f"; draws have {explore.width:.0%} of their spread"
        if found.standing == "proven":
            return "launched", told
        spend = float((candidate * cost).sum()) / len(rows)
        return ("stopped" if cannot_pay(gain, spend) else "experiment"), told

    def _spread(self, model: ResponseModel, trials: pl.DataFrame, place: list[int]) -> Floats:
        """[draws, n, A]: the posterior of effects around their mean, of the customers of past trials."""
        known = trials.select("customer_id", "decided_on").join(
            pl.concat(self.known), on=["customer_id", "decided_on"], how="left", maintain_order="left"
        )
        named = known.with_columns(customer_id=pl.format("{}:{}", "customer_id", "decided_on")).drop("decided_on")
        drawn = model.draws(named, SETTINGS.strategy.posterior_draws, self.seed, model.actions)[:, :, place]
        return np.asarray(drawn - drawn.mean(axis=0), dtype=np.float64)

    def remember(self, table: pl.DataFrame, happened: pl.DataFrame, chosen: Choice, p: Floats, part: Choice) -> None:
        if (p[:, 0] == 1).all():
            return  # nothing was drawn: nothing to learn
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
        self.promised = self.foretold
        self.trials.append(TRIALS.check(trials.select(list(TRIALS.columns))))
        self.known.append(facts(ours, self.scenario).with_columns(decided_on=pl.lit(wave)))


def _problem(drawn: Floats, cost: Ints, width: float) -> Problem:
    """drawn [S, n, A - 1]: what offers are worth; narrowed around their mean, no contact before them."""
    mean = drawn.mean(axis=0)
    value = np.concatenate([np.zeros((*drawn.shape[:2], 1)), mean + width * (drawn - mean)], axis=2)
    shape = value.shape[1:]
    return Problem(value, np.broadcast_to(cost, shape).copy(), np.ones(shape, dtype=np.bool_))


def facts(table: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """What a shop knows of a customer at the wave."""
    return table.select("customer_id", *covariates(scenario))


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
    found = mixture(_problem(values[None, :, 1:], cost.astype(np.int64), 1.0), budget - float(cost.max()), 0.0)
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
