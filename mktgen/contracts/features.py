"""State and features. State is a fold over days: integers only, so that sums don't depend on order."""

from __future__ import annotations

import polars as pl

from mktgen.contracts.base import UTC_TIME, table

CUSTOMER_DAYS = table(
    "customer_days",
    {
        "customer_id": pl.String,
        "business_date": pl.Date,
        "orders": pl.Int64,
        "lines": pl.Int64,
        "items": pl.Int64,  # distinct merchandise items
        "categories": pl.Int64,  # distinct merchandise categories
        "net_minor": pl.Int64,  # merchandise only
        "other_minor": pl.Int64,  # fuel and other non-merchandise spend, kept apart
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "gross_minor": pl.Int64,
        "promo_lines": pl.Int64,  # lines on display or in the mailer
    },
    key=["customer_id", "business_date"],
)
CUSTOMER_STATE = table(
    "customer_state",
    {
        "customer_id": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "days": pl.Int64,
        "orders": pl.Int64,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
        "other_minor": pl.Int64,
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "gross_minor": pl.Int64,
        "promo_lines": pl.Int64,
        "gap_days_sum": pl.Int64,  # sums of gaps between visit days and of their squares
        "gap_days_sq_sum": pl.Int64,
    },
    key=["customer_id"],
)
CUSTOMER_CATEGORIES = table(
    "customer_categories",
    {
        "customer_id": pl.String,
        "category": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "days": pl.Int64,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
    },
    key=["customer_id", "category"],
)
ITEM_DAYS = table(
    "item_days",
    {
        "item_id": pl.String,
        "business_date": pl.Date,
        "lines": pl.Int64,
        "customers": pl.Int64,
        "net_minor": pl.Int64,
        "promo_lines": pl.Int64,
    },
    key=["item_id", "business_date"],
)
CATEGORY_DAYS = table(
    "category_days",  # what is sold, by category and day; a day without a row of any category is a closed one
    {
        "category": pl.String,
        "business_date": pl.Date,
        "units": pl.Int64,  # pieces of merchandise
        "lines": pl.Int64,  # lines whose units are known
        "uncounted_lines": pl.Int64,  # merchandise lines whose units are not plausible pieces (see ORDER_LINES.units)
    },
    key=["category", "business_date"],
)
ITEM_STATE = table(
    "item_state",
    {
        "item_id": pl.String,
        "category": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
        "promo_lines": pl.Int64,
    },
    key=["item_id"],
)
SEQUENCES = table(
    "sequences",  # the last merchandise events of each customer, oldest first
    {
        "customer_id": pl.String,
        "event_time": UTC_TIME,
        "business_date": pl.Date,
        "order_id": pl.String,
        "item_id": pl.String,
        "category": pl.String,
        "net_minor": pl.Int64,
        "on_promotion": pl.Boolean,
    },
    key=["customer_id", "order_id", "item_id"],
)
CUSTOMER_FEATURES = table(
    "customer_features",
    {
        "customer_id": pl.String,
        "recency_days": pl.Float64,
        "tenure_days": pl.Float64,
        "orders_7d": pl.Float64,
        "orders_28d": pl.Float64,
        "orders_84d": pl.Float64,
        "orders_all": pl.Float64,
        "active_weeks_12": pl.Float64,
        "net_minor_7d": pl.Float64,
        "net_minor_28d": pl.Float64,
        "net_minor_84d": pl.Float64,
        "net_minor_all": pl.Float64,
        "other_minor_84d": pl.Float64,
        "lines_28d": pl.Float64,
        "lines_84d": pl.Float64,
        "lines_per_order_84d": pl.Float64,
        "net_minor_per_order_84d": pl.Float64,
        "discount_share_84d": pl.Float64,  # (loyalty + coupon) / gross
        "coupon_share_84d": pl.Float64,
        "promo_share_84d": pl.Float64,
        "trend_28d": pl.Float64,  # orders 28 d / orders of the 28 d before, smoothed
        "gap_days_mean": pl.Float64,
        "gap_days_sd": pl.Float64,
        "recency_over_gap": pl.Float64,
        "categories_all": pl.Float64,
        "category_entropy": pl.Float64,  # nats, over lifetime lines
        "top_category": pl.String,
        "top_category_share": pl.Float64,
    },
    key=["customer_id"],
)
ITEM_PROMOTIONS = table(
    "item_promotions",
    {
        "item_id": pl.String,
        "week_start": pl.Date,  # the seven days from it on
        "known_on": pl.Date,  # business day on which the plan of that week came in
        "mailer_share": pl.Float64,  # of the stores with a plan for that week
        "display_share": pl.Float64,
    },
    key=["item_id", "week_start"],
)
ITEM_FEATURES = table(
    "item_features",
    {
        "item_id": pl.String,
        "category": pl.String,
        "recency_days": pl.Float64,
        "age_days": pl.Float64,
        "lines_28d": pl.Float64,
        "customers_28d": pl.Float64,  # customer-days
        "lines_all": pl.Float64,
        "price_minor": pl.Float64,  # mean net value of a line
        "promo_share": pl.Float64,
    },
    key=["item_id"],
)
