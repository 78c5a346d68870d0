"""SIMULATED: the days of Complete Journey, as they would have been had its customers got our messages.

Organic rows are the base's, unchanged; market_sim adds what a delivery brings and removes what it costs. Messages come
from the channel of the same name, through an inbox on the store. Households can be copied (`source.market.copies`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Final

import polars as pl

from mktgen.market_sim.panel import Organic
from mktgen.market_sim.scenario import load
from mktgen.settings import SourceSettings
from mktgen.sources import _market_rows as rows
from mktgen.sources._market_inbox import Inbox
from mktgen.sources._market_mapping import mappings
from mktgen.sources._market_world import World
from mktgen.sources.base import Capabilities, ObjectReader, TableMapping
from mktgen.sources.complete_journey import CompleteJourney

READS_OBJECTS: Final = True  # see open_source in this package


def open_source(settings: SourceSettings, pseudonym_key: str, objects: ObjectReader | None = None) -> SimulatedMarket:
    """objects: the store with the inbox; without one nobody is ever contacted."""
    return SimulatedMarket(settings, pseudonym_key, objects)


class SimulatedMarket:
    name = "simulated_market"
    capabilities = Capabilities(
        has_impressions=True,  # a delivery is known; whether it was looked at isn't
        has_clicks=True,  # of the messages' own texts, by the scenario's taste in words
        has_propensity=True,  # ours: decisions are the only contacts of the market's campaigns
        has_randomised_holdout=True,  # ours
        has_cost=True,  # the scenario's assumptions
        has_offer_level_exposure=True,  # one offer per campaign
    )
    live = True
    renews_offers = True
    reference_tables = CompleteJourney.reference_tables
    tables = (*CompleteJourney.tables, "offers", "deliveries", "clicks")
    timezone = CompleteJourney.timezone
    currency = CompleteJourney.currency
    first_day = CompleteJourney.first_day
    last_day = CompleteJourney.last_day

    def __init__(self, settings: SourceSettings, pseudonym_key: str, objects: ObjectReader | None) -> None:
        self._base = CompleteJourney(settings, pseudonym_key)
        self._settings = settings.market
        self.scenario = load(settings.market.scenario)
        self._world = World(self._base, self.scenario, settings.market, pseudonym_key, Inbox(objects))
        self.version = self._base.version
        self.notice = (
            f"SIMULATED market, scenario '{self.scenario.name}': how customers respond, margins and costs are "
            f"assumptions, not data. Organic purchases: {self._base.notice}"
        )

    # -- days -------------------------------------------------------------------------------------------------------------
    def fingerprint(self, day: date) -> str:
        """Changes with the scenario, and with every delivery that can change the day."""
        names = "\n".join(name for names in self._world.listing(day).values() for name in names)
        market = [self.scenario.digest[:12], str(self._settings.copies), str(self._settings.seed)]
        inbox = hashlib.sha256(names.encode()).hexdigest()[:16]
        return "|".join([self.name, *market, inbox, self._base.fingerprint(day)])

    def is_closed(self, day: date) -> bool:
        return self._base.is_closed(day)

    def promotion_week(self, day: date) -> date:
        return self._base.promotion_week(day)

    # -- reading ----------------------------------------------------------------------------------------------------------
    def read(self, day: date) -> dict[str, pl.DataFrame]:
        return self._day(day, self._base.read(day))

    def read_range(self, first: date, last: date) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
        for day, tables in self._base.read_range(first, last):
            yield day, self._day(day, tables)

    def read_reference(self) -> dict[str, pl.DataFrame]:
        tables = self._base.read_reference()
        people = rows.for_copies(tables["demographics"], self._world.people)
        return tables | {"demographics": _numbered(people)}

    def mappings(self, day: date, reference: Mapping[str, pl.DataFrame]) -> dict[str, TableMapping]:
        base = self._base.mappings(day, reference)
        return base | mappings(day, self.scenario) if reference else base

    @cached_property
    def customers(self) -> pl.DataFrame:
        """market_id and customer_id (the pseudonym) of every customer: for an evaluator who compares with the truth."""
        return self._world.people.select("market_id", "customer_id")

    def organic(self, first: date, last: date) -> Organic:
        """What all customers do in a range of days without contacts: for an evaluator, by market_id."""
        return self._world.organic(first, last)

    def _day(self, day: date, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        # Coupons of the base can't be sent again: only offers that this market answers are to be had.
        result = {name: frame for name, frame in tables.items() if name != "coupons"}
        people, seed = self._world.people, self._settings.seed
        for name in ("transactions", "coupon_redemptions"):
            result[name] = rows.with_copies(result[name], day, people, seed)
        if "campaigns" in result:
            result["campaigns"] = rows.for_copies(result["campaigns"], people)
        if day == self.first_day:
            own = rows.campaign_tables(self.scenario, self._world.catalogue, self.first_day, self.last_day)
            described = [result["campaign_descriptions"].drop("row"), own["campaign_descriptions"]]
            result |= own | {"campaign_descriptions": pl.concat(described, how="diagonal")}
        arrived = self._world.arrived(day)
        if arrived.height:
            result["deliveries"] = rows.deliveries(arrived)
        clicked = self._world.clicks(day)
        if clicked.height:
            result["clicks"] = rows.clicks(clicked, day)
        result |= self._changed(day, result)
        return {name: _numbered(frame) for name, frame in result.items()}

    def _changed(self, day: date, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """The day's baskets and redemptions with what contacts change in them; nothing where nobody was contacted."""
        changes = self._world.effects(day)
        if all(frame.is_empty() for frame in vars(changes).values()):
            return {}
        people = self._world.people
        raw = _numbered(tables["transactions"])
        reported = rows.redemptions(changes, people, day, self.scenario)
        return {
            "transactions": rows.changed(raw, people, self._world.catalogue, changes, day, self.timezone),
            "coupon_redemptions": pl.concat([tables["coupon_redemptions"], reported], how="diagonal"),
        }


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("row", strict=False).with_row_index("row")
