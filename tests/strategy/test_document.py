"""The strategy document adds up to the decisions it describes."""

from __future__ import annotations

import polars as pl
import pytest

from mktgen.contracts import REASONS
from mktgen.documents import Strategy
from mktgen.strategy.document import SourceNote, StrategyInputs, build_strategy
from tests.support.campaign_world import PARTITION
from tests.support.strategy_day import SETTINGS, make_day


def test_campaigns_add_up_to_the_decisions() -> None:
    day = make_day()
    strategy, sent = day.strategy, day.decisions.filter(pl.col("offer_id").is_not_null())
    assert strategy.contacted == sum(campaign.customers for campaign in strategy.campaigns) == sent.height > 0
    assert strategy.customers == len(day.world.customers) == sum(strategy.segments.values())
    assert sum(c.worst_case_cost_minor for c in strategy.campaigns) == sent["cost_minor"].sum()
    for campaign in strategy.campaigns:
        own = sent.filter(pl.col("campaign_id") == campaign.campaign_id)
        expected = campaign.expected_redemptions
        assert expected is not None
        assert expected.value == pytest.approx(own["p_redeem"].sum())
        assert 0 <= expected.low <= expected.value <= expected.high <= own.height
        value = campaign.expected_value_minor
        assert value is not None
        assert value.value == pytest.approx(own["expected_value_minor"].sum())
        assert value.low <= value.value <= value.high
        assert set(campaign.copy_example) == {"en", "zh"}
        assert campaign.send_at_local == "2017-10-02 10:00"
        assert campaign.reasons


def test_the_document_is_stable_bytes_and_reads_back() -> None:
    strategy = make_day().strategy
    assert Strategy.model_validate_json(strategy.to_bytes()) == strategy
    make_day.cache_clear()
    assert make_day().strategy.to_bytes() == strategy.to_bytes()


def test_reasons_of_the_strongest_items_are_shown_and_belong_to_the_campaign() -> None:
    day = make_day()
    sent = day.decisions.filter(pl.col("offer_id").is_not_null()).sort("decision_id")
    rows = []
    for number, row in enumerate(sent.iter_rows(named=True)):
        for position, text in enumerate(("bought 6 times", f"event {number}")):
            effect = None if position == 0 else float(number)
            rows.append(
                ("item", row["customer_id"], row["item_ids"][0], row["decision_id"], position, "basket", 1, None, None,
                 effect, effect, effect, False, text, "m")
            )  # fmt: skip
    reasons = pl.DataFrame(rows, schema=REASONS.columns, orient="row")
    inputs = StrategyInputs(
        PARTITION, SourceNote("test_shop", "made up"), day.decisions, day.scores, day.segments, day.world.campaigns,
        day.world.offers, day.world.items, day.strategy.allocation, {}, {}, reasons=reasons,
    )  # fmt: skip
    strategy = build_strategy(inputs, SETTINGS)
    for campaign in strategy.campaigns:
        own = sent.with_row_index("number").filter(pl.col("campaign_id") == campaign.campaign_id)
        largest = own.sort("number", descending=True).head(3)
        assert [example.customer_id for example in campaign.why_examples] == largest["customer_id"].to_list()
        for example, number in zip(campaign.why_examples, largest["number"].to_list(), strict=True):
            assert example.reasons == ["bought 6 times", f"event {number}"]


def test_a_day_without_contacts_is_a_document_too() -> None:
    day = make_day()
    nobody = day.decisions.filter(pl.col("offer_id").is_null())
    inputs = StrategyInputs(
        PARTITION,
        SourceNote("test_shop", "made up"),
        nobody,
        day.scores.head(0),
        day.segments,
        day.world.campaigns,
        day.world.offers,
        day.world.items,
        day.strategy.allocation,
        {},
        {},
    )
    strategy = build_strategy(inputs, SETTINGS)
    assert (strategy.contacted, strategy.campaigns) == (0, [])
