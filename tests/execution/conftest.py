"""A real S3 for the tests of the ledger, and a small strategy to send."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mktgen import contracts
from mktgen.documents import Approval, PublishedStrategy
from mktgen.execution.channels.base import Channel
from mktgen.execution.channels.outbox import OutboxChannel
from mktgen.execution.contact_book import ContactBook
from mktgen.execution.dispatch import Desk
from mktgen.execution.ledger import Ledger
from mktgen.execution.ledger import ObjectStore as Objects
from mktgen.execution.rules import Policy, planned_send_at
from mktgen.settings import ContactSettings, StrategySettings
from mktgen.store import ObjectStore
from tests.support.s3_server import object_store, s3_server

__all__ = ["object_store", "s3_server"]  # fixtures

DAY = date(2017, 10, 3)


def decision(customer: int, *, action: str = "18:c1", holdout: bool = False, version: str = "1") -> dict[str, object]:
    campaign, _, _ = action.partition(":")
    contact = action != "no_contact"
    return {
        "decision_id": f"d{version}-{customer:04d}",
        "customer_id": f"customer{customer:04d}",
        "segment_id": "s1",
        "action": action,
        "campaign_id": campaign if contact else None,
        "offer_id": action if contact else None,
        "item_ids": ["i1", "i2"],
        "channel": "outbox" if contact else None,
        "action_set": ["no_contact", "18:c1"],
        "action_propensities": [0.5, 0.5],
        "propensity": 0.5,
        "explored": False,
        "arm": "holdout" if holdout else "policy",
        "holdout": holdout,
        "holdout_share": 0.1,
        "p_redeem": 0.1,
        "expected_value_minor": 10.0,
        "cost_minor": 140,
        "model_version": "m1",
        "policy_version": "p1",
        "config_version": "c1",
    }


def decisions(rows: list[dict[str, object]], channel: str = "outbox") -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=contracts.DECISIONS.columns)
    return frame.with_columns(pl.when(pl.col("channel").is_not_null()).then(pl.lit(channel)).alias("channel"))


def messages_for(frame: pl.DataFrame) -> pl.DataFrame:
    contacts = frame.filter((pl.col("action") != "no_contact") & ~pl.col("holdout"))
    return contacts.select(
        "decision_id",
        "customer_id",
        "campaign_id",
        "channel",
        pl.lit("email").alias("form"),
        pl.lit("zh").alias("language"),
        pl.lit("给您的优惠 ☕").alias("subject"),
        pl.format("您好！优惠 {} 等着您。\nSee you soon.", "offer_id").alias("body"),
        pl.lit("w1").alias("wording_id"),
        pl.lit("template").alias("origin"),
        pl.lit(1.0).alias("wording_propensity"),
        pl.lit("en email deal: item valid_to").alias("cell"),
    )


def published(day: date = DAY, run: str = "r1") -> PublishedStrategy:
    root = f"s3://mktgen/store/{{}}/dt={day}/run={run}"
    return PublishedStrategy(
        partition=day,
        strategy_uri=root.format("strategy"),
        decisions_uri=root.format("decisions"),
        messages_uri=root.format("messages"),
        markdown="# strategy",
    )


def approval(day: date = DAY, run: str = "r1", approved: bool = True) -> Approval:
    return Approval(partition=day, approved=approved, responder="ana", strategy_run=run)


EVERYBODY = ContactSettings(consent_default="existing_customers")


def policy(day: date = DAY, contact: ContactSettings = EVERYBODY, **changes: Any) -> Policy:
    """What a dispatch of `day` goes by in a shop in New York; fields as given."""
    strategy = changes.pop("strategy", StrategySettings())
    planned = planned_send_at(day, strategy.send_hour_local, "America/New_York")
    usual: dict[str, Any] = {
        "strategy": strategy, "contact": contact, "time_zone": "America/New_York",
        "send_at": planned,
        "until": planned + timedelta(days=1),
        "purposes": ("marketing_post", "profiling"), "holds_messages": True, "held_out": frozenset(), "campaign_types": {},
    }  # fmt: skip
    return Policy(**{**usual, **changes})


def desk(
    objects: Objects,
    day: date = DAY,
    channel: Channel | None = None,
    clock: Callable[[], datetime] | None = None,
    **changes: Any,
) -> Desk:
    return Desk(channel or OutboxChannel(objects), Ledger(objects), ContactBook(objects), policy(day, **changes), clock)


@pytest.fixture
def objects(object_store: ObjectStore) -> ObjectStore:
    """An empty store of the test's own, on the session's SeaweedFS."""
    return object_store
