"""Customers' merchandise events as arrays, for the neural kinds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.models._vocabulary import Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

PRICE_BANDS: Final = 16
GAP_BUCKETS: Final = 12
BEGIN_GAP: Final = GAP_BUCKETS  # the empty row before a window's first event
WEEKDAYS: Final = 7
# Tokens by place, 0 for what is missing or new: fixed lists, so that a token means the same in every model.
KINDS: Final = ("", "purchase", "view", "cart", "search", "wishlist", "share", "return")
CHANNELS: Final = ("", "store", "web", "app", "mail", "phone")
EPOCH: Final = date(1970, 1, 1)
_ORDER: Final = ("customer_id", "business_date", "event_time", "order_id", "item_id")


def day_number(day: date) -> int:
    """Days since 1970-01-01; all dates are counted so, in the shop's business days."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class EventLog:
    """Events sorted by customer and time. Arrays have one entry per event unless said otherwise.

    first: [customers + 1], customer c owns events first[c]:first[c + 1]. code: index into `item_ids`, which holds every
    item of the log, common or not; item, category: vocabulary tokens. gap: bucket of business days since the basket
    before (0 = same basket). kind, channel: tokens of KINDS and CHANNELS, 0 where the source doesn't tell. code_item,
    code_category: tokens by code.
    """

    customers: list[str]
    item_ids: pl.Series
    first: Ints
    day: Ints
    code: Ints
    price: Ints
    gap: Ints
    promoted: Ints
    kind: Ints
    channel: Ints
    code_item: Ints
    code_category: Ints

    @cached_property
    def owner(self) -> Ints:
        """Customer index of each event."""
        return np.repeat(np.arange(len(self.customers), dtype=np.int64), np.diff(self.first))

    @cached_property
    def by_item(self) -> Ints:
        """Event indices sorted by (customer, code, time): each customer's segment, regrouped by item."""
        return np.lexsort((np.arange(self.day.size), self.code, self.owner)).astype(np.int64)

    def count_before(self, customer: Ints, day: Ints) -> Ints:
        """Absolute index one past the last event of each customer that is dated before `day`."""
        if not self.day.size:
            return self.first[customer]
        span = int(self.day.max()) + 2
        keys = self.owner * span + self.day
        return np.searchsorted(keys, customer * span + np.clip(day, 0, span - 1), side="left").astype(np.int64)

    def find(self, customers: list[str]) -> Ints:
        """Index of each customer, -1 for one without events."""
        index = {name: i for i, name in enumerate(self.customers)}
        return np.array([index.get(name, -1) for name in customers], dtype=np.int64)


def encode_events(
    events: pl.DataFrame, vocabulary: Vocabulary, cut: date, customers: list[str] | None = None
) -> EventLog:
    """contracts.SEQUENCES as an EventLog; events on or after `cut` are left out, whatever the caller passes.

    Optional further columns: `event_type` and `channel` (String, see KINDS and CHANNELS).

    `customers` (sorted, unique): the log holds these, with or without events; all that have events where None.
    """
    frame = events.filter(pl.col("business_date") < cut)
    if customers is None:
        known = frame["customer_id"].unique().sort()
    else:
        known = pl.Series("customer_id", customers, dtype=pl.String)
        frame = frame.join(known.to_frame(), on="customer_id", how="semi")
    frame = frame.sort(_ORDER)
    owner = _codes(frame["customer_id"], known)
    items = frame.select("item_id", "category").group_by("item_id").agg(pl.col("category").min()).sort("item_id")
    day = frame["business_date"].to_physical().to_numpy().astype(np.int64)
    net = frame["net_minor"].to_numpy().astype(np.float64)
    return EventLog(
        customers=known.to_list(),
        item_ids=items["item_id"],
        first=np.searchsorted(owner, np.arange(known.len() + 1)).astype(np.int64),
        day=day,
        code=_codes(frame["item_id"], items["item_id"]),
        price=_price_band(net),
        gap=_gap_bucket(owner, day, frame["order_id"]),
        promoted=frame["on_promotion"].to_numpy().astype(np.int64),
        kind=_listed(frame, "event_type", KINDS),
        channel=_listed(frame, "channel", CHANNELS),
        code_item=vocabulary.item_tokens(items["item_id"]),
        code_category=vocabulary.category_tokens(items["category"]),
    )


def _listed(frame: pl.DataFrame, column: str, known: tuple[str, ...]) -> Ints:
    """Places in `known` of an optional column's values."""
    if column not in frame.columns:
        return np.zeros(frame.height, dtype=np.int64)
    places = pl.DataFrame({column: known, "_place": np.arange(len(known), dtype=np.int64)})
    found = frame.select(column).join(places, on=column, how="left", maintain_order="left")["_place"]
    return found.fill_null(0).to_numpy().astype(np.int64)


def _codes(values: pl.Series, known: pl.Series) -> Ints:
    table = pl.DataFrame({"value": known, "code": np.arange(known.len(), dtype=np.int64)})
    joined = pl.DataFrame({"value": values}).join(table, on="value", how="left", maintain_order="left")
    return joined["code"].to_numpy().astype(np.int64)


def _price_band(net_minor: NDArray[np.float64]) -> Ints:
    """Half-octave bands from 25 minor units up; fixed rather than fitted, so a band means the same in every model."""
    bands = np.floor(2.0 * np.log2(1.0 + np.maximum(net_minor, 0.0) / 25.0))
    return np.clip(bands, 0, PRICE_BANDS - 1).astype(np.int64)


def _gap_bucket(owner: Ints, day: Ints, orders: pl.Series) -> Ints:
    """0 same basket; 1 another basket of the same day; then octaves of days; the last one opens a history."""
    if not day.size:
        return day
    same_customer = np.r_[False, owner[1:] == owner[:-1]]
    same_order = same_customer & np.r_[False, (orders.shift(1) == orders).fill_null(False).to_numpy()[1:]]
    days = np.diff(day, prepend=day[:1])
    bucket = 1 + np.ceil(np.log2(1.0 + np.maximum(days, 0))).astype(np.int64)
    bucket = np.clip(bucket, 1, GAP_BUCKETS - 2)
    return np.where(same_order, 0, np.where(same_customer, bucket, GAP_BUCKETS - 1)).astype(np.int64)
