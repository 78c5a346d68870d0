"""Categories of the next 7 days on Complete Journey: product models against the household's own frequency, in one run.

    python -m benchmarks.complete_journey_categories --cache DIR [--model transformer ...] [--seeds 0 1 2]
        [--retrain each-cut|once] [--settings FILE ...] [--json FILE]

Protocol: benchmarks/complete_journey/categories_task.py. Intervals are 95%, by household over all cuts together; `vs` is the
difference to the counted row on the same draws. Each seed of a model is a row. Kinds need a category head.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.complete_journey import command
from benchmarks.complete_journey.categories_task import (
    CategoryWeek,
    categories_before,
    every_pair,
    own_frequency,
    week_at,
)
from benchmarks.complete_journey.data import NOTICE, Tables, canonical
from benchmarks.complete_journey.intervals import Households
from benchmarks.complete_journey.items_task import CUTS, training_at
from benchmarks.complete_journey.product import Retrain, trained
from mktgen import config
from mktgen.evaluation import categories as evaluation
from mktgen.models._neural import NeuralModel
from mktgen.settings import Settings

REFERENCE: Final = "own frequency, half-life 56 d"
METRICS: Final = ("ndcg_at_10", "repeat.ndcg_at_10", "novel.ndcg_at_10")
RESAMPLES: Final = 200
SEED: Final = 20170101  # of the household draws


def learnt(
    kind: str, tables: Tables, weeks: list[CategoryWeek], names: list[str], seed: int, retrain: Retrain, settings: Settings
) -> list[pl.DataFrame]:  # fmt: skip
    """customer_id, category, p_7d of every pair of each week; a category that the model doesn't know gets 0."""
    training = cache(lambda cut: training_at(tables, cut, settings))
    parts = []
    for week, (_, model, _) in zip(weeks, trained(kind, CUTS, seed, retrain, training, settings.models), strict=True):
        if not isinstance(model, NeuralModel):
            raise SystemExit(f"{kind} has no category head")
        known = model.categories(week.history, week.customers, len(names) * 2)
        pairs = every_pair(week.customers, names).join(known, on=["customer_id", "category"], how="left")
        parts.append(pairs.with_columns(pl.col("p_7d").fill_null(0.0)).sort("customer_id", "category"))
    return parts


def figures(
    name: str, weeks: list[CategoryWeek], rows: list[pl.DataFrame], counted: list[pl.DataFrame]
) -> dict[str, Any]:
    """A row's estimates with its differences to the counted row."""
    result: dict[str, Any] = {"row": name}
    (mine, theirs), (own, other) = (
        (pl.concat(evaluation.per_customer(part, week.truth, week.before) for part, week in zip(parts, weeks, strict=True)),
         pl.concat(evaluation.pairs(part, week.truth) for part, week in zip(parts, weeks, strict=True)))
        for parts in (rows, counted)
    )  # fmt: skip
    households = Households(mine["customer_id"], RESAMPLES, SEED)
    for metric in METRICS:
        values, against = (frame[metric].fill_null(float("nan")).to_numpy() for frame in (mine, own))
        result[metric] = asdict(households.mean(values))
        result[f"{metric} vs {REFERENCE}"] = asdict(households.mean(values - against))
    households = Households(theirs["customer_id"], RESAMPLES, SEED)
    label, score, reference = theirs["bought"].to_numpy(), theirs["p_7d"].to_numpy(), other["p_7d"].to_numpy()
    result["micro AUC"] = asdict(households.auc(label, score))
    result[f"micro AUC vs {REFERENCE}"] = asdict(households.auc_difference(label, score, reference))
    return result | {"mean score": float(score.mean()), "bought": float(np.mean(label))}


def show(row: dict[str, Any]) -> None:
    print(f"\n{row['row']}  (mean score {row['mean score']:.4f}, bought {row['bought']:.4f})")
    for metric in (*METRICS, "micro AUC"):
        value, against = row[metric], row[f"{metric} vs {REFERENCE}"]
        print(
            f"  {metric:<18}{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]  "
            f"vs counted {against['value']:+.4f} [{against['low']:+.4f}, {against['high']:+.4f}]",
            flush=True,
        )


def main() -> None:
    arguments = command.arguments(__doc__, "once", "kinds of mktgen.models with a category head").parse_args()
    settings = config.settings(tuple(arguments.settings))
    tables = canonical(arguments.cache, settings)
    names = categories_before(tables, CUTS[0])
    weeks = [week_at(tables, cut, names, settings) for cut in CUTS]
    print(NOTICE, f"{len(names)} categories, households by cut: {[len(week.customers) for week in weeks]}", sep="\n")
    counted = [own_frequency(week, names) for week in weeks]
    rows = [figures(REFERENCE, weeks, counted, counted)]
    show(rows[0])
    for kind in arguments.model:
        for seed in arguments.seeds:
            scores = learnt(kind, tables, weeks, names, seed, arguments.retrain, settings)
            rows.append(figures(f"{kind}, seed {seed}", weeks, scores, counted))
            show(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
