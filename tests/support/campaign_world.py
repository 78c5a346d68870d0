"""A small shop with campaigns whose redemption depends on known features; frames by contract, seeded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from mktgen import contracts

DAY = timedelta(days=1)
PARTITION = date(2017, 10, 1)
CATEGORIES = ("SOFT DRINKS", "CHEESE", "COFFEE", "FROZEN PIZZA", "LAUNDRY DETERGENTS")


@dataclass(frozen=True)
class World:
    customers: list[str]
    features: pl.DataFrame
    features_at_start: pl.DataFrame
    scores: pl.DataFrame
    lines: pl.DataFrame
    items: pl.DataFrame
    item_scores: pl.DataFrame
    campaigns: pl.DataFrame
    offers: pl.DataFrame
    offer_items: pl.DataFrame
    exposures: pl.DataFrame
    responses: pl.DataFrame


def make_world(customers: int = 200, seed: int = 1) -> World:
    """Six matured campaigns (types A and B) and two running ones; lines every day of the 84 before each start."""
    rng = np.random.default_rng(seed)
    ids = [f"c{number:04d}" for number in range(customers)]
    loyalty = rng.uniform(0, 1, customers)
    items = _items()
    campaigns = _campaigns()
    features = _features(ids, loyalty, rng)
    starts = campaigns["start_date"].unique().sort().to_list()
    at_start = pl.concat([_features(ids, loyalty, rng).with_columns(pl.lit(day).alias("started_on")) for day in starts])
    offers, offer_items = _offers(campaigns)
    exposures, responses = _mail(ids, loyalty, campaigns, offers, rng)
    return World(
        ids,
        features,
        at_start,
        _scores(ids, loyalty, rng),
        _lines(ids, loyalty, rng),
        items,
        _item_scores(ids, rng),
        campaigns,
        offers,
        offer_items,
        exposures,
        responses,
    )


def _items() -> pl.DataFrame:
    rows = [
        {
            "item_id": f"i{number:02d}",
            "department": "GROCERY",
            "category": CATEGORIES[number % len(CATEGORIES)],
            "item_type": f"TYPE {number:02d}",
            "brand": "National",
            "manufacturer_id": "1",
            "package_size": None,
            "merchandise": number < 20,
        }
        for number in range(22)
    ]
    return contracts.ITEMS.check(pl.DataFrame(rows, schema=contracts.ITEMS.columns))


def _campaigns() -> pl.DataFrame:
    spans = [(date(2017, 3, 1) + 30 * n * DAY, 28) for n in range(6)]
    rows = [
        (f"{n + 1}", "Type A" if n % 2 else "Type B", start, start + days * DAY)
        for n, (start, days) in enumerate(spans)
    ]
    rows += [
        ("14", "Type B", PARTITION - 20 * DAY, PARTITION + 20 * DAY),
        ("15", "Type C", PARTITION - 5 * DAY, PARTITION + 60 * DAY),
        ("16", "Type A", PARTITION + 3 * DAY, PARTITION + 40 * DAY),
    ]
    return pl.DataFrame(rows, schema=contracts.CAMPAIGNS.columns, orient="row")


def _features(ids: list[str], loyalty: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    numbers = {
        name: rng.uniform(0, 10, len(ids))
        for name, kind in contracts.CUSTOMER_FEATURES.columns.items()
        if kind == pl.Float64
    }
    numbers["orders_84d"] = 1 + 30 * loyalty
    numbers["net_minor_84d"] = 1_000 + 60_000 * loyalty * rng.uniform(0.8, 1.2, len(ids))
    numbers["net_minor_28d"] = numbers["net_minor_84d"] / 3
    numbers["discount_share_84d"] = rng.uniform(0, 0.4, len(ids))
    numbers["recency_days"] = 60 * (1 - loyalty)
    frame = pl.DataFrame({"customer_id": ids, **numbers, "top_category": ["CHEESE"] * len(ids)})
    return contracts.CUSTOMER_FEATURES.check(frame)


def _scores(ids: list[str], loyalty: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_id": ids,
            "p_purchase_7d": loyalty,
            "p_purchase_28d": loyalty,
            "p_churn_28d": 1 - loyalty,
            "vector": [rng.normal(size=6).astype(np.float32).tolist() for _ in ids],
            "customer_model": ["test"] * len(ids),
        },
        schema=contracts.CUSTOMER_SCORES.columns,
    )


def _lines(ids: list[str], loyalty: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    rows = [
        (customer, f"i{int(rng.integers(0, 20)):02d}", date(2017, 1, 1) + int(rng.integers(0, 274)) * DAY)
        for customer, love in zip(ids, loyalty, strict=True)
        for _ in range(20 + int(60 * love))
    ]
    schema = {"customer_id": pl.String, "item_id": pl.String, "business_date": pl.Date}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _item_scores(ids: list[str], rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for customer in ids:
        order = rng.permutation(22)
        for place, item in enumerate(order[:16]):
            seen = place < 8
            rows.append((customer, f"i{item:02d}", seen, place % 8 + 1, 1.0 - place / 20, "test"))
    return pl.DataFrame(rows, schema=contracts.ITEM_SCORES.columns, orient="row")


def _offers(campaigns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    offers, pairs = [], []
    for campaign in campaigns.iter_rows(named=True):
        for coupon in range(4):
            offer = f"{campaign['campaign_id']}:{coupon}"
            offers.append(
                (offer, campaign["campaign_id"], str(coupon), campaign["start_date"], campaign["end_date"], None)
            )
            pairs += [(offer, f"i{coupon * 5 + k:02d}") for k in range(5)]
        pairs.append((f"{campaign['campaign_id']}:3", "i21"))  # not merchandise: never shown
    return (
        pl.DataFrame(offers, schema=contracts.OFFERS.columns, orient="row"),
        pl.DataFrame(pairs, schema=contracts.OFFER_ITEMS.columns, orient="row"),
    )


def _mail(
    ids: list[str], loyalty: np.ndarray, campaigns: pl.DataFrame, offers: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    exposures, responses = [], []
    for campaign in campaigns.iter_rows(named=True):
        name, start = campaign["campaign_id"], campaign["start_date"]
        for customer, love in zip(ids, loyalty, strict=True):
            if start > PARTITION or rng.random() > 0.3 + 0.6 * love:
                continue
            exposures.append((f"{name}:{customer}", customer, name, "mail", start, None))
            if rng.random() < 1 / (1 + np.exp(3 - 4 * love)):
                when = start + int(rng.integers(0, 25)) * DAY
                if when <= PARTITION:
                    responses.append((f"{name}:{customer}:r", customer, name, f"{name}:0", "redeem", when))
    return (
        pl.DataFrame(exposures, schema=contracts.EXPOSURES.columns, orient="row"),
        pl.DataFrame(responses, schema=contracts.RESPONSES.columns, orient="row"),
    )
