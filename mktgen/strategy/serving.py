"""Serve the redemption model from MLflow: a pyfunc loader that unpickles nothing.

Input: a pandas frame with the columns `table` ("mailings") and `record` (JSON of one row of mailings.MAILINGS, dates as
ISO). Output: p_redeem, p_redeem_low, p_redeem_high, one row for each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mktgen.errors import PermanentError
from mktgen.strategy.mailings import MAILINGS
from mktgen.strategy.redemption import RedemptionModel

if TYPE_CHECKING:
    import pandas as pd

TABLE = "mailings"


class RedemptionServer:
    """What MLflow calls `predict` on."""

    def __init__(self, model: RedemptionModel) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises PermanentError naming the tables that were sent where they are not mailings."""
        tables = sorted(set(model_input["table"]))
        if tables != [TABLE]:
            raise PermanentError(f"the redemption model takes records of table {TABLE!r}; got {tables}")
        rows = [json.loads(record) for record in model_input["record"]]
        dates = [name for name, dtype in MAILINGS.items() if dtype == pl.Date]
        loose = {name: pl.String if name in dates else dtype for name, dtype in MAILINGS.items()}
        frame = pl.DataFrame(rows, schema=loose).with_columns(pl.col(dates).str.to_date("%Y-%m-%d"))
        return self._model.predict(frame).to_pandas()


def _load_pyfunc(data_path: str) -> RedemptionServer:
    return RedemptionServer(RedemptionModel.from_bytes((Path(data_path) / "model.json").read_bytes()))
