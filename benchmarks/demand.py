"""Units by category: what was forecast on past days against what was sold, beside the naive.

    python benchmarks/demand.py [--json FILE] [--from 2017-04-02] [--to 2017-12-31]

Every Sunday of the range on which the horizon ends inside the data is a cut; the product's own `forecast` chooses its
method on what lies before the cut and nothing else. Reported by horizon: WAPE (sum of absolute errors / units sold) of
the forecast and of the naive (mean of the last 28 days), their difference per cut with a 95% interval that counts the
overlap of weeks, bias, and the coverage of the 80% and 95% intervals by volume class and of the sum of all categories.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from mktgen import cleaning, features
from mktgen.foresight.demand import HORIZONS, forecast
from mktgen.settings import Settings
from mktgen.sources.base import Source
from mktgen.sources.complete_journey import open_source
from mktgen.steps.data import weeks

FIRST: Final = date(2017, 1, 1)
LAST: Final = date(2017, 12, 31)


def category_days(source: Source, settings: Settings) -> pl.DataFrame:
    """contracts.CATEGORY_DAYS of the whole data, by the product's own cleaning and fold."""
    raw = source.read_reference()["products"]
    mapping = source.mappings(FIRST, {})["products"]
    items = cleaning.apply(mapping, raw, None, settings.cleaning, settings.source.max_field_chars).good
    promotions, lines = None, []
    for week in weeks(source, FIRST, LAST):
        for day, tables in week:
            inputs = cleaning.Inputs(
                tables, source.mappings(day, {"items": items}), items, promotions, source.is_closed(day)
            )
            clean = cleaning.clean_day(day, inputs, settings.cleaning, settings.source.max_field_chars)
            promotions = clean.tables.get("context_promotions", promotions)
            lines.append(clean.tables["order_lines"])
    return features.fold(features.empty_state(), pl.concat(lines), LAST, settings.features).category_days


def judged(sold: pl.DataFrame, source: Source, settings: Settings, first: date, last: date) -> pl.DataFrame:
    """One row per cut, horizon and category (and their sum): forecast, bounds, naive and what was sold."""
    parts, cut = [], first
    while cut <= last:
        ahead = [cut + timedelta(days=n) for n in range(max(HORIZONS))]
        table, _ = forecast(sold, cut, [day for day in ahead if source.is_closed(day)], settings.foresight)
        for horizon in HORIZONS:
            if cut + timedelta(days=horizon - 1) > last:
                continue
            window = pl.col("business_date").is_between(cut, cut + timedelta(days=horizon - 1))
            actual = sold.filter(window).group_by("category").agg(pl.col("units").sum().alias("actual"))
            total = pl.DataFrame({"category": [""], "actual": [actual["actual"].sum()]})
            mine = table.filter(pl.col("horizon_days") == horizon)
            joined = mine.join(pl.concat([actual, total]), on="category", how="left")
            parts.append(joined.with_columns(pl.col("actual").fill_null(0), pl.lit(cut).alias("cut")))
        cut += timedelta(days=7)
    return pl.concat(parts)


def report(rows: pl.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for horizon in HORIZONS:
        mine = rows.filter(pl.col("horizon_days") == horizon)
        categories, total = mine.filter(pl.col("level") == "category"), mine.filter(pl.col("level") == "all")
        wrong, naive = ((pl.col(name) - pl.col("actual")).abs().sum() for name in ("units", "naive_units"))
        per_cut = categories.group_by("cut").agg(
            (wrong / pl.col("actual").sum()).alias("ours"), (naive / pl.col("actual").sum()).alias("naive")
        )
        better = (per_cut["naive"] - per_cut["ours"]).to_numpy()
        error = better.std(ddof=1) / np.sqrt(max(better.size * 7 / horizon, 1))
        found[f"{horizon}d"] = {
            "cuts": per_cut.height,
            "methods": dict(mine.group_by("method").agg(pl.col("cut").n_unique()).sort("method").iter_rows()),
            "wape": _share(categories, "units"),
            "naive_wape": _share(categories, "naive_units"),
            "advantage_per_cut": [
                float(better.mean()),
                float(better.mean() - 1.96 * error),
                float(better.mean() + 1.96 * error),
            ],
            "cuts_better": int((better > 0).sum()),
            "bias": float((categories["units"] - categories["actual"]).sum() / categories["actual"].sum()),
            "total_ape": _share(total, "units"),
            "naive_total_ape": _share(total, "naive_units"),
            "coverage": _coverage(categories),
            "coverage_total": _coverage(total),
            "by_volume_class": {
                str(number[0]): {
                    "units": float(part["units"].mean() or 0.0),  # type: ignore[arg-type]
                    "wape": _share(part, "units"),
                    "naive_wape": _share(part, "naive_units"),
                    **_coverage(part),
                }
                for number, part in sorted(categories.partition_by("volume_class", as_dict=True).items())
            },
        }
    return found


def _share(rows: pl.DataFrame, name: str) -> float:
    return float((rows[name] - rows["actual"]).abs().sum() / rows["actual"].sum())


def _coverage(rows: pl.DataFrame) -> dict[str, float | None]:
    inside = {level: pl.col("actual").is_between(f"low_{level}", f"high_{level}") for level in (80, 95)}
    known = rows.filter(pl.col("low_80").is_not_null())
    return {f"covered_{level}": known.select(inside[level].mean()).item() for level in (80, 95)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2017, 4, 2))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=LAST)
    arguments = parser.parse_args()
    settings = Settings()
    source = open_source(settings.source, "the benchmark")
    found = report(judged(category_days(source, settings), source, settings, arguments.first, arguments.last))
    text = json.dumps(found, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
