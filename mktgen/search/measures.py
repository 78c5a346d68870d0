"""What a model is judged by on the folds: the figures that promotion decides by, and spend.

The objective of a search is the first of them that the kind has. Ranking goes first: the ranking is what most of a
strategy is made of, and each kind with both tasks learns them with the same network, so that the other is watched as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.classification import auc
from mktgen.evaluation.rolling import Cut, Rows, over_cuts

Floats = NDArray[np.float64]
# What is kept of each household at a fold, where the kind has the task.
HOUSEHOLDS: Final[dict[str, type[pl.DataType]]] = {
    "customer_id": pl.String, "ndcg_at_10": pl.Float64, "purchased_28d": pl.Boolean, "p_purchase_28d": pl.Float64,
    "spend_error": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """metric: its name among a model's metrics. sign: +1 where more is better. columns: of HOUSEHOLDS, all not null."""

    name: str
    metric: str
    sign: int
    columns: tuple[str, ...]
    statistic: Callable[[pl.DataFrame], Callable[[Rows], float]]

    def of(self, households: pl.DataFrame) -> pl.DataFrame:
        """The households that count for it, sorted."""
        return households.select("customer_id", *self.columns).drop_nulls().sort("customer_id")

    def value(self, households: pl.DataFrame) -> float:
        """At one fold. Raises ValueError where the households don't define it."""
        mine = self.of(households)
        return self.statistic(mine)(np.arange(mine.height))

    def interval(self, folds: Sequence[pl.DataFrame], *, resamples: int, seed: int) -> Interval:
        """Mean over folds of one model's HOUSEHOLDS frames."""
        cuts = [Cut(mine["customer_id"].to_list(), self.statistic(mine)) for mine in map(self.of, folds)]
        return over_cuts(cuts, resamples=resamples, seed=seed)

    def difference(
        self, challenger: Sequence[pl.DataFrame], incumbent: Sequence[pl.DataFrame], *, resamples: int, seed: int
    ) -> Interval:
        """Mean over folds of challenger - incumbent, on the same households fold by fold.

        Raises ValueError where the households differ.
        """
        cuts = []
        for mine, theirs in zip(map(self.of, challenger), map(self.of, incumbent), strict=True):
            names = mine["customer_id"].to_list()
            if names != theirs["customer_id"].to_list():
                raise ValueError(f"{self.name}: two models were judged on different households of the same fold")
            cuts.append(Cut(names, _minus(self.statistic(mine), self.statistic(theirs))))
        return over_cuts(cuts, resamples=resamples, seed=seed)


def _minus(a: Callable[[Rows], float], b: Callable[[Rows], float]) -> Callable[[Rows], float]:
    return lambda rows: a(rows) - b(rows)


def _mean_of(column: str) -> Callable[[pl.DataFrame], Callable[[Rows], float]]:
    def statistic(households: pl.DataFrame) -> Callable[[Rows], float]:
        values: Floats = households[column].to_numpy()

        def mean(rows: Rows) -> float:
            if not rows.size:
                raise ValueError("a resample drew no household of a cut")
            return float(values[rows].mean())

        return mean

    return statistic


def _churn_auc(households: pl.DataFrame) -> Callable[[Rows], float]:
    churned = ~households["purchased_28d"].to_numpy().astype(np.bool_)
    chance: Floats = 1.0 - households["p_purchase_28d"].to_numpy()
    return lambda rows: auc(churned[rows], chance[rows])


MEASURES: Final = (
    Measure("NDCG@10", "ranking.ndcg_at_10", 1, ("ndcg_at_10",), _mean_of("ndcg_at_10")),
    Measure("churn AUC", "churn_28d.auc", 1, ("purchased_28d", "p_purchase_28d"), _churn_auc),
    Measure("spend MAE", "spend_28d.mae", -1, ("spend_error",), _mean_of("spend_error")),
)
_TASKS: Final = ("ranking", "customer", "spend")


def measures_of(tasks: frozenset[str]) -> list[Measure]:
    """The measures of a kind with these tasks; the first is a search's objective."""
    return [measure for measure, task in zip(MEASURES, _TASKS, strict=True) if task in tasks]
