"""The simulated market through the ordinary steps, on a real S3: a message sent is a row in the days after it."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from mktgen import pipeline
from mktgen.execution.channels.base import Connections, Message
from mktgen.execution.channels.simulated_market import SimulatedMarketChannel
from mktgen.settings import ExecutionSettings
from mktgen.steps.runner import Platform
from tests.steps.conftest import PlatformOf

FIRST = date(2017, 1, 1)
NEXT = FIRST + timedelta(days=1)
SOURCE = {"name": "simulated_market", "promotion_plan": False}


def day(platform: Platform, when: date) -> bool:
    """Ingest and clean a day; whether it was found as it was."""
    reused = pipeline.run_step("ingest", when, platform=platform).reused
    pipeline.run_step("clean", when, platform=platform)
    return reused


def table(platform: Platform, name: str, when: date) -> pl.DataFrame:
    return platform.store.read_table(platform.store.need(name, when))


@pytest.fixture
def platform(platform_of: PlatformOf) -> Platform:
    return platform_of(source=SOURCE, strategy={"channel": "simulated_market"})


def test_what_is_sent_comes_back_as_the_shops_own_rows(platform: Platform, platform_of: PlatformOf) -> None:
    assert not day(platform, FIRST)
    offers = table(platform, "offers", FIRST)
    assert dict(offers.select("offer_id", "face_value_minor").iter_rows()) == {
        "9001:1": 100, "9002:1": 400, "9003:1": 60, "9004:1": 200, "9005:1": 0,
    }  # fmt: skip
    assert set(offers["campaign_id"]) <= set(table(platform, "campaigns", FIRST)["campaign_id"])
    assert set(table(platform, "offer_items", FIRST)["offer_id"]) == set(offers["offer_id"])
    assert table(platform, "quarantine", FIRST).filter(pl.col("table").is_in(["offers", "coupons"])).is_empty()

    assert not day(platform, NEXT)
    assert day(platform, NEXT), "nothing was sent: the day is as it was"
    before = table(platform, "order_lines", NEXT)
    shoppers = table(platform, "order_lines", FIRST)["customer_id"].unique().sort()
    connections = Connections(platform.objects, ExecutionSettings(), lambda customer: None)
    channel = SimulatedMarketChannel.create(connections)
    for number, customer in enumerate(shoppers):
        channel.send(
            Message(f"{number:032x}", f"d{number}", customer, "9002", "9002:1", FIRST, "", "en", "4.00 off", "...")
        )

    again = platform_of(source=SOURCE)  # another process: it finds the inbox on the store
    assert day(again, FIRST), "a message changes no day before it arrives"
    assert not day(again, NEXT)
    exposures = table(again, "exposures", NEXT)
    assert exposures["customer_id"].sort().equals(shoppers)
    assert set(exposures["campaign_id"]) == {"9002"}
    assert set(exposures["exposed_on"]) == {NEXT}
    clicked = table(again, "clicks", NEXT)
    assert set(clicked["exposure_id"]) <= set(exposures["exposure_id"])
    assert set(clicked["clicked_on"]) == {NEXT}
    assert 0 < clicked.height < 0.3 * exposures.height
    assert table(platform, "clicks", FIRST).is_empty(), "a day without clicks is known to have none"
    redeemed = table(again, "responses", NEXT).filter(pl.col("offer_id") == "9002:1")
    assert redeemed.height > 0
    assert set(redeemed["customer_id"]) <= set(shoppers)
    after = table(again, "order_lines", NEXT)
    given = after.filter(pl.col("customer_id").is_in(redeemed["customer_id"].to_list()))["coupon_disc_minor"]
    assert (given >= 400).sum() >= redeemed.height
    others = ~pl.col("customer_id").is_in(shoppers.to_list())
    assert after.filter(others).equals(before.filter(others))
    assert table(again, "quarantine", NEXT).filter(pl.col("table").is_in(["deliveries", "clicks"])).is_empty()
