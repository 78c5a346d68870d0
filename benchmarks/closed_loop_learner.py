"""SIMULATED: the product's way of deciding a wave of closed_loop.py: learn, judge, draw, and remember what came of it."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from mktgen.contracts import TRIALS
from mktgen.evaluation.off_policy.evidence import launch_evidence
from mktgen.evaluation.off_policy.trial_log import TrialLog
from mktgen.market_sim.chance import Floats, keys
from mktgen.market_sim.panel import covariates
from mktgen.market_sim.scenario import Scenario
from mktgen.response.held_out import HeldOut
from mktgen.response.learning import Learned, learn
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings, Settings, StrategySettings
from mktgen.steps.judging_policy import believed
from mktgen.strategy.arms import is_held_out
from mktgen.strategy.exploration import Exploration, cannot_pay, exploration
from mktgen.strategy.mixture import Ints, Problem, mixture
from mktgen.strategy.rounding import draw_actions

SETTINGS: Final = Settings(
    strategy=StrategySettings(holdout_share=0.05),
    response=ResponseSettings(boosting_from=10**9),  # ridge alone foretells: five times as fast
)
# Each offer of the market is a mechanic of its own: no two face values of one can be compared.
NO_MECHANICS: Final = pl.DataFrame(schema={"action": pl.String, "mechanic": pl.String, "face_value_minor": pl.Int64})
Choice = NDArray[np.int64]


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
        own = mixture(problem_of(drawn, cost, explore.width), budget, explore.floor, alone)
        stage, told = self._judge(model, held_out, cost, budget / table.height, explore)
        self.stages.append(stage)
        if stage == "experiment":
            limited = budget * SETTINGS.strategy.experiment_budget_share
            own = mixture(problem_of(drawn, cost, explore.width), limited, explore.floor, alone)
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
        problem, alone = problem_of(value + spread, cost, explore.width), SETTINGS.strategy.no_contact_floor
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


def problem_of(drawn: Floats, cost: Ints, width: float) -> Problem:
    """drawn [S, n, A - 1]: what offers are worth; narrowed around their mean, no contact before them."""
    mean = drawn.mean(axis=0)
    value = np.concatenate([np.zeros((*drawn.shape[:2], 1)), mean + width * (drawn - mean)], axis=2)
    shape = value.shape[1:]
    return Problem(value, np.broadcast_to(cost, shape).copy(), np.ones(shape, dtype=np.bool_))


def facts(table: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """What a shop knows of a customer at the wave."""
    return table.select("customer_id", *covariates(scenario))
