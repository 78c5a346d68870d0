"""The untrained line: a ranking that doesn't beat plain counting is not worth serving, whatever else it beats."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from mktgen.documents import Gate
from mktgen.evaluation.bootstrap import paired_difference
from mktgen.evaluation.promotion import RANKING_METRIC, mean_of

NAME: Final = "untrained_floor"


def untrained_floor(
    kind: str, customers: Mapping[str, pl.DataFrame], untrained: Collection[str], *, resamples: int, seed: int
) -> Gate:
    """Passed where `kind` ranks surely better than every untrained kind on the same households (NDCG@10, paired bootstrap).

    `customers`: kind -> ranking.per_customer's frame, all on the same cut; `untrained`: kinds that only count. The best of
    those that were evaluated is the line. It fails itself, so it is never a champion.
    """
    lines = {name: mean_of(customers[name]) for name in sorted(untrained) if name in customers}
    if not lines:
        detail = "no untrained kind was evaluated: add transition_counter or popularity to models.kinds"
        return Gate(name=NAME, passed=None, detail=detail)
    best = max(sorted(lines), key=lambda name: lines[name])
    if kind in lines:
        what = "the untrained line itself" if kind == best else f"untrained too, below {best} at {lines[best]:.4f}"
        detail = f"{RANKING_METRIC} {lines[kind]:.4f}: {what}, to be beaten and not to be served"
        return Gate(name=NAME, passed=False, detail=detail, value=lines[kind] - lines[best], threshold=0.0)
    gap = paired_difference(customers[kind], customers[best], RANKING_METRIC, resamples=resamples, seed=seed)
    detail = (
        f"{RANKING_METRIC} {mean_of(customers[kind]):.4f} against {lines[best]:.4f} of {best}, which only counts: "
        f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
    )
    return Gate(name=NAME, passed=gap.low > 0, detail=detail, value=gap.low, threshold=0.0)
