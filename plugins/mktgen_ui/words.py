"""Briefs, drafts and what was learned of words: documents shown as they are stored, whichever version wrote them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from mktgen.store import Store

Json = dict[str, Any]


def stored(store: Store, artefact: str, partition: date, run: str = "") -> Json | None:
    """A day's current document, or that of a run; its hash is verified. None where there is none."""
    manifest = store.manifest_of_run(artefact, partition, run) if run else store.current(artefact, partition)
    if manifest is None:
        return None
    body: Json = json.loads(store.read_files(manifest)["document.json"])
    return body


def briefs(store: Store, partition: date, run: str) -> list[Json]:
    """Of each campaign in each language, as written with the messages of a run."""
    found = stored(store, "briefs", partition, run)
    return found["briefs"] if found else []
