"""A published strategy and all that it is made of, as it was approved: what stands between an edited object and a customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final

from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import CorruptArtefact, MissingArtefact, NotAllowed
from mktgen.execution import audit
from mktgen.steps.runner import Platform, Run
from mktgen.store import Manifest, parse_uri, sha256

PARTS: Final = ("strategy", "decisions", "messages")
SHOWN: Final = "shown"


@dataclass(frozen=True)
class Release:
    """A published strategy. parts: manifests of PARTS by name."""

    manifest: Manifest
    published: PublishedStrategy
    parts: Mapping[str, Manifest]

    @property
    def run(self) -> str:
        return strategy_run(self.published)

    @property
    def shown(self) -> dict[str, str]:
        """Digests of what is put before a person."""
        return {self.manifest.folder: self.manifest.digest, SHOWN: sha256(self.published.markdown.encode())}

    @property
    def digests(self) -> dict[str, str]:
        """Of all of it, by folder. What a manifest lists; its files are verified where they are read."""
        return {**self.shown, **{part.folder: part.digest for part in self.parts.values()}}


def release_of(platform: Platform, manifest: Manifest) -> Release:
    """manifest: of `published`. Raises NotAllowed where any of it is gone or not what its manifest says."""
    with unchanged("published", manifest.partition):
        published = platform.store.read_document(manifest, PublishedStrategy)
    parts = {}
    for name in PARTS:
        with unchanged(name, manifest.partition):
            parts[name] = part_of(platform, getattr(published, f"{name}_uri"))
    return Release(manifest, published, parts)


def part_of(platform: Platform, uri: str) -> Manifest:
    """Raises MissingArtefact where it is gone."""
    artefact, day, run = parse_uri(uri)
    manifest = platform.store.manifest_of_run(artefact, day, run)
    if manifest is None:
        raise MissingArtefact(f"{uri} is published but gone: run publish of {day} again")
    return manifest


def verify_files(platform: Platform, release: Release) -> None:
    """Every object of a release against its hash. Raises NotAllowed naming the artefact that was changed."""
    for name, part in release.parts.items():
        with unchanged(name, part.partition):
            platform.store.read_files(part)


def as_approved(run: Run) -> tuple[Approval, Release]:
    """The answer that a dispatch goes by, and the release that was answered.

    Raises NotAllowed unless the day's audit trail holds and tells of exactly this answer, and everything that is to be sent
    has the content that was approved. Decisions and messages are to be read by the release's manifests, which makes their
    files those that were approved.
    """
    manifest, platform = run.inputs["approval"][-1], run.platform
    with unchanged("approval", manifest.partition):
        approval = run.document("approval", Approval)
    told = {entry.digests.get(manifest.folder) for entry in audit.verified(platform.objects, run.day) if _answer(entry)}
    if manifest.digest not in told:
        raise NotAllowed(
            f"approval of {run.day}: the audit trail tells of no such answer by {approval.responder}. It was changed after it "
            f"was given, or given past the trail. {_NOTHING}"
        )
    published = run.inputs["published"][-1]
    # Published once more since: another folder, and by its parts it may still be what was approved.
    if approval.digests.get(published.folder, published.digest) != published.digest:
        raise NotAllowed(changed("published", published.partition, _OTHER))
    release = release_of(platform, published)
    if approval.approved and approval.strategy_run == release.run:
        for part in release.parts.values():
            if approval.digests.get(part.folder) != part.digest:
                raise NotAllowed(changed(part.artefact, part.partition, _OTHER))
        with unchanged("strategy", release.manifest.partition):
            platform.store.read_files(release.parts["strategy"])
    return approval, release


@contextmanager
def unchanged(artefact: str, day: str) -> Iterator[None]:
    """What can't be read as its manifest says is an artefact that somebody changed."""
    try:
        yield
    except (CorruptArtefact, MissingArtefact) as error:
        raise NotAllowed(changed(artefact, day, str(error))) from error


def changed(artefact: str, day: str, how: str) -> str:
    return f"{artefact} of {day} was changed after it was published: {how}. {_NOTHING}"


def strategy_run(published: PublishedStrategy) -> str:
    return parse_uri(published.strategy_uri)[2]


def answer_run(day: date, strategy: str) -> str:
    """The run under which the answer to a strategy is kept."""
    return sha256(f"approval {day} {strategy}".encode())[:16]


def _answer(entry: audit.Entry) -> bool:
    return entry.what in ("approved", "rejected")


_OTHER: Final = "its content is not what was approved"
_NOTHING: Final = "Nothing is sent: find out who changed it, then run the day's marketing_loop again and answer anew."
