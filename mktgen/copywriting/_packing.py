"""Several prompts with several answers each in one row of tokens; each answer sees its prompt and itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Packed:
    """One row of n tokens, t of which are to be foretold.

    ids, positions (n,): tokens and their places in prompt + answer. seen (n, n): whether the first may look at the second.
    at (t,): where in the row the token before it stands; labels (t,): the token; answer (t,): which answer it is of.
    """

    ids: Ints
    positions: Ints
    seen: npt.NDArray[np.bool_]
    at: Ints
    labels: Ints
    answer: Ints


def pack(questions: Sequence[tuple[list[int], Sequence[list[int]]]]) -> Packed:
    """questions: prompt and its answers, as tokens; none of them empty. Answers are numbered through all prompts."""
    ids: list[int] = []
    positions: list[int] = []
    blocks: list[tuple[int, int, int, int]] = []  # prompt from, to; answer from, to
    at: list[int] = []
    labels: list[int] = []
    answer: list[int] = []
    number = 0
    for prompt, answers in questions:
        start = len(ids)
        ids += prompt
        positions += range(len(prompt))
        end = len(ids)
        blocks.append((start, end, start, end))
        for said in answers:
            first = len(ids)
            ids += said
            positions += range(len(prompt), len(prompt) + len(said))
            blocks.append((start, end, first, len(ids)))
            at += [end - 1, *range(first, len(ids) - 1)]
            labels += said
            answer += [number] * len(said)
            number += 1
    seen = np.zeros((len(ids), len(ids)), dtype=bool)
    for start, end, first, last in blocks:
        seen[first:last, start:end] = True
        seen[first:last, first:last] = True
    seen &= np.tri(len(ids), dtype=bool)
    return Packed(
        np.array(ids, dtype=np.int64), np.array(positions, dtype=np.int64), seen, np.array(at, dtype=np.int64),
        np.array(labels, dtype=np.int64), np.array(answer, dtype=np.int64),
    )  # fmt: skip
