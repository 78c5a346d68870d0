"""Classes of response in the strategy: counted, bounded, and what was done with them."""

from __future__ import annotations

import polars as pl
import pytest

from mktgen.contracts import CUSTOMER_CLASSES, RESPONSE_SCORES
from mktgen.response.classes import CLASSES
from mktgen.strategy.class_summary import MEANING, UNKNOWN, class_summaries
from mktgen.strategy.document import SourceNote, StrategyInputs, build_strategy
from mktgen.strategy.markdown import approval_text
from tests.support.campaign_world import PARTITION
from tests.support.strategy_day import SETTINGS, make_day

SCHEMA = {"customer_id": pl.String, "action": pl.String, "holdout": pl.Boolean}
DECISIONS = pl.DataFrame(
    [("a", "1:x", False), ("b", "no_contact", True), ("c", "no_contact", False)], SCHEMA, orient="row"
)
KINDS = pl.DataFrame(
    [("a", "persuadable", "1:x", 0.2, 0.3, 0.1, 0.5), ("b", "persuadable", "1:y", 0.4, 0.1, 0.02, 0.2),
     ("c", "sure_buyer", "1:x", 0.9, 0.0, -0.01, 0.01)],
    schema=CUSTOMER_CLASSES.columns, orient="row",
)  # fmt: skip
EFFECTS = pl.DataFrame(
    [(who, action, effect, 1.0, effect - 10, effect + 10)
     for who, action, effect in (("a", "1:x", 50.0), ("a", "1:y", 7.0), ("b", "1:y", 30.0), ("c", "1:y", 5.0))],
    schema=RESPONSE_SCORES.columns, orient="row",
)  # fmt: skip


def test_every_class_has_a_meaning() -> None:
    assert tuple(MEANING) == CLASSES


def test_counts_means_and_what_was_done() -> None:
    persuadable, sure = class_summaries(KINDS, DECISIONS, EFFECTS)
    assert (persuadable.name, persuadable.customers, persuadable.contacted, persuadable.held_out) == (
        "persuadable",
        2,
        1,
        1,
    )
    assert (persuadable.effect.value, persuadable.effect.low, persuadable.effect.high) == pytest.approx(
        (0.2, 0.06, 0.35)
    )
    assert persuadable.effect_minor is not None
    money = persuadable.effect_minor
    assert (money.value, money.low, money.high) == pytest.approx((40.0, 30.0, 50.0))
    assert (sure.name, sure.customers, sure.contacted) == ("sure_buyer", 1, 0)
    assert sure.effect_minor is None  # its best offer has no effect on profit stored


def test_without_a_model_it_is_said_in_words() -> None:
    assert class_summaries(CUSTOMER_CLASSES.empty(), DECISIONS, RESPONSE_SCORES.empty()) == []
    assert make_day().strategy.classes == []
    assert make_day().strategy.classes_note == UNKNOWN


def test_the_strategy_shows_classes_and_calls_a_learned_value_incremental() -> None:
    day = make_day()
    sent = day.decisions.filter(pl.col("offer_id").is_not_null())
    learned = sent.select(
        "customer_id", "action", effect_minor="expected_value_minor", sd=pl.lit(1.0),
        low=pl.col("expected_value_minor") - 2, high=pl.col("expected_value_minor") + 2,
    )  # fmt: skip
    inputs = StrategyInputs(
        PARTITION, SourceNote("test_shop", "made up"), day.decisions, day.scores, day.segments, day.world.campaigns,
        day.world.offers, day.world.items, day.strategy.allocation, {}, {}, effects=learned,
        classes=class_summaries(KINDS, DECISIONS, EFFECTS),
    )  # fmt: skip
    strategy = build_strategy(inputs, SETTINGS)
    text = approval_text(strategy, [])
    assert "against no contact, learned from trials" in text
    assert "NOT incremental" not in text
    assert [(one.name, one.customers) for one in strategy.classes] == [("persuadable", 2), ("sure_buyer", 1)]
    for campaign in strategy.campaigns:
        value = campaign.expected_value_minor
        assert value is not None
        assert value.high - value.low == pytest.approx(4 * campaign.customers)
    lacking = StrategyInputs(**(inputs.__dict__ | {"effects": learned.clear()}))
    assert all(campaign.expected_value_minor is None for campaign in build_strategy(lacking, SETTINGS).campaigns)
