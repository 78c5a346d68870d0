"""Messages: one for each contact, in the bank's words, true to the decision; the fallback where a template is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.copywriting.bank import bank
from mktgen.copywriting.facts import facts
from mktgen.copywriting.forms import FORMS
from mktgen.copywriting.pool import EVEN, Best, Pool, even
from mktgen.copywriting.verifier import problems
from mktgen.copywriting.wording import TONES, Wording
from mktgen.copywriting.writer import Day, SourceFacts, segment_tones, write_messages
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from tests.support.strategy_day import NO_RECOMMENDATIONS, SETTINGS, make_day

KNOWN = frozenset({"item", "valid_to", "also", "discount"})


def of_the_day(**changes: object) -> Day:
    day = make_day()
    given: dict[str, object] = {
        "decisions": day.decisions,
        "recommendations": day.recommendations,
        "items": day.world.items,
        "offers": day.world.offers,
        "segments": day.segments,
        "campaigns": day.world.campaigns,
    }
    return Day(**{**given, **changes})  # type: ignore[arg-type]


def written(settings: StrategySettings = SETTINGS, pool: Pool | None = None, **changes: object) -> pl.DataFrame:
    return write_messages(of_the_day(**changes), settings, pool=pool)


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
    assert set(messages["origin"]) == {"template"}


def test_the_first_language_of_the_settings_is_used() -> None:
    chinese = written(settings=StrategySettings(languages=("zh", "en")))
    assert set(chinese["language"]) == {"zh"}
    assert chinese["body"].str.contains("有效期至2017年").any()


def test_a_known_discount_is_always_stated_and_exactly() -> None:
    offers = make_day().world.offers.with_columns(face_value_minor=pl.lit(150, dtype=pl.Int64))
    stated = written(offers=offers)
    assert stated["body"].str.contains("$1.50", literal=True).all()
    euro = written(offers=offers, source=SourceFacts(currency_symbol="€"))
    assert euro["body"].str.contains("€1.50", literal=True).all()


def test_a_wording_that_is_refused_gives_way_to_another_and_it_is_said() -> None:
    """A model's draft that got into the pool and says what isn't so: never sent, whatever its chance."""
    lies = [
        Wording("email", "en", tone, "Free for you", "{{item}} is free until {{valid_to}}, " + word, "model")
        for tone in TONES
        for word in ("friend.", "again.")
    ]
    messages = written(pool=Pool("email", "en", lies, liking(*lies)))
    assert messages.height == make_day().messages.height
    assert set(messages["origin"]) == {"template", "fallback"}
    assert not messages["body"].str.contains("free").any()


def test_a_label_that_cannot_be_printed_is_not_printed() -> None:
    items = make_day().world.items.with_columns(category=pl.lit("Visit evil.com"))
    messages = written(items=items)
    assert messages.height == make_day().messages.height
    assert messages["body"].str.contains("selected products").all()
    assert not messages["body"].str.contains("evil").any()


def test_an_item_without_a_name_to_print_gets_no_message() -> None:
    assert written(items=make_day().world.items.head(0)).is_empty()


def test_nothing_to_recommend_is_no_reason_to_fail() -> None:
    only_offer = make_day().decisions.with_columns(pl.col("item_ids").list.head(1))
    messages = written(decisions=only_offer, recommendations=NO_RECOMMENDATIONS)
    assert messages.height == make_day().messages.height
    assert not messages["body"].str.contains("also").any()


def test_reruns_give_the_same_text() -> None:
    assert_frame_equal(written(), written(decisions=make_day().decisions[::-1]))


def test_tones_follow_the_profile() -> None:
    tones = segment_tones(make_day().segments)
    assert tones["s01"] == "reward"
    assert "win_back" in tones.values()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_wording_of_the_bank_can_be_sent(language: str, form: str) -> None:
    """With and without discount and further items; and what everything falls back to needs the least."""
    for face, also in ((100, ["Other Name"]), (None, ["Other Name"]), (100, []), (None, [])):
        told = facts(language, "Item Name", also, face, date(2017, 11, 8), "$")  # type: ignore[arg-type]
        for tone in TONES:
            made = bank(language).wordings(form, tone, frozenset(told.values), 60, "all of it")  # type: ignore[arg-type]
            assert made
            for wording in made:
                assert problems(wording.fill(told), told, FORMS[form]) == [], wording
            plain = bank(language).fallback(form, tone)  # type: ignore[arg-type]
            assert plain.slots == {"item", "valid_to"}
            assert problems(plain.fill(told), told, FORMS[form]) == []


def liking(*liked: Wording) -> Best:
    """Certainty that each of these, where it is among the wordings, is as good as can be."""

    def best(wordings: Sequence[Wording]) -> list[float]:
        there = [float(one in liked) for one in wordings]
        return [one / sum(there) for one in there] if sum(there) else even(wordings)

    return best


def test_chances_of_wordings_add_up_and_none_is_forgotten() -> None:
    equal = Pool("email", "en").chances("deal", KNOWN)
    assert len({chance for _, chance in equal}) == 1
    leaning = dict(Pool("email", "en", best=liking(equal[0][0])).chances("deal", KNOWN))
    assert sum(leaning.values()) == pytest.approx(1)
    assert min(leaning.values()) == pytest.approx(EVEN / len(equal))
    assert max(leaning.values()) == leaning[equal[0][0]]


def test_wordings_are_drawn_by_their_chances() -> None:
    pool = Pool("email", "en", best=liking(Pool("email", "en").chances("deal", KNOWN)[0][0]))
    chances = {wording.id: chance for wording, chance in pool.chances("deal", KNOWN)}
    drawn = [pool.drawn("deal", KNOWN, f"decision {n}")[0][0].id for n in range(4_000)]
    for wording, chance in chances.items():
        assert drawn.count(wording) / 4_000 == pytest.approx(chance, abs=0.03)


def test_what_was_drawn_from_is_kept_with_its_chances() -> None:
    pool = Pool("email", "en")
    messages = written(pool=pool)
    log = pool.log()
    assert log.group_by("cell").agg(pl.col("chance").sum())["chance"].to_list() == pytest.approx(
        [1.0] * log["cell"].n_unique()
    )
    said = messages.join(log, on=["cell", "wording_id"], how="left")
    assert said["chance"].to_list() == pytest.approx(said["wording_propensity"].to_list())


def test_unknown_languages_and_slots_are_refused() -> None:
    with pytest.raises(PermanentError, match="no messages can be written in language 'xx'"):
        bank("xx")
    told = facts("en", "Bread", [], None, date(2017, 11, 8), "$")
    with pytest.raises(KeyError, match="unknown slots"):
        Wording("email", "en", "deal", "x", "{{price}}", "model").fill(told)
