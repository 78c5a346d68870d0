"""Figures of ranked answers, each with one right item. All ranks count from 1; beyond the list an item counts as missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.next_item.data import Ints


def figures(found: Ints, target: Ints) -> dict[str, NDArray[np.float64]]:
    """Per question, [Q] each: hit rate, NDCG = 1 / log2(1 + rank) and reciprocal rank, at 10 and 20."""
    place = found == target[:, None]
    rank = np.where(place.any(1), place.argmax(1) + 1, np.iinfo(np.int32).max).astype(np.float64)
    result = {}
    for k in (10, 20):
        inside = rank <= k
        result[f"HR@{k}"] = inside.astype(np.float64)
        result[f"NDCG@{k}"] = np.where(inside, 1.0 / np.log2(1.0 + rank), 0.0)
        result[f"MRR@{k}"] = np.where(inside, 1.0 / rank, 0.0)
    return result


def means(found: Ints, target: Ints) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in figures(found, target).items()}
