"""A small shop's order lines on a real S3, day by day, for searches that really train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from mktgen.config import Environment
from mktgen.settings import Settings
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.support.s3_server import S3Server
from tests.support.shop import START, around, make_shop, order_lines

DAY = START + timedelta(days=182)  # a training day whose cut is 154 days after the first: room for four cuts
CUT = DAY - timedelta(days=28)
BOOSTING = {"customer": {"iterations": 5}, "ranking": {"iterations": 8, "leaves": 7}}

SearchPlatform = Callable[..., Platform]


@pytest.fixture(scope="session")
def lines() -> pl.DataFrame:
    """What the shop sold, up to the training's cut and beyond it."""
    return order_lines(make_shop(customers=40, items=40, days=182).events)


@pytest.fixture(scope="module")
def search_platform(
    s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory, lines: pl.DataFrame
) -> Iterator[SearchPlatform]:
    """search_platform(mlflow_uri, kind={...}): a platform on the stored shop, whose days up to the cut alone are there."""
    location = s3_server.location(tmp_path_factory.mktemp("search").name)

    def make(mlflow_uri: str = "", **sections: Any) -> Platform:
        environment = Environment(
            s3_endpoint=location.endpoint, s3_bucket=location.bucket, s3_prefix=location.prefix, s3_region=location.region,
            mlflow_uri=mlflow_uri, pseudonym_key="a key of this test session, 32 ch.", train_processes=1, smtp_login=None,
            overlays=(),
        )  # fmt: skip
        body = {"threads": 1, "bootstrap": 50, "gradient_boosting": BOOSTING, **sections}
        return Platform(Settings.model_validate({"models": body}), environment)

    with s3_server.keys():
        store_lines(make(), lines)
        yield make


def store_lines(platform: Platform, lines: pl.DataFrame) -> None:
    by = Provenance("test", "r", "", "", 0, ())
    for day in (START + timedelta(days=n) for n in range((CUT - START).days)):
        platform.store.write_table("order_lines", day, lines.filter(pl.col("business_date") == day), by)
    known = around(lines)
    platform.store.write_table("items", START, known.items, by)
    platform.store.write_table("customers", START, known.customers, by)
    for (day,), plans in known.promotions.partition_by("known_on", as_dict=True).items():
        platform.store.write_table("item_promotions", day, plans, by)


def forget(platform: Platform) -> None:
    """As if nothing had ever been searched."""
    for key in platform.objects.keys("_search/"):
        platform.objects.delete(key)


def day_of(text: str) -> date:
    return date.fromisoformat(text)
