"""Randomised trials whose true effects are known. Rewards in minor units, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

PARTITION = date(2024, 6, 1)
ACTIONS = ("coupon", "mail")

Effect = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TrialWorld:
    """effect [n, A] of `actions` on each trial's reward; x [n, p] what it depends on."""

    trials: pl.DataFrame
    covariates: pl.DataFrame
    effect: np.ndarray
    x: np.ndarray
    actions: tuple[str, ...]

    @property
    def features(self) -> pl.DataFrame:
        """Covariates as for scoring: one row per customer."""
        return self.covariates.unique("customer_id", keep="first", maintain_order=True).drop("decided_on")

    @property
    def truth(self) -> pl.DataFrame:
        """customer_id, action, truth, sorted."""
        frame = self.trials.select("customer_id").hstack(
            pl.DataFrame(self.effect, schema=list(self.actions), orient="row")
        )
        return frame.unpivot(index="customer_id", variable_name="action", value_name="truth").sort(
            "customer_id", "action"
        )


def linear(x: np.ndarray) -> np.ndarray:
    """The coupon works on those with a large x0, the mail on everybody a little."""
    return np.column_stack([40 + 60 * x[:, 0] - 30 * x[:, 1], 30 + 20 * x[:, 0]])


def nothing(x: np.ndarray) -> np.ndarray:
    return np.zeros((len(x), 2))


def make_trials(
    customers: int,
    seed: int,
    effect: Effect = linear,
    *,
    actions: tuple[str, ...] = ACTIONS,
    covariates: int = 4,
    noise: float = 200.0,
    days: int = 1,
    age: int = 1,
    explored: float = 1.0,
    base: float = -1.5,
    louder: float = 0.0,
) -> TrialWorld:
    """One trial per customer and day, the newest `age` days before PARTITION.

    explored: share drawn evenly from the action set; the rest get the action a rule prefers, as an exploring policy does.
    louder: log of a customer's noise over `noise`, per unit of the last covariate.
    base: log odds of conversion without contact; a contact's effect moves them by effect / 100.
    """
    rng = np.random.default_rng(seed)
    ids = np.repeat([f"c{number:06d}" for number in range(customers)], days)
    x = np.repeat(rng.normal(size=(customers, covariates)), days, axis=0)
    lasting = np.repeat(rng.normal(size=customers), days) * noise / 2
    true = effect(x)
    number = len(actions)
    preferred = np.where(x[:, 1] > 0, 0, np.where(x[:, 2] > 0, number, number - 1))
    chance = np.full((len(x), number + 1), explored / (number + 1))
    chance[np.arange(len(x)), preferred] += 1 - explored
    drawn = (rng.random(len(x))[:, None] > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)  # number: no contact
    gain = np.append(true, np.zeros((len(x), 1)), axis=1)[np.arange(len(x)), drawn]
    reward = 300 + 150 * x[:, 0] + 80 * x[:, 2] + gain
    reward += np.exp(louder * x[:, -1]) * (lasting + noise * rng.normal(size=len(x)))
    converted = rng.random(len(x)) < 1 / (1 + np.exp(-(base + 0.5 * x[:, 0] + gain / 100)))
    names = [*actions, "no_contact"]
    when = [PARTITION - timedelta(days=age + days - 1 - day) for day in range(days)] * customers
    trials = pl.DataFrame(
        {
            "decision_id": [f"d{row:07d}" for row in range(len(x))],
            "customer_id": ids,
            "decided_on": when,
            "action": [names[k] for k in drawn],
            "action_set": [names] * len(x),
            "action_propensities": chance.tolist(),
            "propensity": chance[np.arange(len(x)), drawn],
            "reward_minor": reward,
            "converted": converted,
            "holdout": np.zeros(len(x), dtype=bool),
        }
    )
    columns = {f"x{k}": x[:, k] for k in range(covariates)}
    known = pl.DataFrame({"customer_id": ids, "decided_on": when, **columns})
    return TrialWorld(trials, known, true, x, actions)
