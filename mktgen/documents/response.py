"""The response model's documents: what was learned, which version serves, and a person's rollback."""

from __future__ import annotations

from datetime import date
from typing import Literal

from mktgen.documents.base import Document, Gate, Interval


class ResponseComparison(Document):
    """A version of the response model against the one that serves, on trials that neither had seen.

    champion: the day it was learned. gain: its loss less the version's, squared minor units; None: not comparable. replaces:
    whether the rule lets the version take its place.
    """

    champion: date
    trials: int
    gain: Interval | None
    reason: str
    replaces: bool


class ResponseReport(Document):
    """What is known of the effect of offers: from how many trials, and whether it may be used.

    reason: why not, or that all checks passed. facts: of the fit, for the model card. alike: one mean effect per action for
    all customers. doubted_before: trials decided earlier counted for little. against: the version that serves; None: none did.
    """

    partition: date
    usable: bool
    reason: str
    trials: int
    actions: list[str]
    facts: dict[str, float | str]
    gates: list[Gate]
    alike: bool = False
    doubted_before: date | None = None
    against: ResponseComparison | None = None


class ResponsePin(Document):
    """A rollback: from `partition` on the version of a day serves, until a later pin; version None: released."""

    partition: date
    version: date | None
    by: str
    why: str


class ResponsePromotion(Document):
    """Which version of the response model serves a day, and why.

    serving: the day it was learned; None: none, values are assumed. role: of the day's own version. previous: what served
    before. rule: the whole rule. pin: the rollback in force. doubted_before: what feedback doubts on this day, whichever
    version serves.
    """

    partition: date
    serving: date | None
    role: Literal["none", "shadow", "challenger", "champion"]
    previous: date | None
    reason: str
    rule: str
    pin: ResponsePin | None = None
    doubted_before: date | None = None
