"""A kind of mktgen.models as a row of a benchmark: trained before each cut or once, with several seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Literal

from mktgen import models
from mktgen.models.base import Model, Session, TrainingSet
from mktgen.settings import ModelSettings

Retrain = Literal["each-cut", "once"]


class NoCheckpoints:
    """A benchmark starts again rather than resumes."""

    def load(self) -> dict[str, bytes] | None:
        return None

    def save(self, files: dict[str, bytes]) -> None:
        return None


def trained(
    kind: str,
    cuts: tuple[date, ...],
    seed: int,
    retrain: Retrain,
    data: Callable[[date], TrainingSet],
    settings: ModelSettings,
) -> Iterator[tuple[date, Model, float]]:
    """The model that scores each cut, and the seconds its training took (0 where it was trained for an earlier cut).

    `each-cut`: on everything before the cut, as the product's weekly retraining does. `once`: on everything before the
    first cut; histories are up to date all the same. Raises KeyError naming the kinds there are.
    """
    model: Model | None = None
    for cut in cuts:
        seconds = 0.0
        if model is None or retrain == "each-cut":
            model = models.model_class(kind)()
            training, started = data(cut), time.monotonic()
            model.fit(training, settings, Session(seed, NoCheckpoints(), _say(kind, seed)))
            seconds = time.monotonic() - started
        yield cut, model, seconds


def _say(kind: str, seed: int) -> Callable[[str], None]:
    return lambda line: print(f"[{kind}, seed {seed}] {line}", flush=True)
