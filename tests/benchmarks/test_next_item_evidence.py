"""Counted evidence and its mixture with a network: by hand, against dense products, and on sequences with a known rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from benchmarks.next_item.data import Questions, Sequences, halves
from benchmarks.next_item.evidence import Evidence, Table, best, past
from benchmarks.next_item.metrics import means
from benchmarks.next_item.mixture import BY_NEIGHBOURS, choices, fitted, mixed_answers
from benchmarks.next_item.network import Batch, NextItem, Recipe, SequenceCourse, answers, queries
from mktgen.models._processes import reproducible
from mktgen.models._softmax import Pairs, catalogue_logsumexp


def sessions(lines: list[list[int]], items: int, learned: int, asked: tuple[list[int], int] | None = None) -> Sequences:
    """The first `learned` lines are learned from; of the others every prefix is asked."""
    first = np.r_[0, np.cumsum([len(line) for line in lines])].astype(np.int64)
    item = np.concatenate([np.array(line, dtype=np.int64) for line in lines])
    held = [
        (a, e, item[e]) for a, b in zip(first[learned:-1], first[learned + 1 :], strict=True) for e in range(a + 1, b)
    ]
    questions = Questions(*(np.array(column, dtype=np.int64) for column in zip(*held, strict=True)))
    learn = np.where(np.arange(len(lines)) < learned, first[1:], first[:-1])
    return Sequences(item, first, learn, items, True, questions, questions)


def steps_of_two(count: int = 400, items: int = 40) -> Sequences:
    """After x comes x + 2, and the last item is clicked again every third time."""
    rng = np.random.default_rng(2)
    lines = []
    for _ in range(count):
        line = [int(rng.integers(items))]
        for _ in range(int(rng.integers(2, 6))):
            line.append(line[-1] if rng.random() < 1 / 3 else (line[-1] + 2) % items)
        lines.append(line)
    return sessions(lines, items, count * 3 // 4)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_table_holds_the_shares_of_its_rows(draw: st.DataObject) -> None:
    dense = np.array(
        draw.draw(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=5)), float
    )
    table = Table.of(sparse.csr_matrix(dense))
    cells: Any = np.indices(dense.shape)
    total = dense.sum(1, keepdims=True)
    expected: Any = np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)
    np.testing.assert_allclose(table.at(cells[0], cells[1]), expected)
    assert not table.at(np.full(3, -1), np.arange(3)).any()
    assert not table.at(np.zeros(3, dtype=np.int64), np.full(3, -1)).any()


@given(st.integers(0, 99), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_best_of_sparse_rows_are_those_of_dense_ones(seed: int, k: int) -> None:
    dense = np.random.default_rng(seed).integers(0, 4, (5, 7)).astype(float)
    found = best(sparse.csr_matrix(dense), k)
    for row, chosen in zip(dense, found, strict=True):
        order = [column for column in np.argsort(-row, kind="stable") if row[column] > 0][:k]
        assert chosen.tolist() == order + [-1] * (k - len(order))


def test_neighbours_are_found_by_shared_items_and_what_is_held_out_is_not_counted() -> None:
    data = sessions([[0, 1], [1, 2], [3, 4], [1, 5, 5]], items=6, learned=3)
    evidence = Evidence.of(data)
    plain, squared = evidence.neighbours(data, data.validation)
    assert set(plain[0].indices[plain[0].data > 0]) == {0, 1, 2}
    assert set(squared[0].indices[squared[0].data > 0]) == {0, 1, 2}
    assert plain[0, 0] == pytest.approx(np.log(3 / 2) / np.sqrt(2)), "rarity of item 1, one neighbour of two items"
    assert squared[0, 2] > squared[0, 0], "the later neighbour weighs more"
    assert evidence.often.tolist() == [1, 2, 1, 1, 1, 0]
    assert evidence.next.at(np.array([1, 1, 5]), np.array([2, 0, 5])).tolist() == [1, 0, 0]
    assert evidence.before.at(np.array([1, 2]), np.array([0, 1])).tolist() == [1, 1]


def test_features_depend_on_nothing_but_the_question_and_what_is_learned() -> None:
    data = steps_of_two()
    evidence, asked = Evidence.of(data), data.validation
    item = np.tile(np.arange(10), (asked.target.size, 1))
    item[:, 9] = -1
    values = evidence.features(data, asked, item, evidence.neighbours(data, asked))
    assert np.isfinite(values).all()
    one = Questions(asked.start[7:8], asked.stop[7:8], asked.target[7:8])
    again = evidence.features(data, one, item[7:8], evidence.neighbours(data, one))
    np.testing.assert_allclose(values[7:8], again, rtol=1e-5)
    # Everything after the question's last event may change.
    later = data.item.copy()
    later[one.stop[0] :] = 0
    changed = Sequences(**{**data.__dict__, "item": later})
    np.testing.assert_array_equal(evidence.features(changed, one, item[7:8], evidence.neighbours(changed, one)), again)


def test_events_of_questions() -> None:
    row, event = past(Questions(np.array([3, 0]), np.array([5, 1]), np.array([0, 0])))
    assert row.tolist() == [0, 0, 1]
    assert event.tolist() == [3, 4, 0]


def test_halves_share_no_sequence() -> None:
    asked = steps_of_two().validation
    one, other = halves(asked)
    assert not set(one.start) & set(other.start)
    assert one.target.size + other.target.size == asked.target.size
    assert min(one.target.size, other.target.size) > 0.4 * asked.target.size


def test_the_mixture_learns_what_an_untrained_network_does_not_know() -> None:
    data = steps_of_two()
    taught, shown = halves(data.validation)
    with reproducible(1):
        torch.manual_seed(3)
        network = NextItem(data.items, Recipe(width=16, layers=1, heads=1, events=8, cosine=5.0)).eval()
        evidence = Evidence.of(data)
        mixture = fitted(network, evidence, data, taught, seed=1)
        again = fitted(network, evidence, data, taught, seed=1)
        found = mixed_answers(network, evidence, mixture, data, shown, 2)
        alone = answers(network, data, shown, 2)
    assert all(torch.equal(a, b) for a, b in zip(mixture.parameters(), again.parameters(), strict=True))
    # x + 2 two times of three, x itself else: two answers hold all there is to know.
    assert means(found, shown.target)["HR@10"] > 0.97
    assert means(alone, shown.target)["HR@10"] < 0.8


def test_candidates_are_distinct_and_their_logits_the_networks_own() -> None:
    data = steps_of_two()
    network = NextItem(data.items, Recipe(width=16, layers=1, heads=1, events=8, cosine=5.0)).eval()
    found = choices(network, Evidence.of(data), data, data.validation)
    assert found.item.shape[1] == BY_NEIGHBOURS + data.items, (
        "a catalogue smaller than the network's share is taken whole"
    )
    for row in found.item:
        held = row[row >= 0]
        assert np.unique(held).size == held.size
    states = queries(network, data, data.validation)
    with torch.inference_mode():
        logits = states @ network.table().T + network.bias
    best_logit = logits.max(1, keepdim=True).values
    expected = (logits - best_logit).gather(1, torch.from_numpy(np.maximum(found.item, 0)))
    present = torch.from_numpy(found.item >= 0)
    torch.testing.assert_close(found.features[..., 0][present], expected[present], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("repeats", [True, False])
def test_a_sampled_partition_sum_is_right_on_average(repeats: bool) -> None:
    data = Sequences(**{**steps_of_two().__dict__, "repeats": repeats})
    recipe = Recipe(width=16, layers=1, heads=1, events=8, rows=40, dropout=0.0, negatives=15, cosine=5.0)
    network = NextItem(data.items, recipe).eval()
    course = SequenceCourse(data, recipe, 0)
    chosen = course.order(0)[0]
    exact = SequenceCourse(data, Recipe(**{**recipe.__dict__, "negatives": 0}), 0).lesson(chosen, ())

    def rest(batch: Batch) -> Any:
        """[N] partition sum of all that is neither the row's target nor excluded."""
        states = network.states(batch.item, batch.packing)
        if batch.sample is not None:
            offset = network.bias[batch.sample.item] + batch.sample.log_weight
            return catalogue_logsumexp(states, network.table(batch.sample.item), offset, batch.excluded).exp()
        pairs = batch.target if batch.excluded is None else _joined(batch.excluded, batch.target)
        return catalogue_logsumexp(states, network.table(), network.bias, pairs).exp()

    with torch.no_grad():
        draws = torch.stack([rest(course.lesson(chosen, (number,))) for number in range(400)])
        wanted = rest(exact)
    error = (draws.mean(0) - wanted) / (draws.std(0) / 20)
    assert draws.std(0).min() > 0
    assert error.abs().max() < 5


def _joined(one: Pairs, other: Pairs) -> Pairs:
    row, item = torch.cat([one.row, other.row]), torch.cat([one.item, other.item])
    order = row.argsort(stable=True)
    return Pairs(row[order], item[order])


def test_recent_sequences_weigh_more_and_one_on_average() -> None:
    data = steps_of_two()
    course = SequenceCourse(data, Recipe(half_life=0.25, events=8), 0)
    learned = np.repeat(data.learn > data.first[:-1], np.diff(data.first))
    fade = course.fade[data.first[:-1]]
    known = int((data.learn > data.first[:-1]).sum())
    assert fade[:known].mean() == pytest.approx(1.0)
    assert fade[known // 2] / fade[known // 4] == pytest.approx(2.0, rel=1e-2)
    assert learned.any()
    assert (SequenceCourse(data, Recipe(), 0).fade == 1.0).all()
