"""Items newer than the model, on Complete Journey: how well it ranks them by category, and with attributes and text.

    python -m benchmarks.cold_items --cache DIR [--seeds 0 1 2] [--settings FILE ...] [--json FILE]

Protocol. A seeded tenth of the items that the model would know at the first cut is taken out of its vocabulary and of the
attributes it learns from, as if they had become common afterwards; what was bought of them stays in the histories, without
a token. Each cut asks households that buy, in the 7 days from it on, such an item for the first time (at most --households,
drawn by seed). Per household all these items that it never bought are ranked: NDCG@10 with ties by item, and the area
under the ROC curve with ties as one half, against those bought. Trained once, before the first cut; histories are up to
date. Rows: `popularity` is lines of the last 28 days, `category` the model without attributes in training and scoring,
`attributes` the one with them, `hidden` the same weights where the catalogue says nothing of the new items. Intervals:
95%, by household, of the mean over seeds. The cuts lie before all test cuts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.complete_journey.data import NOTICE, Tables, canonical
from benchmarks.complete_journey.intervals import Bools, Floats, Households
from benchmarks.complete_journey.items_task import history_at, training_at
from benchmarks.complete_journey.product import trained
from mktgen import config
from mktgen.contracts import ITEMS
from mktgen.models.base import History, Model, TrainingSet
from mktgen.settings import Settings

CUTS: Final = (date(2017, 9, 3), date(2017, 9, 17))
SHARE: Final = 0.1
SEED: Final = 20170903  # of the items taken out, the households asked and the households' draws
RESAMPLES: Final = 1000
METRICS: Final = ("ndcg_at_10", "auc")
ROWS: Final = ("popularity", "category", "attributes", "hidden")
_TOGETHER: Final = 100  # households ranked at once: each by every item there is

Row = dict[str, Floats]  # metric -> one value per household and cut


@dataclass(frozen=True)
class Week:
    """The households of one cut, in order, by the new items: allowed, never bought before; bought, in the week."""

    history: History
    customers: list[str]
    allowed: Bools
    bought: Bools


def new_items(data: TrainingSet, least: int) -> list[str]:
    """The seeded tenth of the items with at least `least` lines, sorted."""
    known = data.items.filter(pl.col("lines_all") >= least)["item_id"].sort()
    drawn = np.random.default_rng(SEED).choice(known.len(), int(SHARE * known.len()), replace=False)
    return known.gather(np.sort(drawn)).to_list()


def without(data: TrainingSet, items: list[str]) -> TrainingSet:
    """As if these items were bought, but never often enough to be known."""
    return replace(data, items=data.items.filter(~pl.col("item_id").is_in(items)))


def week_at(tables: Tables, cut: date, items: list[str], households: int, settings: Settings) -> Week:
    events = tables.events.filter(pl.col("item_id").is_in(items))
    before = events.filter(pl.col("business_date") < cut).select("customer_id", "item_id").unique()
    span = pl.col("business_date").is_between(cut, cut + timedelta(days=6))
    after = events.filter(span).select("customer_id", "item_id").unique().join(
        before, on=["customer_id", "item_id"], how="anti"
    )  # fmt: skip
    history = history_at(tables, cut, settings)
    buyers = after.join(history.events, on="customer_id", how="semi")["customer_id"].unique().sort()
    count = min(households, buyers.len())
    chosen = buyers.gather(np.sort(np.random.default_rng(SEED).choice(buyers.len(), count, replace=False)))
    mine = history.events.filter(pl.col("customer_id").is_in(chosen.to_list()))
    customers = chosen.to_list()
    known, bought = (placed(pairs.with_columns(score=1.0), customers, items) > 0 for pairs in (before, after))
    return Week(replace(history, events=mine), customers, ~known, bought)


def placed(scores: pl.DataFrame, customers: list[str], items: list[str]) -> Floats:
    """[customers, items] of customer_id, item_id, score; NaN where there is none. Both lists are sorted."""
    own = scores.filter(pl.col("customer_id").is_in(customers) & pl.col("item_id").is_in(items))
    result = np.full((len(customers), len(items)), np.nan)
    row = np.searchsorted(np.array(customers), own["customer_id"].to_numpy().astype(str))
    column = np.searchsorted(np.array(items), own["item_id"].to_numpy().astype(str))
    result[row, column] = own["score"].to_numpy()
    return result


def scored(model: Model, week: Week, items: list[str]) -> Floats:
    """[households, new items] as the product ranks them: among all items it can rank."""
    every = week.history.items.height + week.history.item_attributes.height
    parts = [
        model.rank(week.history, week.customers[low : low + _TOGETHER], every).filter(pl.col("item_id").is_in(items))
        for low in range(0, len(week.customers), _TOGETHER)
    ]
    return placed(pl.concat(parts), week.customers, items)


def popularity(week: Week, items: list[str]) -> Floats:
    lines = pl.DataFrame({"item_id": items}).join(week.history.items, on="item_id", how="left", maintain_order="left")
    row = lines["lines_28d"].fill_null(0.0).to_numpy().astype(np.float64)
    return np.broadcast_to(row, week.allowed.shape)


def judged(scores: Floats, week: Week) -> Row:
    """Each household's metrics; raises ValueError where an item to be ranked has no score."""
    missing = int((week.allowed & np.isnan(scores)).sum())
    if missing:
        raise ValueError(f"{missing} pairs of {week.history.cut} have no score")
    rows = [household(scores[i], week.allowed[i], week.bought[i]) for i in range(len(week.customers))]
    return {name: np.array([row[at] for row in rows]) for at, name in enumerate(METRICS)}


def household(score: Floats, allowed: Bools, bought: Bools) -> tuple[float, float]:
    """NDCG@10, ties by place, and AUC, ties as one half, of the allowed items; at least one of which is bought."""
    values, hit = score[allowed], bought[allowed]
    order = np.argsort(-values, kind="stable")[:10]
    gain = 1.0 / np.log2(np.arange(2, 12))
    ndcg = float(gain[: order.size] @ hit[order] / gain[: min(int(hit.sum()), 10)].sum())
    others: NDArray[np.float64] = np.sort(values[~hit])
    below = np.searchsorted(others, values[hit], "left") + np.searchsorted(others, values[hit], "right")
    return ndcg, float(below.mean() / (2 * max(others.size, 1)))


def learnt(training: TrainingSet, weeks: list[Week], items: list[str], seed: int, settings: Settings) -> dict[str, Row]:
    """The rows of the models: each trained once, for all weeks."""
    bare = replace(training, item_attributes=ITEMS.empty())
    found: dict[str, list[Row]] = {}
    for name, data, hides in (("category", bare, True), ("attributes", training, False)):
        model = next(trained("transformer", CUTS[:1], seed, "once", _always(data), settings.models))[1]
        for week in weeks:
            quiet = replace(week, history=replace(week.history, item_attributes=ITEMS.empty()))
            found.setdefault(name, []).append(judged(scored(model, quiet if hides else week, items), week))
            if not hides:
                found.setdefault("hidden", []).append(judged(scored(model, quiet, items), week))
    return {name: _joined(parts) for name, parts in found.items()}


def _always(data: TrainingSet) -> Callable[[date], TrainingSet]:
    return lambda cut: data


def _joined(parts: list[Row]) -> Row:
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def report(seeds: dict[str, list[Row]], households: Households) -> list[dict[str, Any]]:
    figures = []
    mean = {name: {m: np.mean([row[m] for row in rows], axis=0) for m in METRICS} for name, rows in seeds.items()}
    for name in ROWS:
        row: dict[str, Any] = {"row": name}
        for metric in METRICS:
            values, against = mean[name][metric], mean["category"][metric]
            row[metric] = asdict(households.mean(values))
            row[f"{metric} vs category"] = asdict(households.mean(values - against))
            row[f"{metric} by seed"] = [float(one[metric].mean()) for one in seeds[name]]
        figures.append(row)
    return figures


def show(figures: list[dict[str, Any]]) -> None:
    for metric in METRICS:
        print(f"\n{metric:<14}{'value':>8}  95%               minus category            seeds")
        for row in figures:
            value, against, seeds = row[metric], row[f"{metric} vs category"], row[f"{metric} by seed"]
            print(
                f"{row['row']:<14}{value['value']:8.4f}  [{value['low']:.4f}, {value['high']:.4f}]  "
                f"{against['value']:+.4f} [{against['low']:+.4f}, {against['high']:+.4f}]  "
                f"{min(seeds):.4f} to {max(seeds):.4f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the canonical tables (160 MB)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--households", type=int, default=400, help="asked at each cut")
    parser.add_argument("--settings", nargs="*", default=[], help="overlays of the settings, for the model")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = config.settings(tuple(arguments.settings))
    tables = canonical(arguments.cache, settings)
    data = training_at(tables, CUTS[0], settings)
    items = new_items(data, settings.models.transformer.min_item_lines)
    weeks = [week_at(tables, cut, items, arguments.households, settings) for cut in CUTS]
    facts = {
        "new items": len(items),
        "households": {week.history.cut.isoformat(): len(week.customers) for week in weeks},
        "items to rank": round(float(np.mean([week.allowed.sum(1).mean() for week in weeks])), 1),
        "items bought": round(float(np.mean([week.bought.sum(1).mean() for week in weeks])), 2),
    }
    print(NOTICE, *(f"{name}: {value}" for name, value in facts.items()), sep="\n", flush=True)
    counted = _joined([judged(popularity(week, items), week) for week in weeks])
    seeds: dict[str, list[Row]] = {"popularity": [counted]}
    for seed in arguments.seeds:
        for name, row in learnt(without(data, items), weeks, items, seed, settings).items():
            seeds.setdefault(name, []).append(row)
    names = pl.Series([name for week in weeks for name in week.customers])
    figures = report(seeds, Households(names, RESAMPLES, SEED))
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps({"facts": facts, "rows": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
