"""Who becomes champion: a challenger must win on the same frozen cut, surely enough; else the incumbent stays.

The bar is the lower bound of the lead, not the estimate. The challenger is the best of the others by point estimate, so
its lead is flattered the more, the more kinds there are: its bound is one of bounds that hold for all of them at once
(bootstrap.mean_leads, auc_leads). In a world where no kind is better, one in twenty cuts promotes one, however many there are.

A kind that failed an honesty gate, or was never held against the untrained line, is no candidate, however good its
figures. Where that is the incumbent, its version of the last training day stays; where there is none yet, the best honest
kind is taken; where there is none of those either, promotion stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np
import polars as pl

from mktgen.documents import Gate, Interval, TaskPromotion
from mktgen.errors import GateFailed, PermanentError
from mktgen.evaluation.bootstrap import auc_leads, mean_leads
from mktgen.evaluation.classification import align, auc, columns

RANKING_METRIC: Final = "ndcg_at_10"
CUSTOMER_METRIC: Final = "auc"

Task = Literal["ranking", "customer"]
_BEARS_ON: Final[Mapping[str, Task]] = {"label_leakage": "customer", "untrained_floor": "ranking"}
# Gates whose question must have been asked: who leaves the untrained kinds out of the settings doesn't get rid of their line.
_MUST_BE_ASKED: Final = frozenset({"untrained_floor"})


def failed_gates(gates: Iterable[Gate], task: Task) -> str:
    """The failed gates that bar a kind from a task, with their details; "" where it may be promoted.

    Leaking customer features bar from the customer task (rankings are learnt from events), the untrained line from ranking,
    every other gate from both. A gate that had nothing to ask (passed is None) bars from nothing, but for the untrained line.
    """
    failed = [gate for gate in gates if _bars(gate) and _BEARS_ON.get(gate.name, task) == task]
    return "; ".join(f"{gate.name}: {gate.detail}" for gate in failed)


def _bars(gate: Gate) -> bool:
    return gate.passed is False or (gate.passed is None and gate.name in _MUST_BE_ASKED)


def mean_of(customers: pl.DataFrame) -> float:
    """NDCG@10 over the households that have one."""
    return float(customers[RANKING_METRIC].drop_nulls().to_numpy().mean())


def promote_ranking(
    customers: Mapping[str, pl.DataFrame],
    incumbent: str,
    *,
    resamples: int,
    seed: int,
    barred: Mapping[str, str] | None = None,
    kept_from: date | None = None,
) -> TaskPromotion:
    """Compare kinds by NDCG@10. `customers`: kind -> ranking.per_customer's frame, all on the same cut.

    `barred`: kind -> why it may not be promoted. `kept_from`: the training day of the champion so far; None where there
    was none. Raises PermanentError where the incumbent was not evaluated, ValueError where kinds were on different
    customers, GateFailed where neither an honest kind nor an earlier champion is there.
    """
    _check_incumbent("ranking", incumbent, customers)
    points = {kind: mean_of(frame) for kind, frame in customers.items()}
    race = _Race("ranking", RANKING_METRIC, incumbent, points, barred or {}, kept_from)
    return race.decide(
        lambda kinds: mean_leads(
            {kind: customers[kind] for kind in kinds}, incumbent, RANKING_METRIC, resamples=resamples, seed=seed
        )
    )


def promote_customer(
    probabilities: Mapping[str, pl.DataFrame],
    outcomes: pl.DataFrame,
    incumbent: str,
    *,
    resamples: int,
    seed: int,
    barred: Mapping[str, str] | None = None,
    kept_from: date | None = None,
) -> TaskPromotion:
    """Compare kinds by the AUC of churn within 28 days (p_churn = 1 - p_purchase_28d).

    `probabilities`: kind -> customer_id, p_purchase_28d; `outcomes`: customer_id, purchased_28d; `barred`, `kept_from` as
    in promote_ranking. Raises PermanentError where the incumbent was not evaluated or the outcomes hold one class only,
    GateFailed as promote_ranking.
    """
    _check_incumbent("customer", incumbent, probabilities)
    churn = {
        kind: columns(align(frame, outcomes), "purchased_28d", "p_purchase_28d")
        for kind, frame in probabilities.items()
    }
    label = ~churn[incumbent][0]
    if label.all() or not label.any():
        raise PermanentError(
            f"promotion of customer: {int(label.sum())} of {label.size} evaluated customers churned; both outcomes are "
            "needed to compare models, evaluate on a longer window"
        )
    scores = {kind: np.subtract(1.0, given[1]) for kind, given in churn.items()}
    points = {kind: auc(label, score) for kind, score in scores.items()}
    race = _Race("customer", CUSTOMER_METRIC, incumbent, points, barred or {}, kept_from)
    return race.decide(
        lambda kinds: auc_leads(
            label, {kind: scores[kind] for kind in kinds}, incumbent, resamples=resamples, seed=seed
        )
    )


def _check_incumbent(task: Task, incumbent: str, kinds: Mapping[str, object]) -> None:
    if incumbent not in kinds:
        raise PermanentError(
            f"promotion of {task}: the incumbent {incumbent!r} was not evaluated on this cut (evaluated: {sorted(kinds)}); "
            "train it too, or set models.initial_champion to an evaluated kind"
        )


@dataclass(frozen=True)
class _Race:
    """One task's kinds with their point estimates, and who is out of it."""

    task: Task
    metric: str
    incumbent: str
    points: Mapping[str, float]
    barred: Mapping[str, str]
    kept_from: date | None

    def decide(self, leads: Callable[[list[str]], Mapping[str, Interval]]) -> TaskPromotion:
        """`leads`: of these kinds, the incumbent among them, the leads of the others, with simultaneous bounds."""
        incumbent, others = self.incumbent, self._others()
        challenger = others[0] if others else None
        difference = leads([incumbent, *others])[others[0]] if others else None
        facts = self._facts(challenger, difference) if challenger and difference else "there is no other candidate"
        if challenger and difference and difference.low > 0:
            return self._promotion(challenger, f"replaces {incumbent}: {facts}; the lower bound is above 0", difference)
        if incumbent not in self.barred:
            if challenger is None:
                return self._promotion(incumbent, "stays: there is no other candidate", None)
            reason = f"stays: {challenger} did not win surely enough, {facts}; the lower bound is not above 0"
            return self._promotion(incumbent, reason, difference, challenger)
        wrong = f"failed {self.barred[incumbent]}"
        if self.kept_from is not None:
            reason = f"of {self.kept_from} stays: today's {wrong}; against it: {facts}"
            return self._promotion(incumbent, reason, difference, challenger, self.kept_from)
        if challenger is not None:
            reason = f"takes the place of {incumbent}, which {wrong}; there was no champion yet, {facts}"
            return self._promotion(challenger, reason, difference)
        told = "; ".join(f"{kind} failed {self.barred[kind]}" for kind in sorted(self.points) if kind in self.barred)
        raise GateFailed(f"promotion of {self.task}: no honest kind, and no earlier champion to keep: {told}")

    def _others(self) -> list[str]:
        """The honest kinds besides the incumbent, the best first; ties by name."""
        honest = self.points.keys() - {self.incumbent, *self.barred}
        return sorted(honest, key=lambda kind: (-self.points[kind], kind))

    def _facts(self, challenger: str, difference: Interval) -> str:
        return (
            f"{self.metric} {self.points[challenger]:.4f} against {self.points[self.incumbent]:.4f}, difference "
            f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        )

    def _promotion(
        self,
        champion: str,
        reason: str,
        difference: Interval | None,
        challenger: str | None = None,
        kept_from: date | None = None,
    ) -> TaskPromotion:
        out = [kind for kind in sorted(self.barred) if kind in self.points]
        left_out = f"; left out: {', '.join(out)}" if out else ""
        return TaskPromotion(
            task=self.task,
            metric=self.metric,
            incumbent=self.incumbent,
            challenger=challenger or champion,
            difference=difference,
            champion=champion,
            reason=f"{champion} {reason}{left_out}",
            barred={kind: self.barred[kind] for kind in out},
            kept_from=kept_from,
        )
