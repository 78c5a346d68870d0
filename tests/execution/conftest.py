"""A real S3 for the tests of the ledger, and a small strategy to send."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from mktgen import contracts
from mktgen.documents import Approval, PublishedStrategy
from mktgen.store import ObjectStore, S3Location
from tests.execution.seaweed import running

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
        pl.lit("zh").alias("language"),
        pl.lit("给您的优惠 ☕").alias("subject"),
        pl.format("您好！优惠 {} 等着您。\nSee you soon.", "offer_id").alias("body"),
        pl.lit("t1").alias("template_id"),
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


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Location, dict[str, str]]]:
    with running(tmp_path_factory.mktemp("weed")) as started:
        yield started


@pytest.fixture
def s3_env(seaweed: tuple[S3Location, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in seaweed[1].items():
        monkeypatch.setenv(name, value)
    return seaweed[1]


@pytest.fixture
def objects(seaweed: tuple[S3Location, dict[str, str]], s3_env: dict[str, str], tmp_path: Path) -> ObjectStore:
    """A store of its own for each test, on the session's SeaweedFS."""
    return ObjectStore(S3Location(seaweed[0].endpoint, seaweed[0].bucket, tmp_path.name))
