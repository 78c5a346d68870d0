"""The table of reasons: rhythms first, then the past events that matter most."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import polars as pl

from mktgen.contracts import REASONS
from mktgen.foresight.wording import effect_text, item_rhythm

_LINE = ["customer_id", "order_id", "item_id"]


def item_rhythms(targets: pl.DataFrame, lines: pl.DataFrame, partition: date, model: str) -> pl.DataFrame:
    """contracts.REASONS with position 0: how the customer buys the item, or its category.

    targets: customer_id, item_id, decision_id, category. lines: contracts.ORDER_LINES of these customers, to `partition`.
    """
    goods = lines.filter("merchandise")
    of_item, of_category = _days_by(goods, "item_id"), _days_by(goods, "category")
    rows = []
    for customer, item, decision, category in targets.select(
        "customer_id", "item_id", "decision_id", "category"
    ).iter_rows():
        days = of_item.get((customer, item), [])
        text = item_rhythm(days, category, of_category.get((customer, category), []), partition)
        rows.append(_rhythm("item", customer, text, model, item, decision, days))
    return pl.DataFrame(rows, schema=REASONS.columns)


def visit_rhythms(warnings: pl.DataFrame, model: str) -> pl.DataFrame:
    """contracts.REASONS with position 0, of contracts.CHURN_WARNINGS."""
    rows = [_rhythm("churn", who, text, model) for who, text in warnings.select("customer_id", "reason").iter_rows()]
    return pl.DataFrame(rows, schema=REASONS.columns)


def _rhythm(
    about: str,
    customer: str,
    text: str,
    model: str,
    item: str | None = None,
    decision: str | None = None,
    days: list[date] | None = None,
) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(REASONS.columns)
    span = {"first_day": days[0], "last_day": days[-1]} if days else {}
    return empty | span | {
        "about": about, "customer_id": customer, "item_id": item, "decision_id": decision, "position": 0,
        "kind": "rhythm", "events": 0, "at_least": False, "text": text, "model": model,
    }  # fmt: skip


def _days_by(goods: pl.DataFrame, column: str) -> dict[tuple[str, str], list[date]]:
    days = goods.group_by("customer_id", column).agg(pl.col("business_date").unique().sort())
    return {(customer, name): values for customer, name, values in days.iter_rows()}


def event_reasons(
    named: pl.DataFrame,
    occasions: pl.DataFrame,
    lines: pl.DataFrame,
    about: Literal["item", "churn"],
    model: str,
    decisions: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """contracts.REASONS from occasions with their effects (customer_id, target, occasion, kind, events, score,
    score_without, effect, at_least, position); `occasions` holds their lines. decisions: customer_id, decision_id."""
    wanted = named.select("customer_id", "occasion").unique()
    dated = occasions.join(wanted, on=["customer_id", "occasion"], how="semi").join(
        lines.select(*_LINE, "business_date", "category"),
        on=_LINE,
    )
    spans = dated.group_by("customer_id", "occasion").agg(
        pl.col("business_date").min().alias("first_day"),
        pl.col("business_date").max().alias("last_day"),
        pl.col("order_id").n_unique().alias("baskets"),
        pl.col("category").mode().sort().first().alias("category"),
    )
    full = named.join(spans, on=["customer_id", "occasion"])
    if decisions is None:
        full = full.with_columns(pl.lit(None, pl.String).alias("decision_id"))
    else:
        full = full.join(decisions.select("customer_id", "decision_id"), on="customer_id")
    texts = [effect_text(row, about) for row in full.iter_rows(named=True)]
    made = full.rename({"target": "item_id"}).with_columns(
        pl.lit(about).alias("about"), pl.Series("text", texts, dtype=pl.String), pl.lit(model).alias("model")
    )
    return made.select(list(REASONS.columns))
