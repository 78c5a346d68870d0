"""The public benchmarks' own parts on small made-up sequences: splits, windows, the counter, and a network that learns."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.next_item.__main__ import counter_rows
from benchmarks.next_item.checkpoints import DirectoryCheckpoints
from benchmarks.next_item.counter import counter_answers
from benchmarks.next_item.data import Questions, Sequences, diginetica, movielens, with_validation
from benchmarks.next_item.metrics import figures, means
from benchmarks.next_item.network import NextItem, Recipe, SequenceCourse, answers, seen
from mktgen.models._processes import processes, reproducible
from mktgen.models._trainer import Plan, Trainer
from mktgen.models.base import Session

SMALL = Recipe(width=32, layers=1, heads=1, events=8, rows=64, epochs=12, dropout=0.0, learning_rate=0.01, average=0.9)


def cycles(users: int = 60, items: int = 23, repeats: bool = False) -> Sequences:
    """Everybody goes round the same circle from a place of their own: the next item is known from the last one."""
    rng = np.random.default_rng(4)
    size = rng.integers(5, 20, users)
    start = rng.integers(0, items, users)
    first = np.r_[0, np.cumsum(size)]
    item = np.concatenate([(begin + np.arange(n)) % items for begin, n in zip(start, size, strict=True)])
    low, high = first[:-1], first[1:]
    return Sequences(
        item=item,
        first=first,
        learn=high - 2,
        items=items,
        repeats=repeats,
        validation=Questions(low, high - 2, item[high - 2]),
        test=Questions(low, high - 1, item[high - 1]),
    )


def test_leave_one_out_reads_the_file_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "file.txt.gz"
    with gzip.open(path, "wt") as out:
        out.write("1 3\n1 1\n2 2\n1 2\n2 1\n2 3\n1 4\n")
    data = movielens(path)
    assert data.item.tolist() == [2, 0, 1, 3, 1, 0, 2]
    assert data.first.tolist() == [0, 4, 7]
    assert data.learn.tolist() == [2, 5]
    assert data.validation.target.tolist() == [1, 0]
    assert data.test.target.tolist() == [3, 2]
    assert with_validation(data).learn.tolist() == [3, 6]


def test_sessions_are_split_by_time_and_prefixes_asked(tmp_path: Path) -> None:
    train, test = tmp_path / "train.gz", tmp_path / "test.gz"
    with gzip.open(train, "wt") as out:
        out.write("10 20\n20 30 10\n30 10 20\n")
    with gzip.open(test, "wt") as out:
        out.write("10 20\t30\n20\t40\n")
    data = diginetica(train, test, held_out=0.34)
    assert data.items == 4
    assert (data.learn - data.first[:-1]).tolist() == [2, 0, 0, 0, 0], "one session is learned, two thirds are held out"
    asked = [data.item[a:b].tolist() for a, b in zip(data.validation.start, data.validation.stop, strict=True)]
    assert asked == [[1], [1, 2], [2], [2, 0]]
    assert data.validation.target.tolist() == [2, 0, 0, 1]
    assert data.test.target.tolist() == [2, 3]
    assert (with_validation(data).learn - data.first[:-1]).tolist() == [2, 3, 3, 0, 0]


@given(events=st.integers(1, 30), rows=st.integers(5, 80), epoch=st.integers(0, 9), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_windows_hold_each_target_once(events: int, rows: int, epoch: int, seed: int) -> None:
    data = cycles()
    course = SequenceCourse(data, Recipe(events=events, rows=rows), seed)
    order = course.order(epoch)
    windows = np.concatenate(order)
    targets = np.concatenate([np.arange(a + 1, b) for a, b in windows])
    expected = np.concatenate([np.arange(a + 1, b) for a, b in zip(data.first[:-1], data.learn, strict=True)])
    assert sorted(targets.tolist()) == expected.tolist()
    assert (windows[:, 1] - windows[:, 0] - 1).max() <= events
    assert all((np.diff(part[:, 1] - part[:, 0]) <= 0).all() for part in order)
    again = course.order(epoch)
    assert all((a == b).all() for a, b in zip(order, again, strict=True))


def test_nothing_seen_before_is_asked_for_and_no_target_is_left_out() -> None:
    data = cycles()
    batch = SequenceCourse(data, Recipe(events=6, rows=50, ahead=2), 0)
    for chosen in batch.order(0):
        lesson = batch.lesson(chosen, ())
        assert lesson.excluded is not None
        out = set(zip(lesson.excluded.row.tolist(), lesson.excluded.item.tolist(), strict=True))
        wanted = set(zip(lesson.target.row.tolist(), lesson.target.item.tolist(), strict=True))
        assert not out & wanted
        sums = np.bincount(lesson.target.row.numpy(), lesson.weight.numpy())
        np.testing.assert_allclose(sums, 1.0, rtol=1e-6)
    pairs = seen(data, np.array([data.first[1] - 1]))
    assert pairs.item.tolist() == data.item[: data.first[1]].tolist()


def test_the_counter_knows_the_circle() -> None:
    data = cycles(users=200)
    found = means(counter_answers(data, data.test, 20), data.test.target)
    assert found["HR@10"] > 0.95
    again = means(counter_answers(cycles(200, repeats=True), data.test, 20), data.test.target)
    assert again["HR@10"] > 0.95


def test_the_counter_is_asked_with_and_without_the_validation_part() -> None:
    """Only the validation part shows that 1 follows on 0, so only the counter that learned it knows the answer at once."""
    data = Sequences(
        item=np.array([2, 3, 0, 1, 0]),
        first=np.array([0, 2, 4, 5]),
        learn=np.array([2, 2, 4]),
        items=30,
        repeats=True,
        validation=Questions(np.array([2]), np.array([3]), np.array([1])),
        test=Questions(np.array([4]), np.array([5]), np.array([1])),
    )
    without, learned = counter_rows(data)
    names = [
        "untrained transition counter, without the validation part",
        "untrained transition counter, with the validation part",
    ]
    assert [without["name"], learned["name"]] == names
    assert (without["MRR@20"], learned["MRR@20"]) == (0.5, 1.0)


def test_figures_by_hand() -> None:
    found = np.array([[4, 2, 9], [1, 2, 3], [5, 6, 7]])
    values = figures(found, np.array([2, 1, 8]))
    assert values["HR@10"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(values["NDCG@10"], [1 / np.log2(3), 1, 0])
    np.testing.assert_allclose(values["MRR@20"], [0.5, 1, 0])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_network_learns_the_circle(precision: torch.dtype, tmp_path: Path) -> None:
    data = cycles(users=200)
    with processes() as group, reproducible(1):
        torch.manual_seed(1)
        network = NextItem(data.items, SMALL)
        plan = Plan(12, 0.01, 0.0, 1000, "test", {"next": 1.0}, average=0.9, precision=precision)
        session = Session(1, DirectoryCheckpoints(tmp_path / "state"), lambda line: None)

        def judge() -> float:
            return means(answers(network, data, data.validation, 20), data.validation.target)["NDCG@10"]

        progress = Trainer(network, SequenceCourse(data, SMALL, 1), plan, session, group, judge).run()
        asked = means(answers(network, data, data.test, 20), data.test.target)
    assert asked["NDCG@10"] > 0.9
    assert len(progress.curves["judgement"]) == 12
    assert max(progress.curves["judgement"]) > 0.9


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    """A judge that likes the second epoch: training stops after `patience` more, with that epoch's weights."""
    data, kept = cycles(), []
    with processes() as group, reproducible(1):
        torch.manual_seed(1)
        network = NextItem(data.items, SMALL)
        plan = Plan(12, 0.01, 0.0, 1000, "stop", {"next": 1.0}, patience=3)
        opinions = iter([0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1])

        def judge() -> float:
            kept.append(network.item.weight.detach().clone())
            return next(opinions)

        session = Session(1, DirectoryCheckpoints(None), lambda line: None)
        progress = Trainer(network, SequenceCourse(data, SMALL, 1), plan, session, group, judge).run()
    assert progress.stopped
    assert progress.epoch == 5
    assert torch.equal(network.item.weight, kept[1])
    assert not torch.equal(network.item.weight, kept[4])
