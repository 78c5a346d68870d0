"""Who is behind the market's pseudonyms, and what deliveries change in their days. None of it is in a raw table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from mktgen.market_sim import copies
from mktgen.market_sim.effects import Effects, combined, effects
from mktgen.market_sim.panel import KNOWN_DAYS, Organic, panel, visits
from mktgen.market_sim.reading import CLICKS, clicks
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import Scenario
from mktgen.settings import MarketSettings
from mktgen.sources._complete_journey_mapping import reference_mappings
from mktgen.sources._market_inbox import Inbox
from mktgen.sources._market_rows import order_lines
from mktgen.sources.base import pseudonym
from mktgen.sources.complete_journey import CompleteJourney

Listing = dict[date, list[str]]  # names of messages by the day they arrive


@dataclass(frozen=True)
class _Wave:
    """What one day's deliveries do: changes of days, and clicks (market_sim/reading.py: CLICKS) with the wave as a column."""

    effects: Effects
    clicks: pl.DataFrame


class World:
    """The market behind the rows: `base` has the organic days, `inbox` what was delivered."""

    def __init__(
        self, base: CompleteJourney, scenario: Scenario, settings: MarketSettings, key: str, inbox: Inbox
    ) -> None:
        self._base, self._scenario, self._settings, self._key, self._inbox = base, scenario, settings, key, inbox
        self._waves: dict[str, _Wave] = {}

    @cached_property
    def people(self) -> pl.DataFrame:
        """All customers: household, copy, market_id, customer_id (the pseudonym)."""
        households = pl.DataFrame({"household": self._base.households})
        everyone = pl.concat(
            households.with_columns(
                pl.lit(copy, pl.Int64).alias("copy"), copies.copy_id("household", copy).alias("market_id")
            )
            for copy in range(self._settings.copies)
        )
        shown = [pseudonym(name, self._key) for name in everyone["market_id"]]
        return everyone.with_columns(pl.Series("customer_id", shown, pl.String))

    @cached_property
    def catalogue(self) -> pl.DataFrame:
        """item_id, category, merchandise of the base's products, as cleaning will see them."""
        columns = reference_mappings()["products"].columns
        raw = self._base.read_reference()["products"]
        wanted = {name: columns[name] for name in ("item_id", "category", "merchandise")}
        return raw.select(expr.alias(name) for name, expr in wanted.items()).unique("item_id", keep="first")

    def listing(self, day: date) -> Listing:
        """Names of all messages that a day depends on: those that change it, and those that tired their customers."""
        return self._inbox.listing(self._waves_until(day, self._scenario.horizon_days + self._scenario.memory_days))

    def arrived(self, day: date) -> pl.DataFrame:
        """DELIVERIES of a day."""
        return self._inbox.deliveries(self._inbox.listing([day])[day])

    def effects(self, day: date) -> Effects:
        """What deliveries up to a day change on it and around it."""
        listing = self.listing(day)
        waves = self._waves_until(day, self._scenario.horizon_days)
        return combined([self._wave(wave, listing).effects for wave in waves if listing[wave]])

    def clicks(self, day: date) -> pl.DataFrame:
        """send_id and customer_id (the pseudonym) of the messages that are clicked on a day, sorted."""
        listing = self.listing(day)
        waves = self._waves_until(day, max(self._scenario.reading.delay_days) + 1)
        made = [pl.DataFrame(schema={**CLICKS, "wave": pl.Date})]
        made += [self._wave(wave, listing).clicks for wave in waves if listing[wave]]
        today = pl.col("wave") + pl.duration(days="clicked_after_days") == day
        found = pl.concat(made).filter(today).rename({"customer_id": "market_id"})
        return found.join(self.people, on="market_id").select("send_id", "customer_id").sort("send_id")

    def _waves_until(self, day: date, days: int) -> list[date]:
        """The last `days` days up to one, itself among them, on which a message can have arrived."""
        waves = [day - timedelta(days=back) for back in range(days - 1, -1, -1)]
        return [wave for wave in waves if wave > self._base.first_day]

    def organic(self, first: date, last: date) -> Organic:
        """All customers' days of a range without contacts, one copy at a time to keep memory small."""
        lines = self._base_lines(self._base.households, first, last)
        days = [
            visits(self._replicated(lines, self.people.filter(pl.col("copy") == copy)), self._scenario)
            for copy in range(self._settings.copies)
        ]
        return Organic(pl.concat(days).sort("customer_id", "business_date"), *self._history(self.people))

    def _wave(self, wave: date, listing: Listing) -> _Wave:
        """What comes of the messages that arrived on one day, computed once for each state of the inbox."""
        remembered = self._waves_until(wave - timedelta(days=1), self._scenario.memory_days)
        before = [name for earlier in remembered for name in listing[earlier]]
        state = "\n".join([str(wave), *before, *listing[wave]])
        if state not in self._waves:
            self._waves[state] = self._computed(wave, listing[wave], before)
        return self._waves[state]

    def _computed(self, wave: date, names: list[str], before: list[str]) -> _Wave:
        scenario, seed = self._scenario, self._settings.seed
        offers = {scenario.offer_id(name): name for name in scenario.offers}
        action = pl.col("offer_id").replace_strict(offers, default=None, return_dtype=pl.String)
        # One message per customer and day is the ledger's rule; should there be two, the first send counts.
        arrived = self._known(names).with_columns(action.alias("action")).drop_nulls("action")
        arrived = arrived.unique("market_id", keep="first", maintain_order=True)
        end = wave + timedelta(days=scenario.window_days + scenario.later_days)
        households = arrived["household"].unique().sort().to_list()
        lines = self._replicated(self._base_lines(households, wave - timedelta(days=KNOWN_DAYS), end), arrived)
        organic = Organic(visits(lines, scenario), *self._history(arrived))
        known = panel(
            organic, wave, scenario, self._known(before).select(customer_id="market_id", contacted_on="arrives")
        )
        if known.is_empty():
            return _Wave(combined([]), pl.DataFrame(schema={**CLICKS, "wave": pl.Date}))
        read = arrived.select("send_id", "subject", "body", customer_id="market_id")
        clicked = clicks(known, read, scenario, seed).with_columns(wave=pl.lit(wave))
        actions = known.join(arrived, left_on="customer_id", right_on="market_id", how="left", maintain_order="left")
        responses = respond(known, actions["action"], scenario, seed)
        closed = [wave + timedelta(days=n) for n in range(scenario.window_days)]
        shut = [day for day in closed if self._base.is_closed(day)]
        return _Wave(effects(responses, lines, scenario, seed, shut), clicked)

    def _known(self, names: list[str]) -> pl.DataFrame:
        """Deliveries to customers whom the market has, with household, copy and market_id."""
        return self._inbox.deliveries(names).join(self.people, on="customer_id", maintain_order="left")

    def _base_lines(self, households: list[str], first: date, last: date) -> pl.DataFrame:
        """Organic order lines of real households, as far as there are days."""
        first, last = max(self._base.first_day, first), min(self._base.last_day, last)
        raw = self._base.order_rows(first, last, households)
        return order_lines(raw, pl.col("_day").str.to_date(), self.catalogue).rename({"customer_id": "household"})

    def _history(self, who: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Redemptions and exposures of customers, as panel.Organic takes them."""
        redeemed, mailed = (
            rows.select(household="household_id", business_date="day") for rows in self._base.mailing_history
        )
        exposures = mailed.join(who, on="household").select(customer_id="market_id", exposed_on="business_date")
        return self._replicated(redeemed, who).rename({"business_date": "responded_on"}), exposures

    def _replicated(self, rows: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
        """Rows of households (household, business_date ...) as rows of the customers that copy them."""
        parts = []
        for copy in range(self._settings.copies):
            own = rows.join(who.filter(pl.col("copy") == copy).select("household"), on="household", how="semi")
            parts.append(copies.replicate(own.rename({"household": "customer_id"}), copy, self._settings.seed))
        return pl.concat(parts)
