"""Who becomes champion: a challenger must win on the same frozen cut, surely enough; else the incumbent stays.

The challenger is the best of the others by point estimate, so its lead is a little flattered (a winner's curse that
grows with the number of kinds); the interval is not widened for it. The bar is the lower bound, not the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import polars as pl

from mktgen.documents import Interval, TaskPromotion
from mktgen.errors import PermanentError
from mktgen.evaluation.bootstrap import auc_difference, paired_difference
from mktgen.evaluation.classification import align, auc, columns

RANKING_METRIC: Final = "ndcg_at_10"
CUSTOMER_METRIC: Final = "auc"

Task = Literal["ranking", "customer"]


def promote_ranking(
    customers: Mapping[str, pl.DataFrame], incumbent: str, *, resamples: int, seed: int
) -> TaskPromotion:
    """Compare kinds by NDCG@10. `customers`: kind -> ranking.per_customer's frame, all on the same cut.

    Raises PermanentError where the incumbent was not evaluated, ValueError where kinds were on different customers.
    """
    _check_incumbent("ranking", incumbent, customers)
    points = {kind: float(frame[RANKING_METRIC].drop_nulls().to_numpy().mean()) for kind, frame in customers.items()}
    challenger = _best_other(points, incumbent)
    if challenger is None:
        return _unopposed("ranking", RANKING_METRIC, incumbent)
    difference = paired_difference(
        customers[challenger], customers[incumbent], RANKING_METRIC, resamples=resamples, seed=seed
    )
    return _decide("ranking", RANKING_METRIC, incumbent, challenger, points, difference)


def promote_customer(
    probabilities: Mapping[str, pl.DataFrame], outcomes: pl.DataFrame, incumbent: str, *, resamples: int, seed: int
) -> TaskPromotion:
    """Compare kinds by the AUC of churn within 28 days (p_churn = 1 - p_purchase_28d).

    `probabilities`: kind -> customer_id, p_purchase_28d; `outcomes`: customer_id, purchased_28d. Raises PermanentError
    where the incumbent was not evaluated or the outcomes hold one class only.
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
    challenger = _best_other(points, incumbent)
    if challenger is None:
        return _unopposed("customer", CUSTOMER_METRIC, incumbent)
    difference = auc_difference(label, scores[challenger], scores[incumbent], resamples=resamples, seed=seed)
    return _decide("customer", CUSTOMER_METRIC, incumbent, challenger, points, difference)


def _check_incumbent(task: Task, incumbent: str, kinds: Mapping[str, object]) -> None:
    if incumbent not in kinds:
        raise PermanentError(
            f"promotion of {task}: the incumbent {incumbent!r} was not evaluated on this cut (evaluated: {sorted(kinds)}); "
            "train it too, or set models.initial_champion to an evaluated kind"
        )


def _best_other(points: Mapping[str, float], incumbent: str) -> str | None:
    """The best kind besides the incumbent; ties by name."""
    others = sorted((kind for kind in points if kind != incumbent), key=lambda kind: (-points[kind], kind))
    return others[0] if others else None


def _unopposed(task: Task, metric: str, incumbent: str) -> TaskPromotion:
    return TaskPromotion(
        task=task,
        metric=metric,
        incumbent=incumbent,
        challenger=incumbent,
        difference=None,
        champion=incumbent,
        reason=f"{incumbent} stays: no other kind was evaluated",
    )


def _decide(
    task: Task, metric: str, incumbent: str, challenger: str, points: Mapping[str, float], difference: Interval
) -> TaskPromotion:
    wins = difference.low > 0
    facts = (
        f"{metric} {points[challenger]:.4f} against {points[incumbent]:.4f}, difference {difference.value:+.4f} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
    )
    if wins:
        reason = f"{challenger} replaces {incumbent}: {facts}; the lower bound is above 0"
    else:
        reason = f"{incumbent} stays: {challenger} did not win surely enough, {facts}; the lower bound is not above 0"
    return TaskPromotion(
        task=task,
        metric=metric,
        incumbent=incumbent,
        challenger=challenger,
        difference=difference,
        champion=challenger if wins else incumbent,
        reason=reason,
    )
