"""The same customers on the eve of a cut, by the ways that the product goes: in one pass, day by day, as training does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from mktgen import features
from mktgen.evaluation import sameness
from mktgen.features.state import State
from mktgen.features.training import training_examples, weekly_cuts
from mktgen.models.base import History, Model
from mktgen.settings import FeatureSettings, Settings
from mktgen.steps.runner import Platform, Read, Run

Fold = Callable[[State, pl.DataFrame, date, FeatureSettings], State]
DAILY_DAYS: Final = 7  # days folded one at a time before each cut that is looked at
RANK_DEPTH: Final = 20  # items per customer, seen and unseen apart, that metrics and gates look at
TABLES: Final = ("events", "features", "items")
AROUND: Final = {"item_attributes": "items", "customer_attributes": "customers", "promotions": "item_promotions"}
PLAN_DAYS: Final = 42  # days back that a promotion plan can matter: four weeks of history, and known two ahead
_HEAVIEST: Final = 5  # customers with the most lines: only their sequences are bounded


@dataclass(frozen=True)
class Around:
    """What is known beside customers' events: contracts.ITEMS, CUSTOMERS and ITEM_PROMOTIONS."""

    items: pl.DataFrame
    customers: pl.DataFrame
    promotions: pl.DataFrame

    def before(self, cut: date) -> dict[str, pl.DataFrame]:
        """The fields of a History or a TrainingSet at a cut (AROUND)."""
        known = self.promotions.filter(pl.col("known_on") < cut)
        return {"item_attributes": self.items, "customer_attributes": self.customers, "promotions": known}

    def told(self, history: History, later: bool = False) -> History:
        """The history with it; `later`: with plans that came in afterwards left in, as no history should have them."""
        known = self.before(date.max if later else history.cut)
        return replace(
            history,
            item_attributes=known["item_attributes"],
            customer_attributes=known["customer_attributes"],
            promotions=known["promotions"],
        )


def around_reads(first: date, last: date, platform: Platform) -> list[Read]:
    """The source's reference tables, and the promotion plans that came in from `first` to `last`.

    A source without attributes of customers, or without plans, has models that do without them.
    """
    day = (platform.source.first_day,)
    plans = tuple(one for one in platform.store.partitions("item_promotions") if first <= one <= last)
    return [
        Read("items", day, True, "reference"),
        Read("customers", day, False, "reference"),
        Read("item_promotions", plans, required=False),
    ]


def around(run: Run) -> Around:
    return Around(*(run.table(artefact) for artefact in AROUND.values()))


def history_at(lines: pl.DataFrame, cut: date, settings: FeatureSettings, fold: Fold = features.fold) -> History:
    """What is known at `cut` of `lines` (contracts.ORDER_LINES, which may go on after it), in one pass."""
    known = lines.filter(pl.col("business_date") < cut)
    return _seen(fold(features.empty_state(), known, cut - timedelta(days=1), settings), cut)


def day_by_day(
    lines: pl.DataFrame, cuts: Collection[date], settings: FeatureSettings, fold: Fold = features.fold
) -> dict[date, History]:
    """What is known at each cut the way `extract_features` comes there: what was onboarded, then one day after another."""
    state, since, found = features.empty_state(), date.min, {}
    for cut in sorted(cuts):
        week = max(since, cut - timedelta(days=DAILY_DAYS))
        state = fold(state, _between(lines, since, week), week - timedelta(days=1), settings)
        for day in (week + timedelta(days=n) for n in range((cut - week).days)):
            state = fold(state, _between(lines, day, day + timedelta(days=1)), day, settings)
        since, found[cut] = cut, _seen(state, cut)
    return found


def _between(lines: pl.DataFrame, first: date, end: date) -> pl.DataFrame:
    return lines.filter(pl.col("business_date").is_between(first, end, closed="left"))


def _seen(state: State, cut: date) -> History:
    return History(cut, state.sequences, features.customer_features(state, cut), features.item_features(state, cut))


def training_tables(lines: pl.DataFrame, cut: date, first_day: date, settings: Settings) -> dict[str, pl.DataFrame]:
    """models.base.TrainingSet's events, examples and items, from lines that may go on after the cut."""
    known = lines.filter(pl.col("business_date") < cut)
    cuts = weekly_cuts(cut, settings.models.train_cuts, first_day)
    state = features.fold(features.empty_state(), known, cut - timedelta(days=1), settings.features)
    return {
        "events": features.history_events(known),
        "examples": training_examples(known, cuts, settings.features),
        "items": features.item_features(state, cut),
    }


def sample_customers(lines: pl.DataFrame, cut: date, settings: Settings) -> list[str]:
    """The customers that the honesty gates look at: active at the cut, drawn by the seed, the heaviest always among them."""
    active_since = cut - timedelta(days=settings.features.active_days)
    before = lines.filter(pl.col("business_date") < cut)
    recent = before.filter(pl.col("business_date") >= active_since).select("customer_id").unique()
    counts = before.join(recent, on="customer_id", how="semi").group_by("customer_id").len()
    ordered = counts.sort(["len", "customer_id"], descending=[True, False])["customer_id"]
    others = ordered[_HEAVIEST:].sort()
    wanted = min(max(settings.models.gate_customers - _HEAVIEST, 0), others.len())
    drawn = np.random.default_rng(settings.seed).choice(others.len(), wanted, replace=False)
    return sorted([*ordered[:_HEAVIEST], *others[np.sort(drawn)]])


def scored(model: Model, history: History, customers: list[str]) -> pl.DataFrame:
    """All that a model says of the customers (sameness.SCORES)."""
    return sameness.stacked(
        model.rank(history, customers, RANK_DEPTH) if "ranking" in model.tasks else None,
        model.probabilities(history, customers) if "customer" in model.tasks else None,
        model.spend(history, customers) if "spend" in model.tasks else None,
    )
