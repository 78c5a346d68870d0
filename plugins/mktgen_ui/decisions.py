"""Decisions page by page, straight from parquet: a page costs what it shows, however many there are.

Pages count in the stored order, by customer, or in that of a column; within equal values by customer. `run` names the
derivation, so that pages of one list stay those of one list when the day is decided anew meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Strategy
from mktgen.steps.runner import Platform
from mktgen.steps.why import why
from mktgen.store import Manifest, Store
from mktgen.strategy.decision_rows import NO_CONTACT

Json = dict[str, Any]
Indices = NDArray[np.int64]
SHOWN: Final = (
    "decision_id", "customer_id", "segment_id", "action", "campaign_id", "arm", "propensity", "explored", "p_redeem",
    "expected_value_minor", "cost_minor",
)  # fmt: skip
BY_CUSTOMER: Final = "customer_id"  # as the table is stored
SORTABLE: Final = (BY_CUSTOMER, "propensity", "p_redeem", "expected_value_minor", "cost_minor")
_AFTER: Final = "\U0010ffff"


@dataclass(frozen=True)
class Wanted:
    """Which rows. search: the beginning of a customer's pseudonym or of a decision's id. contacted: None is either."""

    search: str
    campaign: str
    segment: str
    contacted: bool | None
    sort: str
    descending: bool
    offset: int
    limit: int

    @property
    def where(self) -> list[pl.Expr]:
        found = []
        if self.search:
            # The table is in order of customers: a range lets whole row groups be passed over.
            customers = pl.col("customer_id").is_between(pl.lit(self.search), pl.lit(self.search + _AFTER))
            found.append(customers | pl.col("decision_id").str.starts_with(self.search))
        if self.campaign:
            found.append(pl.col("campaign_id") == self.campaign)
        if self.segment:
            found.append(pl.col("segment_id") == self.segment)
        if self.contacted is not None:
            found.append((pl.col("action") != NO_CONTACT) == self.contacted)
        return found


def page(store: Store, partition: date, run: str, wanted: Wanted) -> Json | None:
    """Rows of a page with the number of all that match; None where the day has no decisions, or none of that run."""
    manifest = store.manifest_of_run("decisions", partition, run) if run else store.current("decisions", partition)
    if manifest is None:
        return None
    if wanted.where or wanted.sort:
        matching, rows = _picked(store, manifest, wanted)
    else:
        matching = manifest.rows
        rows = store.pick(manifest, lambda table: table.select(SHOWN).slice(wanted.offset, wanted.limit))
    return {
        "run": manifest.run, "total": manifest.rows, "matching": matching, "offset": wanted.offset, "limit": wanted.limit,
        "rows": rows.to_dicts(),
    }  # fmt: skip


def _picked(store: Store, manifest: Manifest, wanted: Wanted) -> tuple[int, pl.DataFrame]:
    """First which rows, by the columns that decide it alone; then those rows."""
    key = [wanted.sort] if wanted.sort and wanted.sort != BY_CUSTOMER else []
    found = store.pick(manifest, lambda table: table.with_row_index("row").filter(*wanted.where).select("row", *key))
    places = _order(found, key, wanted.descending)[wanted.offset : wanted.offset + wanted.limit]
    rows = found["row"].gather(places)
    if rows.is_empty():
        return found.height, pl.DataFrame(schema=dict.fromkeys(SHOWN, pl.String))
    first, last = int(rows.min()), int(rows.max())  # type: ignore[arg-type]

    def gathered(table: pl.LazyFrame) -> pl.LazyFrame:
        span = table.select(SHOWN).slice(first, last - first + 1).with_row_index("row", offset=first)
        return span.filter(pl.col("row").is_in(rows.implode()))

    page = store.pick(manifest, gathered)
    return found.height, rows.to_frame().join(page, on="row", maintain_order="left").drop("row")


def _order(found: pl.DataFrame, key: list[str], descending: bool) -> Indices:
    """Places of the rows in the order wanted: equal values as stored, rows without a value last."""
    if not key:
        every = np.arange(found.height)
        return every[::-1] if descending else every
    values = found[key[0]].cast(pl.Float64).fill_null(float("-inf" if descending else "inf")).to_numpy()
    return np.argsort(-values if descending else values, kind="stable")


# -- one of them ----------------------------------------------------------------------------------------------------------
def explained(platform: Platform, partition: date, decision_id: str) -> Json:
    """Why this customer, this offer; the message as it reads; the customer's segment. Raises MissingArtefact: none such."""
    store = platform.store
    told = why(platform, decision_id, partition)
    row = _first(store, "messages", partition, pl.col("decision_id") == decision_id)
    member = _first(store, "customer_segments", partition, pl.col("customer_id") == told.customer_id)
    profile = _first(store, "segments", partition, pl.col("segment_id") == member["segment_id"]) if member else None
    answer = _first(store, "customer_classes", partition, pl.col("customer_id") == told.customer_id)
    return {
        "why": told.model_dump(mode="json"), "message": row, "segment": profile, "response": answer,
        "labels": _labels(store, partition),
    }  # fmt: skip


def _first(store: Store, artefact: str, partition: date, about: pl.Expr) -> Json | None:
    manifest = store.current(artefact, partition)
    rows = store.pick(manifest, lambda table: table.filter(about).head(1)) if manifest else None
    return None if rows is None or rows.is_empty() else rows.row(0, named=True)


def _labels(store: Store, partition: date) -> dict[str, str]:
    """offer_id -> what it is called in the day's strategy."""
    manifest = store.current("strategy", partition)
    if manifest is None:
        return {}
    campaigns = store.read_document(manifest, Strategy).campaigns
    return {offer.offer_id: offer.label for campaign in campaigns for offer in campaign.offers}
