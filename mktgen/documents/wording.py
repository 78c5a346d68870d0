"""What was learned of wordings: counts, what traits are worth, and why nothing is known where that is so."""

from __future__ import annotations

from datetime import date

from mktgen.documents.base import Document, Interval


class TraitLine(Document):
    """log_odds: change of the log odds of a click where a wording has the trait; all traits' bands hold together with 95%.
    works, harms: the whole band is above 0, or below."""

    trait: str
    meaning: str
    log_odds: Interval
    works: bool
    harms: bool


class WordingLine(Document):
    """A wording as counted over all days in sight. Rates of different cells and days are not comparable."""

    wording_id: str
    form: str
    language: str
    tone: str
    subject: str
    body: str
    origin: str
    sends: int
    clicks: int
    click_rate: Interval


class WordingReport(Document):
    """What is known of which words work. learned: the choice among wordings rests on it; else it is even: `reason` says why.

    sends, clicks: of messages whose wording was drawn at random. click_rate: of all of them. traits, wordings: empty where
    nothing was sent. judge: drafts of a language model can be judged on the held-out segments.
    """

    partition: date
    learned: bool
    reason: str
    sends: int
    clicks: int
    click_rate: Interval | None
    traits: list[TraitLine]
    wordings: list[WordingLine]
    pairs: int
    held_out_segments: list[str]
    judge: bool
