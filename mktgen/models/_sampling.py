"""Samples of a catalogue of millions with known chances, drawn in time that grows with the sample, not with the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mktgen.models._events import Floats, Ints


@dataclass(frozen=True)
class CatalogueSampler:
    """Takes each item on its own (Poisson sampling) with a chance that is exactly known.

    Items of like popularity share a bucket and a chance: min(1, n q), q half uniform and half the bucket's mean popularity.
    So a bucket's sample is a binomial number of distinct items. order: [V] items by bucket, bucket b owns
    order[first[b]:first[b + 1]]; chance: [B]. An unbiased sum over the catalogue weighs an item with 1 / chance (Horvitz
    and Thompson, 1952); as part of a softmax that is log_weight = -log(chance), added to its bias.
    """

    order: Ints
    first: Ints
    chance: NDArray[np.float64]

    @classmethod
    def of(cls, popularity: NDArray[np.float64], size: int) -> Self:
        """popularity: [V], 0 or more; size: mean number of items in a sample, at most (less where chances reach 1)."""
        bucket = np.ceil(np.log2(1.0 + popularity)).astype(np.int16)
        order = np.argsort(bucket, kind="stable").astype(np.int64)
        count = np.bincount(bucket)
        total = max(float(popularity.sum()), 1e-300)
        share = np.bincount(bucket, popularity) / total
        used = count > 0
        first = np.r_[0, np.cumsum(count[used])].astype(np.int64)
        chance = np.minimum(1.0, size * (0.5 / popularity.size + 0.5 * share[used] / count[used]))
        return cls(order, first, chance)

    @classmethod
    def nothing(cls) -> Self:
        """Draws no item, for those who read states alone."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(2, dtype=np.int64), np.ones(1))

    def draw(self, generator: np.random.Generator) -> tuple[Ints, Floats]:
        """Items in ascending order, and their log weights."""
        sizes = np.diff(self.first)
        drawn = generator.binomial(sizes, self.chance)
        parts = [
            self.order[start + generator.choice(size, number, replace=False, shuffle=False)]
            for start, size, number in zip(self.first[:-1], sizes, drawn, strict=True)
        ]
        item = np.concatenate(parts)
        weight = np.repeat(-np.log(self.chance), drawn).astype(np.float32)
        by_item = np.argsort(item, kind="stable")
        return item[by_item], weight[by_item]
