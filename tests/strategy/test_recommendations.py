"""Recommendations: merchandise only, seen and unseen apart, new items spread over categories, reasons that are true."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from mktgen import contracts
from mktgen.settings import StrategySettings
from mktgen.strategy.recommendations import recommend
from tests.support.campaign_world import World, make_world

SETTINGS = StrategySettings(items_per_message=2)
DAY = date(2017, 10, 1)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(customers=30)


def item_features(world: World) -> pl.DataFrame:
    numbers = {n: pl.lit(4.0) for n, t in contracts.ITEM_FEATURES.columns.items() if t == pl.Float64}
    return (
        world.items.select("item_id", "category").with_columns(**numbers).select(list(contracts.ITEM_FEATURES.columns))
    )


def categories(world: World, category: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(c, category, date(2017, 1, 5), date(2017, 9, 20), 6, 14, 5_000) for c in world.customers],
        schema=contracts.CUSTOMER_CATEGORIES.columns,
        orient="row",
    )


def test_ranks_are_dense_and_only_goods_are_recommended(world: World) -> None:
    result = recommend(world.item_scores, world.items, item_features(world), categories(world, "CHEESE"), SETTINGS)
    assert result.join(world.items.filter(~pl.col("merchandise")), on="item_id", how="semi").is_empty()
    for (_, _), group in result.group_by("customer_id", "seen"):
        assert group["rank"].sort().to_list() == list(range(1, group.height + 1))
        assert group.height <= 4
        assert group.sort("rank")["score"].is_sorted(descending=True)
    unseen = result.filter(~pl.col("seen")).group_by("customer_id", "category").len()
    assert unseen["len"].max() <= 2


def test_reasons_count_what_was_given(world: World) -> None:
    bought = world.item_scores.filter("seen").group_by("customer_id").first().select("customer_id", "item_id")
    history = pl.concat([bought.with_columns(business_date=day) for day in (date(2017, 9, 1), date(2017, 9, 19))])
    result = recommend(
        world.item_scores, world.items, item_features(world), categories(world, "CHEESE"), SETTINGS, history, DAY
    )
    seen = result.join(bought, on=["customer_id", "item_id"], how="semi")
    assert set(seen["reason"]) == {"bought 2 times, last 12 days ago"}
    new = result.filter(~pl.col("seen"))
    cheese, other = new.filter(pl.col("category") == "CHEESE"), new.filter(pl.col("category") == "COFFEE")
    assert set(cheese["reason"]) == {"not bought lately by this customer, who buys CHEESE: 14 lines"}
    assert set(other["reason"]) == {"others buy COFFEE: 4 purchases of this item in 28 days"}


def test_nothing_scored_is_nothing_recommended(world: World) -> None:
    empty = world.item_scores.head(0)
    assert recommend(empty, world.items, item_features(world), categories(world, "CHEESE"), SETTINGS).is_empty()
