"""Sends of a day as dispatch leaves them: with the release, and by it the decisions, that they went by."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl

from mktgen.contracts import SENDS
from mktgen.documents import PublishedStrategy
from mktgen.manifest import Manifest, Provenance
from mktgen.store import Store


def store_sends(store: Store, day: date, sends: list[tuple[object, ...]], by: Provenance) -> Manifest:
    """sends: rows of contracts.SENDS. They went by the decisions of the day that are current."""
    place = store.need("decisions", day).folder
    uris = dict.fromkeys(("strategy_uri", "decisions_uri", "messages_uri"), place)
    release = store.write_document("published", day, PublishedStrategy(partition=day, markdown="", **uris), by)
    frame = pl.DataFrame(sends, schema=SENDS.columns, orient="row").sort("send_id")
    return store.write_table("sends", day, frame, replace(by, parents=(release.as_parent(),)))
