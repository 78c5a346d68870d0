"""The brief of a campaign: what a person needs to understand it, in words with their numbers, and the copy for it."""

from __future__ import annotations

from datetime import date

from mktgen.documents.base import Document


class Variant(Document):
    """How one segment is told in one form. template_*: with slots in place of facts; subject, body: as the first contact of the
    segment reads it. tone: in words. chance: of this wording among those it was drawn from."""

    segment_id: str
    form: str
    tone: str
    wording_id: str
    origin: str
    chance: float
    template_subject: str
    template_body: str
    subject: str
    body: str


class Brief(Document):
    """One campaign in one language. Each list holds sentences or short lines in the order they should be read."""

    campaign_id: str
    language: str
    title: str
    objective: str
    audience: list[str]
    insight: list[str]
    offers: list[str]
    items: list[str]
    tones: list[str]
    channels: list[str]
    calendar: list[str]
    measures: list[str]
    risks: list[str]
    variants: list[Variant]


class Briefs(Document):
    """Of a day: each campaign in each language of strategy.languages, in order of campaign_id."""

    partition: date
    briefs: list[Brief]
