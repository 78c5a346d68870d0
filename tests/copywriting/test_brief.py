"""Briefs: the numbers are those of the decisions, every language says the same, and what isn't known isn't said."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import polars as pl
import pytest

from mktgen.copywriting import brief
from mktgen.copywriting.brief import SENTENCES, Phrases, Surroundings, phrases
from mktgen.copywriting.facts import SLOTS
from mktgen.copywriting.forms import FORMS, is_gsm, sms_parts
from mktgen.copywriting.variants import examples, variants
from mktgen.copywriting.writer import Day, write_messages
from mktgen.documents import Brief, Briefs
from tests.support.strategy_day import SETTINGS, make_day

AROUND = Surroundings(window_days=28, clicks=False, holdout=True, form="email")


@cache
def copy_day() -> Day:
    made = make_day()
    world = made.world
    return Day(made.decisions, made.recommendations, world.items, world.offers, made.segments, world.campaigns)


def briefs(around: Surroundings = AROUND, day: Day | None = None) -> Briefs:
    day = day or copy_day()
    return brief.write_briefs(make_day().strategy, day, variants(day, SETTINGS.languages, {}), around, SETTINGS)


def lines(one: Brief) -> list[str]:
    listed = (one.audience, one.insight, one.offers, one.tones, one.channels, one.calendar, one.measures, one.risks)
    return [line for part in listed for line in part]


def numbers(texts: list[str]) -> list[str]:
    """Amounts, counts and shares in order of size, without dates, which each language writes its own way."""
    plain = [
        re.sub(r"\w+ \d{1,2}, \d{4}|\d{4}年\d{1,2}月\d{1,2}日|\d{4}-\d\d-\d\d \d\d:\d\d", "", text) for text in texts
    ]
    return sorted(number for text in plain for number in re.findall(r"\d[\d,.]*\d|\d", text))


def test_every_campaign_has_a_brief_in_every_language() -> None:
    made = briefs()
    wanted = [(one.campaign_id, language) for one in make_day().strategy.campaigns for language in SETTINGS.languages]
    assert [(one.campaign_id, one.language) for one in made.briefs] == wanted
    assert Briefs.model_validate_json(made.to_bytes()) == made
    for one in made.briefs:
        assert all(lines(one))
        assert not any("{" in line for line in lines(one))


def test_languages_say_the_same_numbers() -> None:
    made = briefs().briefs
    for english, chinese in zip(made[::2], made[1::2], strict=True):
        assert (english.language, chinese.language) == ("en", "zh")
        # Names and descriptions of segments and labels of offers are other texts: their numbers are not the brief's.
        for part in ("insight", "measures", "tones", "channels"):
            assert numbers(getattr(english, part)) == numbers(getattr(chinese, part)), part
        assert len(lines(english)) == len(lines(chinese))
        assert not re.search("[一-鿿]", " ".join(english.insight))
        assert all(re.search("[一-鿿]", line) for line in chinese.insight)


def test_numbers_are_those_of_the_decisions() -> None:
    day = make_day()
    for one in briefs().briefs[::2]:
        sent = day.decisions.filter((pl.col("campaign_id") == one.campaign_id) & pl.col("offer_id").is_not_null())
        assert f"In all {sent.height} contacted; {day.strategy.holdout} of all" in one.audience[-1]
        profiled = sent.join(day.segments, on="segment_id")
        orders = profiled["orders_84d"].mean()
        average = (day.segments["orders_84d"] * day.segments["customers"]).sum() / day.segments["customers"].sum()
        assert f"placed {orders:.1f} orders" in one.insight[0]
        assert f"all customers {average:.1f}." in one.insight[0]
        assert f"costs ${sent['cost_minor'].sum() / 100:,.2f} of" in one.risks[0]


def test_what_the_source_cannot_bear_is_said() -> None:
    english = briefs().briefs[0]
    assert "No CTR: the source records no clicks." in english.measures
    assert any("not incremental" in line for line in english.insight)
    assert any("No effect was learned" in line for line in english.risks)
    replayed = briefs(replace(AROUND, holdout=False, clicks=True)).briefs[0]
    assert "No effect on purchases can be measured" in replayed.measures[0]
    assert not any("No CTR" in line for line in replayed.measures)


def test_an_offer_says_what_it_takes_off_only_where_that_is_known() -> None:
    assert all("not in the data" in line for line in briefs().briefs[0].offers)
    day = copy_day()
    valued = replace(day, offers=day.offers.with_columns(face_value_minor=pl.lit(150, pl.Int64)))
    known = briefs(day=valued).briefs[0]
    assert all("$1.50 off" in line for line in known.offers)
    assert not any("without a recorded value" in line for line in known.risks)


def test_copy_is_shown_for_every_segment_and_form_and_the_sent_one_is_the_message() -> None:
    day, messages = make_day(), write_messages(copy_day(), SETTINGS)
    for one in briefs().briefs[::2]:
        sent = day.decisions.filter((pl.col("campaign_id") == one.campaign_id) & pl.col("offer_id").is_not_null())
        segments = sent["segment_id"].unique().sort().to_list()
        assert [(v.segment_id, v.form) for v in one.variants] == [(s, form) for s in segments for form in FORMS]
        for variant in one.variants:
            assert set(re.findall(r"\{\{(\w+)\}\}", variant.template_subject + variant.template_body)) <= set(SLOTS)
            assert "{" not in variant.subject + variant.body
            assert 0 < variant.chance <= 1
            if variant.form == "sms":
                assert sms_parts(variant.body) == 1
                assert is_gsm(variant.body)
            if variant.form == "email":
                first = sent.filter(pl.col("segment_id") == variant.segment_id).sort("decision_id")["decision_id"][0]
                message = messages.filter(pl.col("decision_id") == first).row(0, named=True)
                assert (variant.subject, variant.body) == (message["subject"], message["body"])
                assert (variant.wording_id, variant.chance) == (message["wording_id"], message["wording_propensity"])


def test_examples_are_in_the_form_that_is_sent() -> None:
    found = variants(copy_day(), SETTINGS.languages, {})
    for form in FORMS:
        shown = examples(found, form)
        assert sorted(shown) == sorted(campaign.campaign_id for campaign in make_day().strategy.campaigns)
        assert all(set(example) == {"en", "zh"} for example in shown.values())
        subjects = {" — " in text for example in shown.values() for text in example.values()}
        assert subjects == {FORMS[form].subject is not None}


def test_a_day_without_contacts_has_no_briefs() -> None:
    nobody = replace(copy_day(), decisions=copy_day().decisions.head(0))
    strategy = make_day().strategy.model_copy(update={"campaigns": []})
    found = variants(nobody, SETTINGS.languages, {})
    assert brief.write_briefs(strategy, nobody, found, AROUND, SETTINGS).briefs == []


@pytest.mark.parametrize(
    ("name", "sentence"), [("tone", "{nome}"), ("tone", "{name"), ("orders", None), ("averages", "{0}")]
)
def test_a_wrong_sentence_is_refused_when_it_is_read(name: str, sentence: str | None) -> None:
    told = phrases("en").model_dump()
    told["sentences"].pop(name) if sentence is None else told["sentences"].update({name: sentence})
    with pytest.raises(ValueError, match=name):
        Phrases.model_validate(told)
    assert set(phrases("zh").sentences) == set(SENTENCES)
