"""Kinds against kinds on the same rolling cuts, each with today's settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from mktgen import config, models
from mktgen.documents import Interval
from mktgen.errors import PermanentError
from mktgen.search.folds import Past, read_past, rolling_cuts
from mktgen.search.learning import Learned, TrialFailed, learning
from mktgen.search.measures import Measure, measures_of
from mktgen.steps.runner import Platform

_CODE: Final = (
    "search.comparison", "search.measures", "search.learning", "search.folds", "steps.worlds", "steps.judging", "models",
    "features", "evaluation",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One kind and one measure: a value per fold, and their mean with its interval."""

    kind: str
    measure: str
    folds: list[float]
    mean: Interval


@dataclass(frozen=True)
class Comparison:
    """learned: kind -> its folds, in the order of `cuts`. failed: kind -> why it is in no line."""

    day: date
    cuts: list[date]
    seed: int
    identity: str
    past: Past
    lines: list[Line]
    learned: dict[str, list[Learned]]
    failed: dict[str, str]


def crossvalidate(
    platform: Platform,
    kinds: Sequence[str],
    day: date,
    *,
    folds: int = 4,
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Judge kinds at rolling cuts before a training of `day`.

    A kind that can't be trained is left out with its reason. Raises PermanentError for an unknown kind or too little
    history, MissingArtefact where days are not stored.
    """
    unknown = sorted(set(kinds) - set(models.kinds()))
    if unknown or not kinds:
        raise PermanentError(f"no model kind {', '.join(unknown) or 'was named'}; kinds: {', '.join(models.kinds())}")
    settings, past = platform.settings, read_past(platform, day)
    cuts = rolling_cuts(past.end, folds, past.first_day)
    wanted = sorted(set(kinds))
    facts = [
        wanted, day.isoformat(), [cut.isoformat() for cut in cuts], settings.seed, past.digest(past.end),
        config.config_version((settings.models, settings.features)), config.code_version(_CODE),
    ]  # fmt: skip
    identity = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    learned, failed = dict[str, list[Learned]](), dict[str, str]()
    with learning(platform, past, say) as place:
        for kind in wanted:
            labels = {cut: f"[{kind}, fold {number}]" for number, cut in enumerate(cuts, start=1)}
            try:
                learned[kind] = [place.learn(kind, settings.models, cut, labels[cut]) for cut in cuts]
            except TrialFailed as error:
                failed[kind] = str(error)
                say(f"[{kind}] failed: {error}")
    if not learned:
        raise PermanentError(f"nothing to compare: {'; '.join(f'{kind}: {why}' for kind, why in failed.items())}")
    lines = []
    for kind, found in learned.items():
        for measure in measures_of(models.model_class(kind).tasks):
            try:
                lines.append(_line(kind, measure, found, settings.models.bootstrap, settings.seed))
            except ValueError as error:  # not defined on these households, e.g. all of them came back
                failed[f"{kind}, {measure.name}"] = str(error)
    return Comparison(day, cuts, settings.seed, identity, past, lines, learned, failed)


def _line(kind: str, measure: Measure, folds: list[Learned], resamples: int, seed: int) -> Line:
    tables = [one.households for one in folds]
    values = [measure.value(table) for table in tables]
    return Line(kind, measure.name, values, measure.interval(tables, resamples=resamples, seed=seed))
