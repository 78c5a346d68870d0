"""Attributes of items and customers: as arrays, and as what a network knows of items that were never sold."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mktgen import contracts
from mktgen.errors import CorruptArtefact
from mktgen.models._attribute_vectors import ItemVectors
from mktgen.models._attributes import (
    BUCKETS,
    CUSTOMER_FIELDS,
    ITEM_FIELDS,
    Attributes,
    ItemFacts,
    Values,
    _buckets,
)
from mktgen.models.base import History
from mktgen.models.transformer import Transformer
from mktgen.settings import ModelSettings, TransformerSettings
from tests.support.taste_shop import TasteShop, make_taste_shop
from tests.support.training import session

CUT = date(2017, 5, 28)
SETTINGS = ModelSettings(
    threads=1,
    transformer=TransformerSettings(
        width=16, events=64, epochs=3, batch_customers=8, min_item_lines=3, learning_rate=1e-2
    ),
)
WORDS = st.sampled_from(["MILK", "2% milk", "SOY/MILK", "bread", "牛奶", "", "a", "É-CLAIR"])
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), WORDS), st.one_of(st.none(), WORDS), st.sampled_from(["X", "Y", None])), max_size=8
)


def catalogue(rows: list[tuple[str | None, ...]]) -> pl.DataFrame:
    """contracts.ITEMS of (category, item_type, brand)."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("category", "item_type", "brand"), pl.String), orient="row")
    rest = dict.fromkeys(("manufacturer_id", "package_size"), pl.lit(None, pl.String))
    ids = pl.format("i{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(3)).alias("item_id")
    frame = frame.with_columns(ids, department=pl.lit("D"), merchandise=pl.lit(True), **rest)
    return frame.select(list(contracts.ITEMS.columns))


def known(items: pl.DataFrame) -> Attributes:
    return Attributes(items.drop("merchandise"), Values.learn(contracts.CUSTOMERS.empty(), CUSTOMER_FIELDS))


def bags(facts: ItemFacts) -> list[list[int]]:
    return [facts.bucket[facts.first[t] : facts.first[t + 1]].tolist() for t in facts.text]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**31))
def test_facts_of_some_items_are_their_rows_of_all(rows: list[tuple[str | None, ...]], seed: int) -> None:
    items = catalogue(rows)
    facts = known(items).of_items(items["item_id"], contracts.ITEMS.empty())
    assert facts.value.shape == (len(rows) + 1, len(ITEM_FIELDS))
    assert not facts.value[0].any()
    assert bags(facts) == [
        [],
        *(_buckets(" ".join(t for t in row[:2] if t is not None).lower()).tolist() for row in rows),
    ]
    chosen = np.random.default_rng(seed).integers(0, len(rows) + 1, 5)
    taken = facts.take(chosen)
    assert taken.value.tolist() == facts.value[chosen].tolist()
    edges = [*taken.first.tolist(), taken.bucket.numel()]
    own = [taken.bucket[edges[t] : edges[t + 1]].tolist() for t in taken.text.tolist()]
    assert own == [bags(facts)[row] for row in chosen]
    assert all(not own[i] for i in range(5) if taken.text[i] == 0)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(0, 2**31))
def test_the_order_of_rows_and_items_not_asked_for_change_nothing(
    rows: list[tuple[str | None, ...]], seed: int
) -> None:
    items = catalogue(rows)
    order = np.random.default_rng(seed).permutation(items.height)
    asked = items["item_id"].head(3)
    one = known(items).of_items(asked, contracts.ITEMS.empty())
    other = known(items.clear()).of_items(asked, items[order])
    assert bags(one) == bags(other)
    shuffled = Values.learn(items[order], ITEM_FIELDS)
    assert_frame_equal(shuffled.known, known(items).item_values.known)
    assert (shuffled.tokens(items)[:3] == one.value[1:]).all()


def test_a_value_that_one_item_alone_holds_has_no_token() -> None:
    items = catalogue([("A", "x", "X"), ("A", "y", "X"), ("A", "z", "Y")])
    brand = known(items).item_values.tokens(items)[:, ITEM_FIELDS.index("brand")]
    assert brand[0] == brand[1] > 0
    assert brand[2] == 0
    unheard = items.with_columns(brand=pl.lit("Z"), department=pl.lit(None, pl.String))
    assert (
        not known(items).item_values.tokens(unheard)[:, [ITEM_FIELDS.index(n) for n in ("brand", "department")]].any()
    )


def test_words_spelt_alike_share_buckets_and_others_hardly() -> None:
    one, alike, other = (set(_buckets(word).tolist()) for word in ("chocolate", "chocolates", "shaving"))
    assert len(one & alike) > 0.5 * len(one)
    assert not one & other
    assert all(0 <= bucket < BUCKETS for bucket in one)


def test_what_was_learned_of_an_item_stands_and_what_came_later_is_taken_from_the_catalogue() -> None:
    items = catalogue([("A", "milk", "X"), ("A", "milk", "X"), ("B", "bread", "Y"), ("B", "bread", "Y")])
    learned = known(items.head(3))
    changed = items.with_columns(item_type=pl.lit("bread"))
    facts = learned.of_items(items["item_id"], changed)
    assert bags(facts)[1] == _buckets("a milk").tolist()
    assert bags(facts)[4] == _buckets("b bread").tolist()


def test_the_vector_of_an_item_is_the_sum_of_its_values_and_the_mean_of_its_text() -> None:
    items = catalogue([("A", "milk", "X"), ("A", "milk", "X"), ("B", "bread", None)])
    attributes = known(items)
    facts = attributes.of_items(items["item_id"], contracts.ITEMS.empty())
    torch.manual_seed(1)
    vectors = ItemVectors(attributes.item_values.known.height, 4).eval()
    found = vectors.of(facts.take(np.arange(4)))
    value, text = vectors.value.weight, vectors.text.weight
    assert not found[0].any()
    for row, bag in enumerate(bags(facts)[1:], start=1):
        held = [int(token) for token in facts.value[row] if token]
        torch.testing.assert_close(found[row], value[held].sum(0) + text[bag].mean(0))


# -- known truth --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shop() -> TasteShop:
    return make_taste_shop()


@pytest.fixture(scope="module")
def model(shop: TasteShop) -> Transformer:
    learned = Transformer()
    learned.fit(shop.training_set(CUT), SETTINGS, session())
    return learned


def of_own_kind(model: Transformer, shop: TasteShop, history: History, items: list[str]) -> float:
    """Share of pairs of items, one of the customer's kind and one of another, that are ranked so; ties count one half.

    Scores are equal up to the last digits of 32 bits, which depend on an item's place in the catalogue.
    """
    customers = shop.shop.active(CUT)
    ranked = model.rank(history, customers, 1000).filter(pl.col("item_id").is_in(items))
    shares = []
    for (name,), mine in ranked.partition_by("customer_id", as_dict=True).items():
        score = mine["score"].to_numpy()
        own = np.array([shop.kind_of[item] == shop.kind_of[str(name)] for item in mine["item_id"]])
        assert own.size == len(items)
        above = score[own][:, None] - score[~own][None, :]
        shares.append(np.mean((above > 1e-4) + 0.5 * (np.abs(above) <= 1e-4)))
    return float(np.mean(shares))


def test_items_never_sold_are_ranked_by_their_attributes_and_at_chance_without(
    model: Transformer, shop: TasteShop
) -> None:
    history = shop.history(CUT)
    assert of_own_kind(model, shop, history, shop.new) > 0.8
    silent = replace(history, item_attributes=contracts.ITEMS.empty())
    assert of_own_kind(model, shop, silent, shop.new) == 0.5


def test_items_never_sold_whose_type_is_spelt_otherwise_are_ranked_by_their_text(
    model: Transformer, shop: TasteShop
) -> None:
    values = Attributes.learn(shop.training_set(CUT)).item_values
    told = shop.item_attributes.filter(pl.col("item_id").is_in(shop.respelt))
    assert not values.tokens(told)[:, ITEM_FIELDS.index("item_type")].any(), "their type has no token: text alone tells"
    assert of_own_kind(model, shop, shop.history(CUT), shop.respelt) > 0.7


def test_a_model_that_learned_without_attributes_says_the_same_whatever_it_is_told(shop: TasteShop) -> None:
    data, history = shop.training_set(CUT), shop.history(CUT)
    bare = Transformer()
    bare.fit(
        replace(
            data, item_attributes=contracts.ITEMS.empty(), customer_attributes=contracts.CUSTOMERS.empty()
        ),
        SETTINGS.model_copy(update={"transformer": SETTINGS.transformer.model_copy(update={"epochs": 1})}),
        session(),
    )  # fmt: skip
    silent = replace(history, item_attributes=contracts.ITEMS.empty(), customer_attributes=contracts.CUSTOMERS.empty())
    customers = shop.shop.active(CUT)
    assert_frame_equal(bare.rank(history, customers, 9), bare.rank(silent, customers, 9), check_exact=True)
    assert_frame_equal(bare.vectors(history, customers), bare.vectors(silent, customers), check_exact=True)


def test_age_tells_the_kind_of_who_has_no_events(model: Transformer, shop: TasteShop) -> None:
    """The states of strangers who differ in age alone, against the items of each kind."""
    people = shop.customer_attributes.unique("age", maintain_order=True).with_columns(
        pl.format("stranger {}", "age").alias("customer_id")
    )
    history = replace(shop.history(CUT), customer_attributes=people)
    told = np.array(model.vectors(history, people["customer_id"].to_list())["vector"].to_list())
    untold = np.array(model.vectors(history, ["nobody", "no one"])["vector"].to_list())
    np.testing.assert_allclose(untold[0], untold[1], rtol=0, atol=1e-5)
    apart = np.abs(told[:, None, :] - told[None, :, :]).max(2)[np.triu_indices(people.height, 1)]
    assert apart.min() > 0.05, "strangers of different ages are different"


def test_stored_and_loaded_it_ranks_new_items_the_same(model: Transformer, shop: TasteShop, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded, history, customers = Transformer.load(tmp_path), shop.history(CUT), shop.shop.active(CUT)
    assert_frame_equal(loaded.rank(history, customers, 50), model.rank(history, customers, 50), check_exact=True)
    assert_frame_equal(loaded.vectors(history, customers), model.vectors(history, customers), check_exact=True)
    stored = pl.read_parquet(tmp_path / "customer_values.parquet")
    assert stored.columns == ["field", "value"], "the values that customers share, of no customer"
    (tmp_path / "item_attributes.parquet").unlink()
    with pytest.raises(CorruptArtefact, match=r"item_attributes.*train it again"):
        Transformer.load(tmp_path)


def test_the_order_of_attributes_changes_nothing(model: Transformer, shop: TasteShop) -> None:
    history, customers = shop.history(CUT), shop.shop.active(CUT)
    turned = replace(
        history, item_attributes=history.item_attributes[::-1], customer_attributes=history.customer_attributes[::-1]
    )
    assert_frame_equal(model.rank(turned, customers, 9), model.rank(history, customers, 9), check_exact=True)
    assert_frame_equal(
        model.probabilities(turned, customers), model.probabilities(history, customers), check_exact=True
    )
