"""Which decisions a day's dispatch went by. A day may have been decided anew since; what was sent is not changed by that."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from mktgen.contracts import DECISIONS
from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import MissingArtefact
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, Store, parallel, parse_uri


def dispatches(platform: Platform, day: date) -> tuple[Manifest, ...]:
    """All tables of sends that were ever written for a day, the current one last; empty where nothing was dispatched."""
    store, current = platform.store, platform.store.current("sends", day)
    if current is None:
        return ()
    others = (manifest for manifest in stored_runs(store, "sends", day) if manifest.run != current.run)
    return (*others, current)


def dispatched_decisions(platform: Platform, sends: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The decisions that dispatches went by, one manifest for each set of them, that of the last dispatch last.

    More than one: the day was dispatched, decided anew, approved and dispatched again. Those written under an older contract
    are left out: they can't be read. Raises MissingArtefact where decisions that were dispatched are gone.
    """
    found: dict[str, Manifest] = {}
    for manifest in sends:
        decisions = _decisions_of(platform, manifest)
        found.pop(decisions.digest, None)
        found[decisions.digest] = decisions
    return tuple(filter(_readable, found.values()))


def approvals(platform: Platform, day: date) -> tuple[Manifest, ...]:
    """Every answer that was given to a strategy of the day. Two that approve: two strategies may have been sent, even if only
    the second dispatch came to its end. Those written under an older contract are left out: they can't be read."""
    found, readable = stored_runs(platform.store, "approval", day), Approval.fingerprint()
    return tuple(manifest for manifest in found if manifest.contract == readable)


def followed_decisions(platform: Platform, days: Iterable[date]) -> tuple[Manifest, ...]:
    """`decisions_in_force` of the days for which at most one strategy was sent: of two, whose contact is whose isn't known."""

    def once(manifest: Manifest) -> bool:
        day = date.fromisoformat(manifest.partition)
        if platform.store.current("sends", day) is None:
            return True
        said = (platform.store.read_document(found, Approval) for found in approvals(platform, day))
        return len({answer.strategy_run for answer in said if answer.approved}) <= 1

    found = decisions_in_force(platform, days)
    return tuple(one for one, alone in zip(found, parallel(once, found), strict=True) if alone)


def decisions_in_force(platform: Platform, days: Iterable[date]) -> tuple[Manifest, ...]:
    """Of each day the decisions it was dispatched by; those that are current where nothing was; in order of days. Written
    under an older contract: left out, as they can't be read."""

    def of(day: date) -> Manifest | None:
        sends = platform.store.current("sends", day)
        return _decisions_of(platform, sends) if sends else platform.store.current("decisions", day)

    return tuple(found for found in parallel(of, sorted(days)) if found is not None and _readable(found))


def made_by_same_model(store: Store, artefact: str, decisions: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Of each of these decisions the artefact of the day that came from the response model they went by, where stored."""
    found = []
    for manifest in decisions:
        day = date.fromisoformat(manifest.partition)
        current, model = store.current(artefact, day), _response_model(manifest)
        candidates = [current] if current is not None else []
        if current is None or _response_model(current) != model:
            candidates = stored_runs(store, artefact, day)
        found += [candidate for candidate in candidates if _response_model(candidate) == model][:1]
    return tuple(found)


def stored_runs(store: Store, artefact: str, day: date) -> list[Manifest]:
    """Every complete run of an artefact for a day, in order of their names."""
    names = store.objects.folders(f"{artefact}/dt={day}/")
    found = (store.manifest_of_run(artefact, day, name.removeprefix("run=")) for name in names)
    return [manifest for manifest in found if manifest is not None]


def _decisions_of(platform: Platform, sends: Manifest) -> Manifest:
    store, day = platform.store, date.fromisoformat(sends.partition)
    run = next((parent.run for parent in sends.parents if parent.artefact == "published"), "")
    release = store.manifest_of_run("published", day, run) if run else None
    uri = store.read_document(release, PublishedStrategy).decisions_uri if release else ""
    found = store.manifest_of_run(*parse_uri(uri)) if uri else None
    if found is None:
        raise MissingArtefact(
            f"the sends of {day} (run {sends.run}) went by decisions that are gone ({uri or 'their release too'}): what "
            "was sent can't be followed. Restore them from a backup of the bucket, or set the day's sends aside"
        )
    return found


def _readable(decisions: Manifest) -> bool:
    return decisions.contract == DECISIONS.fingerprint


def _response_model(manifest: Manifest) -> tuple[str, ...]:
    return tuple(sorted(parent.digest for parent in manifest.parents if parent.artefact == "response_model"))
