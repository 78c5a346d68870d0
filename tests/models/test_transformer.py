"""The neural kinds as models: point in time, fall-backs, storage."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from mktgen.errors import CorruptArtefact, PermanentError
from mktgen.models import model_class
from mktgen.models._attributes import Attributes
from mktgen.models._batch import Batch, Scene, collate
from mktgen.models._copying import HALF_LIVES, decayed_counts
from mktgen.models._events import day_number
from mktgen.models._network import Architecture, BehaviourNetwork, expected_spend, rank_loss, spend_loss
from mktgen.models._neural import NeuralModel
from mktgen.models._normalise import FEATURES, Normalisation
from mktgen.models._prepared import training_scene
from mktgen.models._processes import reproducible
from mktgen.models._sampling import CatalogueSampler
from mktgen.models._states import batches
from mktgen.models._vocabulary import Vocabulary
from tests.models.train_process import SETTINGS
from tests.support.shop import make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
SHOP = make_shop(customers=30, items=50, days=170)
DATA = SHOP.training_set(CUT, cuts=4)
HISTORY = SHOP.history(CUT)
CUSTOMERS = SHOP.active(CUT)


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def model(request: pytest.FixtureRequest) -> NeuralModel:
    trained = model_class(request.param)()
    assert isinstance(trained, NeuralModel)
    trained.fit(DATA, SETTINGS, session())
    return trained


def told() -> dict[str, int]:
    """How much is known of the shop's items and customers."""
    known = Attributes.learn(DATA)
    return {"item_values": known.item_values.known.height, "customer_values": known.customers.known.height}


def network(encoder: str = "transformer") -> tuple[BehaviourNetwork, Vocabulary, Normalisation]:
    vocabulary, normalisation = Vocabulary.learn(DATA.items, 10), Normalisation.learn(DATA.examples)
    torch.manual_seed(3)
    shape = Architecture(
        "lstm" if encoder == "lstm" else "transformer",
        16,
        vocabulary.size,
        vocabulary.categories.height,
        len(FEATURES),
        0.0,
        **told(),
    )
    net = BehaviourNetwork(shape).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # no weight is left at 0, where it would hide a leak
    return net, vocabulary, normalisation


@pytest.mark.parametrize("encoder", ["transformer", "lstm"])
@pytest.mark.parametrize("weeks", [1, 5])
def test_training_states_do_not_see_events_on_or_after_their_cut(encoder: str, weeks: int) -> None:
    net, vocabulary, normalisation = network(encoder)
    day = CUT - timedelta(weeks=weeks)
    later = pl.col("business_date") >= day
    changed = DATA.events.with_columns(
        pl.when(later).then(pl.col("net_minor") * 3 + 50).otherwise(pl.col("net_minor")).alias("net_minor"),
        pl.when(later).then(pl.lit("i0007")).otherwise(pl.col("item_id")).alias("item_id"),
        pl.when(later).then(pl.lit("CAT 0")).otherwise(pl.col("category")).alias("category"),
        (pl.col("on_promotion") ^ later).alias("on_promotion"),
    ).unique(["customer_id", "order_id", "item_id"], keep="first", maintain_order=True)

    def outputs(events: pl.DataFrame) -> dict[tuple[int, int], np.ndarray]:
        data = replace(DATA, events=events)
        scene = training_scene(data, vocabulary, SETTINGS.transformer, normalisation)
        found = {}
        with reproducible(1), torch.inference_mode():
            for window in range(scene.windows.count):
                batch = collate(scene, np.array([window]))
                result = net(batch)
                rows = range(int(scene.windows.first[window]), int(scene.windows.last[window]))
                for i, state in enumerate(rows):
                    key = (int(scene.states.customer[state]), int(scene.states.cut[state]))
                    own = batch.candidate_state.numpy() == i
                    query = net.generate_query(net.states(batch))[i].numpy()
                    found[key] = np.concatenate([query, result.purchase[i].numpy(), result.copy.numpy()[own]])
        return found

    before, after = outputs(DATA.events), outputs(changed)
    compared = [key for key in before if key[1] <= (day - date(1970, 1, 1)).days and key in after]
    assert len(compared) > 30
    for key in compared:
        np.testing.assert_allclose(after[key], before[key], rtol=0, atol=2e-5)


def test_scores_do_not_see_events_on_or_after_the_cut(model: NeuralModel) -> None:
    future = SHOP.events.filter(pl.col("customer_id").is_in(CUSTOMERS))
    leaky = replace(HISTORY, events=future)
    for method in (model.probabilities, model.spend, model.vectors):
        assert_frame_equal(method(leaky, CUSTOMERS), method(HISTORY, CUSTOMERS), abs_tol=1e-12)
    assert_frame_equal(model.rank(leaky, CUSTOMERS, 5), model.rank(HISTORY, CUSTOMERS, 5), abs_tol=1e-12)


def test_ranking_splits_seen_and_unseen_and_is_sorted(model: NeuralModel) -> None:
    ranking = model.rank(HISTORY, CUSTOMERS, 5)
    bought = set(HISTORY.events.select("customer_id", "item_id").iter_rows())
    for customer, item, seen in ranking.select("customer_id", "item_id", "seen").iter_rows():
        assert ((customer, item) in bought) == seen
    assert_frame_equal(ranking, ranking.sort("customer_id", "seen", "rank", descending=[False, True, False]))
    falls = ranking.select(pl.col("score").diff().over("customer_id", "seen").max()).item()
    assert falls <= 0
    assert not ranking.select("customer_id", "item_id").is_duplicated().any()


def test_who_has_no_history_gets_popular_items_and_base_rates(model: NeuralModel) -> None:
    known = CUSTOMERS[0]
    ranking = model.rank(HISTORY, ["nobody", known], 5)
    popular = HISTORY.items.sort(["lines_28d", "item_id"], descending=[True, False])["item_id"].head(5)
    unknown = ranking.filter(pl.col("customer_id") == "nobody")
    assert unknown["item_id"].to_list() == popular.to_list()
    assert not unknown["seen"].any()
    chances = model.probabilities(HISTORY, ["nobody", known]).row(by_predicate=pl.col("customer_id") == "nobody")
    assert chances[1] == pytest.approx(DATA.examples["purchased_7d"].mean())
    assert chances[2] == pytest.approx(DATA.examples["purchased_28d"].mean())
    spends = model.spend(HISTORY, ["nobody", known]).row(by_predicate=pl.col("customer_id") == "nobody")
    assert spends[1] == pytest.approx(DATA.examples["spend_28d_minor"].mean())
    assert model.vectors(HISTORY, ["nobody"])["vector"].list.len().to_list() == [16]
    empty = replace(HISTORY, events=HISTORY.events.clear())
    assert model.rank(empty, [known], 3)["item_id"].to_list() == popular.head(3).to_list()
    assert model.probabilities(empty, [known])["p_purchase_28d"].is_between(0, 1).all()
    assert model.rank(HISTORY, [], 3).is_empty()
    assert model.probabilities(HISTORY, []).is_empty()


def test_the_hurdle_loss_is_least_at_the_true_share_and_mean() -> None:
    """Half spend nothing, the others amounts of mean 3: no other share or mean has a smaller loss."""
    amounts = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 6.0])
    vocabulary, normalisation = small_vocabulary(), Normalisation.learn(DATA.examples)
    net, scene = network_of(vocabulary), scene_of(vocabulary, normalisation)
    batch = collate(scene, batches(scene.windows, 6, seed=0, epoch=0)[0])
    outputs = net(batch)
    known = replace(batch, spend=amounts, spend_known=torch.ones(8))

    def loss(share: float, mean: float) -> float:
        both = torch.tensor([[math.log(share / (1 - share)), math.log(mean)]]).expand(8, 2)
        return float(spend_loss(replace(outputs, spend=both), known))

    best = loss(0.5, 3.0)
    assert all(loss(s, m) > best for s, m in ((0.4, 3.0), (0.6, 3.0), (0.5, 2.7), (0.5, 3.3)))
    expected = expected_spend(torch.tensor([[0.0, math.log(3.0)]]))
    assert float(expected) == pytest.approx(1.5)


def test_probabilities_are_ordered(model: NeuralModel) -> None:
    chances = model.probabilities(HISTORY, CUSTOMERS)
    assert chances["customer_id"].to_list() == CUSTOMERS
    assert (chances["p_purchase_7d"] <= chances["p_purchase_28d"]).all()
    assert chances.select(pl.col("p_purchase_7d", "p_purchase_28d").is_between(0, 1).all()).row(0) == (True, True)


def test_storage_round_trip(model: NeuralModel, tmp_path: Path) -> None:
    model.save(tmp_path / "a")
    loaded = type(model).load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "categories.parquet", "customer_values.parquet", "item_attributes.parquet", "model.json", "vocabulary.parquet",
        "weights.safetensors",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert_frame_equal(loaded.rank(HISTORY, CUSTOMERS, 5), model.rank(HISTORY, CUSTOMERS, 5))
    assert_frame_equal(loaded.vectors(HISTORY, CUSTOMERS), model.vectors(HISTORY, CUSTOMERS))


@pytest.mark.parametrize(
    "missing", ["model.json", "weights.safetensors", "vocabulary.parquet", "item_attributes.parquet"]
)
def test_a_damaged_model_says_what_is_missing(model: NeuralModel, tmp_path: Path, missing: str) -> None:
    model.save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(CorruptArtefact, match=missing):
        type(model).load(tmp_path)


def test_a_model_of_other_features_is_refused(model: NeuralModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    body = json.loads((tmp_path / "model.json").read_text())
    body["normalisation"]["shoe_size"] = body["normalisation"].pop("recency_days")
    (tmp_path / "model.json").write_text(json.dumps(body))
    with pytest.raises(CorruptArtefact, match="shoe_size"):
        type(model).load(tmp_path)


def test_nothing_to_learn_from_is_said() -> None:
    nothing = replace(DATA, examples=DATA.examples.clear())
    with pytest.raises(PermanentError, match="no labelled examples"):
        model_class("transformer")().fit(nothing, SETTINGS, session())
    with pytest.raises(PermanentError, match="not trained"):
        model_class("lstm")().vectors(HISTORY, CUSTOMERS)


def scene_of(vocabulary: Vocabulary, normalisation: Normalisation) -> Scene:
    return training_scene(DATA, vocabulary, SETTINGS.transformer, normalisation)


def small_vocabulary() -> Vocabulary:
    """One that leaves some items out."""
    vocabulary = Vocabulary.learn(DATA.items, int(DATA.items["lines_28d"].quantile(0.5) or 0) * 6)
    assert 0 < vocabulary.size < DATA.items.height
    return vocabulary


def network_of(vocabulary: Vocabulary) -> BehaviourNetwork:
    torch.manual_seed(5)
    shape = Architecture("transformer", 16, vocabulary.size, vocabulary.categories.height, len(FEATURES), 0.0, **told())
    network = BehaviourNetwork(shape)
    torch.nn.init.normal_(network.plan.weight)
    network.taste.normal_(std=0.1)[0] = 0.0
    network.taste_weight.uniform_()
    return network.eval()


def plain_logits(net: BehaviourNetwork, batch: Batch) -> torch.Tensor:
    """[states, V] logits of new items, the straightforward way."""
    columns = batch.columns
    state = net.states(batch)
    table = net.inputs.items(columns.token, columns.category, columns.facts)
    offset = net.item_bias(columns.token)[:, 0] + net.popularity * columns.popularity + net.plan(columns.plan)[:, :, 0]
    logits = net.generate_query(state) @ table.T + offset[batch.moment]
    for row in range(state.shape[0]):
        own = batch.candidate_state == row
        items = batch.candidate_item[own]
        bought = decayed_counts(batch.candidate_features[own], HALF_LIVES.index(112.0))
        taste = ((4.0 * bought).log1p() * net.taste_weight[items]) @ net.taste[items]
        logits[row] += 10.0 * net.taste_scale * (net.taste[columns.token] @ taste) / taste.norm().clamp_min(1e-12)
    return logits.double()


def test_ranking_loss_is_the_softmax_over_vocabulary_and_own_rare_items() -> None:
    """Against a plain computation, one state at a time, on a vocabulary that leaves some items out."""
    vocabulary, normalisation = small_vocabulary(), Normalisation.learn(DATA.examples)
    net, scene = network_of(vocabulary), scene_of(vocabulary, normalisation)
    batch = collate(scene, batches(scene.windows, 6, seed=0, epoch=0)[0])
    with torch.no_grad():
        outputs, logits = net(batch), plain_logits(net, batch)
        loss = float(rank_loss(outputs, batch))
    expected, rare_hits, new_hits = 0.0, 0, 0
    for state in range(batch.row.shape[0]):
        row = logits[state].clone()
        extra = []
        for i in np.flatnonzero(batch.candidate_state.numpy() == state):
            token, weight = int(batch.candidate_item[i]), float(batch.candidate_weight[i])
            if token:
                row[token - 1] = outputs.copy[i]
            extra.append((float(outputs.copy[i]), weight, token == 0))
        rare = torch.tensor([value for value, _, outside in extra if outside], dtype=torch.float64)
        total = float(torch.logsumexp(torch.cat([row, rare]), 0))
        for value, weight, outside in extra:
            rare_hits += outside and weight > 0
            expected -= weight * (value - total)
        for i in np.flatnonzero(batch.hit_state.numpy() == state):
            new_hits += 1
            expected -= float(batch.hit_weight[i]) * (float(row[batch.hit_column[i]]) - total)
    assert rare_hits > 0
    assert new_hits > 0
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_sum_over_sampled_items_is_unbiased() -> None:
    """Mean of the sampled partition sums over many draws against the full one, in units of its own standard error."""
    vocabulary, normalisation = small_vocabulary(), Normalisation.learn(DATA.examples)
    net, scene = network_of(vocabulary), scene_of(vocabulary, normalisation)
    chosen = batches(scene.windows, 4, seed=0, epoch=0)[0]
    with torch.no_grad():
        whole = net(collate(scene, chosen)).rest.double().exp()
        lines = scene.vocabulary_facts.most_lines().astype(np.float64)
        sampled = replace(scene, sampler=CatalogueSampler.of(lines, 8))
        draws = torch.stack([net(collate(sampled, chosen, (3, number))).rest.double().exp() for number in range(400)])
    error = draws.std(0) / len(draws) ** 0.5
    deviations = ((draws.mean(0) - whole) / error.clamp(min=1e-9)).abs()
    assert (draws.std(0) > 0.01 * whole).all(), "a sample that never varies shows nothing"
    assert float(deviations.max()) < 4.5
    assert float(deviations.mean()) < 2.0, "they move together: one draw serves all states"


def test_scores_are_those_of_the_training_forward_pass(model: NeuralModel) -> None:
    """The streamed top k of customers against the dense logits of the same states."""
    scorer = model._trained
    ranked = model.rank(HISTORY, CUSTOMERS, 5)
    scene = scorer._scene(HISTORY, CUSTOMERS)
    ids = scorer.vocabulary.item_ids
    with reproducible(1), torch.inference_mode():
        for chosen, batch in scorer._batches(scene):
            dense = plain_logits(scorer.network, batch)
            dense[batch.excluded.row, batch.excluded.item] = -torch.inf
            for row, customer in enumerate(chosen):
                name = scene.log.customers[customer]
                mine = ranked.filter(pl.col("customer_id") == name, ~pl.col("seen"))
                best = dense[row].sort(descending=True, stable=True)
                assert mine["item_id"].to_list() == ids[best.indices[:5].numpy()].tolist()
                np.testing.assert_allclose(mine["score"], best.values[:5], rtol=0, atol=1e-4)


def test_scoring_at_a_cut_gives_the_states_that_training_had_there(model: NeuralModel) -> None:
    """The other way round as well: scene, windows and batches of training against those of scoring, for histories longer
    than a window too."""
    scorer, recipe = model._trained, type(model).recipe(SETTINGS)
    cut = max(DATA.examples["cut"])
    scene = training_scene(DATA, scorer.vocabulary, recipe, scorer.normalisation, scorer.spend_unit, scorer.attributes)
    trained: dict[str, np.ndarray[Any, Any]] = {}
    with reproducible(1), torch.inference_mode():
        for chosen in batches(scene.windows, 8, 0, 0):
            batch = collate(scene, chosen)
            found = scorer.network.states(batch).numpy()
            index = np.concatenate([np.arange(scene.windows.first[w], scene.windows.last[w]) for w in chosen])
            at_cut = np.flatnonzero(scene.states.cut[index] == day_number(cut))
            trained |= {scene.log.customers[scene.states.customer[index[row]]]: found[row] for row in at_cut}
    history = SHOP.history(cut, events=10_000)
    served = model.vectors(history, list(trained))
    lengths = dict(history.events.group_by("customer_id").len().iter_rows())
    assert sum(lengths[customer] > scorer.events for customer in trained) > 10
    for customer, vector in served.iter_rows():
        np.testing.assert_allclose(vector, trained[customer], rtol=0, atol=1e-5)


def test_an_item_that_became_common_after_training_is_ranked_by_its_category(model: NeuralModel) -> None:
    template = HISTORY.items.sort("lines_28d", descending=True).head(1)
    lines = float(template["lines_28d"].item()) * 10
    new = template.with_columns(
        pl.lit("a new item").alias("item_id"), pl.lit(lines).alias("lines_28d"), pl.lit(lines).alias("lines_all")
    )
    grown = replace(HISTORY, items=pl.concat([HISTORY.items, new]).sort("item_id"))
    ranked = model.rank(grown, CUSTOMERS, 10).filter(pl.col("item_id") == "a new item")
    assert ranked.height > 0.9 * len(CUSTOMERS)
    assert not ranked["seen"].any()
    unknown = new.with_columns(pl.lit("no such category").alias("category"))
    grown = replace(HISTORY, items=pl.concat([HISTORY.items, unknown]).sort("item_id"))
    assert model.rank(grown, CUSTOMERS, 50)["score"].is_finite().all()
