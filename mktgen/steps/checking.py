"""`python -m mktgen audit`: gather what is stored of a day's audit trail, and let the auditor check it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from mktgen.documents import Approval, ContactProof, Document
from mktgen.errors import MktgenError
from mktgen.execution import auditor
from mktgen.execution.auditor import Anchor, Audit, Evidence
from mktgen.steps.dispatched import stored_runs
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, parse_uri

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Audited:
    """A trail that was checked."""

    day: date
    audit: Audit

    @property
    def holds(self) -> bool:
        return not self.audit.wrong

    @property
    def text(self) -> str:
        return auditor.render(self.day, self.audit)


def audit_day(platform: Platform, day: date) -> Audited:
    """Check the trail of a day, against what keeps a hash of it elsewhere and against what it tells of."""
    prefix = f"audit/day={day.isoformat()}/"
    objects = {key: platform.objects.get(key) or b"" for key in platform.objects.keys(prefix)}
    answers = stored_runs(platform.store, "approval", day)
    anchors = [*_answers(platform, answers), *_proof(platform, day), *_mlflow(platform, day)]
    found = {folder: _digest(platform, folder) for folder in sorted(_folders(objects))}
    evidence = Evidence(day, objects, anchors, found, [manifest.folder for manifest in answers])
    return Audited(day, auditor.audit(evidence))


def _answers(platform: Platform, answers: Iterable[Manifest]) -> list[Anchor]:
    return [_anchor(platform, manifest, Approval, lambda answer: answer.audit_head) for manifest in answers]


def _proof(platform: Platform, day: date) -> list[Anchor]:
    manifest = platform.store.current("contact_proof", day)
    return [] if manifest is None else [_anchor(platform, manifest, ContactProof, _begun)]


def _begun(proof: ContactProof) -> str:
    return next((given.digest for given in proof.inputs if given.name == "audit"), "")


def _anchor(platform: Platform, manifest: Manifest, kind: type[D], hash_in: Callable[[D], str]) -> Anchor:
    """What can't be read has no hash that the trail could have."""
    try:
        return Anchor(manifest.folder, hash_in(platform.store.read_document(manifest, kind)))
    except MktgenError as error:
        return Anchor(f"{manifest.folder} ({error})", "")


def _mlflow(platform: Platform, day: date) -> list[Anchor]:
    uri = platform.environment.mlflow_uri
    if not uri:
        return []
    from mktgen import tracking  # late: mlflow takes seconds to import

    found = tracking.connect(uri, tracking.STRATEGIES).tags({"mktgen.partition": day.isoformat()}, "mktgen.audit_head")
    return [Anchor(f"MLflow run {run}", head) for run, head in found.items()]


def _folders(objects: Mapping[str, bytes]) -> set[str]:
    """Artefacts that entries tell of."""
    found: set[str] = set()
    for raw in objects.values():
        try:
            found |= set(json.loads(raw)["digests"])
        except (ValueError, KeyError, TypeError):
            continue  # the auditor says so
    return found


def _digest(platform: Platform, folder: str) -> str:
    """Of the content as it is now; "" where it is gone, or a file does not match its manifest."""
    try:
        manifest = platform.store.manifest_of_run(*parse_uri(folder))
        if manifest is None:
            return ""
        platform.store.read_files(manifest)
    except (MktgenError, ValueError):
        return ""
    return manifest.digest
