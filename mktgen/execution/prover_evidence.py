"""What the prover is given: everything that is stored of one dispatch, as found now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import polars as pl

from mktgen.documents import Approval, ContactProof, PublishedStrategy
from mktgen.execution.prover_ledger import CustomerDay, contact_identity, customer_days, records_of
from mktgen.execution.prover_rules import Scene


@dataclass(frozen=True)
class Evidence:
    """What is stored of one partition's dispatch, as found now.

    tables: decisions, messages and sends, by name; missing: pieces that are gone or can't be read, in words.
    digests: artefact -> digest of its content. ledger: entries of this day, and other days' of its customers. records:
    contact records of its customers. outbox: files of this day.
    """

    partition: date
    proof: ContactProof
    approval: Approval | None
    published: PublishedStrategy | None
    tables: Mapping[str, pl.DataFrame]
    digests: Mapping[str, str]
    ledger: Mapping[str, bytes]
    records: Mapping[str, bytes]
    outbox: Mapping[str, bytes]
    missing: tuple[str, ...] = ()

    def table(self, name: str) -> pl.DataFrame:
        """Raises ValueError where it is missing: nothing is proven of what isn't there."""
        if name not in self.tables:
            raise ValueError(f"{name} can't be read")
        return self.tables[name]

    @property
    def decisions(self) -> pl.DataFrame:
        return self.table("decisions")

    @cached_property
    def days(self) -> dict[tuple[str, date], CustomerDay]:
        return customer_days(self.ledger)

    @cached_property
    def today(self) -> dict[str, CustomerDay]:
        return {who: entry for (who, day), entry in sorted(self.days.items()) if day == self.partition}

    @cached_property
    def contacts(self) -> dict[str, dict[str, Any]]:
        """Decisions to contact, by customer."""
        asked = self.decisions.filter((pl.col("action") != "no_contact") & ~pl.col("holdout"))
        return {row["customer_id"]: row for row in asked.sort("customer_id").iter_rows(named=True)}

    def send_id(self, row: Mapping[str, Any]) -> str:
        return contact_identity(row["customer_id"], row["campaign_id"], self.proof.channel, self.partition)

    @cached_property
    def scene(self) -> Scene:
        history: dict[str, list[CustomerDay]] = {}
        for (who, _), entry in sorted(self.days.items()):
            history.setdefault(who, []).append(entry)
        held = frozenset(self.decisions.filter("holdout")["customer_id"])
        return Scene(self.partition, self.proof, history, records_of(self.records), held)
