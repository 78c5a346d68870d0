"""What the steps tell the audit trail of a day: publication, answers, dispatch, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Final

from mktgen.documents import Approval, ContactProof
from mktgen.errors import MktgenError, NotAllowed
from mktgen.execution import audit
from mktgen.execution.audit import Entry, Event
from mktgen.steps.released import Release, changed, release_of
from mktgen.steps.runner import Platform, Run
from mktgen.store import Manifest

PUBLISH: Final = "step publish"
DISPATCH: Final = "step dispatch"


def published(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `publish`: the release, with the digests of all that it is made of."""
    release = release_of(run.platform, written["published"])
    entry = _tell(run.platform, run.day, Event("published", PUBLISH, release.run, release.digests))
    return [f"audit trail: entry {entry.seq}, {entry.hash[:12]}"]


def require_as_published(platform: Platform, release: Release) -> None:
    """Raise NotAllowed naming the artefact that differs from what `publish` told. A release it did not tell of passes: what
    counts for sending is the answer's own digests."""
    day = date.fromisoformat(release.manifest.partition)
    for entry in audit.verified(platform.objects, day):
        if entry.what == "published" and release.manifest.folder in entry.digests:
            for part in (release.manifest, *release.parts.values()):
                if entry.digests.get(part.folder) != part.digest:
                    raise NotAllowed(changed(part.artefact, part.partition, "its content is not what was published"))


def answered(platform: Platform, manifest: Manifest, answer: Approval) -> Entry:
    """manifest: of the answer."""
    digests = {**answer.digests, manifest.folder: manifest.digest}
    event = Event(
        "approved" if answer.approved else "rejected", answer.responder, answer.strategy_run, digests, answer.note
    )
    return _tell(platform, answer.partition, event)


def begun(platform: Platform, day: date, release: Release, approval: Approval) -> Entry:
    """A dispatch, before anything is handed over; the same entry on every later run."""
    note = f"approved by {approval.responder}"
    return _tell(platform, day, Event("begun", DISPATCH, release.run, release.digests, note))


def dispatched(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `dispatch`: what was sent, by the digests of sends and proof."""
    proof = run.platform.store.read_document(written["contact_proof"], ContactProof)
    answer = run.document("approval", Approval)
    ended = ("sent", "already_sent", "unconfirmed", "refused")
    counts = ", ".join(f"{name} {proof.counts[name]}" for name in ended if proof.counts[name])
    digests = {manifest.folder: manifest.digest for manifest in written.values()}
    event = Event("dispatched", DISPATCH, answer.strategy_run, digests, counts or "nobody was to be contacted")
    entry = _tell(run.platform, run.day, event)
    return [f"audit trail: entry {entry.seq}, {entry.hash[:12]}"]


@contextmanager
def refusals_told(platform: Platform, day: date, who: str) -> Iterator[None]:
    """Tell what was not allowed, then raise it on."""
    try:
        yield
    except NotAllowed as error:
        try:
            _tell(platform, day, Event("refused", who, "", {}, str(error)))
        except MktgenError as lost:
            error.add_note(f"This refusal is not in the audit trail: {lost}")
        raise


def _tell(platform: Platform, day: date, event: Event) -> Entry:
    return audit.append(platform.objects, day, event, platform.clock())
