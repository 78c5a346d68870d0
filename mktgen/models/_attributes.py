"""What is known of items and customers themselves, as arrays: values of fields, and the text of an item.

A value that several rows share has a token; 0 is a missing, rare or new one. A text is its words and their runs of three
letters, hashed into a fixed number of buckets, so that a word never met before still resembles those it is spelt like
(Bojanowski et al., "Enriching Word Vectors with Subword Information", TACL 2017). Assumes that likeness of spelling is
likeness of kind; where it isn't, buckets share what they shouldn't, and the words' own buckets have to tell them apart.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mktgen import contracts
from mktgen.errors import CorruptArtefact
from mktgen.models._events import EventLog, Ints
from mktgen.models._movable import Movable
from mktgen.models._vocabulary import Vocabulary
from mktgen.models.base import History, TrainingSet

BUCKETS: Final = 4096
ITEM_FIELDS: Final = ("department", "item_type", "brand", "manufacturer_id", "package_size")
TEXT_FIELDS: Final = ("category", "item_type")
CUSTOMER_FIELDS: Final = tuple(name for name in contracts.CUSTOMERS.columns if name != "customer_id")
_SHARED: Final = 2  # rows that hold a value before it has a token: what one alone holds says nothing of another
_ITEMS_FILE: Final = "item_attributes.parquet"
_CUSTOMERS_FILE: Final = "customer_values.parquet"
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Values:
    """The values of some fields. known: field, value (String), sorted; row i is token i + 1."""

    fields: tuple[str, ...]
    known: pl.DataFrame

    @classmethod
    def learn(cls, frame: pl.DataFrame, fields: tuple[str, ...]) -> Self:
        """The values that at least _SHARED rows of `frame` hold."""
        long = _long(frame, fields).group_by("field", "value").len()
        return cls(fields, long.filter(pl.col("len") >= _SHARED).select("field", "value").sort("field", "value"))

    def tokens(self, frame: pl.DataFrame) -> Ints:
        """[rows, fields]; 0 for what is missing or not known."""
        columns = []
        for name in self.fields:
            mine = self.known.with_row_index("_token", offset=1).filter(field=name).select("value", "_token")
            asked = frame.select(value=pl.col(name).cast(pl.String))
            found = asked.join(mine, on="value", how="left", maintain_order="left")["_token"]
            columns.append(found.fill_null(0).to_numpy().astype(np.int64))
        return np.column_stack(columns).reshape(frame.height, len(self.fields))


def _long(frame: pl.DataFrame, fields: tuple[str, ...]) -> pl.DataFrame:
    """field, value of every known value of the frame."""
    parts = [frame.select(field=pl.lit(name), value=pl.col(name).cast(pl.String)) for name in fields]
    return pl.concat(parts).filter(pl.col("value").is_not_null())


@dataclass(frozen=True)
class Facts(Movable):
    """Some items as tensors. value: [items, fields] tokens. text: [items] place among these items' texts, 0 = none.

    Text t is the buckets bucket[first[t]:first[t + 1]]; the last one ends with them.
    """

    value: Tensor
    text: Tensor
    bucket: Tensor
    first: Tensor


@dataclass(frozen=True)
class ItemFacts:
    """Row 0 stands for no item, of which nothing is known. value: [rows, fields]. text: [rows] numbers of texts, 0 = none.

    first: [texts + 1], text t is the buckets bucket[first[t]:first[t + 1]].
    """

    value: Ints
    text: Ints
    first: Ints
    bucket: Ints

    def take(self, rows: Ints) -> Facts:
        """The facts of these rows, with their own texts alone."""
        texts = np.unique(np.r_[0, self.text[rows]])
        start, size = self.first[texts], self.first[texts + 1] - self.first[texts]
        first = np.cumsum(size) - size
        place = np.arange(size.sum(), dtype=np.int64) + np.repeat(start - first, size)
        arrays = (self.value[rows], np.searchsorted(texts, self.text[rows]), self.bucket[place], first)
        return Facts(*(torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)) for array in arrays))


@dataclass(frozen=True)
class Attributes:
    """What a model keeps. items: item_id and the fields of the items it learned from, by item_id; of customers the values.

    What was known of an item while learning stands: it is scored as it was learned, whatever the catalogue says later.
    """

    items: pl.DataFrame
    customers: Values

    @classmethod
    def learn(cls, data: TrainingSet) -> Self:
        """What is known of the items that were ever bought, and of the customers."""
        known = data.item_attributes.join(data.items, on="item_id", how="semi")
        return cls(known.select(_ITEM_COLUMNS).sort("item_id"), Values.learn(data.customer_attributes, CUSTOMER_FIELDS))

    @cached_property
    def item_values(self) -> Values:
        return Values.learn(self.items, ITEM_FIELDS)

    def of_items(self, ids: pl.Series, since: pl.DataFrame) -> ItemFacts:
        """Row i + 1 for ids[i]. since: contracts.ITEMS, for the items that came after the learning."""
        news = since.select(_ITEM_COLUMNS).join(self.items, on="item_id", how="anti")
        every = pl.concat([self.items.select(_ITEM_COLUMNS), news]).unique("item_id", keep="first", maintain_order=True)
        asked = pl.concat([pl.Series("item_id", [None], pl.String), ids.cast(pl.String).alias("item_id")]).to_frame()
        found = asked.join(every, on="item_id", how="left", maintain_order="left")
        words = pl.concat_str([pl.col(name) for name in TEXT_FIELDS], separator=" ", ignore_nulls=True)
        texts = found.select(words.str.to_lowercase().fill_null("").alias("text"))["text"]
        names = pl.Series("text", ["", *texts.filter(texts != "").unique().sort().to_list()])
        place = pl.DataFrame({"text": names, "_place": np.arange(names.len(), dtype=np.int64)})
        text = texts.to_frame().join(place, on="text", how="left", maintain_order="left")["_place"]
        bags = [_buckets(name) for name in names.to_list()]
        return ItemFacts(
            value=self.item_values.tokens(found),
            text=text.to_numpy().astype(np.int64),
            first=np.cumsum([0, *(bag.size for bag in bags)], dtype=np.int64),
            bucket=np.concatenate(bags),
        )

    def of_log(
        self, log: EventLog, vocabulary: Vocabulary, given: TrainingSet | History
    ) -> tuple[ItemFacts, Ints, Ints]:
        """Facts of the vocabulary's items in the order of their tokens, then of the log's other items; the row in them of
        each code of the log; and [customers, fields] tokens of the log's customers."""
        rare = np.flatnonzero(log.code_item == 0)
        row = log.code_item.copy()
        row[rare] = vocabulary.size + 1 + np.arange(rare.size)
        ids = pl.concat([vocabulary.items["item_id"], log.item_ids.gather(rare)])
        facts = self.of_items(ids, given.item_attributes)
        return facts, row, self.of_customers(log.customers, given.customer_attributes)

    def of_customers(self, ids: list[str], known: pl.DataFrame) -> Ints:
        """[customers, fields] tokens. known: contracts.CUSTOMERS."""
        asked = pl.DataFrame({"customer_id": ids}, schema={"customer_id": pl.String})
        return self.customers.tokens(asked.join(known, on="customer_id", how="left", maintain_order="left"))

    def save(self, directory: Path) -> None:
        self.items.write_parquet(directory / _ITEMS_FILE)
        self.customers.known.write_parquet(directory / _CUSTOMERS_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises CorruptArtefact where a file is missing, as it is in models that were saved before attributes were inputs."""
        for name in (_ITEMS_FILE, _CUSTOMERS_FILE):
            if not (directory / name).exists():
                raise CorruptArtefact(
                    f"{directory / name}: missing; the model was saved without attributes of items and customers, "
                    "train it again"
                )
        known = pl.read_parquet(directory / _CUSTOMERS_FILE)
        return cls(pl.read_parquet(directory / _ITEMS_FILE), Values(CUSTOMER_FIELDS, known))


_ITEM_COLUMNS: Final = ("item_id", *dict.fromkeys((*ITEM_FIELDS, *TEXT_FIELDS)))


def _buckets(text: str) -> Ints:
    return np.array([bucket for word in _WORD.findall(text) for bucket in _grams(word)], dtype=np.int64)


@lru_cache(maxsize=2**16)
def _grams(word: str) -> tuple[int, ...]:
    """Buckets of a word and of its runs of three letters, its ends marked."""
    marked = f"<{word}>"
    grams = [marked, *(marked[at : at + 3] for at in range(len(marked) - 2))]
    return tuple(zlib.crc32(gram.encode()) % BUCKETS for gram in dict.fromkeys(grams))
