"""`python -m mktgen prove`: gather what is stored of a dispatch, and let the prover check it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar
from urllib.parse import quote, unquote

import polars as pl

from mktgen.config import values_version
from mktgen.documents import Approval, ContactProof, Document, PublishedStrategy
from mktgen.errors import MissingArtefact, MktgenError, PermanentError
from mktgen.execution.auditor import content_hash
from mktgen.execution.channels import channel_class
from mktgen.execution.prover import Check, prove, render
from mktgen.execution.prover_evidence import Evidence
from mktgen.settings import Settings
from mktgen.steps.runner import Platform
from mktgen.steps.sending import DISPATCH_SECTIONS, section_values
from mktgen.store import Manifest, Store, parallel, parse_uri

_FOLDERS: Final = {"outbox": "outbox", "simulated_market": "market/inbox"}  # where a channel leaves its messages
_TABLES: Final = ("decisions", "messages", "sends")
D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Proven:
    """A dispatch that was checked. notes: what a reader should know that is no violation."""

    evidence: Evidence
    checks: list[Check]
    notes: list[str]

    @property
    def holds(self) -> bool:
        return not any(check.violations for check in self.checks)

    @property
    def text(self) -> str:
        return "\n".join([render(self.evidence, self.checks), *(f"  note: {note}" for note in self.notes)])


def prove_export(platform: Platform, where: str) -> Proven:
    """Check the dispatch of a partition (YYYY-MM-DD) or of an export's URI (.../dt=YYYY-MM-DD[/...]).

    Raises MissingArtefact where no proof was kept: the dispatch has not run to its end. PermanentError: no such place.
    """
    try:
        partition = date.fromisoformat(where) if "dt=" not in where else parse_uri(where)[1]
    except ValueError:
        raise PermanentError(
            f"{where!r}: expected a partition (YYYY-MM-DD), or an export's URI with dt=YYYY-MM-DD"
        ) from None
    manifest = platform.store.need("contact_proof", partition)
    proof = platform.store.read_document(manifest, ContactProof)
    evidence, notes = _gather(platform, partition, manifest, proof), []
    if proof.settings != section_values(platform.settings):
        notes.append("settings have changed since this dispatch; its rules were checked as they were then")
    return Proven(evidence, prove(evidence), notes)


def _gather(platform: Platform, partition: date, manifest: Manifest, proof: ContactProof) -> Evidence:
    found = _Pieces(platform.store)
    uris = {given.name: given.uri for given in proof.inputs} | {"sends": f"sends/dt={partition}/run={manifest.run}"}
    approval = found.document(uris.get("approval", ""), Approval)
    published = found.document(uris.get("published", ""), PublishedStrategy)
    found.manifest(uris.get("strategy", ""))
    if "audit" in uris:
        found.digests["audit"] = content_hash(platform.objects.get(uris["audit"]) or b"")
    tables = {name: table for name in _TABLES if (table := found.table(uris.get(name, ""))) is not None}
    ledger = _ledger(platform, partition, {row.customer_id for row in proof.contacts})
    customers = {_customer(key) for key in ledger} | {row.customer_id for row in proof.contacts}
    return Evidence(
        partition=partition,
        proof=proof,
        approval=approval,
        published=published,
        tables=tables,
        digests=found.digests,
        ledger=ledger,
        records=_bodies(platform, _records(platform, customers)),
        outbox=_bodies(platform, platform.objects.keys(f"{_FOLDERS.get(proof.channel, 'outbox')}/dt={partition}/")),
        missing=(*found.missing, *_origins(platform, manifest, proof)),
    )


def _origins(platform: Platform, manifest: Manifest, proof: ContactProof) -> list[str]:
    """What the proof says of settings, channel and source, against where it came from."""
    found = []
    try:
        Settings.model_validate(proof.settings)
        # As stored: a setting that came later has no part in what the dispatch was derived from.
        derived = values_version([proof.settings[name] for name in DISPATCH_SECTIONS]) == manifest.config
    except (ValueError, KeyError):
        derived = False
    if not derived:
        found.append("the settings in the proof are not those that the dispatch was derived from")
    kind = channel_class(proof.channel)
    if (list(kind.purposes), kind.holds_messages) != (proof.purposes, proof.holds_messages):
        found.append(f"channel {kind.name} needs consent for {', '.join(kind.purposes)}, the proof says otherwise")
    if proof.time_zone != platform.source.timezone:
        found.append(f"the shop's time zone is {platform.source.timezone}, the proof says {proof.time_zone}")
    return found


def _ledger(platform: Platform, partition: date, contacts: set[str]) -> dict[str, bytes]:
    """All entries, of whatever day, of customers who have one of this day or a row in the proof."""
    keys = platform.objects.keys("ledger/")
    ours = {_customer(key) for key in keys if f"/day={partition}/" in key} | contacts
    return _bodies(platform, [key for key in keys if _customer(key) in ours])


def _customer(key: str) -> str:
    return unquote(key.split("/")[1].removeprefix("customer="))


def _records(platform: Platform, customers: Iterable[str]) -> list[str]:
    folders = [f"_contact/customer={quote(who, safe='')}/" for who in sorted(customers)]
    return [key for keys in parallel(platform.objects.keys, folders) for key in keys]


def _bodies(platform: Platform, keys: list[str]) -> dict[str, bytes]:
    bodies = parallel(platform.objects.get, keys)
    return {key: body for key, body in zip(keys, bodies, strict=True) if body is not None}


class _Pieces:
    """Artefacts as they are found now; what is gone or corrupt is noted in words."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.digests: dict[str, str] = {}
        self.missing: list[str] = []

    def manifest(self, uri: str) -> Manifest | None:
        try:
            artefact, day, run = parse_uri(uri)
            found = self._store.manifest_of_run(artefact, day, run)
            if found is None:
                raise MissingArtefact(f"{uri} is gone")
            self._store.read_files(found)  # every file against its hash in the manifest
        except (MktgenError, ValueError) as error:
            self.missing.append(str(error))
            return None
        self.digests[artefact] = found.digest
        return found

    def document(self, uri: str, kind: type[D]) -> D | None:
        manifest = self.manifest(uri)
        return None if manifest is None else self._store.read_document(manifest, kind)

    def table(self, uri: str) -> pl.DataFrame | None:
        manifest = self.manifest(uri)
        return None if manifest is None else self._store.read_table(manifest)
