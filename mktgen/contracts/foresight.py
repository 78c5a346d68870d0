"""What is to come, and why: demand, customers at risk, reasons; and how earlier forecasts did."""

from __future__ import annotations

from typing import Final

import polars as pl

from mktgen.contracts.base import table

_BOUNDS: Final = ("low_80", "high_80", "low_95", "high_95")
DEMAND_FORECAST = table(
    "demand_forecast",  # expected pieces of merchandise in the days after the partition
    {
        "horizon_days": pl.Int32,  # 7 | 28
        "level": pl.String,  # category | all (the sum, with an interval of its own)
        "category": pl.String,  # "" where level is all
        "first_day": pl.Date,
        "last_day": pl.Date,
        "open_days": pl.Int32,  # days of the horizon on which the shop is open
        "units": pl.Float64,
        **dict.fromkeys(_BOUNDS, pl.Float64),  # null: too little history for an interval
        "naive_units": pl.Float64,  # mean of the last 28 days x open days
        "method": pl.String,
        "volume_class": pl.Int32,  # whose past errors the interval is made from; 1 = smallest
    },
    key=["horizon_days", "level", "category"],
    nullable=_BOUNDS,
)
CHURN_WARNINGS = table(
    "churn_warnings",  # active customers who may not buy in the next 28 days, the largest expected loss first
    {
        "customer_id": pl.String,
        "rank": pl.Int32,
        "p_churn_28d": pl.Float64,
        "value_at_stake_minor": pl.Float64,  # expected merchandise spend in 28 days if the customer is kept
        "expected_loss_minor": pl.Float64,  # p_churn_28d x value_at_stake_minor
        "recency_days": pl.Float64,
        "gap_days_mean": pl.Float64,
        "reason": pl.String,
        "customer_model": pl.String,
    },
    key=["customer_id"],
)
REASONS = table(
    "reasons",  # past events behind a recommendation or a warning: score with them and without
    {
        "about": pl.String,  # item | churn
        "customer_id": pl.String,
        "item_id": pl.String,  # null: about churn
        "decision_id": pl.String,  # that names the item; null: about churn
        "position": pl.Int32,  # 0 = the rhythm in words, 1.. = events, the largest effect first
        "kind": pl.String,  # rhythm | item | category | basket | week | earlier
        "events": pl.Int64,  # order lines taken out
        "first_day": pl.Date,
        "last_day": pl.Date,
        "score": pl.Float64,  # the model's score: p_churn_28d, or the ranking's
        "score_without": pl.Float64,
        "effect": pl.Float64,  # score - score_without
        "at_least": pl.Boolean,  # without the events the item left the ranking: the effect is at least so large
        "text": pl.String,
        "model": pl.String,
    },
    key=["about", "customer_id", "item_id", "position"],
    nullable=["item_id", "decision_id", "first_day", "last_day", "score", "score_without", "effect"],
)
DEMAND_OUTCOMES = table(
    "demand_outcomes",  # forecasts whose last day has come, against what was sold
    {
        "forecast_on": pl.Date,  # partition of the forecast
        "horizon_days": pl.Int32,
        "level": pl.String,
        "category": pl.String,
        "units": pl.Float64,
        **dict.fromkeys(_BOUNDS, pl.Float64),
        "naive_units": pl.Float64,
        "actual_units": pl.Int64,
    },
    key=["forecast_on", "horizon_days", "level", "category"],
    nullable=_BOUNDS,
)
CHURN_OUTCOMES = table(
    "churn_outcomes",  # warnings whose 28 days are over
    {
        "warned_on": pl.Date,
        "customer_id": pl.String,
        "p_churn_28d": pl.Float64,
        "value_at_stake_minor": pl.Float64,
        "churned": pl.Boolean,  # no order of any kind in the 28 days
        "net_minor": pl.Int64,  # merchandise spend in them
    },
    key=["warned_on", "customer_id"],
)
