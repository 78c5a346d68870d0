"""Every kind of model that is found keeps the contract of mktgen/models/base.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen import models
from mktgen.models.base import CategoryModel, History, Model, VectorModel
from mktgen.settings import ModelSettings, TransformerSettings
from tests.support.shop import SORT, Shop, make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
K = 5
SETTINGS = ModelSettings(
    threads=1,
    checkpoint_every=5,
    transformer=TransformerSettings(width=16, events=32, epochs=1, batch_customers=16, min_item_lines=3),
)


@dataclass(frozen=True)
class Trained:
    model: Model
    directory: Path
    history: History
    customers: list[str]


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def fitted(kind: str, shop: Shop, directory: Path) -> Model:
    model = models.model_class(kind)()
    model.fit(shop.training_set(CUT), SETTINGS, session())
    directory.mkdir(parents=True, exist_ok=True)
    model.save(directory)
    return model


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(customers=40, items=50)


@pytest.fixture(scope="module", params=models.kinds())
def trained(request: pytest.FixtureRequest, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp(request.param)
    model = fitted(request.param, shop, directory)
    return Trained(model, directory, shop.history(CUT), shop.active(CUT))


def test_the_file_name_is_the_kind_and_it_has_a_task(trained: Trained) -> None:
    assert trained.model.kind in models.kinds()
    assert trained.model.tasks
    assert trained.model.tasks <= {"ranking", "customer", "spend"}


def test_a_task_that_a_kind_lacks_is_refused_by_type_error(trained: Trained) -> None:
    if "ranking" not in trained.model.tasks:
        with pytest.raises(TypeError):
            trained.model.rank(trained.history, trained.customers, K)
    if "customer" not in trained.model.tasks:
        with pytest.raises(TypeError):
            trained.model.probabilities(trained.history, trained.customers)
    if "spend" not in trained.model.tasks:
        with pytest.raises(TypeError):
            trained.model.spend(trained.history, trained.customers)


def test_spend_is_an_amount_for_everyone_asked(trained: Trained) -> None:
    if "spend" not in trained.model.tasks:
        return
    given = trained.model.spend(trained.history, trained.customers[::-1])
    assert dict(given.schema) == {"customer_id": pl.String, "spend_28d_minor": pl.Float64}
    assert given["customer_id"].to_list() == trained.customers
    assert given["spend_28d_minor"].is_finite().all()
    assert (given["spend_28d_minor"] >= 0).all()


def test_rank_keeps_its_shape_order_and_limits(trained: Trained) -> None:
    if "ranking" not in trained.model.tasks:
        return
    ranked = trained.model.rank(trained.history, trained.customers, K)
    assert dict(ranked.schema) == {
        "customer_id": pl.String,
        "item_id": pl.String,
        "seen": pl.Boolean,
        "rank": pl.Int32,
        "score": pl.Float64,
    }
    assert ranked["customer_id"].unique().sort().to_list() == trained.customers
    assert not ranked.select("customer_id", "item_id").is_duplicated().any()
    assert ranked["score"].is_finite().all()
    groups = ranked.group_by("customer_id", "seen").agg(pl.col("rank"), pl.len())
    assert groups["len"].max() <= K  # type: ignore[operator]
    assert all(ranks == list(range(1, len(ranks) + 1)) for ranks in groups["rank"].to_list())
    keys = ["customer_id", "seen", "score", "item_id"]
    assert_frame_equal(ranked, ranked.sort(keys, descending=[False, True, True, False]))


def test_seen_is_whether_the_item_was_bought_before(trained: Trained) -> None:
    if "ranking" not in trained.model.tasks:
        return
    ranked = trained.model.rank(trained.history, trained.customers, K)
    pairs = set(trained.history.events.select("customer_id", "item_id").iter_rows())
    assert all((customer, item) in pairs for customer, item, *_ in ranked.filter("seen").iter_rows())
    assert not any((customer, item) in pairs for customer, item, *_ in ranked.filter(~pl.col("seen")).iter_rows())


def test_probabilities_are_probabilities_and_the_longer_window_is_not_less_likely(trained: Trained) -> None:
    if "customer" not in trained.model.tasks:
        return
    given = trained.model.probabilities(trained.history, trained.customers[::-1])
    assert given.columns == ["customer_id", "p_purchase_7d", "p_purchase_28d"]
    assert given["customer_id"].to_list() == trained.customers
    for name in ("p_purchase_7d", "p_purchase_28d"):
        assert given[name].dtype == pl.Float64
        assert given[name].is_between(0.0, 1.0).all()
    assert (given["p_purchase_28d"] >= given["p_purchase_7d"]).all()


def test_vectors_have_one_length(trained: Trained) -> None:
    if not isinstance(trained.model, VectorModel):
        return
    given = trained.model.vectors(trained.history, trained.customers)
    assert dict(given.schema) == {"customer_id": pl.String, "vector": pl.List(pl.Float32)}
    assert given["customer_id"].to_list() == trained.customers
    assert given["vector"].list.len().n_unique() == 1
    assert np.isfinite(np.array(given["vector"].to_list())).all()


def test_categories_come_by_rank_and_once(trained: Trained) -> None:
    if not isinstance(trained.model, CategoryModel):
        return
    given = trained.model.categories(trained.history, trained.customers, 3)
    assert dict(given.schema) == {"customer_id": pl.String, "category": pl.String, "p_7d": pl.Float64}
    assert given["customer_id"].unique(maintain_order=True).to_list() == trained.customers
    assert given["p_7d"].is_between(0.0, 1.0).all()
    assert not given.select("customer_id", "category").is_duplicated().any()
    for mine in given.partition_by("customer_id"):
        assert mine.height == 3
        assert_frame_equal(mine, mine.sort(["p_7d", "category"], descending=[True, False]))


def results(model: Model, history: History, customers: list[str]) -> list[pl.DataFrame]:
    frames = []
    if "ranking" in model.tasks:
        frames.append(model.rank(history, customers, K))
    if "customer" in model.tasks:
        frames.append(model.probabilities(history, customers))
    if "spend" in model.tasks:
        frames.append(model.spend(history, customers))
    return frames


def test_training_again_gives_the_same_bytes(trained: Trained, shop: Shop, tmp_path: Path) -> None:
    fitted(trained.model.kind, shop, tmp_path)
    assert files(tmp_path) == files(trained.directory)


def test_a_loaded_model_gives_the_same_results_and_bytes(trained: Trained, tmp_path: Path) -> None:
    loaded = type(trained.model).load(trained.directory)
    expected = results(trained.model, trained.history, trained.customers)
    for mine, theirs in zip(expected, results(loaded, trained.history, trained.customers), strict=True):
        assert_frame_equal(mine, theirs, check_exact=True)
    loaded.save(tmp_path)
    assert files(tmp_path) == files(trained.directory)


def test_no_pickle_is_stored(trained: Trained) -> None:
    stored = files(trained.directory)
    assert "model.json" in stored
    allowed = {".json", ".safetensors", ".skops", ".parquet"}
    assert {Path(name).suffix for name in stored} <= allowed


def test_events_on_or_after_the_cut_change_nothing_in_scoring(trained: Trained, shop: Shop) -> None:
    later = shop.after(CUT, 14)
    leaking = replace(trained.history, events=pl.concat([trained.history.events, later]).sort(SORT))
    expected = results(trained.model, trained.history, trained.customers)
    for mine, theirs in zip(expected, results(trained.model, leaking, trained.customers), strict=True):
        assert_frame_equal(mine, theirs, check_exact=True)


def test_events_on_or_after_the_cut_change_nothing_in_training(trained: Trained, shop: Shop, tmp_path: Path) -> None:
    data = shop.training_set(CUT)
    leaking = replace(data, events=pl.concat([data.events, shop.after(CUT, 14)]).sort(SORT))
    model = models.model_class(trained.model.kind)()
    model.fit(leaking, SETTINGS, session())
    model.save(tmp_path)
    assert files(tmp_path) == files(trained.directory)


def test_a_customer_without_events_is_ranked_too(trained: Trained) -> None:
    if "ranking" not in trained.model.tasks:
        return
    ranked = trained.model.rank(trained.history, [*trained.customers, "nobody"], K).filter(customer_id="nobody")
    assert ranked.height == K
    assert not ranked["seen"].any()
