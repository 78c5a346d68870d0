"""What a catalogue of millions must not cost: facts looked up, rows touched, tastes of what nobody bought."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mktgen.models import _taste
from mktgen.models._batch import _columns, _places
from mktgen.models._item_facts import PLAN_FACTS, CutFacts, VocabularyFacts
from mktgen.models._network import BehaviourNetwork
from mktgen.models._normalise import Normalisation
from mktgen.models._prepared import training_scene
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.transformer import Transformer
from tests.models.train_process import SETTINGS
from tests.support.shop import make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
DATA = make_shop(customers=30, items=50, days=170).training_set(CUT, cuts=4)


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=12), st.data())
def test_facts_looked_up_are_those_of_a_table_of_all(place: list[int], data: st.DataObject) -> None:
    lines = np.arange(12, dtype=np.float32).reshape(2, 6)
    plan = np.arange(2 * 6 * PLAN_FACTS, dtype=np.float32).reshape(2, 6, PLAN_FACTS)
    known = np.array(place)
    all_lines = np.where(known >= 0, lines[:, known], 0)
    all_plans = np.where(known[:, None] >= 0, plan[:, known], 0)
    facts = VocabularyFacts(CutFacts(lines, plan), known)
    asked = np.array(data.draw(st.lists(st.integers(0, len(place) - 1))), dtype=np.int64)
    found = facts.take(asked)
    np.testing.assert_array_equal(found.lines, all_lines[:, asked])
    np.testing.assert_array_equal(found.plan, all_plans[:, asked])
    np.testing.assert_array_equal(facts.most_lines(), all_lines.max(axis=0))


@given(st.sets(st.integers(1, 40)), st.lists(st.integers(0, 40)))
def test_places_are_found_and_what_is_not_there_has_none(columns: set[int], asked: list[int]) -> None:
    ordered = sorted(columns)
    found = _places(np.array(ordered, dtype=np.int64), np.array(asked, dtype=np.int64))
    assert found.tolist() == [ordered.index(token) if token in columns else -1 for token in asked]


def test_who_reads_states_alone_gets_no_columns() -> None:
    vocabulary, normalisation = Vocabulary.learn(DATA.items, 3), Normalisation.learn(DATA.examples)
    scene = training_scene(DATA, vocabulary, SETTINGS.transformer, normalisation)
    bare = replace(scene, sampler=CatalogueSampler.nothing())
    none, generator = np.zeros(0, dtype=np.int64), np.random.default_rng(0)
    assert _columns(scene, none, generator).token.numel() == vocabulary.size
    assert _columns(bare, none, generator).token.numel() == 0


def test_a_sampled_training_leaves_items_alone_that_no_step_looks_at() -> None:
    """Most items here were never bought: they keep the values they began with, unless they were drawn."""
    sampled = SETTINGS.transformer.model_copy(update={"negatives": 4, "min_item_lines": 1, "epochs": 1})
    settings = SETTINGS.model_copy(update={"transformer": sampled})
    shelf = DATA.items.head(1).join(pl.DataFrame({"_n": range(3_000)}), how="cross")
    shelf = shelf.with_columns(item_id=pl.format("unsold {}", "_n"), lines_28d=pl.lit(0.0)).drop("_n")
    data = replace(DATA, items=pl.concat([DATA.items, shelf]).sort("item_id"))
    model = Transformer()
    model.fit(data, settings, session())
    torch.manual_seed(session().seed)
    begun = BehaviourNetwork(model._trained.shape).inputs.item.weight
    moved = (model._trained.network.inputs.item.weight != begun).any(dim=1).detach().numpy()[1:]
    unsold = model._trained.vocabulary.items["item_id"].str.starts_with("unsold").to_numpy()
    assert moved[~unsold].all()
    assert 0 < moved[unsold].mean() < 0.5, "only those that were drawn"


def test_leaving_out_what_nobody_bought_changes_no_taste() -> None:
    rng = np.random.default_rng(0)
    dense = np.zeros((40, 400))
    bought = rng.choice(np.arange(1, 400), 60, replace=False)
    dense[:, bought] = rng.random((40, 60)) * (rng.random((40, 60)) < 0.3)
    table = sparse.csr_matrix(dense)
    mine = _taste._factors(table, 5, 0)
    truth = np.linalg.svd(dense, full_matrices=False)[2][:5].T
    np.testing.assert_allclose(np.abs(mine), np.abs(truth), atol=2e-2)
    assert not mine[np.setdiff1d(np.arange(400), bought)].any()
