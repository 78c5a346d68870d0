"""Serve a response model from MLflow: a pyfunc loader that unpickles nothing.

Input: a pandas frame with the columns `table` ("customers") and `record` (JSON: customer_id and the covariates that the
model was learned with). Output: customer_id, action, effect_minor, sd, low, high, one row per customer and tried action.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mktgen.errors import PermanentError
from mktgen.response.model import ResponseModel

if TYPE_CHECKING:
    import pandas as pd

TABLE = "customers"


class ResponseServer:
    """What MLflow calls `predict` on."""

    def __init__(self, model: ResponseModel) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises PermanentError naming the tables that were sent where they are not customers; UnusableCovariates."""
        tables = sorted(set(model_input["table"]))
        if tables != [TABLE]:
            raise PermanentError(f"the response model takes records of table {TABLE!r}; got {tables}")
        rows = [json.loads(record) for record in model_input["record"]]
        return self._model.effects(pl.DataFrame(rows, infer_schema_length=None)).to_pandas()


def _load_pyfunc(data_path: str) -> ResponseServer:
    return ResponseServer(ResponseModel.from_bytes((Path(data_path) / "model.npz").read_bytes()))
