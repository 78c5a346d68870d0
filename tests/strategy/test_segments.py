"""Segments: everyone in one, unique names, stable ids, small and degenerate shops."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.settings import StrategySettings
from mktgen.strategy.segments import segment
from tests.support.campaign_world import World, make_world

SETTINGS = StrategySettings(segments=5)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def test_each_active_customer_is_in_one_segment(world: World) -> None:
    segments, members = segment(world.features, world.scores, world.customers[:150], SETTINGS, 1)
    assert members["customer_id"].to_list() == world.customers[:150]
    assert segments["customers"].sum() == 150
    sizes = members.group_by("segment_id").len().sort("segment_id")
    assert sizes["len"].to_list() == segments["customers"].to_list()


def test_ids_follow_spend_and_names_are_unique(world: World) -> None:
    segments, _ = segment(world.features, world.scores, world.customers, SETTINGS, 1)
    assert segments["segment_id"].to_list() == [f"s0{n}" for n in range(1, 6)]
    assert segments["net_minor_84d"].is_sorted(descending=True)
    assert segments["name_en"].is_unique().all()
    assert segments["name_zh"].is_unique().all()


def test_names_say_what_the_profile_says(world: World) -> None:
    segments, _ = segment(world.features, world.scores, world.customers, SETTINGS, 1)
    rows = segments.to_dicts()
    assert rows[0]["name_en"].startswith("Frequent")
    assert max(rows, key=lambda row: row["p_churn_28d"])["name_en"].startswith("Lapsing")


def test_the_result_does_not_depend_on_the_order_of_rows(world: World) -> None:
    first = segment(world.features, world.scores, world.customers, SETTINGS, 1)
    second = segment(world.features[::-1], world.scores[::-1], world.customers[::-1], SETTINGS, 1)
    assert_frame_equal(first[0], second[0])
    assert_frame_equal(first[1], second[1])


@pytest.mark.parametrize("number", [0, 1, 3])
def test_few_customers_give_few_segments(world: World, number: int) -> None:
    segments, members = segment(world.features, world.scores, world.customers[:number], SETTINGS, 1)
    assert segments.height <= max(number, 0)
    assert members.height == number


def test_equal_customers_are_one_segment(world: World) -> None:
    same = pl.concat([world.features.head(1)] * 4).with_columns(customer_id=pl.Series(world.customers[:4]))
    segments, _ = segment(same, world.scores.head(0), world.customers[:4], SETTINGS, 1)
    assert segments.height == 1


@pytest.mark.parametrize("width", [0, 3])
def test_vectors_may_be_missing_or_empty(world: World, width: int) -> None:
    vectors = pl.lit([1.0] * width, dtype=pl.List(pl.Float32)).alias("vector")
    segments, members = segment(
        world.features, world.scores.head(20).with_columns(vectors), world.customers, SETTINGS, 1
    )
    assert segments.height == 5
    assert members.height == len(world.customers)
