"""The category and redemption heads: what they read, where they start, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from mktgen.errors import PermanentError
from mktgen.evaluation import categories as evaluation
from mktgen.models import model_class
from mktgen.models._batch import collate
from mktgen.models._categories import HALF_LIVES
from mktgen.models._neural import NeuralModel
from mktgen.models._normalise import Normalisation
from mktgen.models._prepared import training_scene
from mktgen.models._redemption import MailingScale, RedemptionHead, with_mailing_states
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import Mailings
from tests.models.train_process import SETTINGS
from tests.support.shop import make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
MAILED = (date(2017, 3, 15), date(2017, 4, 12), date(2017, 4, 26))
SHOP = make_shop(customers=30, items=50, days=170)
DATA = SHOP.training_set(CUT, cuts=4)
HISTORY = SHOP.history(CUT)
CUSTOMERS = SHOP.active(CUT)
VOCABULARY = Vocabulary.learn(DATA.items, 3)


def mailings(days: tuple[date, ...] = MAILED, labelled: bool = True) -> Mailings:
    """Who visits often redeems; every second customer is mailed in each campaign."""
    visits = (
        SHOP.before(CUT).group_by("customer_id").agg(pl.col("order_id").n_unique().cast(pl.Float64).alias("visits"))
    )
    parts = []
    for number, day in enumerate(days):
        rows = visits.sort("customer_id").gather_every(2, number % 2).with_columns(
            pl.lit(f"m{number}").alias("campaign_id"), pl.lit("AB"[number % 2]).alias("campaign_type"),
            pl.lit(day).alias("cut"),
        )  # fmt: skip
        parts.append(rows.with_columns((pl.col("visits") > 40).alias("redeemed")))
    frame = pl.concat(parts)
    items = pl.DataFrame({"campaign_id": [f"m{n}" for n in range(len(days)) for _ in range(4)],
                          "item_id": [f"i{7 * i + n:04d}" for n in range(len(days)) for i in range(4)]})  # fmt: skip
    return Mailings(frame if labelled else frame.drop("redeemed"), items)


@pytest.fixture(scope="module")
def model() -> NeuralModel:
    trained = model_class("transformer")()
    assert isinstance(trained, NeuralModel)
    trained.fit(replace(DATA, mailings=mailings()), SETTINGS, session())
    return trained


# -- categories -------------------------------------------------------------------------------------------------------
def test_category_counts_and_targets_are_those_of_the_events() -> None:
    """Against a plain computation from the frame, at examples only, weeks without a purchase among them."""
    scene = training_scene(DATA, VOCABULARY, SETTINGS.transformer, Normalisation.learn(DATA.examples))
    chosen = np.argsort(scene.windows.start - scene.windows.stop, kind="stable")
    batch = collate(scene, chosen.astype(np.int64))
    week = batch.extras.week
    assert (batch.labelled[week.state] == 1).all()
    assert batch.extras.counts["category"] == float(batch.labelled.sum())
    states = np.concatenate([np.arange(scene.windows.first[w], scene.windows.last[w]) for w in chosen])
    names = VOCABULARY.categories["category"].to_list()
    empty = 0
    for row, place in enumerate(week.state.tolist()):
        state = states[place]
        customer, cut = scene.log.customers[scene.states.customer[state]], int(scene.states.cut[state])
        own = DATA.events.filter(customer_id=customer).with_columns(pl.col("business_date").to_physical().alias("day"))
        past, after = own.filter(pl.col("day") < cut), own.filter(pl.col("day").is_between(cut, cut + 6))
        empty += after.is_empty()
        assert {names[i] for i in np.flatnonzero(week.bought[row].numpy())} == set(after["category"])
        ages = [cut - past.filter(category=name)["day"].to_numpy() for name in names]
        expected = [[np.log((0.5 ** (age / half)).sum() + 0.02) for half in HALF_LIVES] for age in ages]
        np.testing.assert_allclose(week.counts[row].numpy(), expected, rtol=0, atol=1e-5)
    assert empty > 0


def test_categories_are_probabilities_of_everyone_best_first(model: NeuralModel) -> None:
    found = model.categories(HISTORY, [*CUSTOMERS, "nobody"], 4)
    assert dict(found.schema) == {"customer_id": pl.String, "category": pl.String, "p_7d": pl.Float64}
    assert found.group_by("customer_id").len()["len"].unique().to_list() == [4]
    assert found["customer_id"].unique().sort().to_list() == sorted([*CUSTOMERS, "nobody"])
    assert found["p_7d"].is_between(0, 1, closed="none").all()
    order = ["customer_id", "p_7d", "category"]
    assert_frame_equal(found, found.sort(order, descending=[False, True, False]))
    assert model.categories(HISTORY, CUSTOMERS, 100).height == 7 * len(CUSTOMERS)
    assert model.categories(HISTORY, [], 3).is_empty()


def test_categories_do_not_see_events_on_or_after_the_cut(model: NeuralModel) -> None:
    leaky = replace(HISTORY, events=SHOP.events.filter(pl.col("customer_id").is_in(CUSTOMERS)))
    assert_frame_equal(model.categories(leaky, CUSTOMERS, 7), model.categories(HISTORY, CUSTOMERS, 7), abs_tol=1e-12)


def test_the_week_is_foretold_better_than_by_chance(model: NeuralModel) -> None:
    found = model.categories(HISTORY, CUSTOMERS, 7)
    truth = SHOP.after(CUT, 7).filter(pl.col("customer_id").is_in(CUSTOMERS)).select("customer_id", "category").unique()
    assert evaluation.micro_auc(found, truth) > 0.6
    shuffled = found.with_columns(pl.col("p_7d").shuffle(seed=1))
    assert evaluation.micro_auc(found, truth) > evaluation.micro_auc(shuffled, truth) + 0.05


# -- redemption -------------------------------------------------------------------------------------------------------
def test_states_of_mailings_change_no_other_state() -> None:
    scene = training_scene(DATA, VOCABULARY, SETTINGS.transformer, Normalisation.learn(DATA.examples))
    customer = np.array([3, -1, 3, 5, 0], dtype=np.int64)
    known = int(scene.states.cut[scene.states.customer == 5][0])
    day = np.array([17_240, 17_240, 17_240, known, 17_250], dtype=np.int64)
    merged, place = with_mailing_states(scene.states, scene.log, customer, day)
    assert merged.customer.size == scene.states.customer.size + 2
    assert place[1] == -1
    assert place[0] == place[2]
    for mailing in (0, 3, 4):
        assert (merged.customer[place[mailing]], merged.cut[place[mailing]]) == (customer[mailing], day[mailing])
    assert (np.lexsort((merged.cut, merged.customer)) == np.arange(merged.customer.size)).all()
    kept = np.setdiff1d(np.arange(merged.customer.size), place[[0, 4]])
    for name in ("customer", "cut", "end", "until", "example"):
        assert (getattr(merged, name)[kept] == getattr(scene.states, name)).all()
    for new in place[[0, 4]]:
        assert merged.until[new] == merged.end[new]
        assert merged.example[new] == -1
        low = scene.log.first[merged.customer[new]]
        assert (scene.log.day[low : merged.end[new]] < merged.cut[new]).all()


def test_redemption_starts_as_the_regression() -> None:
    """Before any step the head says what the logistic regression says, whatever the state."""
    sent = mailings()
    scale = MailingScale.learn(sent)
    data = replace(DATA, mailings=sent)
    scene = training_scene(data, VOCABULARY, SETTINGS.transformer, Normalisation.learn(DATA.examples), scale=scale)
    longest_first = np.argsort(scene.windows.start - scene.windows.stop, kind="stable")
    batch = collate(scene, longest_first.astype(np.int64))
    mailed = batch.extras.mailed
    assert sorted(mailed.row.tolist()) == list(range(sent.rows.height))
    assert mailed.redeemed.tolist() == sent.rows["redeemed"].gather(mailed.row.numpy()).cast(pl.Float32).to_list()
    rows = sent.rows.with_columns(
        (pl.col("campaign_type") == kind).cast(pl.Float64).alias(f"type={kind}") for kind in "AB"
    )
    chance = scale.regression.probability(rows.select(scale.regression.features).to_numpy())
    np.testing.assert_allclose(mailed.offset.sigmoid(), chance[mailed.row.numpy()], atol=1e-6)
    head = RedemptionHead(16, len(scale.regression.features), len(scale.types), 0.0)
    categories = torch.nn.Embedding(VOCABULARY.categories.height + 1, 16)
    found = head(torch.randn(batch.row.shape[0], 16), mailed, categories)
    np.testing.assert_allclose(found.detach(), mailed.offset)
    np.testing.assert_allclose(mailed.shares.sum(1), 1.0, rtol=1e-6)


def test_redemption_is_scored_in_the_order_asked(model: NeuralModel) -> None:
    sent = mailings((CUT - timedelta(days=1), CUT), labelled=False)
    asked = Mailings(sent.rows.reverse().with_columns(pl.lit("never seen").alias("campaign_type")), sent.items)
    for one in (sent, asked):
        found = model.redemptions(HISTORY, one)
        assert_frame_equal(found.drop("p_redeem"), one.rows.select("customer_id", "campaign_id"))
        assert found["p_redeem"].is_between(0, 1).all()
    chances = model.redemptions(HISTORY, sent).with_columns(sent.rows["visits"])
    often = chances.filter(pl.col("visits") > 40)["p_redeem"].mean()
    seldom = chances.filter(pl.col("visits") <= 40)["p_redeem"].mean()
    assert isinstance(often, float)
    assert isinstance(seldom, float)
    assert often > seldom + 0.2


def test_redemption_survives_storage_and_is_refused_where_it_was_not_learned(
    model: NeuralModel, tmp_path: Path
) -> None:
    sent = mailings((CUT,), labelled=False)
    model.save(tmp_path)
    assert_frame_equal(type(model).load(tmp_path).redemptions(HISTORY, sent), model.redemptions(HISTORY, sent))
    with pytest.raises(PermanentError, match=r"mailings lack \['visits'\]"):
        model.redemptions(HISTORY, Mailings(sent.rows.drop("visits"), sent.items))
    without = model_class("lstm")()
    assert isinstance(without, NeuralModel)
    without.fit(DATA, SETTINGS, session())
    with pytest.raises(PermanentError, match="learned from no mailings"):
        without.redemptions(HISTORY, sent)
