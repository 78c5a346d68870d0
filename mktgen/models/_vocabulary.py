"""The tokens of the neural kinds: one per item that is common enough, one per category, 0 for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.errors import CorruptArtefact

OTHER: Final = 0  # token of a rare or unknown item, and of an unknown category
_ITEMS_FILE: Final = "vocabulary.parquet"
_CATEGORIES_FILE: Final = "categories.parquet"


@dataclass(frozen=True)
class Vocabulary:
    """items: item_id, category (String), sorted by item_id; row i is token i + 1. categories: the same for `category`."""

    items: pl.DataFrame
    categories: pl.DataFrame

    @classmethod
    def learn(cls, items: pl.DataFrame, min_lines: int) -> Self:
        """From contracts.ITEM_FEATURES: items with at least `min_lines` lines, and every category.

        Where no item is that common, all items get a token: a tiny shop still has something to rank.
        """
        common = items.filter(pl.col("lines_all") >= min_lines)
        kept = items if common.is_empty() else common
        return cls(
            kept.select("item_id", "category").sort("item_id"), items.select("category").unique().sort("category")
        )

    @property
    def size(self) -> int:
        return self.items.height

    @cached_property
    def item_ids(self) -> NDArray[np.object_]:
        return self.items["item_id"].to_numpy().astype(object)

    @cached_property
    def item_category(self) -> NDArray[np.int64]:
        """[size], category token of each item, in token order."""
        return self.category_tokens(self.items["category"])

    def item_tokens(self, ids: pl.Series) -> NDArray[np.int64]:
        return _tokens(ids, self.items["item_id"])

    def category_tokens(self, names: pl.Series) -> NDArray[np.int64]:
        return _tokens(names, self.categories["category"])

    def save(self, directory: Path) -> None:
        self.items.write_parquet(directory / _ITEMS_FILE)
        self.categories.write_parquet(directory / _CATEGORIES_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises CorruptArtefact where a file is missing."""
        for name in (_ITEMS_FILE, _CATEGORIES_FILE):
            if not (directory / name).exists():
                raise CorruptArtefact(f"{directory / name}: missing; save the model again")
        return cls(pl.read_parquet(directory / _ITEMS_FILE), pl.read_parquet(directory / _CATEGORIES_FILE))


def _tokens(values: pl.Series, known: pl.Series) -> NDArray[np.int64]:
    """Position in `known` (sorted, unique) plus 1; OTHER where it is not there."""
    table = pl.DataFrame({"value": known, "token": np.arange(1, known.len() + 1, dtype=np.int64)})
    asked = pl.DataFrame({"value": values.cast(pl.String)})
    joined = asked.join(table, on="value", how="left", maintain_order="left")["token"]
    return joined.fill_null(OTHER).to_numpy().astype(np.int64)
