"""Customer features at a cut: recency, frequency, value, discount affinity, category mix, cadence."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen.contracts import CUSTOMER_FEATURES
from mktgen.features.state import State


def customer_features(state: State, cut: date) -> pl.DataFrame:
    """One row per customer ever seen (contracts.CUSTOMER_FEATURES), from a state that ends before `cut`.

    Windows are [cut - n days, cut). Shares and means of nothing are 0; `recency_over_gap` compares the time since the
    last visit with the customer's own mean gap (the whole tenure where there was only one visit).
    """
    base = state.customer_state.join(_windows(state.customer_days, cut), on="customer_id", how="left")
    base = base.join(_categories(state.customer_categories), on="customer_id", how="left")
    numbers = [name for name, dtype in base.schema.items() if dtype.is_numeric()]
    base = base.with_columns(pl.col(numbers).fill_null(0))
    recency, tenure = _days_since("last_day", cut), _days_since("first_day", cut)
    gaps = pl.col("days") - 1
    mean_gap = pl.when(gaps > 0).then(pl.col("gap_days_sum") / gaps).otherwise(tenure)
    variance = pl.when(gaps > 0).then(pl.col("gap_days_sq_sum") / gaps - mean_gap**2).otherwise(0.0)
    discounts = pl.col("loyalty_84d") + pl.col("coupon_84d")
    features = base.select(
        "customer_id",
        recency_days=recency,
        tenure_days=tenure,
        orders_7d=_f("orders_7d"),
        orders_28d=_f("orders_28d"),
        orders_84d=_f("orders_84d"),
        orders_all=_f("orders"),
        active_weeks_12=_f("weeks_84d"),
        net_minor_7d=_f("net_7d"),
        net_minor_28d=_f("net_28d"),
        net_minor_84d=_f("net_84d"),
        net_minor_all=_f("net_minor"),
        other_minor_84d=_f("other_84d"),
        lines_28d=_f("lines_28d"),
        lines_84d=_f("lines_84d"),
        lines_per_order_84d=_share(pl.col("lines_84d"), pl.col("orders_84d")),
        net_minor_per_order_84d=_share(pl.col("net_84d"), pl.col("orders_84d")),
        discount_share_84d=_share(discounts, pl.col("gross_84d")),
        coupon_share_84d=_share(pl.col("coupon_84d"), pl.col("gross_84d")),
        promo_share_84d=_share(pl.col("promo_84d"), pl.col("lines_84d")),
        trend_28d=(pl.col("orders_28d") + 1.0) / (pl.col("orders_56d") - pl.col("orders_28d") + 1.0),
        gap_days_mean=mean_gap,
        gap_days_sd=variance.clip(lower_bound=0.0).sqrt(),
        recency_over_gap=recency / mean_gap.clip(lower_bound=1.0),
        categories_all=_f("categories"),
        category_entropy=pl.col("entropy"),
        top_category=pl.col("top_category").fill_null("NONE"),
        top_category_share=pl.col("top_share"),
    )
    return CUSTOMER_FEATURES.check(features).sort("customer_id")


def _f(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64)


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole).otherwise(0.0)


def _days_since(column: str, cut: date) -> pl.Expr:
    return (pl.lit(cut) - pl.col(column)).dt.total_days().cast(pl.Float64)


def _windows(days: pl.DataFrame, cut: date) -> pl.DataFrame:
    def within(n: int) -> pl.Expr:
        return pl.col("business_date") >= cut - timedelta(days=n)

    week = (pl.lit(cut) - pl.col("business_date")).dt.total_days().sub(1) // 7
    counts = [
        pl.col(name).filter(within(n)).sum().alias(f"{short}_{n}d")
        for name, short in (("orders", "orders"), ("net_minor", "net"), ("lines", "lines"))
        for n in (7, 28, 56, 84)
    ]
    long = [
        pl.col(name).filter(within(84)).sum().alias(f"{short}_84d")
        for name, short in (
            ("other_minor", "other"), ("loyalty_disc_minor", "loyalty"), ("coupon_disc_minor", "coupon"),
            ("gross_minor", "gross"), ("promo_lines", "promo"),
        )
    ]  # fmt: skip
    weeks = week.filter(within(84)).n_unique().cast(pl.Int64).alias("weeks_84d")
    return days.group_by("customer_id").agg(*counts, *long, weeks)


def _categories(mix: pl.DataFrame) -> pl.DataFrame:
    """Entropy and favourite of each customer's category mix, lifetime lines; ties go to the first name."""
    shares = mix.sort("customer_id", "category").with_columns(
        _p=pl.col("lines") / pl.col("lines").sum().over("customer_id")
    )
    top = pl.col("category").sort_by(["lines", "category"], descending=[True, False]).first()
    return shares.group_by("customer_id", maintain_order=True).agg(
        categories=pl.len().cast(pl.Int64),
        entropy=0.0 - (pl.col("_p") * pl.col("_p").log()).sum(),
        top_category=top,
        top_share=pl.col("_p").max(),
    )
