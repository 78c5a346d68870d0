"""Scenarios: all assumptions of a simulated market, one YAML file each. A new file in scenarios/ is a new scenario.

A file may start from another one (`like: strong`) and say only what differs, key by key.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from importlib.resources import files
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from mktgen.errors import PermanentError
from mktgen.market_sim.covariates import Covariate
from mktgen.settings.base import Section

NO_CONTACT: Final = "no_contact"
_FOLDER: Final = "scenarios"


class ScenarioError(PermanentError):
    """A scenario doesn't exist or can't be used; the message names file and key."""


class Logit(Section):
    """constant + sum of weight * z, z in standard deviations (covariates.py)."""

    constant: float = 0.0
    weights: dict[Covariate, float] = Field(default_factory=dict)


class Offer(Section):
    """One action beside leaving the customer alone."""

    campaign_id: str = Field(
        pattern=r"^[0-9]{4,6}$", description="of the market; 4 to 6 digits, so none of the source's"
    )
    face_value_minor: int = Field(ge=0, description="what a redemption costs the shop")
    redeemable: bool = Field(True, description="False: a message that gives nothing to redeem")
    categories: tuple[str, ...] = Field((), description="product categories that it is for; empty = the whole basket")
    basket: float = Field(1.0, gt=0, description="basket of an incremental visit, relative to the customer's usual one")
    borrowed: float = Field(
        0.0, ge=0, le=1, description="P(an incremental visit replaces the next one after the window)"
    )
    answer: Logit = Field(Logit(), description="logit of answering, on top of the redemption hazard")
    incrementality: Logit = Field(Logit(), description="logit of kappa: the visit wouldn't have been made without it")

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.redeemable != (self.face_value_minor > 0):
            raise ValueError("what can be redeemed has a face value above 0, and nothing else has one")
        return self


class Answering(Section):
    face_slope: float = Field(0.0, ge=0, description="added to the logit per log(1 + face value in currency units)")
    per_contact: float = Field(0.0, le=0, description="fatigue: added per contact in the memory")


class Incremental(Section):
    ceiling: float = Field(1.0, ge=0, le=1, description="the largest kappa; 0 = no contact ever brings a visit")
    hidden: float = Field(0.0, ge=0, description="logit per standard deviation of what nobody can see")


class Annoyance(Section):
    """A contacted customer stays away for the whole window."""

    ceiling: float = Field(0.0, ge=0, le=1, description="the largest probability")
    logit: Logit = Logit()
    hidden: float = Field(0.0, ge=0, description="logit per standard deviation of what nobody can see")
    per_contact: float = Field(0.0, ge=0, description="logit per contact in the memory")


class UsualBasket(Section):
    """Mean basket of the last 84 days, drawn towards a general one by so many visits."""

    minor: int = Field(2_500, gt=0)
    visits: float = Field(3.0, gt=0)


class Drift(Section):
    """From a day on, the offers of a pair are answered as the other one was; their cost stays."""

    first_day: date
    swap: tuple[tuple[str, str], ...] = Field(min_length=1)


class Reporting(Section):
    """Redemptions as the shop gets to know them. Tills report baskets at once, whatever this says."""

    lost: float = Field(0.0, ge=0, le=1, description="share of redemptions that are never reported")
    delay_days: tuple[int, ...] = Field((0,), min_length=1, description="days late, each equally likely")

    @model_validator(mode="after")
    def _not_early(self) -> Self:
        if min(self.delay_days) < 0:
            raise ValueError("nothing is reported before it happens")
        return self


class Cue(Section):
    """Something in a message's text that a customer notices, and how much more or less likely a click is for it."""

    part: Literal["subject", "body", "both"] = "both"
    pattern: str = Field(min_length=1, description="regular expression, upper and lower case alike")
    liking: Logit = Field(description="added to the logit of a click where the text has it")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r}: {error}") from None
        if "affinity" in self.liking.weights:
            raise ValueError("words are liked whatever the offer: affinity can't be among the weights")
        return self


class Reading(Section):
    """What customers make of the words of a message. A click is an outcome of its own: it changes nothing that is bought."""

    strength: float = Field(1.0, ge=0, description="all likings times this; 0 = no word makes a difference")
    click: Logit = Field(description="logit of a click, whatever the words")
    hidden: float = Field(0.0, ge=0, description="logit per standard deviation of what nobody can see")
    cues: dict[str, Cue] = Field(default_factory=dict)
    delay_days: tuple[int, ...] = Field((0,), min_length=1, description="days after delivery, each equally likely")

    @model_validator(mode="after")
    def _not_early(self) -> Self:
        if min(self.delay_days) < 0 or "affinity" in self.click.weights:
            raise ValueError("nothing is clicked before it is there, and clicks don't depend on affinity")
        return self


class Scenario(Section):
    """One market. All money in minor units, all chances per contact."""

    name: str
    description: str
    people_seed: int = Field(description="who the customers are by nature")
    margin_share: float = Field(gt=0, le=1, description="of merchandise sales")
    contact_cost_minor: int = Field(ge=0)
    window_days: int = Field(7, ge=1, description="from delivery: redemption, and staying away")
    later_days: int = Field(21, ge=1, description="after the window: where a visit may be missing")
    memory_days: int = Field(28, ge=1, description="contacts this recent tire")
    usual_basket: UsualBasket = UsualBasket()
    basket_noise: float = Field(0.5, ge=0, description="standard deviation of the log of an incremental basket")
    answering: Answering
    incremental: Incremental
    annoyance: Annoyance = Annoyance()
    reporting: Reporting = Reporting()
    reading: Reading
    drift: Drift | None = None
    offers: dict[str, Offer] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        campaigns = [offer.campaign_id for offer in self.offers.values()]
        if len(set(campaigns)) < len(campaigns) or NO_CONTACT in self.offers:
            raise ValueError(f"each offer has a campaign of its own, and none is called {NO_CONTACT}")
        swapped = [name for pair in (self.drift.swap if self.drift else ()) for name in pair]
        if len(set(swapped)) < len(swapped) or not set(swapped) <= set(self.offers):
            raise ValueError(f"drift.swap: {swapped} must be offers, each at most once")
        return self

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of all actions; the first is to leave the customer alone."""
        return (NO_CONTACT, *self.offers)

    @property
    def horizon_days(self) -> int:
        """How long a delivery changes days, the day of delivery included."""
        return self.window_days + max(self.later_days, *self.reporting.delay_days, *self.reading.delay_days)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def answered_as(self, name: str, wave: date) -> Offer:
        """The offer whose response holds for an offer at a wave: another one's after a drift."""
        if self.drift is None or wave < self.drift.first_day:
            return self.offers[name]
        pairs = {a: b for pair in self.drift.swap for a, b in (pair, pair[::-1])}
        return self.offers[pairs.get(name, name)]

    def offer_id(self, name: str) -> str:
        return f"{self.offers[name].campaign_id}:1"

    def action_of(self, offer_id: str) -> str | None:
        """The action behind an offer's identifier; None: not an offer of this market."""
        return next((name for name in self.offers if self.offer_id(name) == offer_id), None)


def names() -> list[str]:
    """Names of all scenarios found."""
    found = (files(__package__) / _FOLDER).iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in found if entry.name.endswith(".yaml"))


def load(name: str) -> Scenario:
    """The scenario of that name. Raises ScenarioError naming file, key and what is wrong."""
    try:
        return Scenario.model_validate(_body(name, ()))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ScenarioError(f"scenario {name}: {'; '.join(lines)}") from None


def _body(name: str, above: tuple[str, ...]) -> dict[str, Any]:
    if name not in names():
        raise ScenarioError(f"no scenario {name!r}; found: {names()}")
    if name in above:
        raise ScenarioError(f"scenario {name} is like itself: {' like '.join((*above, name))}")
    own: dict[str, Any] = yaml.safe_load((files(__package__) / _FOLDER / f"{name}.yaml").read_text())
    base = own.pop("like", None)
    return {**(_merged(_body(base, (*above, name)), own) if base else own), "name": name}


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in own.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
