"""Small hand-made tables for the feedback tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from mktgen import contracts
from tests.execution.conftest import decision

DAY = date(2017, 10, 1)


def day(offset: int) -> date:
    return DAY + timedelta(days=offset)


def line(
    customer: str, on: date, item: str, order: str = "", net: int = 100, merchandise: bool = True
) -> dict[str, object]:
    noon = datetime(on.year, on.month, on.day, 16, tzinfo=UTC)
    return {
        "order_id": order or f"{customer}-{on}", "item_id": item, "customer_id": customer, "store_id": "s",
        "event_time": noon, "business_date": on, "category": "c", "merchandise": merchandise, "units": 1,
        "net_minor": net, "gross_minor": net, "loyalty_disc_minor": 0, "coupon_disc_minor": 0, "match_disc_minor": 0,
        "paid_minor": net, "on_display": False, "on_mailer": False, "ingested_at": noon,
    }  # fmt: skip


def lines(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=contracts.ORDER_LINES.columns)


def redemption(customer: str, on: date, offer: str) -> dict[str, object]:
    return {
        "response_id": f"{customer}-{on}-{offer}", "customer_id": customer, "campaign_id": offer.split(":")[0],
        "offer_id": offer, "response_type": "redeem", "responded_on": on,
    }  # fmt: skip


def responses(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=contracts.RESPONSES.columns)


def outcome(customer: str, on: date, items: list[str], redeemed: list[str] | None = None) -> dict[str, object]:
    return {
        "customer_id": customer, "business_date": on, "orders": 1, "net_minor": 100 * len(items),
        "item_ids": items, "redeemed_offers": redeemed or [],
    }  # fmt: skip


def outcomes(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=contracts.OUTCOMES.columns)


def decisions(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=contracts.DECISIONS.columns)


def recommendations(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    rows = [(customer, item, "c", True, rank, 1.0, "r") for rank, (customer, item) in enumerate(pairs, 1)]
    return pl.DataFrame(rows, schema=contracts.RECOMMENDATIONS.columns, orient="row")


def sends(decision_ids: list[str], status: str = "sent") -> pl.DataFrame:
    rows = [(f"s{i}", i, f"customer{i[-4:]}", "18", "18:c1", "outbox", DAY, status, "") for i in decision_ids]
    return pl.DataFrame(rows, schema=contracts.SENDS.columns, orient="row")


def exposures(rows: list[tuple[str, str, date]]) -> pl.DataFrame:
    full = [(f"e-{customer}-{campaign}", customer, campaign, "mail", on, None) for customer, campaign, on in rows]
    return pl.DataFrame(full, schema=contracts.EXPOSURES.columns, orient="row")


def campaigns(rows: list[tuple[str, date, date]]) -> pl.DataFrame:
    full = [(campaign, "A", start, end) for campaign, start, end in rows]
    return pl.DataFrame(full, schema=contracts.CAMPAIGNS.columns, orient="row")


__all__ = ["DAY", "campaigns", "day", "decision", "decisions", "exposures", "line", "lines", "outcome", "outcomes",
           "recommendations", "redemption", "responses", "sends"]  # fmt: skip
