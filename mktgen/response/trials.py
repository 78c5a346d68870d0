"""Which trials may teach an effect: those whose action was drawn with known chances, and how likely each action was.

What: the chances of a trial's actions. Formula: as logged, e_a = P(a | the customer's action set). Where held-out
customers are admitted, being held out (by a hash of the customer, share s) is part of the draw, and

    e_no_contact = s + (1 - s) p_no_contact,      e_a = (1 - s) p_a,      p = the logged chances, given not held out.

Assumption: the draw depended on nothing but what is logged; the hash is independent of everything. When it fails: a
hold-out is permanent, so a held-out customer's covariates are those of somebody never contacted. Averages stay right,
but they compare whole histories of contact, and covariates that contact moves (coupons, visits) are then not balanced.
So held-out trials come in only where the caller states the share, and the balance is among the checks.
Reference: Horvitz and Thompson (1952); Imbens and Rubin, Causal Inference (2015), ch. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.contracts import TRIALS
from mktgen.errors import PermanentError

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]

NO_CONTACT: Final = "no_contact"
NOT_CONTACTED: Final = -1  # in Trials.drawn
_TOLERANCE: Final = 1e-6
_SHARE_ERRORS: Final = 5.0  # standard errors that the share of held-out customers may be off


class NotRandomised(PermanentError):
    """Trials that can't teach an effect: the message names each reason, how many rows it holds for, and an example."""


class TooFewTrials(PermanentError):
    """Fewer randomised trials than anything may be learned from."""


@dataclass(frozen=True)
class Trials:
    """Admitted trials, sorted by customer, day and decision. n trials, A actions besides no contact.

    frame: TRIALS. actions: sorted names. drawn [n]: index of the action, NOT_CONTACTED (-1) for no contact. chance [n, A]
    and chance_none [n]: of each action and of no contact, 0 where an action was not in the set. customer [n]: numbered
    0, 1, ... in order. dropped: reason -> rows left out.
    """

    frame: pl.DataFrame
    actions: list[str]
    drawn: Integers
    chance: Matrix
    chance_none: Matrix
    customer: Integers
    dropped: dict[str, int]

    @property
    def contrast(self) -> Matrix:
        """[n, A]: 1[drawn = a] - e_a, of mean 0 given all that was known at the draw."""
        return np.equal.outer(self.drawn, np.arange(len(self.actions))).astype(np.float64) - self.chance

    def age_weight(
        self, partition: date, half_life_days: float, doubted_before: date | None = None, doubted_weight: float = 1.0
    ) -> Matrix:
        """[n]: 2^(-age / half-life), times `doubted_weight` where decided before `doubted_before` (None: nothing is doubted).

        The power prior of Ibrahim & Chen, Statistical Science 15 (2000): what is doubted counts as a share of what it is.
        """
        age = (pl.lit(partition) - pl.col("decided_on")).dt.total_days().cast(pl.Float64)
        weight: Matrix = np.exp2(-self.frame.select(age).to_series().to_numpy() / half_life_days)
        if doubted_before is None:
            return weight
        doubted = (self.frame["decided_on"] < doubted_before).to_numpy()
        return np.where(doubted, doubted_weight, 1.0) * weight


def admit(trials: pl.DataFrame, partition: date, holdout_share: float | None = None) -> Trials:
    """The randomised ones among `trials` (contracts.TRIALS), decided before `partition`.

    Left out and counted: trials with one possible action; held-out ones where `holdout_share` is None. Raises
    NotRandomised where a row's chances are missing or contradict it, a reward isn't finite, the share of held-out
    customers isn't the stated one, or nothing is left; ContractError for another shape.
    """
    ordered = TRIALS.check(trials).sort("customer_id", "decided_on", "decision_id")
    _refuse_broken(ordered, partition)
    dropped = {}
    if holdout_share is None:
        dropped["held out, and the share is not stated"] = int(ordered["holdout"].sum())
        ordered = ordered.filter(~pl.col("holdout"))
    possible = pl.col("action_propensities").list.eval((pl.element() > 0).cast(pl.Int64)).list.sum()
    dropped["one possible action"] = ordered.filter(possible < 2).height
    ordered = ordered.filter(possible >= 2)
    dropped = {reason: rows for reason, rows in dropped.items() if rows}
    if ordered.is_empty():
        raise NotRandomised(
            f"none of {trials.height} trials was randomised (left out: {dropped or 'none given'}): log propensities, and let "
            "the policy explore"
        )
    if holdout_share is not None:
        _check_share(ordered, holdout_share)
    actions, chance, chance_none = _chances(ordered, holdout_share or 0.0)
    numbers = {name: number for number, name in enumerate(actions)} | {NO_CONTACT: NOT_CONTACTED}
    drawn = ordered["action"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    customer = ordered["customer_id"].rle_id().cast(pl.Int64).to_numpy()
    return Trials(ordered, actions, drawn, chance, chance_none, customer, dropped)


def _refuse_broken(trials: pl.DataFrame, partition: date) -> None:
    chances, actions = pl.col("action_propensities"), pl.col("action_set")
    logged = (
        chances.is_not_null()
        & pl.col("propensity").is_not_null()
        & ~chances.list.eval(pl.element().is_null()).list.any()
    )
    aligned = logged & (chances.list.len() == actions.list.len())
    own = pl.col("own")
    sound = chances.list.eval(pl.element().is_between(0, 1)).list.all() & ((chances.list.sum() - 1).abs() <= _TOLERANCE)
    rules = {
        "propensities were not logged": ~logged,
        "propensities are not as many as actions": logged & ~aligned,
        "the action set names an action twice": actions.list.n_unique() != actions.list.len(),
        "the action set lacks no_contact": ~actions.list.contains(NO_CONTACT),
        "propensities are no distribution": aligned & ~sound,
        "the action was impossible": aligned & ((own.is_null()) | (own <= 0)),
        "the logged propensity is another action's": aligned & ((own - pl.col("propensity")).abs() > _TOLERANCE),
        "held out, yet contacted": pl.col("holdout") & (pl.col("action") != NO_CONTACT),
        "the reward is not finite": ~pl.col("reward_minor").is_finite(),
        f"not decided before {partition}": pl.col("decided_on") >= partition,
    }
    judged = trials.join(_own_chance(trials), on="decision_id", how="left", maintain_order="left")
    found = []
    for reason, rule in rules.items():
        broken = judged.filter(rule.fill_null(True))
        if broken.height:
            found.append(f"{reason}: {broken.height} (e.g. decision {broken['decision_id'][0]})")
    if found:
        raise NotRandomised(f"{len(found)} reasons against {trials.height} trials: " + "; ".join(found))


def _own_chance(trials: pl.DataFrame) -> pl.DataFrame:
    """decision_id, own: the chance that stands beside the drawn action; no row where there is none."""
    lengths = pl.col("action_set").list.len() == pl.col("action_propensities").list.len()
    pairs = _pairs(trials.filter(lengths))
    own = pairs.filter(pl.col("action_set") == pl.col("action")).group_by("decision_id").agg(pl.col("own").first())
    return own.select("decision_id", "own")


def _pairs(trials: pl.DataFrame) -> pl.DataFrame:
    columns = trials.select("decision_id", "action", "action_set", pl.col("action_propensities").alias("own"))
    return columns.filter(pl.col("action_set").list.len() > 0).explode("action_set", "own")


def _check_share(trials: pl.DataFrame, share: float) -> None:
    """Customers, not rows, are held out: their share is binomial around the stated one."""
    if not 0 <= share < 1:
        raise NotRandomised(f"holdout_share is {share}: a share of customers lies in [0, 1)")
    customers = trials.group_by("customer_id").agg(pl.col("holdout").any())
    found, number = float(customers["holdout"].mean() or 0.0), customers.height  # type: ignore[arg-type]
    error = math.sqrt(max(share * (1 - share), 1e-12) / number)
    if abs(found - share) > _SHARE_ERRORS * error:
        raise NotRandomised(
            f"{found:.2%} of {number} customers with a choice are held out, {share:.2%} was stated: the action sets of "
            "held-out rows must be those they would have been drawn from"
        )


def _chances(trials: pl.DataFrame, share: float) -> tuple[list[str], Matrix, Matrix]:
    """Names of the actions, their chances [n, A] and that of no contact [n]."""
    rows = trials.with_row_index("row").select("row", "action_set", pl.col("action_propensities").alias("own"))
    pairs = rows.explode("action_set", "own").filter(pl.col("own") > 0)
    actions = sorted(set(pairs["action_set"].unique().to_list()) - {NO_CONTACT})
    numbers = {name: number for number, name in enumerate(actions)} | {NO_CONTACT: len(actions)}
    column = pairs["action_set"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    chance = np.zeros((trials.height, len(actions) + 1))
    chance[pairs["row"].to_numpy(), column] = (1 - share) * pairs["own"].to_numpy()
    return actions, np.ascontiguousarray(chance[:, :-1]), chance[:, -1] + share
