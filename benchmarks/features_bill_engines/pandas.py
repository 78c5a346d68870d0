"""The bill's tables in pandas: narrow columns, promotions filtered to the keys that were bought before they are merged."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd

from benchmarks.features_bill_engines import NON_MERCHANDISE, NOT_GOODS, TIMEZONE, data

_KEYS = ["product_id", "store_id", "week"]


def run(first: date, last: date) -> dict[str, Any]:
    lines = _lines(first, last)
    goods = lines[lines["goods"]]
    customer_days = lines.groupby(["household_id", "day"]).agg(orders=("basket_id", "nunique")).join(
        goods.groupby(["household_id", "day"]).agg(
            lines=("net", "size"), items=("product_id", "nunique"), categories=("category", "nunique"), net=("net", "sum"),
            loyalty=("loyalty", "sum"), coupon=("coupon", "sum"), gross=("gross", "sum"), promo=("promo", "sum"),
        )
    ).join(lines[~lines["goods"]].groupby(["household_id", "day"]).agg(other=("net", "sum")))  # fmt: skip
    figures = ["orders", "lines", "items", "categories", "net", "other", "loyalty", "coupon", "gross", "promo"]
    categories = goods.groupby(["household_id", "category"]).agg(
        first_day=("day", "min"),
        last_day=("day", "max"),
        days=("day", "nunique"),
        lines=("net", "size"),
        net=("net", "sum"),
    )
    item_days = goods.groupby(["product_id", "day"]).agg(
        lines=("net", "size"), customers=("household_id", "nunique"), net=("net", "sum"), promo=("promo", "sum")
    )
    return {
        "tables": lambda: {
            "customer_days": _rows(customer_days[figures].fillna(0).astype("int64")),
            "customer_categories": _rows(categories),
            "item_days": _rows(item_days),
        }
    }


def _lines(first: date, last: date) -> pd.DataFrame:
    bought = pd.read_parquet(data() / "transactions.parquet")
    local = bought["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert(TIMEZONE)
    bought["day"] = local.dt.tz_localize(None).dt.normalize()
    bought = bought[bought["day"].between(pd.Timestamp(first), pd.Timestamp(last))]
    promotions = pd.read_parquet(data() / "promotions.parquet")
    promotions = promotions.merge(bought[_KEYS].drop_duplicates(), on=_KEYS)
    shown = (promotions["display_location"].fillna("0") != "0") | (promotions["mailer_location"].fillna("0") != "0")
    promoted = promotions[_KEYS].assign(promo=shown).groupby(_KEYS, as_index=False)["promo"].max()
    catalogue = pd.read_parquet(
        data() / "products.parquet", columns=["product_id", "department", "product_category"]
    ).assign(known=True)
    lines = bought.merge(catalogue, on="product_id", how="left").merge(promoted, on=_KEYS, how="left")
    lines["category"] = lines["product_category"].fillna("UNKNOWN")
    sold = ~lines["department"].fillna("UNKNOWN").isin(NON_MERCHANDISE) & ~lines["category"].isin(NOT_GOODS)
    lines["goods"] = lines["known"].eq(True) & sold
    lines["promo"] = lines["promo"].eq(True).astype("int64")
    for name, column in (
        ("net", "sales_value"), ("loyalty", "retail_disc"), ("coupon", "coupon_disc"), ("match", "coupon_match_disc"),
    ):  # fmt: skip
        lines[name] = (lines[column] * 100).round().astype("int64")
    lines["gross"] = lines["net"] + lines["loyalty"] + lines["match"]
    return lines


def _rows(frame: pd.DataFrame) -> Any:
    flat = frame.reset_index()
    for name in flat.columns[flat.dtypes.astype(str).str.startswith("datetime")]:
        flat[name] = flat[name].dt.date
    return flat.itertuples(index=False, name=None)
