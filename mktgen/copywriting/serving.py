"""Serve an adapter from MLflow: a pyfunc loader that unpickles nothing. The small model itself comes from its own package.

Input: a pandas frame with the columns `table` ("cells") and `record` (JSON: form, language, tone, slots as a list). Output:
subject, body, refused: one answer per cell, unverified wordings with the rules that they break, separated by commas.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mktgen.copywriting.llm import Embedded
from mktgen.copywriting.phrasing import Budget, faults
from mktgen.copywriting.request import Request
from mktgen.errors import PermanentError

if TYPE_CHECKING:
    import pandas as pd

TABLE = "cells"
ADAPTER = "adapter.gguf"


class CopyServer:
    """What MLflow calls `predict` on. The same frame gives the same answers."""

    def __init__(self, model: Embedded) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises PermanentError naming the tables that were sent where they are not cells, and for another language."""
        import pandas as pd

        tables = sorted(set(model_input["table"]))
        if tables != [TABLE]:
            raise PermanentError(f"the copywriter takes records of table {TABLE!r}; got {tables}")
        rows = [self._answer(json.loads(record), place) for place, record in enumerate(model_input["record"])]
        return pd.DataFrame(rows, columns=["subject", "body", "refused"])

    def _answer(self, record: dict[str, Any], seed: int) -> tuple[str, str, str]:
        request = Request.of(record["form"], record["language"], record["tone"], frozenset(record["slots"]))
        reply = self._model.write(request, seed, Budget().answer_tokens, Budget().answer_seconds)
        draft = request.parse(reply.text) if reply.text is not None else None
        if draft is None:
            return "", "", reply.trouble or "malformed"
        return draft.subject, draft.body, ",".join(faults(draft, request))


def _load_pyfunc(data_path: str) -> CopyServer:
    adapter = Path(data_path) / ADAPTER
    return CopyServer(Embedded(adapter, hashlib.sha256(adapter.read_bytes()).hexdigest()[:16]))
