"""Reasons: effects of known size, nothing from the future, and a test of faithfulness that can fail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen import features, models
from mktgen.documents import Faithfulness
from mktgen.errors import PermanentError
from mktgen.foresight.occasions import COLUMNS, item_occasions, visit_occasions
from mktgen.models.base import History, Model
from mktgen.models.personal_frequency import HALF_LIFE_DAYS
from mktgen.models.reasons import Scene, effects, faithfulness, named, named_together
from mktgen.settings import FeatureSettings, ModelSettings, TransformerSettings
from tests.support.shop import Shop, attributes, make_shop, order_lines
from tests.support.training import session

CUT = date(2017, 6, 4)
DEPTH = 20
SETTINGS = ModelSettings(
    threads=1,
    transformer=TransformerSettings(width=16, events=32, epochs=1, batch_customers=16, min_item_lines=3),
)
KINDS = ("gradient_boosting", "transformer")  # on features, and on sequences


def refold(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    state = features.fold_customers(features.empty_state(), lines, CUT - timedelta(days=1), FeatureSettings())
    return state.sequences, features.customer_features(state, CUT)


@dataclass(frozen=True)
class Told:
    model: Model
    scene: Scene
    history: History
    customers: list[str]


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(customers=40, items=50)


@pytest.fixture(scope="module", params=KINDS)
def told(request: pytest.FixtureRequest, shop: Shop) -> Told:
    return make_told(request.param, shop)


@pytest.fixture(scope="module")
def frequency(shop: Shop) -> Told:
    return make_told("personal_frequency", shop)


@pytest.fixture(scope="module")
def boosting(shop: Shop) -> Told:
    return make_told("gradient_boosting", shop)


def make_told(kind: str, shop: Shop) -> Told:
    model = models.model_class(kind)()
    model.fit(shop.training_set(CUT), SETTINGS, session())
    lines = order_lines(shop.before(CUT))
    events, facts = refold(lines)
    customers = shop.active(CUT)
    lines = lines.filter(pl.col("customer_id").is_in(customers))
    items, known = shop.history(CUT).items, attributes(shop.events)
    scene = Scene(CUT, lines, items, refold, DEPTH, **known)
    return Told(model, scene, History(CUT, events, facts, items, **known), customers)


def best_items(told: Told, count: int = 1) -> pl.DataFrame:
    """customer_id, item_id, category, given: the best seen and unseen items of each customer."""
    ranked = told.model.rank(told.history, told.customers, DEPTH).filter(pl.col("rank") <= count)
    categories = told.history.items.select("item_id", "category")
    return ranked.join(categories, on="item_id").select("customer_id", "item_id", "category", given="score")


def churn_targets(told: Told) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "item_id": pl.String}
    return pl.DataFrame({"customer_id": told.customers, "item_id": [None] * len(told.customers)}, schema=schema)


def test_what_is_explained_is_the_score_that_was_given(told: Told) -> None:
    targets = best_items(told)
    found = effects(told.model, "item", told.scene, targets, item_occasions(told.scene.lines, targets, 3))
    joined = found.join(targets, left_on=["customer_id", "target"], right_on=["customer_id", "item_id"])
    assert joined.height == found.height > 0
    assert joined["score"].to_numpy() == pytest.approx(joined["given"].to_numpy(), abs=1e-5)
    chances = told.model.probabilities(told.history, told.customers)
    visits = visit_occasions(told.scene.lines, CUT, 3)
    risk = effects(told.model, "churn", told.scene, churn_targets(told), visits).join(chances, on="customer_id")
    assert risk["score"].to_numpy() == pytest.approx(1 - risk["p_purchase_28d"].to_numpy(), abs=1e-5)


def test_the_effect_of_events_is_their_own_part_of_a_known_score(frequency: Told) -> None:
    """Personal frequency is a sum over purchases: what an occasion adds can be counted by hand."""
    targets = best_items(frequency, 2)
    occasions = item_occasions(frequency.scene.lines, targets, 3)
    found = effects(frequency.model, "item", frequency.scene, targets, occasions).filter(~pl.col("at_least"))
    age = (pl.lit(CUT) - pl.col("business_date")).dt.total_days()
    worth = frequency.scene.lines.select("customer_id", "order_id", "item_id", worth=0.5 ** (age / HALF_LIFE_DAYS))
    parts = occasions.join(worth, on=["customer_id", "order_id", "item_id"])
    expected = parts.group_by("customer_id", "occasion", pl.col("item_id").alias("target")).agg(pl.col("worth").sum())
    joined = found.join(expected, on=["customer_id", "occasion", "target"], how="left")
    assert joined["effect"].to_numpy() == pytest.approx(joined["worth"].fill_null(0.0).to_numpy(), abs=1e-9)
    assert (joined["effect"] > 0).any()


def test_scored_anew_without_the_events_gives_the_same_as_a_customer_without_them(told: Told) -> None:
    """One occasion by hand: the lines really are gone, from events and features alike."""
    customer = told.customers[3]
    occasions = visit_occasions(told.scene.lines, CUT, 3)
    chosen = occasions.filter((pl.col("customer_id") == customer) & (pl.col("kind") == "week"))
    name = chosen["occasion"].sort().first()
    gone = chosen.filter(pl.col("occasion") == name).select("customer_id", "order_id", "item_id")
    left = told.scene.lines.join(gone, on=["customer_id", "order_id", "item_id"], how="anti")
    events, facts = refold(left)
    by_hand = told.model.probabilities(replace(told.history, events=events, features=facts), [customer])
    found = effects(told.model, "churn", told.scene, churn_targets(told), occasions)
    row = found.filter((pl.col("customer_id") == customer) & (pl.col("occasion") == name)).row(0, named=True)
    assert row["score_without"] == pytest.approx(1 - by_hand["p_purchase_28d"][0], abs=1e-5)
    assert row["events"] == gone.height


def test_a_model_that_looks_at_no_events_of_the_customer_has_no_reasons(shop: Shop) -> None:
    model = models.model_class("popularity")()
    model.fit(shop.training_set(CUT), SETTINGS, session())
    base = make_told("personal_frequency", shop)
    told = replace(base, model=model)
    targets = best_items(told, 2)
    occasions = item_occasions(told.scene.lines, targets, 3)
    kept = effects(model, "item", told.scene, targets, occasions).filter(~pl.col("at_least"))
    assert kept["effect"].abs().max() == 0
    assert named(kept, occasions, "item", 3).is_empty()
    checked = faithfulness(model, "item", told.scene, named(kept, occasions, "item", 3), occasions, 50, 1)
    assert (checked.targets, checked.passed, checked.difference) == (0, None, None)


def test_named_reasons_share_no_line_point_one_way_and_come_largest_first(told: Told) -> None:
    occasions = visit_occasions(told.scene.lines, CUT, 4)
    found = effects(told.model, "churn", told.scene, churn_targets(told), occasions)
    chosen = named(found, occasions, "churn", 3)
    lines = chosen.join(occasions.drop("kind"), on=["customer_id", "occasion"])
    assert not lines.select("customer_id", "order_id", "item_id").is_duplicated().any()
    for mine in chosen.partition_by("customer_id", as_dict=True).values():
        assert mine["position"].to_list() == list(range(1, mine.height + 1))
        assert mine["effect"].abs().is_sorted(descending=True)
        assert mine["effect"].sign().n_unique() == 1
    size = pl.col("effect").abs()
    largest = found.filter(size > 0.01 * pl.col("score")).group_by("customer_id").agg(size.max())
    first = chosen.filter(pl.col("position") == 1).with_columns(size)
    assert dict(first.select("customer_id", "effect").iter_rows()) == dict(largest.iter_rows())


def test_named_together_begin_alike_and_each_further_one_adds_to_what_the_union_moves(boosting: Told) -> None:
    occasions = visit_occasions(boosting.scene.lines, CUT, 4)
    targets = churn_targets(boosting)
    found = effects(boosting.model, "churn", boosting.scene, targets, occasions)
    first = named(found, occasions, "churn", 1)
    chosen = named_together(boosting.model, boosting.scene, targets, found, occasions, 3)
    assert_frame_equal(chosen.filter(pl.col("position") == 1), first)
    assert chosen.filter(pl.col("position") > 1).height > 10
    lines = chosen.join(occasions.drop("kind"), on=["customer_id", "occasion"])
    assert not lines.select("customer_id", "order_id", "item_id").is_duplicated().any()
    moved: dict[str, float] = {}
    for depth in (1, 2, 3):
        deep = chosen.filter(pl.col("position") == depth).select("customer_id")
        union = lines.join(deep, on="customer_id", how="semi").filter(pl.col("position") <= depth)
        union = union.with_columns(occasion=pl.lit("union"), kind=pl.lit("union")).select(COLUMNS)
        for row in effects(boosting.model, "churn", boosting.scene, targets, union).iter_rows(named=True):
            before = moved.get(row["customer_id"], 0.0)
            way = np.sign(before or row["effect"])
            assert (row["effect"] - before) * way > 0.01 * row["score"]
            moved[row["customer_id"]] = row["effect"]
    assert (chosen.group_by("customer_id").agg(pl.col("effect").sign().n_unique())["effect"] == 1).all()


def item_check(told: Told, kind: str = "") -> Faithfulness:
    """Of the best items. With `kind`: the least telling occasions of that kind are given out as the reasons."""
    targets = best_items(told, 2)
    occasions = item_occasions(told.scene.lines, targets, 3)
    found = effects(told.model, "item", told.scene, targets, occasions)
    if kind:
        least = found.with_columns((1.0 / (1e-9 + pl.col("effect").abs())).alias("effect"))
        found = least.filter(pl.col("kind") == kind)
    chosen = named(found, occasions, "item", 1 if kind else 2)
    return faithfulness(told.model, "item", told.scene, chosen, occasions, 200, 1)


def churn_check(told: Told) -> Faithfulness:
    occasions = visit_occasions(told.scene.lines, CUT, 4)
    found = effects(told.model, "churn", told.scene, churn_targets(told), occasions)
    chosen = named_together(told.model, told.scene, churn_targets(told), found, occasions, 2)
    return faithfulness(told.model, "churn", told.scene, chosen, occasions, 200, 1)


def test_removing_the_named_events_moves_the_score_more_than_removing_others(frequency: Told, boosting: Told) -> None:
    for checked in (item_check(frequency), churn_check(boosting)):
        assert_faithful(checked)


def assert_faithful(checked: Faithfulness) -> None:
    assert checked.customers > 20
    assert checked.difference is not None
    assert checked.difference.low > 0
    assert checked.passed
    assert checked.named > checked.others


def test_reasons_that_are_none_fail_the_same_test(frequency: Told) -> None:
    checked = item_check(frequency, "basket")
    assert checked.targets > 20
    assert checked.passed is False


def test_the_same_again_gives_the_same(boosting: Told) -> None:
    occasions = visit_occasions(boosting.scene.lines, CUT, 4)
    results = []
    for order in (1, -1):
        scene = replace(boosting.scene, lines=boosting.scene.lines[::order])
        targets = churn_targets(boosting)[::order]
        found = effects(boosting.model, "churn", scene, targets, occasions[::order])
        chosen = named_together(boosting.model, scene, targets, found, occasions[::order], 3)
        results.append((found, chosen, faithfulness(boosting.model, "churn", scene, chosen, occasions, 20, 5)))
    assert_frame_equal(results[0][0], results[1][0], check_exact=True)
    assert_frame_equal(results[0][1], results[1][1], check_exact=True)
    assert results[0][2] == results[1][2]


def test_lines_from_the_cut_on_are_refused(frequency: Told, shop: Shop) -> None:
    late = order_lines(shop.after(CUT, 1))
    with pytest.raises(PermanentError, match="on or after the cut 2017-06-04"):
        replace(frequency.scene, lines=pl.concat([frequency.scene.lines, late]))


def test_nobody_to_explain_is_nothing(frequency: Told) -> None:
    scene = replace(frequency.scene, lines=frequency.scene.lines.clear())
    targets = best_items(frequency).clear()
    occasions = item_occasions(scene.lines, targets, 3)
    found = effects(frequency.model, "item", scene, targets, occasions)
    chosen = named(found, occasions, "item", 3)
    assert (found.height, chosen.height) == (0, 0)
    assert faithfulness(frequency.model, "item", scene, chosen, occasions, 10, 1).passed is None


def test_an_occasion_of_more_than_half_of_a_customer_is_none(frequency: Told) -> None:
    one = frequency.scene.lines.filter(pl.col("customer_id") == frequency.customers[0])
    everything = one.with_columns(occasion=pl.lit("all"), kind=pl.lit("earlier")).select(COLUMNS)
    targets = churn_targets(frequency)[:1]
    assert effects(frequency.model, "churn", frequency.scene, targets, everything).is_empty()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_occasions_hold_lines_of_their_own_customer_before_the_cut(seed: int, baskets: int) -> None:
    shop = make_shop(customers=4, items=12, days=120, seed=seed)
    lines = order_lines(shop.events)
    cut = shop.events["business_date"].max() + timedelta(days=1)  # type: ignore[operator]
    rng = np.random.default_rng(seed)
    pairs = lines.select("customer_id", "item_id", "category").unique().sort("customer_id", "item_id")
    targets = pairs[rng.permutation(pairs.height)[:4].tolist()]
    known = lines.select("customer_id", "order_id", "item_id")
    for found in (visit_occasions(lines, cut, baskets), item_occasions(lines, targets, baskets)):
        assert found.columns == list(COLUMNS)
        assert not found.is_duplicated().any()
        assert found.join(known, on=["customer_id", "order_id", "item_id"], how="anti").is_empty()
        whole = found.filter(pl.col("kind") == "basket").group_by("customer_id", "order_id").len()
        sizes = lines.group_by("customer_id", "order_id").len().rename({"len": "all"})
        assert (
            whole.join(sizes, on=["customer_id", "order_id"])["all"]
            == whole.join(sizes, on=["customer_id", "order_id"])["len"]
        ).all()


def test_files_of_this_package_that_are_no_kind_are_known() -> None:
    assert "reasons" not in models.kinds()
    assert (Path(models.__file__).parent / "reasons.py").is_file()
