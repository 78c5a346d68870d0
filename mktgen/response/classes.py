"""Classes of customers by what they would do anyway and what an offer changes.

Rule, with p the base conversion, d the effect of an action on conversion, A actions in question, m =
`negligible_conversion`, s = `sure_buyer_from`, and intervals that hold for the A actions at once (Bonferroni: level
1 - .05 / A):

    persuadable      some action's interval of d lies above 0
    do_not_disturb   every action's interval lies below 0
    sure_buyer       every interval lies within [-m, m], and p >= s
    lost_cause       every interval lies within [-m, m], and p < s
    uncertain        anything else: the trials do not say

Conversion, not reward: a contact that changes nothing costs money, and is no harm done to the customer. If no action has
an effect, a customer comes out as persuadable at most one time in forty. Assumption: the intervals are right (checks.py).
Reference: Radcliffe and Surry, Portrait Technical Report TR-2011-1 (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
from scipy.special import ndtri

from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings

CLASSES: Final = ("persuadable", "sure_buyer", "lost_cause", "do_not_disturb", "uncertain")
_LEVEL: Final = 0.95


def customer_classes(
    model: ResponseModel, features: pl.DataFrame, settings: ResponseSettings, actions: Sequence[str] | None = None
) -> pl.DataFrame:
    """customer_id, class, best_action, base_conversion, effect, low, high (of the best action), sorted by customer.

    features: as for ResponseModel.effects; actions: those in question, all tried ones where None. best_action: the largest
    expected effect on conversion; of equal ones the first by name. low, high: the simultaneous interval.
    """
    effects = model.conversion_effects(features, actions)
    names = effects["action"].n_unique()
    reach = float(ndtri(1 - (1 - _LEVEL) / 2 / max(names, 1)))
    limits = effects.with_columns(
        (pl.col("effect") - reach * pl.col("sd")).clip(-1.0, 1.0).alias("low"),
        (pl.col("effect") + reach * pl.col("sd")).clip(-1.0, 1.0).alias("high"),
    )
    judged = limits.group_by("customer_id", maintain_order=True).agg(
        (pl.col("low") > 0).any().alias("gains"),
        (pl.col("high") < 0).all().alias("loses"),
        pl.col("low", "high").abs().max().name.prefix("reach_"),
    )
    best = limits.sort(["customer_id", "effect", "action"], descending=[False, True, False])
    best = best.unique("customer_id", keep="first", maintain_order=True)
    told = best.join(judged, on="customer_id").join(model.base_conversion(features), on="customer_id")
    none = pl.max_horizontal("reach_low", "reach_high") <= settings.negligible_conversion
    kind = (
        pl.when("gains").then(pl.lit("persuadable"))
        .when("loses").then(pl.lit("do_not_disturb"))
        .when(none & (pl.col("base_conversion") >= settings.sure_buyer_from)).then(pl.lit("sure_buyer"))
        .when(none).then(pl.lit("lost_cause"))
        .otherwise(pl.lit("uncertain"))
    )  # fmt: skip
    return told.select(
        "customer_id",
        kind.alias("class"),
        pl.col("action").alias("best_action"),
        "base_conversion",
        "effect",
        "low",
        "high",
    ).sort("customer_id")
