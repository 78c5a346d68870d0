"""Briefs: each campaign in words with their numbers, in every language. Code decides and says; nothing here is free text.

The sentences are files of their own (briefs/). A line is left out where what it needs isn't known, and what can't be measured
is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from mktgen.copywriting.forms import FORMS, FormName, Language
from mktgen.copywriting.rulebook import read_language_file, rulebook, validated
from mktgen.copywriting.variants import Variants
from mktgen.copywriting.writer import Day, contacted, item_names, segment_tones
from mktgen.documents import Brief, Briefs, Campaign, Interval, Strategy
from mktgen.settings import StrategySettings

# Sentence -> the names that stand in it.
SENTENCES: Final = {
    "audience": "name customers description", "audience_total": "customers held_out",
    "orders": "ours all", "spend": "ours all", "churn": "ours all", "averages": "",
    "redemption": "value low high", "value_learned": "value low high", "value_assumed": "value low high",
    "offer": "item discount valid_to customers", "offer_unknown": "item valid_to customers", "tone": "name tone",
    "channel": "form channel", "ready": "forms", "send_at": "when", "valid": "when", "known_on": "when days",
    "measure_profit": "held_out", "measure_redemption": "value", "measure_clicks": "", "no_clicks": "", "no_holdout": "",
    "risk_cost": "cost budget", "risk_binding": "price", "risk_explored": "explored customers", "risk_unlearned": "",
    "risk_face": "customers assumed", "risk_notice": "notice",
}  # fmt: skip
_PROFILE: Final = ("orders_84d", "net_minor_84d", "p_churn_28d")


@dataclass(frozen=True)
class Surroundings:
    """What a brief says besides the strategy. window_days: until what came of a decision is known. clicks, holdout: whether the
    source records clicks, and whether its customers receive what is sent (else no effect can be measured)."""

    window_days: int
    clicks: bool
    holdout: bool
    form: FormName


class Phrases(BaseModel):
    """The sentences of a language; a wrong or missing name in braces is refused when the file is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Language
    objectives: dict[str, str]
    tones: dict[str, str]
    forms: dict[FormName, str]
    sentences: dict[str, str]

    @field_validator("sentences")
    @classmethod
    def _complete(cls, sentences: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if set(sentences) != set(SENTENCES):
            raise ValueError(f"sentences missing or unknown: {sorted(set(sentences) ^ set(SENTENCES))}")
        for name, sentence in sentences.items():
            try:
                sentence.format_map(dict.fromkeys(SENTENCES[name].split(), ""))
            except (KeyError, ValueError, IndexError) as error:
                raise ValueError(f"{name}: knows only the names {SENTENCES[name] or '(none)'}: {error}") from error
        return sentences

    def say(self, sentence: str, /, **values: Any) -> str:
        return self.sentences[sentence].format_map(values).strip()


@cache
def phrases(language: str) -> Phrases:
    """Sentences of a language; raises PermanentError where there is no such file or it is not well formed."""
    found = read_language_file("briefs", language)
    words = {name: found.pop(name, {}) for name in ("language", "objectives", "tones", "forms")}
    return validated(f"copywriting/briefs/{language}.yaml", Phrases, {**words, "sentences": found})


def write_briefs(
    strategy: Strategy, day: Day, found: Variants, around: Surroundings, settings: StrategySettings
) -> Briefs:
    """A brief of each campaign in each language of the settings. found: the copy (variants.variants)."""
    sent = contacted(day.decisions)
    briefs = [
        _Writer(strategy, campaign, day, sent.filter(pl.col("campaign_id") == campaign.campaign_id), around, settings, language)
        .brief(found)
        for campaign in strategy.campaigns
        for language in settings.languages
    ]  # fmt: skip
    return Briefs(partition=strategy.partition, briefs=briefs)


@dataclass(frozen=True)
class _Writer:
    strategy: Strategy
    campaign: Campaign
    day: Day
    sent: pl.DataFrame
    around: Surroundings
    settings: StrategySettings
    language: Language

    @property
    def words(self) -> Phrases:
        return phrases(self.language)

    def brief(self, found: Variants) -> Brief:
        campaign = self.campaign
        return Brief(
            campaign_id=campaign.campaign_id,
            language=self.language,
            title=campaign.name[self.language],
            objective=self.words.objectives.get(campaign.objective, campaign.objective),
            audience=self._audience(),
            insight=self._insight(),
            offers=self._offers(),
            items=campaign.items,
            tones=self._tones(),
            channels=self._channels(),
            calendar=self._calendar(),
            measures=self._measures(),
            risks=self._risks(),
            variants=found.get(campaign.campaign_id, {}).get(self.language, []),
        )

    def _segments(self) -> list[dict[str, Any]]:
        """Profiles of the campaign's segments with `ours`, the contacted among them; the largest first."""
        counts = dict(self.sent.group_by("segment_id").len().iter_rows())
        rows = [
            {**row, "ours": counts[row["segment_id"]]}
            for row in self.day.segments.to_dicts()
            if row["segment_id"] in counts
        ]
        return sorted(rows, key=lambda row: (-row["ours"], row["segment_id"]))  # fmt: skip

    def _audience(self) -> list[str]:
        told = [
            self.words.say(
                "audience", name=row[f"name_{self.language}"], customers=row["ours"],
                description=row[f"description_{self.language}"],
            )
            for row in self._segments()
        ]  # fmt: skip
        total = self.words.say("audience_total", customers=self.campaign.customers, held_out=self.strategy.holdout)
        return [*told, total]

    def _insight(self) -> list[str]:
        campaign, say = self.campaign, self.words.say
        lines = []
        profiled = self._segments()
        if profiled:
            ours, everyone = self._average(profiled, "ours"), self._average(self.day.segments.to_dicts(), "customers")
            lines = [
                say("orders", ours=f"{ours['orders_84d']:.1f}", all=f"{everyone['orders_84d']:.1f}"),
                say("spend", ours=self._money(ours["net_minor_84d"]), all=self._money(everyone["net_minor_84d"])),
                say("churn", ours=f"{ours['p_churn_28d']:.0%}", all=f"{everyone['p_churn_28d']:.0%}"),
                say("averages"),
            ]
        if campaign.expected_redemption_rate is not None:
            lines.append(say("redemption", **_each(campaign.expected_redemption_rate, 100.0)))
        if campaign.expected_value_minor is not None:
            value = campaign.expected_value_minor
            name = "value_learned" if value.method.startswith("incremental") else "value_assumed"
            bounds = {"value": value.value, "low": value.low, "high": value.high}
            lines.append(say(name, **{bound: self._money(number) for bound, number in bounds.items()}))
        return lines

    @staticmethod
    def _average(rows: Sequence[dict[str, Any]], weight: str) -> dict[str, float]:
        total = sum(row[weight] for row in rows) or 1
        return {name: sum(row[name] * row[weight] for row in rows) / total for name in _PROFILE}

    def _offers(self) -> list[str]:
        terms = {row["offer_id"]: row for row in self.day.offers.iter_rows(named=True)}
        names, lines = item_names(self.day.items), []
        for offer in self.campaign.offers:
            shown = self.sent.filter(pl.col("offer_id") == offer.offer_id)["item_ids"].list.first().mode().sort()[0]
            face, last = terms[offer.offer_id]["face_value_minor"], self._date(terms[offer.offer_id]["valid_to"])
            told = {"item": names.get(shown, shown), "valid_to": last, "customers": offer.customers}
            if face is None:
                lines.append(self.words.say("offer_unknown", **told))
            else:
                lines.append(self.words.say("offer", discount=self._money(face), **told))
        return lines

    def _tones(self) -> list[str]:
        tones = segment_tones(self.day.segments)
        return [
            self.words.say("tone", name=row[f"name_{self.language}"], tone=self.words.tones[tones[row["segment_id"]]])
            for row in self._segments()
        ]

    def _channels(self) -> list[str]:
        names = self.words.forms
        others = rulebook(self.language).list_separator.join(names[form] for form in FORMS if form != self.around.form)
        used = self.words.say("channel", form=names[self.around.form], channel=self.campaign.channel)
        return [used, self.words.say("ready", forms=others)]

    def _calendar(self) -> list[str]:
        lasts = self.day.offers.filter(pl.col("offer_id").is_in(self.sent["offer_id"].unique().to_list()))["valid_to"]
        days = self.around.window_days
        known = self.strategy.partition + timedelta(days=days)
        ends = sorted(lasts.unique().to_list())
        until = (
            [self.words.say("valid", when=" – ".join(dict.fromkeys(map(self._date, ends[:1] + ends[-1:]))))]
            if ends
            else []
        )
        return [
            self.words.say("send_at", when=self.campaign.send_at_local),
            *until,
            self.words.say("known_on", when=self._date(known), days=days),
        ]  # fmt: skip

    def _measures(self) -> list[str]:
        say, rate = self.words.say, self.campaign.expected_redemption_rate
        profit = "measure_profit" if self.around.holdout else "no_holdout"
        lines = [say(profit, held_out=self.strategy.holdout)]
        if rate is not None:
            lines.append(say("measure_redemption", value=f"{rate.value * 100:.1f}"))
        return [*lines, say("measure_clicks" if self.around.clicks else "no_clicks")]

    def _risks(self) -> list[str]:
        say, campaign, plan = self.words.say, self.campaign, self.strategy.allocation
        lines = [
            say("risk_cost", cost=self._money(campaign.worst_case_cost_minor), budget=self._money(plan.budget_minor))
        ]
        if plan.shadow_price > 0:
            lines.append(say("risk_binding", price=f"{plan.shadow_price:.2f}"))
        explored = int(self.sent["explored"].sum())
        if explored:
            lines.append(say("risk_explored", explored=explored, customers=campaign.customers))
        if not (campaign.expected_value_minor and campaign.expected_value_minor.method.startswith("incremental")):
            lines.append(say("risk_unlearned"))
        faces = dict(self.day.offers.select("offer_id", "face_value_minor").iter_rows())
        unknown = sum(faces.get(offer) is None for offer in self.sent["offer_id"].to_list())
        if unknown:
            lines.append(say("risk_face", customers=unknown, assumed=self._money(self.settings.face_value_minor)))
        if self.strategy.source_notice:
            lines.append(say("risk_notice", notice=self.strategy.source_notice))
        return lines

    def _money(self, minor: float) -> str:
        return f"{'-' if minor < 0 else ''}{self.day.source.currency_symbol}{abs(minor) / 100:,.2f}"

    def _date(self, when: date) -> str:
        return when.strftime(rulebook(self.language).date_format)


def _each(interval: Interval, unit: float) -> dict[str, str]:
    bounds = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: f"{number * unit:.1f}" for name, number in bounds.items()}
