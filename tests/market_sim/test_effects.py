"""Responses as rows: the days change by exactly what the response says, and by nothing else."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from mktgen.market_sim.effects import Effects, combined, effects
from mktgen.market_sim.response import respond
from mktgen.market_sim.scenario import NO_CONTACT, Scenario, load
from tests.market_sim.test_response import drawn, everyone
from tests.support.organic_days import WAVE

DAY = ["customer_id", "business_date"]


def changed_net(lines: pl.DataFrame, changes: Effects) -> pl.DataFrame:
    """customer_id, business_date, net_minor of merchandise with the changes made."""
    goods = lines.filter("merchandise").select(*DAY, "net_minor")
    kept = goods.join(changes.skipped, on=DAY, how="anti")
    return pl.concat([kept, changes.extra.select(*DAY, "net_minor")]).group_by(DAY).agg(pl.col("net_minor").sum())


@pytest.mark.parametrize("name", ["strong", "adverse", "null", "delayed_and_lost_feedback"])
def test_rows_say_what_the_response_says(name: str, small: pl.DataFrame, lines: pl.DataFrame) -> None:
    scenario = load(name)
    responses = respond(small, drawn(small, scenario, 1), scenario, 3)
    changes = effects(responses, lines, scenario, 3)
    by_customer = changed_net(lines, changes).group_by("customer_id").agg(pl.col("net_minor").sum().alias("after"))
    organic = lines.filter("merchandise").group_by("customer_id").agg(pl.col("net_minor").sum().alias("before"))
    lost = pl.col("skipped_minor") + pl.col("pull_forward_minor")
    table = responses.join(organic, on="customer_id").join(by_customer, on="customer_id", how="left").fill_null(0)
    wrong = table.filter(pl.col("after") - pl.col("before") != pl.col("incremental_minor") - lost)
    assert wrong.is_empty(), wrong
    given = pl.concat([changes.coupons, changes.extra.select(changes.coupons.columns)])
    assert given["face_value_minor"].sum() == responses["face_value_minor"].sum()
    redeemed = responses.filter("redeemed")
    assert changes.redemptions.height == redeemed.height
    assert changes.redemptions["reported_on"].null_count() == redeemed["reported_after_days"].null_count()


def test_what_happens_when(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    changes = effects(respond(small, everyone(small, "large_coupon"), strong, 3), lines, strong, 3)
    end = WAVE + timedelta(days=strong.window_days)
    for frame in (changes.extra, changes.coupons, changes.redemptions):
        assert frame["business_date"].is_between(WAVE, end, closed="left").all()
        assert frame.height
    last = end + timedelta(days=strong.later_days)
    assert changes.skipped["business_date"].is_between(WAVE, last, closed="left").all()
    assert changes.redemptions.filter(pl.col("reported_on") != pl.col("business_date")).is_empty()


def test_coupons_are_used_on_what_they_are_for(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    """Where the day's basket, or any past one, holds meat."""
    changes = effects(respond(small, everyone(small, "meat_coupon"), strong, 3), lines, strong, 3)
    meat = lines.filter(pl.col("category") == "BEEF")
    with_meat = changes.coupons.join(meat.select(DAY).unique(), on=DAY, how="semi")
    assert with_meat.height
    assert with_meat["item_id"].is_in(meat["item_id"].unique().to_list()).all()
    buyers = meat.filter(pl.col("business_date") < WAVE)["customer_id"].unique().to_list()
    used = changes.extra.filter((pl.col("face_value_minor") > 0) & pl.col("customer_id").is_in(buyers))
    assert used["item_id"].is_in(meat["item_id"].unique().to_list()).all()


def test_order_of_rows_does_not_matter(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    responses = respond(small, drawn(small, strong, 1), strong, 3)
    answers, days = (frame.sample(fraction=1.0, shuffle=True, seed=2) for frame in (responses, lines))
    first, again = effects(responses, lines, strong, 3), effects(answers, days, strong, 3)
    for name, frame in vars(first).items():
        assert frame.equals(getattr(again, name)), name


def test_nobody_contacted_changes_nothing(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    changes = effects(respond(small, everyone(small, NO_CONTACT), strong, 3), lines, strong, 3)
    assert all(frame.is_empty() for frame in vars(changes).values())


def test_no_visit_on_a_closed_day(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    responses = respond(small, everyone(small, "reminder"), strong, 3)
    for closed in (WAVE, WAVE + timedelta(days=3)):
        found = effects(responses, lines, strong, 3, [closed])
        assert closed not in found.extra["business_date"].to_list()
        assert found.extra["net_minor"].sum() == responses["incremental_minor"].sum()


def test_waves_meet_without_losing_a_visit_twice(small: pl.DataFrame, lines: pl.DataFrame, strong: Scenario) -> None:
    changes = effects(respond(small, drawn(small, strong, 1), strong, 3), lines, strong, 3)
    twice = combined([changes, changes])
    assert twice.skipped.equals(changes.skipped)
    assert twice.redemptions.equals(changes.redemptions)
    gone = changes.coupons.select(DAY).unique()
    none = pl.DataFrame(schema=changes.extra.schema)
    other = Effects(gone, changes.coupons.clear(), none, changes.redemptions.clear())
    met = combined([Effects(changes.skipped, changes.coupons, none, changes.redemptions), other])
    assert met.coupons.is_empty()
    assert met.redemptions.is_empty(), "nothing is redeemed on a visit that is missing"
