"""Classes of customers by their response, for the strategy: how many, what an offer changes, and what was done."""

from __future__ import annotations

from typing import Final

import polars as pl

from mktgen.documents import ClassSummary, Interval
from mktgen.strategy.decision_rows import NO_CONTACT

UNKNOWN: Final = "not known: there is no response model, so nobody can be told a persuadable customer from a sure buyer"
MEANING: Final = {
    "persuadable": "an offer makes a purchase surely likelier",
    "sure_buyer": "buys anyway: an offer only costs",
    "lost_cause": "does not buy either way",
    "do_not_disturb": "every offer makes a purchase surely less likely",
    "uncertain": "the trials do not say yet",
}
_BOUNDS: Final = "mean of the customers' own 95% bounds, as if all erred the same way"


def class_summaries(classes: pl.DataFrame, decisions: pl.DataFrame, effects: pl.DataFrame) -> list[ClassSummary]:
    """In the order of MEANING, those that occur; empty where there is no model.

    classes: contracts.CUSTOMER_CLASSES. decisions: contracts.DECISIONS of the day. effects: contracts.RESPONSE_SCORES.

    Means over a class are of each customer's best offer. Their bounds hold whatever the errors of the customers have in
    common: a mean of values lies between the means of their bounds. When it fails: never by being narrow, if each bound is
    right; those on profit are of one offer at a time, chosen by its effect on conversion.
    """
    money = effects.select("customer_id", "effect_minor", best_action="action", low_minor="low", high_minor="high")
    done = decisions.select("customer_id", "action", "holdout")
    joined = classes.join(done, on="customer_id").join(money, on=["customer_id", "best_action"], how="left")
    return [_summary(name, own) for name in MEANING if not (own := joined.filter(pl.col("class") == name)).is_empty()]


def _summary(name: str, own: pl.DataFrame) -> ClassSummary:
    lacking = own["effect_minor"].null_count()
    return ClassSummary(
        name=name,
        meaning=MEANING[name],
        customers=own.height,
        contacted=own.filter(pl.col("action") != NO_CONTACT).height,
        held_out=int(own["holdout"].sum()),
        effect=_mean(own, ("effect", "low", "high")),
        effect_minor=None if lacking else _mean(own, ("effect_minor", "low_minor", "high_minor")),
    )


def _mean(own: pl.DataFrame, columns: tuple[str, str, str]) -> Interval:
    value, low, high = (float(own[name].mean() or 0.0) for name in columns)  # type: ignore[arg-type]
    return Interval(value=value, low=low, high=high, method=_BOUNDS)
