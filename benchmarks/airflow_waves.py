"""SIMULATED: the whole loop closes on the market whose truth is known, by Airflow's own scheduler, wave after wave.

    python -m benchmarks.airflow_waves --home DIR [--waves N] [--copies 3] [--scenario strong] [--json FILE]

Starts all parts in DIR on free ports, with small and few models, and ends them. Called again with the same DIR it goes on.
First the history, by marketing_onboarding. Then, for each wave: marketing_loop decides its day, a person approves, messages
go into the market's inbox; marketing_onboarding brings in the six days after it, in which customers answer; marketing_loop
and marketing_feedback of the seventh make trials of the decisions (that day's own strategy is rejected: its customers were
just contacted). The next wave is decided the day after, with what was learned.

Reported of each wave: what was sent and what it may cost, whether a response model served and what past trials allowed, profit
against the held-out by the trials, the effect ledger's verdict, and the true expected profit of what was sent per 1,000
customers beside the oracle's, who has the same budget, lives in a market of its own and holds nobody out. The budget is half of
what the oracle would spend on the first wave.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.closed_loop import Choice, Market, best
from local import demo
from local.airflow import APPROVE, REJECT, Airflow
from local.demo import LOOP, Plan, Watch
from local.parts import Parts
from local.terminal import Terminal
from mktgen.documents import AllocationReport, LaunchEvidence, ResponsePromotion, ResponseReport
from mktgen.market_sim.oracle import oracle_values, reserved_costs
from mktgen.market_sim.panel import Organic, panel
from mktgen.market_sim.scenario import Scenario, load, names
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.simulated_market import SimulatedMarket, open_source
from mktgen.steps.proving import prove_export
from mktgen.steps.runner import Platform
from mktgen.store import Store
from tests.e2e.instance import own_instance, store

SOURCE: Final = "simulated_market"
# Before the first Sunday of April no mailed campaign has run out: no redemption is known, and nobody would be contacted.
FIRST: Final = date(2017, 4, 3)
WINDOW_DAYS: Final = 7
PERIOD_DAYS: Final = WINDOW_DAYS + 1  # the feedback of a window's last day comes after that day's decisions
# Little is known at first and the market is small: every offer is tried on a twelfth of the customers.
FLOOR: Final = 0.08
# Behaviour models that are trained in seconds: what is shown here is the response that is learned from trials.
MODELS: Final[Mapping[str, Any]] = {
    "kinds": ["popularity", "personal_frequency", "logistic_regression", "matrix_factorisation"],
    "vector_model": "matrix_factorisation",
    "train_cuts": 2,
    "bootstrap": 50,
    "gate_customers": 20,
}


@dataclass(frozen=True)
class Wave:
    """What one wave decided and what came of it; money in minor units, of which there are 100, profits in whole ones."""

    day: date
    seconds: float
    customers: int
    contacts: int
    cost_minor: int
    proven: bool  # the independent checker holds the dispatch against the rules
    response: str  # whether a model served, of how many trials
    trials: int
    usable: bool
    standing: str
    realised: float | None  # per 1,000 customers against the held-out, by the trials; None: their window isn't over
    realised_error: float | None
    ledger: str
    truth: float  # expected profit of what was sent, per 1,000 customers
    oracle: float


def wave_day(number: int) -> date:
    return FIRST + timedelta(days=PERIOD_DAYS * number)


def sections(scenario: str, copies: int, budget_minor: int, customers: int) -> dict[str, Mapping[str, Any]]:
    """The overlay of the instance beside the small models."""
    return {
        "source": {"name": SOURCE, "market": {"scenario": scenario, "copies": copies}},
        "models": MODELS,
        "strategy": {
            "channel": SOURCE,
            "budget_minor": budget_minor,
            "offers_per_customer": len(load(scenario).offers),
            "contact_cost_minor": load(scenario).contact_cost_minor,
            "margin_share": load(scenario).margin_share,
            "contact_cap_days": WINDOW_DAYS,
            "cohorts": 1,  # a wave is a week's only decision
            "propensity_floor": FLOOR,
            "exploring_trials": customers,
        },
        "response": {"window_days": WINDOW_DAYS},
        "feedback": {"window_days": PERIOD_DAYS},  # the ledger's waves are as long, from the first day on
        "foresight": {"origins": 8, "explained_customers": 20, "check_targets": 0},
        "execution": {"live_from": FIRST},
    }


class Truth:
    """What an evaluator knows of the market: a world for what was sent, and one for the oracle."""

    def __init__(self, market: SimulatedMarket, waves: int) -> None:
        self.scenario: Scenario = market.scenario
        first, last = wave_day(0), wave_day(waves) + timedelta(days=self.scenario.horizon_days)
        self.organic: Organic = market.organic(first - timedelta(days=84), min(last, market.last_day))
        self.sent, self.best = Market(self.scenario), Market(self.scenario)
        arrival = panel(self.organic, first + timedelta(days=1), self.scenario)
        values = oracle_values(arrival, self.scenario)
        self.customers = arrival.height
        self.budget = int(reserved_costs(self.scenario)[values.argmax(axis=1)].sum()) // 2

    def settle(self, day: date, sends: pl.DataFrame, customers: pl.DataFrame) -> tuple[float, float]:
        """Expected profit per 1,000 customers of what was sent for a day, and of the oracle's choice."""
        arrives, cost = day + timedelta(days=1), reserved_costs(self.scenario)
        ours, theirs = (world.panel(self.organic, arrives) for world in (self.sent, self.best))
        self.sent.settle(ours, self._chosen(ours, sends, customers))
        chosen = best(oracle_values(theirs, self.scenario), cost, float(self.budget))
        self.best.settle(theirs, chosen)
        return self.sent.profit[-1], self.best.profit[-1]

    def _chosen(self, table: pl.DataFrame, sends: pl.DataFrame, customers: pl.DataFrame) -> Choice:
        place = {self.scenario.offer_id(name): number for number, name in enumerate(self.scenario.offers, start=1)}
        reached = sends.join(customers, on="customer_id").select(
            customer_id="market_id", place=pl.col("offer_id").replace_strict(place, return_dtype=pl.Int64)
        )
        joined = table.select("customer_id").join(reached, on="customer_id", how="left", maintain_order="left")
        return np.asarray(joined["place"].fill_null(0).to_numpy(), dtype=np.int64)


class Waves:
    """The waves of one running instance."""

    def __init__(self, instance: Parts, airflow: Airflow, terminal: Terminal) -> None:
        self.instance, self.airflow, self.terminal = instance, airflow, terminal
        self.watch = Watch(airflow, terminal)

    def history(self, first: date, until: date) -> None:
        """The days `first` to the eve of `until`, by marketing_onboarding."""
        demo.bring_in_history(self.airflow, self.watch, Plan(until, until, SOURCE, first))

    def day(self, day: date, answer: str) -> None:
        """One day of marketing_loop, answered by a person, with what follows."""
        plan = Plan(day, day, SOURCE)
        while not plan.latest(self.airflow.runs(LOOP)) and self.airflow.backfilling(LOOP):
            time.sleep(demo.POLL_S)  # another backfill would be refused while the last one is being closed
        demo.run_days(self.airflow, self.watch, plan)
        demo.answer_and_follow(self.airflow, self.watch, plan, True, answer)

    def decide(self, number: int) -> None:
        self.day(wave_day(number), APPROVE)

    def close(self, number: int) -> None:
        """The days after a wave, up to the feedback that makes trials of it."""
        day = wave_day(number)
        last = day + timedelta(days=WINDOW_DAYS)
        self.history(day + timedelta(days=1), last)
        self.day(last, REJECT)


def reached(where: Store, day: date) -> pl.DataFrame:
    """contracts.SENDS of a day that reached their customers."""
    return where.read_table(where.need("sends", day)).filter(pl.col("status") == "sent")


def looked_at(where: Store, number: int, truly: float, most: float, seconds: float) -> Wave:
    """The figures of a wave, from the store; beside what was truly to be expected of it, and of the oracle's choice."""
    day, over = wave_day(number), wave_day(number) + timedelta(days=WINDOW_DAYS)
    sends = reached(where, day)
    decisions = where.read_table(where.need("decisions", day))
    contacts = decisions.join(sends, on="decision_id", how="semi")
    report = where.read_document(where.need("response_report", day), ResponseReport)
    promotion = where.read_document(where.need("response_promotion", day), ResponsePromotion)
    evidence = where.read_document(where.need("launch_evidence", day), LaunchEvidence)
    served = "none" if promotion.serving is None else f"of {promotion.serving}"
    trials = where.current("trials", over)
    realised, error = lift(where.read_table(trials)) if trials else (None, None)
    return Wave(
        day, seconds, decisions.height, contacts.height, int(contacts["cost_minor"].sum()),
        prove_export(Platform.from_environment(), str(day)).holds, served, report.trials, report.usable,
        evidence.standing, realised, error, verdict(where, day), truly, most,
    )  # fmt: skip


def lift(trials: pl.DataFrame) -> tuple[float, float]:
    """Reward per 1,000 customers of those who were drawn from the policy, less that of the held-out; its standard error."""
    drawn, held = (trials.filter(pl.col("holdout") == out)["reward_minor"].to_numpy() for out in (False, True))
    error = math.sqrt(sum(float(rows.var(ddof=1)) / len(rows) for rows in (drawn, held)))
    return float(drawn.mean() - held.mean()) * 10, error * 10


def verdict(where: Store, wave: date) -> str:
    """What the newest effect ledger says of a wave as a whole."""
    days = [day for day in where.partitions("effect_ledger") if where.current("effect_ledger", day)]
    ledger = where.read_table(where.need("effect_ledger", days[-1])) if days else pl.DataFrame()
    if ledger.is_empty():
        return "not judged yet"
    rows = ledger.filter((pl.col("campaign_id") == "") & (pl.col("wave") == wave)).to_dicts()
    if not rows:
        return "not judged yet"
    row = rows[0]
    if row["realised_minor"] is None:
        return f"not measured: {row['reason']}"
    low, high = row["realised_low_minor"] / 100, row["realised_high_minor"] / 100
    said = f"predicted {row['predicted_minor'] / 100:.0f}, realised {row['realised_minor'] / 100:.0f} [{low:.0f}, {high:.0f}]"
    return said + (", SHORT" if row["shortfall"] else "")


def show(waves: list[Wave], scenario: str, budget: int) -> None:
    print(f"\nSIMULATED market, scenario {scenario}, by Airflow; budget of a wave {budget / 100:.2f}")
    print(
        "Profits per 1,000 customers; realised: against the held-out, with its standard error; the ledger: of all contacts"
    )
    head = f"{'wave':12}{'minutes':>8}{'customers':>10}{'contacts':>9}{'cost':>9}{'model':>15}{'trials':>8}{'standing':>12}"
    print(f"{head}{'realised':>17}{'truth':>8}{'oracle':>8}  ledger")
    for one in waves:
        came = "-" if one.realised is None else f"{one.realised:.0f} +- {one.realised_error:.0f}"
        line = f"{one.day!s:12}{one.seconds / 60:8.1f}{one.customers:10d}{one.contacts:9d}{one.cost_minor / 100:9.2f}"
        line += f"{one.response:>15}{one.trials:8d}{one.standing:>12}{came:>17}{one.truth:8.1f}{one.oracle:8.1f}"
        print(f"{line}  {one.ledger}")


def notes(where: Store, wave: date) -> list[str]:
    """What the strategy of a wave tells its reader of values, launch and policy."""
    return where.read_document(where.need("allocation", wave), AllocationReport).notes


def play(home: Path, waves: int, scenario: str, copies: int, terminal: Terminal) -> tuple[list[Wave], int]:
    """All waves in an instance of their own, and the budget. Raises Problem where a run of Airflow fails."""
    settings = SourceSettings(name=SOURCE, market=MarketSettings(scenario=scenario, copies=copies))
    truth = Truth(open_source(settings, "the benchmark"), waves)
    terminal.line(f"SIMULATED: {truth.customers} customers, a budget of {truth.budget / 100:.2f} a wave")
    overlay = sections(scenario, copies, truth.budget, truth.customers)
    with own_instance(home, **overlay) as instance, Airflow.connect(instance) as airflow:
        customers = open_source(settings, instance.secrets["MKTGEN_PSEUDONYM_KEY"]).customers
        found = follow(Waves(instance, airflow, terminal), waves, truth, customers)
    return found, truth.budget


def follow(run: Waves, waves: int, truth: Truth, customers: pl.DataFrame) -> list[Wave]:
    """The history and the waves, shown as far as they are after each."""
    where, took, truths, found = store(), [], [], []
    run.history(SimulatedMarket.first_day, FIRST)
    for number in range(waves):
        begun, day = time.monotonic(), wave_day(number)
        run.decide(number)
        truths.append(truth.settle(day, reached(where, day), customers))
        for note in notes(where, day):
            run.terminal.line(f"  {day}: {note}")
        run.terminal.line(
            f"  {day}: SIMULATED, truth {truths[-1][0]:.1f}, oracle {truths[-1][1]:.1f} per 1,000 customers"
        )
        run.close(number)
        took.append(time.monotonic() - begun)
        # Earlier waves too: the ledger judges a wave on the day of the next one.
        found = [looked_at(where, earlier, *truths[earlier], took[earlier]) for earlier in range(number + 1)]
        show(found, truth.scenario.name, truth.budget)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="directory of the instance")
    parser.add_argument("--waves", type=int, default=8)
    parser.add_argument("--copies", type=int, default=3, help="customers per household")
    parser.add_argument("--scenario", choices=names(), default="strong")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found, budget = play(arguments.home.absolute(), arguments.waves, arguments.scenario, arguments.copies, Terminal())
    if arguments.json:
        rows = [asdict(wave) | {"day": wave.day.isoformat()} for wave in found]
        written = {"scenario": arguments.scenario, "SIMULATED": True, "budget_minor": budget, "waves": rows}
        arguments.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
