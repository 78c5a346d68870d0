"""Personal frequency: what a customer bought often and lately comes again; popular items fill up the rest.

Ranking: TopPersonal in the next-basket literature (Hu et al., "Modeling Personalized Item Frequency Information for
Next-basket Recommendation", SIGIR 2020), here with exponential decay. Customer task: logistic regression on the own
order frequency of 84 days ("freq-12w").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl

from mktgen.models import _files
from mktgen.models._customer_task import HORIZONS, feature_matrix, labelled, probability_frame, target
from mktgen.models._interactions import encode, popularity, rank_dense
from mktgen.models._logistic import Logistic
from mktgen.models.base import FitReport, History, Model, Session, Task, TrainingSet
from mktgen.models.popularity import universe
from mktgen.settings import ModelSettings

HALF_LIFE_DAYS = 56.0
POPULARITY_WEIGHT = 1e-6  # below any own purchase of the last three years: it orders unseen items and breaks ties
_FEATURES = ("orders_84d",)


class PersonalFrequency(Model):
    """score = sum over own purchases of 0.5 ** (age / 56 d) + 1e-6 * popularity / max popularity."""

    kind: ClassVar[str] = "personal_frequency"
    tasks: ClassVar[frozenset[Task]] = frozenset({"ranking", "customer"})

    def __init__(self, regressions: dict[int, Logistic] | None = None) -> None:
        self._regressions = regressions or {}

    def fit(self, data: TrainingSet, settings: ModelSettings, session: Session) -> FitReport:
        examples = labelled(data)
        values = feature_matrix(examples, _FEATURES)
        self._regressions = {h: Logistic.fit(_FEATURES, values, target(examples, h), c=1.0) for h in HORIZONS}
        parameters: dict[str, float | int | str | bool] = {
            "half_life_days": HALF_LIFE_DAYS,
            "popularity_weight": POPULARITY_WEIGHT,
            "customer_features": ",".join(_FEATURES),
        }
        return FitReport(parameters=parameters, metrics={"examples": float(examples.height)})

    def rank(self, history: History, customers: list[str], k: int) -> pl.DataFrame:
        known = encode(history.events, history.cut, customers, universe(history))
        own = known.decayed(HALF_LIFE_DAYS)
        popular = popularity(history.items, known.items)
        fill = POPULARITY_WEIGHT * popular / max(1.0, float(popular.max(initial=0.0)))
        return rank_dense(known, lambda low, high: own[low:high].toarray() + fill, k)

    def probabilities(self, history: History, customers: list[str]) -> pl.DataFrame:
        return probability_frame(
            history, customers, _FEATURES, lambda horizon, values: self._regressions[horizon].probability(values)
        )

    def save(self, directory: Path) -> None:
        body: dict[str, Any] = {str(h): model.to_json() for h, model in self._regressions.items()}
        _files.write_meta(directory, self.kind, {"half_life_days": HALF_LIFE_DAYS, "regressions": body})

    @classmethod
    def load(cls, directory: Path) -> Self:
        body = _files.read_meta(directory, cls.kind)
        return cls({int(h): Logistic.from_json(value) for h, value in body["regressions"].items()})
