"""Messages: one for each contact, in the bank's words, true to the decision; the fallback where a template is refused."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.copywriting.checker import Facts, problems
from mktgen.copywriting.templates import Wording, bank
from mktgen.copywriting.writer import SourceFacts, campaign_examples, segment_tones, write_messages
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from tests.support.strategy_day import NO_RECOMMENDATIONS, SETTINGS, make_day


def written(**changes: pl.DataFrame | StrategySettings) -> pl.DataFrame:
    day = make_day()
    given: dict[str, object] = {
        "decisions": day.decisions,
        "recommendations": day.recommendations,
        "items": day.world.items,
        "offers": day.world.offers,
        "segments": day.segments,
        "campaigns": day.world.campaigns,
        "settings": SETTINGS,
    }
    return write_messages(**{**given, **changes})  # type: ignore[arg-type]


def test_each_contact_has_one_message_that_names_its_item_and_last_day() -> None:
    day = make_day()
    sent = day.decisions.filter(pl.col("offer_id").is_not_null())
    messages = written()
    assert messages["decision_id"].to_list() == sent["decision_id"].sort().to_list()
    joined = messages.join(sent.select("decision_id", "item_ids", "offer_id"), on="decision_id")
    category = dict(day.world.items.select("item_id", "category").iter_rows())
    last = dict(day.world.offers.select("offer_id", "valid_to").iter_rows())
    for row in joined.iter_rows(named=True):
        text = row["subject"] + row["body"]
        assert category[row["item_ids"][0]].title() in text
        assert str(last[row["offer_id"]].year) in text
        assert "{" not in text
        assert "$" not in text
    assert not messages["template_id"].str.ends_with("-fallback").any()


def test_the_first_language_of_the_settings_is_used() -> None:
    chinese = written(settings=StrategySettings(languages=("zh", "en")))
    assert set(chinese["language"]) == {"zh"}
    assert chinese["body"].str.contains("有效期至2017年").any()


def test_a_known_discount_is_stated_exactly() -> None:
    offers = make_day().world.offers.with_columns(face_value_minor=pl.lit(150, dtype=pl.Int64))
    stated = written(offers=offers).filter(pl.col("template_id").str.ends_with("discount"))
    assert not stated.is_empty()
    assert (stated["subject"] + stated["body"]).str.contains("$1.50", literal=True).all()
    day = make_day()
    euro = write_messages(
        day.decisions,
        day.recommendations,
        day.world.items,
        offers,
        day.segments,
        day.world.campaigns,
        SETTINGS,
        SourceFacts(currency_symbol="€"),
    )
    assert euro["body"].str.contains("€1.50", literal=True).any()


def test_a_refused_template_gives_way_to_the_fallback() -> None:
    """A shop that sells something called like a word of the templates: only the plain fallback is unambiguous."""
    words = [
        {"category": name} for name in ("Thank You", "Next Visit", "Shopping List", "It Has Been", "A While", "Use Now")
    ]
    extra = pl.DataFrame(words).with_columns(
        pl.format("x{}", pl.int_range(pl.len())).alias("item_id"),
        pl.lit("GROCERY").alias("department"),
        pl.lit(True).alias("merchandise"),
        *(
            pl.lit(None, dtype=pl.String).alias(name)
            for name in ("item_type", "brand", "manufacturer_id", "package_size")
        ),
    )
    items = make_day().world.items
    messages = written(items=pl.concat([items, extra.select(items.columns)]))
    assert messages.height == make_day().messages.height
    fallback = messages.filter(pl.col("template_id") == "en-fallback")
    assert not fallback.is_empty()
    assert fallback["body"].str.contains("is valid until").all()


def test_an_item_without_a_name_to_print_gets_no_message() -> None:
    assert written(items=make_day().world.items.head(0)).is_empty()


def test_nothing_to_recommend_is_no_reason_to_fail() -> None:
    only_offer = make_day().decisions.with_columns(pl.col("item_ids").list.head(1))
    messages = written(decisions=only_offer, recommendations=NO_RECOMMENDATIONS)
    assert messages.height == make_day().messages.height
    assert not messages["body"].str.contains("also").any()


def test_reruns_give_the_same_text() -> None:
    assert_frame_equal(written(), written(decisions=make_day().decisions[::-1]))


def test_examples_show_every_language() -> None:
    day = make_day()
    texts = (day.decisions, day.recommendations, day.world.items, day.world.offers, day.segments, day.world.campaigns)
    examples = campaign_examples(*texts, SETTINGS)
    assert sorted(examples) == sorted(campaign.campaign_id for campaign in day.strategy.campaigns)
    assert all(set(example) == {"en", "zh"} for example in examples.values())


def test_tones_follow_the_profile() -> None:
    tones = segment_tones(make_day().segments)
    assert tones["s01"] == "reward"
    assert "win_back" in tones.values()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_of_the_bank_passes_the_checker(language: str) -> None:
    book = bank(language)
    facts = Facts("Item Name", ("Other Name",), "Item Name", "Brand Name", "2017-11-08", "$1.00")
    values = {"item": facts.item, "also": "Other Name", "category": facts.category, "brand": "Brand Name"}
    values |= {"valid_to": facts.valid_to, "discount": "$1.00"}
    for wording in (*book.templates, book.fallback):
        assert problems(*wording.fill(values), facts, frozenset()) == []
    assert book.fallback.slots <= {"item", "valid_to"}
    assert {template.tone for template in book.templates} == {"reward", "win_back", "deal", "everyday"}


def test_unknown_languages_and_slots_are_refused() -> None:
    with pytest.raises(PermanentError, match="no message templates"):
        bank("xx")
    with pytest.raises(ValueError, match="unknown slots"):
        Wording(id="x", subject="{price}", body="y")
