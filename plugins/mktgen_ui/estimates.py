"""The day's what-if curves."""

from __future__ import annotations

from datetime import date
from typing import Any

from mktgen.documents.what_if import WhatIf
from mktgen.store import Store

Json = dict[str, Any]


def stored(store: Store, partition: date) -> WhatIf | None:
    manifest = store.current("what_if", partition)
    return None if manifest is None else store.read_document(manifest, WhatIf)


def curves(store: Store, partition: date) -> Json | None:
    """As they are drawn: the posterior's totals come down to bounds of each point."""
    known = stored(store, partition)
    if known is None:
        return None
    drawn = known.model_dump(
        mode="json", exclude={"points": {"__all__": {"totals"}}, "without": {"__all__": {"points"}}}
    )
    for point, whole in zip(drawn["points"], known.points, strict=True):
        point["value"] = (found := whole.interval()) and found.model_dump(mode="json")
    return drawn
