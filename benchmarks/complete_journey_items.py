"""Next 7 days' items on Complete Journey: product models against counted baselines, in full ranking, in one run.

    python -m benchmarks.complete_journey_items --cache DIR [--model transformer ...] [--seeds 0 1 2]
        [--retrain each-cut|once] [--plan with|without ...] [--settings FILE ...] [--json FILE]

Protocol: benchmarks/complete_journey/items_task.py. Intervals are 95%, by household over all cuts together; `vs` is the
difference to the TIFU-like row on the same draws. A model's row is the mean over its seeds, with the smallest and the
largest seed's NDCG@10 beside it; its interval is of that mean, so it holds the households' chance and not the seeds'.
`with plan`: next week's promotions are taken as known at the cut, which the data doesn't say; `without`: no promotion plan at
all, in training and scoring.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from functools import cache
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl

from benchmarks.complete_journey import command
from benchmarks.complete_journey.counters import COUNTERS
from benchmarks.complete_journey.data import NOTICE, Tables, canonical
from benchmarks.complete_journey.intervals import Floats, Households
from benchmarks.complete_journey.items_task import (
    CUTS,
    METRICS,
    PARTS,
    RANKED,
    Week,
    catalogue,
    evaluate,
    training_at,
    week_at,
)
from benchmarks.complete_journey.product import Retrain, trained
from mktgen import config
from mktgen.contracts import ITEM_PROMOTIONS
from mktgen.models.base import History, TrainingSet
from mktgen.settings import Settings

REFERENCE: Final = "TIFU-like"
RESAMPLES: Final = 1000
SEED: Final = 20170101  # of the household draws
NAMES: Final = tuple(part + metric for part in PARTS for metric in METRICS)

Known = TypeVar("Known", History, TrainingSet)
Row = dict[str, Floats]  # metric -> one value per household and cut, in the order of the weeks


def counted(weeks: list[Week], items: list[str]) -> tuple[dict[str, Row], dict[str, float]]:
    """The rows of the baselines and their seconds."""
    rows, seconds = {}, {}
    for name, counter in COUNTERS.items():
        started = time.monotonic()
        frames = [evaluate(week, counter(week.history, week.customers, items, RANKED), items) for week in weeks]
        rows[name], seconds[name] = _values(frames), time.monotonic() - started
        print(f"{name}: {seconds[name]:.0f} s", flush=True)
    return rows, seconds


def _told(known: Known, plan: bool) -> Known:
    return known if plan else replace(known, promotions=ITEM_PROMOTIONS.empty())


def learnt(
    kind: str,
    tables: Tables,
    weeks: list[Week],
    items: list[str],
    seeds: list[int],
    retrain: Retrain,
    settings: Settings,
    plan: bool,
) -> tuple[list[Row], float]:
    """One row per seed, and the seconds of all trainings."""
    training = cache(lambda cut: _told(training_at(tables, cut, settings), plan))
    by_cut = {week.history.cut: replace(week, history=_told(week.history, plan)) for week in weeks}
    rows, spent = [], 0.0
    for seed in seeds:
        frames = []
        for cut, model, seconds in trained(kind, CUTS, seed, retrain, training, settings.models):
            week = by_cut[cut]
            frames.append(evaluate(week, model.rank(week.history, week.customers, RANKED), items))
            spent += seconds
        rows.append(_values(frames))
    return rows, spent


def _values(frames: list[pl.DataFrame]) -> Row:
    every = pl.concat(frames)
    return {name: every[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in NAMES}


def report(name: str, seeds: list[Row], reference: Row, households: Households) -> dict[str, Any]:
    """A row's figures: estimates, differences to the reference, and the spread of the seeds."""
    mean = {metric: np.mean([row[metric] for row in seeds], axis=0) for metric in NAMES}
    figures: dict[str, Any] = {"row": name, "seeds": len(seeds)}
    for metric in NAMES:
        figures[metric] = asdict(households.mean(mean[metric]))
        figures[f"{metric} vs {REFERENCE}"] = asdict(households.mean(mean[metric] - reference[metric]))
        if len(seeds) > 1:
            figures[f"{metric} by seed"] = [float(np.nanmean(row[metric])) for row in seeds]
    return figures


def show(figures: list[dict[str, Any]]) -> None:
    for part in PARTS:
        title = part.rstrip(".") or "overall"
        header = "  ".join(f"{name:>8}" for name in ("R@10", "N@10", "R@20", "N@20"))
        print(f"\n{title:<26}{header}  N@10 interval      N@10 vs {REFERENCE}")
        for row in figures:
            cells = "  ".join(f"{row[part + metric]['value']:8.4f}" for metric in METRICS)
            value, against = row[f"{part}ndcg_at_10"], row[f"{part}ndcg_at_10 vs {REFERENCE}"]
            spread = row.get(f"{part}ndcg_at_10 by seed")
            print(
                f"{row['row']:<26}{cells}  [{value['low']:.4f}, {value['high']:.4f}]  "
                f"{against['value']:+.4f} [{against['low']:+.4f}, {against['high']:+.4f}]"
                + (f"  seeds {min(spread):.4f} to {max(spread):.4f}" if spread else "")
            )


def main() -> None:
    parser = command.arguments(__doc__, "each-cut")
    parser.add_argument("--plan", nargs="+", choices=("with", "without"), default=["with", "without"])
    arguments = parser.parse_args()
    settings = config.settings(tuple(arguments.settings))
    tables = canonical(arguments.cache, settings)
    items = catalogue(tables, CUTS[0])
    weeks = [week_at(tables, cut, items, settings) for cut in CUTS]
    facts = describe(weeks, items)
    print(NOTICE, *(f"{name}: {value}" for name, value in facts.items()), sep="\n", flush=True)
    rows, seconds = counted(weeks, items)
    households = Households(pl.Series([name for week in weeks for name in week.customers]), RESAMPLES, SEED)
    figures = [
        report(name, [row], rows[REFERENCE], households) | {"seconds": seconds[name]} for name, row in rows.items()
    ]
    for kind in arguments.model:
        for plan in arguments.plan:
            runs, spent = learnt(
                kind, tables, weeks, items, arguments.seeds, arguments.retrain, settings, plan == "with"
            )
            figures.append(report(f"{kind}, {plan} plan", runs, rows[REFERENCE], households) | {"seconds": spent})
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps({"facts": facts, "rows": figures}, indent=1) + "\n")


def describe(weeks: list[Week], items: list[str]) -> dict[str, Any]:
    pairs = sum(week.truth.height for week in weeks)
    repeats = sum(week.truth.join(week.before, on=["customer_id", "item_id"], how="semi").height for week in weeks)
    households = sum(len(week.customers) for week in weeks)
    return {
        "catalogue": f"{len(items)} items, fixed before {CUTS[0]}",
        "households": {week.history.cut.isoformat(): len(week.customers) for week in weeks},
        "items_per_household": round(pairs / households, 2),
        "repeat_share": round(repeats / pairs, 4),
    }


if __name__ == "__main__":
    main()
