"""Redemption: nothing from the future, labels only when mature, calibrated, and honest when data are thin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

from mktgen.contracts import OFFER_SCORES
from mktgen.settings import StrategySettings
from mktgen.strategy.mailings import LABELS, MAILINGS, affinity, redemption_examples
from mktgen.strategy.offers import campaign_scores, offer_scores
from mktgen.strategy.redemption import RedemptionModel, fit_redemption
from tests.support.campaign_world import DAY, PARTITION, World, make_world

SETTINGS = StrategySettings()


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def examples(world: World, **changes: pl.DataFrame) -> pl.DataFrame:
    frames = {
        name: changes.get(name, getattr(world, name))
        for name in ("exposures", "campaigns", "responses", "offers", "offer_items", "lines")
    }
    return redemption_examples(**frames, features_at_start=world.features_at_start, partition=PARTITION)


@pytest.fixture(scope="module")
def model(world: World) -> RedemptionModel:
    return fit_redemption(examples(world), PARTITION, 1, bootstrap=30)[0]


def scored(world: World, model: RedemptionModel, once: bool = True, **changes: pl.DataFrame) -> pl.DataFrame:
    names = (
        "features",
        "lines",
        "campaigns",
        "offers",
        "offer_items",
        "items",
        "item_scores",
        "exposures",
        "responses",
    )
    frames = {name: changes.get(name, getattr(world, name)) for name in names}
    return offer_scores(
        customers=world.customers, **frames, model=model, partition=PARTITION, settings=SETTINGS, once=once
    )


def test_only_matured_campaigns_are_examples(world: World) -> None:
    found = examples(world)
    assert found.columns == [*MAILINGS, *LABELS]
    assert sorted(found["campaign_id"].unique()) == ["1", "2", "3", "4", "5", "6"]
    assert (found["ended_on"] < PARTITION).all()
    mailed = world.exposures.filter(pl.col("campaign_id").is_in(["1", "2", "3", "4", "5", "6"]))
    assert found.height == mailed.height


def test_what_happens_after_a_start_changes_no_feature_of_it(world: World) -> None:
    last = examples(world).filter(pl.col("campaign_id") == "4")
    start = last["started_on"][0]
    cut = {
        "lines": world.lines.filter(pl.col("business_date") < start),
        "exposures": world.exposures.filter((pl.col("exposed_on") < start) | (pl.col("campaign_id") == "4")),
        "responses": world.responses.filter((pl.col("responded_on") < start) | (pl.col("campaign_id") == "4")),
    }
    assert_frame_equal(examples(world, **cut).filter(pl.col("campaign_id") == "4"), last)


def test_prior_counts_are_those_before_the_start(world: World) -> None:
    row = examples(world).filter((pl.col("campaign_id") == "5") & (pl.col("prior_redemptions") > 0)).row(0, named=True)
    mine = world.responses.filter(
        (pl.col("customer_id") == row["customer_id"]) & (pl.col("responded_on") < row["started_on"])
    )
    sent = world.exposures.filter(
        (pl.col("customer_id") == row["customer_id"]) & (pl.col("exposed_on") < row["started_on"])
    )
    assert row["prior_redemptions"] == mine.height
    assert row["prior_exposures"] == sent["campaign_id"].n_unique()


def test_without_a_resample_that_fits_the_interval_has_no_width(world: World, model: RedemptionModel) -> None:
    alone = replace(model, coefficients=model.coefficients[:1])
    found = alone.predict(examples(world))
    assert found["p_redeem_low"].equals(found["p_redeem_high"])
    assert (found["p_redeem"] - model.predict(examples(world))["p_redeem"]).abs().max() < 1e-12


def test_affinity_is_the_share_of_own_lines() -> None:
    own = pl.DataFrame({"customer_id": ["a", "a", "a", "b"], "item_id": ["x", "x", "y", "y"]})
    shares = affinity(own, pl.DataFrame({"item_id": ["x"]})).sort("customer_id")
    assert shares["affinity"].to_list() == [pytest.approx(2 / 3), 0.0]


def test_the_model_ranks_and_is_calibrated_on_unseen_campaigns(world: World, model: RedemptionModel) -> None:
    _, held = fit_redemption(examples(world), PARTITION, 1, bootstrap=1)
    assert model.kind == "logistic"
    assert roc_auc_score(held["redeemed"], held["p_redeem"]) > 0.65
    assert abs(held["p_redeem"].mean() - held["redeemed"].mean()) < 0.08


def test_intervals_hold_the_point_and_bytes_bring_the_model_back(world: World, model: RedemptionModel) -> None:
    found = examples(world)
    first = model.predict(found)
    assert (first["p_redeem_low"] <= first["p_redeem"]).all()
    assert (first["p_redeem"] <= first["p_redeem_high"]).all()
    assert_frame_equal(RedemptionModel.from_bytes(model.to_bytes()).predict(found), first)
    again, _ = fit_redemption(found.sample(fraction=1.0, shuffle=True, seed=3), PARTITION, 1, bootstrap=30)
    assert again.to_bytes() == model.to_bytes()


def test_thin_data_fall_back_to_shrunk_base_rates(world: World) -> None:
    few = examples(world).filter(pl.col("campaign_id") == "1").head(30)
    model, held = fit_redemption(few, PARTITION, 1)
    assert model.kind == "base_rate"
    assert held.is_empty()
    known, unknown = model.rates["Type B"], model.predict(few.with_columns(campaign_type=pl.lit("Type Z"))).row(0)
    assert known[0] == pytest.approx((few["redeemed"].sum() + 20 * unknown[0]) / 50)
    assert unknown[2] - unknown[1] > known[2] - known[1] > 0


def test_without_matured_campaigns_nobody_is_scored(world: World) -> None:
    model, _ = fit_redemption(examples(world).head(0), PARTITION, 1)
    assert model.kind == "none"
    assert scored(world, model).is_empty()


def test_quick_redeemers_set_the_share_for_the_days_left() -> None:
    model = RedemptionModel("base_rate", "", 4, days_to_redemption=[1, 5, 5, 20])
    assert [model.share_redeemed_within(days) for days in (0, 5, 30)] == [0.0, 0.75, 1.0]


def test_offer_scores_keep_their_promises(world: World, model: RedemptionModel) -> None:
    scores = scored(world, model)
    assert set(scores["campaign_id"]) == {"14", "15"}
    assert scores["customer_id"].n_unique() == len(world.customers)
    per_customer = scores.group_by("customer_id").agg(pl.len(), pl.col("campaign_id").n_unique())
    assert per_customer["len"].max() <= SETTINGS.offers_per_customer
    assert per_customer["campaign_id"].min() == 2
    assert set(scores["cost_minor"]) == {SETTINGS.contact_cost_minor + SETTINGS.face_value_minor}
    eligible = world.offer_items.join(world.items.filter("merchandise"), on="item_id")
    assert scores.join(eligible, on=["offer_id", "item_id"], how="anti").is_empty()
    value = scores["p_redeem"] * (0.3 * 2_500 - 100) - 40
    assert (scores["value_minor"] - value).abs().max() < 1e-9


def test_a_redeemed_coupon_is_not_offered_again(world: World, model: RedemptionModel) -> None:
    used = world.responses.filter(pl.col("campaign_id").is_in(["14", "15"])).select("customer_id", "offer_id")
    assert not used.is_empty()
    assert scored(world, model).join(used, on=["customer_id", "offer_id"], how="semi").is_empty()


def test_an_offer_that_each_message_renews_is_offered_again(world: World, model: RedemptionModel) -> None:
    nobody = scored(world, model, responses=world.responses.clear())
    again = scored(world, model, once=False)
    keys = ["customer_id", "offer_id"]
    assert_frame_equal(again.select(keys), nobody.select(keys))


def test_a_recorded_face_value_is_reserved(world: World, model: RedemptionModel) -> None:
    dear = world.offers.with_columns(face_value_minor=pl.lit(250, dtype=pl.Int64))
    assert set(scored(world, model, offers=dear)["cost_minor"]) == {290}


def test_no_running_campaign_is_an_empty_frame(world: World, model: RedemptionModel) -> None:
    ended = world.campaigns.filter(pl.col("end_date") < PARTITION)
    scores = scored(world, model, campaigns=ended)
    assert scores.is_empty()
    assert scores.schema == OFFER_SCORES.empty().schema


def test_a_campaign_that_ends_today_can_no_longer_be_sent(world: World, model: RedemptionModel) -> None:
    closing = world.campaigns.with_columns(end_date=pl.lit(PARTITION))
    frames = (world.features, world.lines, closing, world.offers, world.offer_items, world.exposures, world.responses)
    assert campaign_scores(world.customers, *frames, model, PARTITION).is_empty()


def test_rows_after_the_partition_change_nothing(world: World, model: RedemptionModel) -> None:
    late = world.lines.head(500).with_columns(business_date=pl.lit(PARTITION + timedelta(days=1)))
    later = world.responses.head(50).with_columns(responded_on=pl.lit(PARTITION + DAY), campaign_id=pl.lit("15"))
    same = scored(world, model, lines=pl.concat([world.lines, late]), responses=pl.concat([world.responses, later]))
    assert_frame_equal(same, scored(world, model))
