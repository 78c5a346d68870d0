"""From an artefact back to the raw rows it was made from, by the manifests alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from mktgen.errors import CorruptArtefact, MissingArtefact
from mktgen.store import Manifest, Store, parallel, parse_uri


def lineage(store: Store, uri: str) -> Iterator[tuple[int, Manifest]]:
    """Walk from an artefact back to raw rows: (depth, manifest), each artefact once, depth first."""
    artefact, day, run = parse_uri(uri)
    start = store.manifest_of_run(artefact, day, run) if run else store.need(artefact, day)
    if start is None:
        raise MissingArtefact(f"{uri}: no such run")
    seen: set[tuple[str, str, str]] = set()
    stack: list[tuple[int, Manifest]] = [(0, start)]
    while stack:
        depth, manifest = stack.pop()
        name = (manifest.artefact, manifest.partition, manifest.run)
        if name in seen:
            continue
        seen.add(name)
        yield depth, manifest
        found = parallel(
            lambda p: store.manifest_of_run(p.artefact, date.fromisoformat(p.partition), p.run), manifest.parents
        )
        for parent, parent_manifest in reversed(list(zip(manifest.parents, found, strict=True))):
            if parent_manifest is None:
                raise CorruptArtefact(f"{manifest.folder}: parent {parent.artefact} dt={parent.partition} is gone")
            stack.append((depth + 1, parent_manifest))
