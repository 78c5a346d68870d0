"""Intervals over several cuts in time. Households are drawn with all that they did at every cut.

A household that shops at four cuts is one independent unit and not four: drawing its rows apart would make the interval
too narrow (cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). Covers
the chance of which households there are; not that of the cuts (other months may differ) nor of a training's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.bootstrap import LEVEL

Rows = NDArray[np.int64]
_TRIES: Final = 20  # draws per resample until the statistic is defined at every cut


@dataclass(frozen=True)
class Cut:
    """What is known at one cut. households: one per row, each once. statistic: of rows, given as often as they were drawn;
    it raises ValueError where these don't define it (an AUC of one class)."""

    households: Sequence[str]
    statistic: Callable[[Rows], float]

    def value(self) -> float:
        return self.statistic(np.arange(len(self.households)))


def over_cuts(cuts: Sequence[Cut], *, resamples: int, seed: int) -> Interval:
    """The mean of the cuts' statistics, each cut counting the same, with its 95% percentile interval.

    Raises ValueError where there is no cut, a cut has no household, or resamples leave a statistic undefined.
    """
    if not cuts or not all(len(cut.households) for cut in cuts):
        raise ValueError("an interval over cuts needs at least one cut, and households at each of them")
    names = sorted({household for cut in cuts for household in cut.households})
    place = {household: index for index, household in enumerate(names)}
    rows = [np.array([place[household] for household in cut.households], dtype=np.int64) for cut in cuts]
    rng = np.random.default_rng(seed)
    draws = [_drawn(rng, cuts, rows, len(names)) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(np.mean([cut.value() for cut in cuts]))
    method = f"household bootstrap over {len(cuts)} cuts, {resamples} resamples"
    return Interval(value=value, low=float(low), high=float(high), method=method)


def _drawn(rng: np.random.Generator, cuts: Sequence[Cut], rows: Sequence[Rows], households: int) -> float:
    reason: ValueError | None = None
    for _ in range(_TRIES):
        times = np.bincount(rng.integers(0, households, households), minlength=households)
        try:
            values = [
                cut.statistic(np.repeat(np.arange(mine.size), times[mine]))
                for cut, mine in zip(cuts, rows, strict=True)
            ]
        except ValueError as error:
            reason = error
            continue
        return float(np.mean(values))
    raise ValueError(f"too few households for an interval over {len(cuts)} cuts: {reason}")
