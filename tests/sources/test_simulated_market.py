"""The market as a source: the base's rows without a delivery, and with one what market_sim says, in raw rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.execution.channels.base import Message
from mktgen.execution.channels.simulated_market import SimulatedMarketChannel
from mktgen.market_sim import inbox
from mktgen.market_sim.panel import panel
from mktgen.market_sim.response import respond
from mktgen.settings import MarketSettings, SourceSettings
from mktgen.sources.complete_journey import COLUMNS, CompleteJourney
from mktgen.sources.simulated_market import SimulatedMarket, open_source

KEY = "a key of this test session, 32 ch."
SENT_FOR = date(2017, 7, 4)  # a Tuesday: no day of the test brings a week's promotions
WAVE = SENT_FOR + timedelta(days=1)
DAYS = [WAVE + timedelta(days=n) for n in range(4)]


class Objects:
    """Objects in memory, with the promises of a store."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put_once(self, key: str, body: bytes) -> bool:
        return self.held.setdefault(key, body) is body

    def get(self, key: str) -> bytes | None:
        return self.held.get(key)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.held if key.startswith(prefix))


def market(objects: Objects, copies: int = 1, scenario: str = "strong") -> SimulatedMarket:
    settings = MarketSettings(copies=copies, scenario=scenario)
    return open_source(SourceSettings(market=settings, promotion_plan=False), KEY, objects)


def message(customer: str, offer_id: str, number: int = 0, sent_for: date = SENT_FOR) -> Message:
    return Message(
        f"{number:032x}",
        f"d{number}",
        customer,
        offer_id.split(":")[0],
        offer_id,
        sent_for,
        "",
        "en",
        "an offer",
        "for you",
    )


def deliver(objects: Objects, source: SimulatedMarket, every: int = 3) -> dict[str, str]:
    """One message to every third customer, offers in turn. Returns the action by market_id."""
    offers, sent = list(source.scenario.offers), {}
    channel = SimulatedMarketChannel(objects)
    for number, row in enumerate(source.customers.gather_every(every).iter_rows(named=True)):
        action = offers[number % len(offers)]
        channel.send(message(row["customer_id"], source.scenario.offer_id(action), number))
        sent[row["market_id"]] = action
    return sent


@pytest.fixture(scope="module")
def base() -> CompleteJourney:
    return CompleteJourney(SourceSettings(promotion_plan=False), KEY)


@pytest.fixture(scope="module")
def organic(base: CompleteJourney) -> dict[date, dict[str, pl.DataFrame]]:
    return dict(base.read_range(DAYS[0], DAYS[-1]))


@pytest.fixture(scope="module")
def contacted() -> tuple[SimulatedMarket, Objects, dict[str, str]]:
    objects = Objects()
    source = market(objects)
    return source, objects, deliver(objects, source)


def total(tables: Mapping[str, pl.DataFrame], column: str) -> int:
    return round(100 * tables["transactions"][column].cast(pl.Float64).sum())


# -- nobody contacted -----------------------------------------------------------------------------------------------------
def test_nobody_contacted_is_the_base_row_for_row(organic: dict[date, dict[str, pl.DataFrame]]) -> None:
    for day, tables in market(Objects()).read_range(DAYS[0], DAYS[-1]):
        assert tables.keys() == organic[day].keys()
        for name, frame in tables.items():
            assert frame.equals(organic[day][name]), f"{name} of {day}"


def test_copies_come_after_the_real_rows(organic: dict[date, dict[str, pl.DataFrame]]) -> None:
    source = market(Objects(), copies=3)
    for day, tables in source.read_range(DAYS[0], DAYS[1]):
        real = organic[day]["transactions"]
        assert tables["transactions"].head(real.height).equals(real)
        assert 2.3 < tables["transactions"].height / real.height < 2.9
        keys = tables["transactions"].select("basket_id", "product_id")
        assert keys.is_duplicated().sum() == real.select("basket_id", "product_id").is_duplicated().sum()
    shown = source.customers["customer_id"]
    assert shown.str.contains(r"^c[0-9a-f]{16}$").all()
    assert not shown.is_duplicated().any()


def test_the_markets_own_campaigns_arrive_on_the_first_day() -> None:
    source = market(Objects(), copies=2)
    tables = source.read(source.first_day)
    campaigns = tables["campaign_descriptions"].filter(pl.col("campaign_type").str.starts_with("SIMULATED"))
    assert campaigns["campaign_id"].to_list() == [offer.campaign_id for offer in source.scenario.offers.values()]
    assert tables["offers"]["face_value"].to_list() == ["1.00", "4.00", "0.60", "2.00", "0.00"]
    sizes = dict(tables["coupons"].group_by("campaign_id").len().iter_rows())
    assert set(sizes) == set(campaigns["campaign_id"]), "the base's coupons can't be sent again"
    assert sizes["9004"] < sizes["9001"]
    mailed = tables["campaigns"].group_by("campaign_id").len()["len"]
    assert (mailed % 2 == 0).all(), "copies are on the mailing lists of their originals"


# -- contacted ------------------------------------------------------------------------------------------------------------
def test_the_days_change_by_what_the_response_says(
    contacted: tuple[SimulatedMarket, Objects, dict[str, str]],
    base: CompleteJourney,
    organic: dict[date, dict[str, pl.DataFrame]],
) -> None:
    """Over the window: incremental less what annoyance costs, in merchandise; redemptions and face values."""
    source, objects, sent = contacted
    end = WAVE + timedelta(days=source.scenario.window_days - 1)
    days = organic | dict(base.read_range(DAYS[-1], end))
    with_contacts = dict(market(objects).read_range(WAVE, end))
    known = panel(source.organic(date(2017, 4, 1), date(2017, 8, 31)), WAVE, source.scenario)
    actions = known["customer_id"].replace_strict(sent, default="no_contact", return_dtype=pl.String)
    truth = respond(known, actions, source.scenario, MarketSettings().seed)
    gained = sum(total(with_contacts[day], "sales_value") - total(days[day], "sales_value") for day in with_contacts)
    assert gained == (truth["incremental_minor"] - truth["skipped_minor"]).sum()
    redeemed = sum(
        with_contacts[day]["coupon_redemptions"].height - days[day]["coupon_redemptions"].height
        for day in with_contacts
    )
    assert redeemed == truth["redeemed"].sum() > 20
    assert truth["stays_away"].any()


def test_clicks_are_of_messages_that_came_and_of_what_they_say() -> None:
    """The same customers, other words: where somebody clicks is decided by the text in the inbox alone."""
    found = []
    for subject in ("$4.00 off", "an offer", "an offer"):
        objects = Objects()
        source = market(objects)
        channel = SimulatedMarketChannel(objects)
        for number, customer in enumerate(source.customers["customer_id"].gather_every(2)):
            channel.send(replace(message(customer, "9001:1", number), subject=subject))
        days = [source.read(day) for day in DAYS[:3]]
        tables = [day["clicks"] for day in days if "clicks" in day]
        assert "clicks" not in source.read(SENT_FOR)
        for day, table in zip(DAYS, tables, strict=False):
            assert set(table["clicked_on"]) == {str(day)}
        found.append(pl.concat(tables))
        assert not found[-1]["send_id"].is_duplicated().any()
        assert set(found[-1]["send_id"]) <= set(days[0]["deliveries"]["send_id"])
    amount, plain, again = found
    assert plain.equals(again)
    assert 0.02 < plain.height * 2 / source.customers.height < 0.15
    assert amount.height > 1.1 * plain.height


def test_only_the_contacted_change(
    contacted: tuple[SimulatedMarket, Objects, dict[str, str]], organic: dict[date, dict[str, pl.DataFrame]]
) -> None:
    source, _, sent = contacted
    shown = source.customers.filter(pl.col("market_id").is_in(list(sent)))["customer_id"].to_list()
    others = ~pl.col("household_id").is_in(shown)
    for day in DAYS[:2]:
        tables = source.read(day)
        for name in ("transactions", "coupon_redemptions"):
            alone = organic[day][name].filter(others).drop("row")
            assert tables[name].filter(others).drop("row").equals(alone)


def test_deliveries_arrive_the_day_after_and_nothing_happens_before(
    contacted: tuple[SimulatedMarket, Objects, dict[str, str]], base: CompleteJourney
) -> None:
    source, _, sent = contacted
    before = source.read(SENT_FOR)
    assert before["transactions"].equals(base.read(SENT_FOR)["transactions"])
    assert "deliveries" not in before
    arrived = source.read(WAVE)["deliveries"]
    assert arrived.height == len(sent)
    assert set(arrived["delivered_on"]) == {str(WAVE)}
    assert "deliveries" not in source.read(WAVE + timedelta(days=1))


def test_raw_tables_show_what_a_shop_sees_and_nothing_else(
    contacted: tuple[SimulatedMarket, Objects, dict[str, str]],
) -> None:
    """No term of a customer's nature, no cause of a visit, and no identifier of the market."""
    source, _, _ = contacted
    own = {
        "deliveries": ("send_id", "household_id", "campaign_id", "coupon_upc", "delivered_on"),
        "offers": ("campaign_id", "coupon_upc", "start_date", "end_date", "face_value"),
        "clicks": ("click_id", "send_id", "household_id", "clicked_on"),
    }
    tables = source.read(source.first_day) | source.read(WAVE) | source.read(WAVE + timedelta(days=1))
    assert {"deliveries", "offers", "clicks"} <= tables.keys()
    for name, frame in tables.items():
        assert set(frame.columns) - {"row"} == set((COLUMNS | own)[name]), name
    for name in ("transactions", "coupon_redemptions", "deliveries", "clicks"):
        assert tables[name]["household_id"].str.contains(r"^c[0-9a-f]{16}$").all()
    assert source.notice.startswith("SIMULATED")


def test_a_days_identity_follows_the_inbox(contacted: tuple[SimulatedMarket, Objects, dict[str, str]]) -> None:
    source, objects, _ = contacted
    nobody = market(Objects())
    for day, same in {SENT_FOR: True, WAVE: False, WAVE + timedelta(days=27): False, date(2017, 10, 1): True}.items():
        assert (nobody.fingerprint(day) == source.fingerprint(day)) is same, day
    identities = {
        market(objects).fingerprint(WAVE), market(objects, copies=2).fingerprint(WAVE),
        market(objects, scenario="weak").fingerprint(WAVE),
    }  # fmt: skip
    assert len(identities) == 3


def test_a_message_that_comes_later_is_not_missed() -> None:
    objects = Objects()
    source = market(objects)
    assert "deliveries" not in source.read(WAVE)
    deliver(objects, source, every=500)
    assert source.read(WAVE)["deliveries"].height == 5


def test_a_customer_or_an_offer_that_the_market_does_not_have_changes_nothing(base: CompleteJourney) -> None:
    objects = Objects()
    source = market(objects)
    channel = SimulatedMarketChannel(objects)
    channel.send(message("c0000000000000000", "9001:1", 1))
    channel.send(message(source.customers["customer_id"][0], "18:51380041013", 2))
    tables = source.read(WAVE)
    assert tables["transactions"].equals(base.read(WAVE)["transactions"])
    assert tables["deliveries"].height == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b"[1]"])
def test_an_object_that_is_no_message_is_named(body: bytes) -> None:
    objects = Objects()
    name = inbox.key(SENT_FOR, "a" * 32)
    objects.put_once(name, body)
    with pytest.raises(PermanentError, match=name):
        market(objects).read(WAVE)


def test_a_message_in_another_ones_place_is_named() -> None:
    objects = Objects()
    SimulatedMarketChannel(objects).send(message("c1", "9001:1"))
    (body,) = objects.held.values()
    objects.put_once(inbox.key(SENT_FOR, "b" * 32), body)
    with pytest.raises(PermanentError, match="holds the message"):
        market(objects).read(WAVE)


def test_the_first_message_stays() -> None:
    objects = Objects()
    channel = SimulatedMarketChannel(objects)
    receipts = [channel.send(message("c1", offer)) for offer in ("9001:1", "9002:1")]
    assert receipts[0] == receipts[1]
    assert json.loads(objects.held[receipts[0].detail])["offer_id"] == "9001:1"
