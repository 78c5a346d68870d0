"""What of a response version's targeting held-out trials bear out: figures for its report and for MLflow."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Interval
from mktgen.evaluation.uplift.cost import cost_curve_areas
from mktgen.evaluation.uplift.rate import rate
from mktgen.response.held_out import HeldOut

Floats = NDArray[np.float64]

_RESAMPLES: Final = 200
_LEAST_TRIALS: Final = 100


def targeting_figures(held_out: HeldOut, cost_minor: dict[str, int], seed: int) -> dict[str, float]:
    """RATE (AUTOC), Qini and AUCC of the version's own order of customers, with 95% intervals, by name.

    What: each trial's best action by effect per reserved cost, foretold without the customer's fold; the order is by that.
    Gain: the doubly robust score of that action, profit in minor units. Cost: what the contact reserves of a budget
    (cost_minor by action; 1 where it reserves nothing, so that free actions are ordered by effect). Formulas:
    evaluation/uplift/. Assumption: logged chances are those of the draw, customers are independent; trials count alike,
    whatever their age. When it fails: with fewer than 100 trials in which an action and no contact were possible there
    are no figures.
    """
    trials = held_out.trials
    cost = np.array([max(cost_minor.get(action, 0), 1) for action in trials.actions], dtype=np.float64)
    per_cost = np.where(np.isfinite(held_out.reward.score), held_out.reward.effect / cost, -np.inf)
    rows = np.flatnonzero(np.isfinite(per_cost).any(axis=1))
    if len(rows) < _LEAST_TRIALS:
        return {}
    best = per_cost[rows].argmax(axis=1)
    priority, gain = per_cost[rows, best], held_out.reward.score[rows, best]
    drawn = {"resamples": _RESAMPLES, "seed": seed, "clusters": trials.customer[rows]}
    areas = cost_curve_areas(gain, cost[best], priority, **drawn)  # type: ignore[arg-type]
    found = {
        "autoc": rate(gain, priority, "autoc", **drawn),  # type: ignore[arg-type]
        "qini": rate(gain, priority, "qini", **drawn),  # type: ignore[arg-type]
        "aucc": areas.aucc,
        "aucc_advantage": areas.advantage,
        "effect_of_best_action": areas.total_gain,
    }
    return {key: value for name, interval in found.items() for key, value in _told(name, interval).items()}


def _told(name: str, interval: Interval | None) -> dict[str, float]:
    """An interval that could not be made has no figures."""
    if interval is None or not np.isfinite([interval.value, interval.low, interval.high]).all():
        return {}
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def offers_by_scope(offers: pl.DataFrame, offer_items: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    """action, mechanic, face_value_minor of the offers whose face value is known: one mechanic is one type of campaign on the
    same items.

    offers, offer_items, campaigns: contracts.OFFERS, contracts.OFFER_ITEMS, contracts.CAMPAIGNS.
    """
    scope = offer_items.sort("offer_id", "item_id").group_by("offer_id").agg(pl.col("item_id").unique().sort())
    named = scope.select("offer_id", mechanic=pl.col("item_id").list.join("\x1f").rank("dense").cast(pl.String))
    known = offers.unique("offer_id", keep="last", maintain_order=True).drop_nulls("face_value_minor")
    types = campaigns.unique("campaign_id", keep="last", maintain_order=True).select("campaign_id", "campaign_type")
    joined = known.join(named, on="offer_id").join(types, on="campaign_id")
    mechanic = pl.concat_str("campaign_type", "mechanic", separator=" on ").alias("mechanic")
    return joined.select(pl.col("offer_id").alias("action"), mechanic, "face_value_minor")
