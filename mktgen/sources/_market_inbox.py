"""The inbox of a simulated market, as its source reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.market_sim import inbox
from mktgen.sources.base import ObjectReader

_READERS: Final = 16  # objects fetched at a time
DELIVERIES: Final = {
    "send_id": pl.String, "customer_id": pl.String, "offer_id": pl.String, "arrives": pl.Date,
    "subject": pl.String, "body": pl.String,
}  # fmt: skip


class Inbox:
    """Messages by the day they arrive. They never change once written, so each is fetched once."""

    def __init__(self, objects: ObjectReader | None) -> None:
        self._objects = objects
        self._read: dict[str, inbox.Delivery] = {}

    def listing(self, waves: Iterable[date]) -> dict[date, list[str]]:
        """Names of the messages that arrive on each of these days: two equal listings hold the same messages.

        Listed by month, so that 56 days are three requests and not 56.
        """
        found: dict[date, list[str]] = {wave: [] for wave in waves}
        if self._objects is None:
            return found
        folders = {inbox.folder(wave - timedelta(days=1)): wave for wave in found}
        for month in sorted({folder[: -len("-dd/")] for folder in folders}):
            for name in self._objects.keys(month):
                wave = folders.get(name[: name.rindex("/") + 1])
                if wave is not None:
                    found[wave].append(name)
        return found

    def deliveries(self, names: Sequence[str]) -> pl.DataFrame:
        """DELIVERIES of these names, sorted by day and send. Raises PermanentError: an object that is no message."""
        missing = [name for name in names if name not in self._read]
        with ThreadPoolExecutor(_READERS) as readers:
            for name, body in zip(missing, readers.map(self._body, missing), strict=True):
                self._read[name] = inbox.parse(name, body)
        found = [self._read[name] for name in names]
        rows = [(one.send_id, one.customer_id, one.offer_id, one.arrives, one.subject, one.body) for one in found]
        return pl.DataFrame(rows, schema=DELIVERIES, orient="row").sort("arrives", "send_id")

    def _body(self, name: str) -> bytes:
        return (self._objects.get(name) if self._objects else None) or b""
