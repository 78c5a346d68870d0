"""The items task: which items a household buys in the 7 days from a cut on, ranked over a whole catalogue.

Protocol. Catalogue: merchandise items bought by at least 10 households before the first test cut, so that nothing of
the test period decides what is ranked. Eligible: households with an order in the 84 days before the cut; evaluated are
those that bought a catalogue item in the week. A repeat is an item bought ever before the cut; novel items are ranked
apart from repeats, against the novel items bought. Items outside the catalogue are neither ranked nor counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.complete_journey.data import Tables, without_sequences
from mktgen import features
from mktgen.features.training import training_examples, weekly_cuts
from mktgen.models.base import History, TrainingSet
from mktgen.settings import Settings

CUTS: Final = (date(2017, 10, 1), date(2017, 10, 29), date(2017, 11, 26))
MIN_HOUSEHOLDS: Final = 10
RANKED: Final = 100  # asked of every ranking, seen and unseen apart; items outside the catalogue are dropped from it
PARTS: Final = ("", "repeat.", "novel.")
METRICS: Final = ("recall_at_10", "ndcg_at_10", "recall_at_20", "ndcg_at_20")
_PAIR: Final = ["customer_id", "item_id"]

Ranker = Callable[[History, list[str]], pl.DataFrame]


@dataclass(frozen=True)
class Week:
    """One test cut. truth: customer_id, item_id bought in the 7 days from it on. before: pairs bought before it."""

    history: History
    customers: list[str]
    truth: pl.DataFrame
    before: pl.DataFrame


def catalogue(tables: Tables, until: date) -> list[str]:
    """Merchandise items with at least 10 households before `until`, sorted."""
    known = tables.events.filter(pl.col("business_date") < until)
    counts = known.group_by("item_id").agg(pl.col("customer_id").n_unique().alias("households"))
    return counts.filter(pl.col("households") >= MIN_HOUSEHOLDS)["item_id"].sort().to_list()


def week_at(tables: Tables, cut: date, items: list[str], settings: Settings) -> Week:
    inside = pl.col("item_id").is_in(items)
    before = tables.events.filter(pl.col("business_date") < cut)
    span = pl.col("business_date").is_between(cut, cut + timedelta(days=6))
    truth = tables.events.filter(span & inside).select(_PAIR).unique()
    lines = tables.lines.filter(pl.col("business_date") < cut)
    active = lines.filter(pl.col("business_date") >= cut - timedelta(days=settings.features.active_days))
    customers = truth.join(active, on="customer_id", how="semi")["customer_id"].unique().sort().to_list()
    truth = truth.filter(pl.col("customer_id").is_in(customers)).sort(_PAIR)
    return Week(history_at(tables, cut, settings), customers, truth, before.select(_PAIR).unique())


def history_at(tables: Tables, cut: date, settings: Settings) -> History:
    """What is known at the cut: every event before it (the product keeps the last 2048 of a customer), and features."""
    state = state_at(tables, cut, settings)
    events = tables.events.filter(pl.col("business_date") < cut)
    return History(
        cut,
        events,
        features.customer_features(state, cut),
        features.item_features(state, cut),
        **known_before(tables, cut),
    )


def training_at(tables: Tables, cut: date, settings: Settings) -> TrainingSet:
    """What the product trains on at a cut (see mktgen.steps.training): every event, and weekly customer examples."""
    lines = tables.lines.filter(pl.col("business_date") < cut)
    first = lines["business_date"].min()
    assert isinstance(first, date)
    cuts = weekly_cuts(cut, settings.models.train_cuts, first)
    items = features.item_features(state_at(tables, cut, settings), cut)
    examples = training_examples(lines, cuts, without_sequences(settings.features))
    return TrainingSet(cut, features.history_events(lines), examples, items, **known_before(tables, cut))


def known_before(tables: Tables, cut: date) -> dict[str, Any]:
    """The source's catalogue and demographics, which have no dates, and the promotion plans that had come in."""
    plans = tables.table("item_promotions").filter(pl.col("known_on") < cut)
    return {
        "item_attributes": tables.table("items"),
        "customer_attributes": tables.table("customers"),
        "promotions": plans,
    }


def state_at(tables: Tables, cut: date, settings: Settings) -> features.State:
    """For features only: its sequences are cut short."""
    lines = tables.lines.filter(pl.col("business_date") < cut)
    return features.fold(features.empty_state(), lines, cut - timedelta(days=1), without_sequences(settings.features))


def evaluate(week: Week, ranking: pl.DataFrame, items: list[str]) -> pl.DataFrame:
    """customer_id and every metric of every part for the week's customers, sorted; null: bought nothing of that part.

    ranking: Model.rank's frame; merged over seen and unseen by score, ties by item_id. With g(r) = 1 where the item at
    place r was bought and n the number bought: recall@k = sum_{r<=k} g(r) / n; ndcg@k = sum_{r<=k} g(r) / log2(r + 1)
    over the same sum for min(k, n) hits in front. Raises ValueError where a customer has no ranking.
    """
    ranked = ranking.select(*_PAIR, "score").filter(pl.col("item_id").is_in(items))
    missing = set(week.customers) - set(ranked["customer_id"].unique())
    if missing:
        raise ValueError(f"{len(missing)} customers of {week.history.cut} have no ranking, e.g. {sorted(missing)[:3]}")
    known = week.before.with_columns(pl.lit(True).alias("repeat"))
    hits = week.truth.with_columns(pl.lit(True).alias("hit"))
    ranked = ranked.join(hits, on=_PAIR, how="left").join(known, on=_PAIR, how="left")
    ranked = ranked.with_columns(pl.col("hit", "repeat").fill_null(False))
    ranked = ranked.sort(["customer_id", "score", "item_id"], descending=[False, True, False])
    bought = week.truth.join(known, on=_PAIR, how="left").with_columns(pl.col("repeat").fill_null(False))
    result = pl.DataFrame({"customer_id": week.customers})
    for part in PARTS:
        wanted = pl.lit(True) if not part else pl.col("repeat") == (part == "repeat.")
        rows = _part(ranked.filter(wanted), bought.filter(wanted)).rename({name: part + name for name in METRICS})
        result = result.join(rows, on="customer_id", how="left", maintain_order="left")
    return result


def _part(ranked: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    place = pl.int_range(1, pl.len() + 1).over("customer_id").alias("place")
    gain = 1.0 / (pl.col("place") + 1.0).log(2.0)
    hits = ranked.with_columns(place).filter("hit").group_by("customer_id", maintain_order=True)
    found = hits.agg(
        *((pl.col("place") <= k).sum().alias(f"hits_{k}") for k in (10, 20)),
        *(gain.filter(pl.col("place") <= k).sum().alias(f"dcg_{k}") for k in (10, 20)),
    )
    ideal = pl.DataFrame({"n": np.arange(1, 21), "ideal": np.cumsum(1.0 / np.log2(np.arange(2, 22)))})
    joined = bought.group_by("customer_id").agg(pl.len().cast(pl.Int64).alias("n"))
    joined = joined.join(found, on="customer_id", how="left").with_columns(
        pl.col("hits_10", "hits_20", "dcg_10", "dcg_20").fill_null(0)
    )
    for k in (10, 20):
        best = ideal.rename({"ideal": f"ideal_{k}", "n": f"n_{k}"})
        joined = joined.with_columns(pl.col("n").clip(1, k).alias(f"n_{k}")).join(best, on=f"n_{k}", how="left")
    return joined.select(
        "customer_id",
        *((pl.col(f"hits_{k}") / pl.col("n")).alias(f"recall_at_{k}") for k in (10, 20)),
        *((pl.col(f"dcg_{k}") / pl.col(f"ideal_{k}")).alias(f"ndcg_at_{k}") for k in (10, 20)),
    ).sort("customer_id")
