"""What an artefact was made from, one step back at a time."""

from __future__ import annotations

from datetime import date
from typing import Any

from mktgen.store import Manifest, Store

Json = dict[str, Any]


def origin(store: Store, artefact: str, partition: date, run: str) -> Json | None:
    manifest = store.manifest_of_run(artefact, partition, run)
    return None if manifest is None else told(manifest)


def told(manifest: Manifest) -> Json:
    """A manifest's identity and its parents, several days of one artefact together."""
    groups: dict[str, list[Json]] = {}
    for parent in manifest.parents:
        node = {"partition": parent.partition, "run": parent.run, "digest": parent.digest}
        groups.setdefault(parent.artefact, []).append(node)
    return {
        "artefact": manifest.artefact, "partition": manifest.partition, "run": manifest.run, "digest": manifest.digest,
        "rows": manifest.rows, "step": manifest.step, "code": manifest.code, "settings": manifest.config,
        "commit": manifest.info.get("git_commit", ""),
        "parents": [{"artefact": name, "of": sorted(nodes, key=lambda n: n["partition"])} for name, nodes in groups.items()],
    }  # fmt: skip
