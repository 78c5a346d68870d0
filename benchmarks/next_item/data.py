"""Public files as sequences, with the splits that published figures use."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Questions:
    """What is to be predicted: from events start:stop of `item` comes `target`. All [Q]."""

    start: Ints
    stop: Ints
    target: Ints


@dataclass(frozen=True)
class Sequences:
    """Sequence s owns events first[s]:first[s + 1] of `item` (0 ... items - 1), in order of time.

    learn: [S] one past the last event of each sequence that may be learned from. repeats: whether an item may come again;
    where not, items of the past are neither candidates in ranking nor in the training's softmax.
    """

    item: Ints
    first: Ints
    learn: Ints
    items: int
    repeats: bool
    validation: Questions
    test: Questions


def movielens(path: Path) -> Sequences:
    """`user item` per line in time order (SASRec's file). Leave one out: the last item is the test, the one before it
    the validation; neither is learned from."""
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, dtype=np.int64)
    order = np.argsort(table[:, 0], kind="stable")
    user, item = table[order, 0], table[order, 1] - 1
    first = np.r_[np.flatnonzero(np.r_[True, user[1:] != user[:-1]]), user.size].astype(np.int64)
    start, stop = first[:-1], first[1:]
    return Sequences(
        item=item,
        first=first,
        learn=stop - 2,
        items=int(item.max()) + 1,
        repeats=False,
        validation=Questions(start, stop - 2, item[stop - 2]),
        test=Questions(start, stop - 1, item[stop - 1]),
    )


def diginetica(train: Path, test: Path, held_out: float = 0.1) -> Sequences:
    """A session per line; test: prefix, a tab, target (SR-GNN's preprocessing).

    The last `held_out` share of the training file validates; the file is in order of time, as the test set is later still.
    """
    with gzip.open(train, "rt") as lines:
        sessions = [np.array(line.split(), dtype=np.int64) for line in lines]
    with gzip.open(test, "rt") as lines:
        asked = [line.split("\t") for line in lines]
    prefixes = [np.array(prefix.split(), dtype=np.int64) for prefix, _ in asked]
    names = np.unique(np.concatenate([*sessions, *prefixes, np.array([int(target) for _, target in asked])]))
    item = np.searchsorted(names, np.concatenate([*sessions, *prefixes]))
    first = _bounds(len(each) for each in (*sessions, *prefixes))
    learned = int(len(sessions) * (1.0 - held_out))
    start, stop = first[:-1], first[1:]
    held = np.arange(learned, len(sessions))
    # Every prefix of a held-out session is a question, as in the test file.
    sizes = stop[held] - start[held] - 1
    ends = np.repeat(start[held] + 1, sizes) + _within(sizes)
    questions = slice(len(sessions), None)
    return Sequences(
        item=item,
        first=first,
        learn=np.where(np.arange(first.size - 1) < learned, stop, start),
        items=names.size,
        repeats=True,
        validation=Questions(np.repeat(start[held], sizes), ends, item[ends]),
        test=Questions(
            start[questions], stop[questions], np.searchsorted(names, np.array([int(target) for _, target in asked]))
        ),
    )


def with_validation(data: Sequences) -> Sequences:
    """The same data with the validation part learned from as well: for the final training, when all is chosen."""
    last = np.searchsorted(data.first, data.validation.start, side="right") - 1
    learn = data.learn.copy()
    np.maximum.at(learn, last, data.validation.stop + 1)
    return Sequences(**{**data.__dict__, "learn": learn})


def every(asked: Questions, step: int) -> Questions:
    """Every `step`-th question."""
    return Questions(asked.start[::step], asked.stop[::step], asked.target[::step])


def halves(asked: Questions) -> tuple[Questions, Questions]:
    """Two halves of which no sequence is in both: every other one, in order of time."""
    odd = np.unique(asked.start, return_inverse=True)[1] % 2 == 1
    return Questions(asked.start[~odd], asked.stop[~odd], asked.target[~odd]), Questions(
        asked.start[odd], asked.stop[odd], asked.target[odd]
    )


def _bounds(sizes: Iterable[int]) -> Ints:
    bounds: Ints = np.r_[0, np.cumsum(np.fromiter(sizes, dtype=np.int64))]
    return bounds


def _within(sizes: Ints) -> Ints:
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.arange(starts.size, dtype=np.int64) - starts
