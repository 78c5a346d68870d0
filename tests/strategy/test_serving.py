"""The redemption model as MLflow would load and call it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from mktgen.errors import PermanentError
from mktgen.strategy.mailings import MAILINGS
from mktgen.strategy.redemption import RedemptionModel
from mktgen.strategy.serving import _load_pyfunc


def request(kinds: list[str], table: str = "mailings") -> pd.DataFrame:
    rows = []
    for number, kind in enumerate(kinds):
        row: dict[str, object] = dict.fromkeys(MAILINGS, 0)
        row |= {"customer_id": f"c{number}", "campaign_id": "1", "campaign_type": kind}
        row |= {"started_on": str(date(2017, 10, 1)), "ended_on": str(date(2017, 11, 1))}
        rows.append(
            json.dumps({name: float(value) if MAILINGS[name] == pl.Float64 else value for name, value in row.items()})
        )  # type: ignore[arg-type]
    return pd.DataFrame({"table": [table] * len(rows), "record": rows})


def test_a_loaded_model_answers_like_the_one_saved(tmp_path: Path) -> None:
    model = RedemptionModel("base_rate", "few", 10, rates={"Type A": (0.2, 0.1, 0.3), "": (0.05, 0.01, 0.1)})
    (tmp_path / "model.json").write_bytes(model.to_bytes())
    answer = _load_pyfunc(str(tmp_path)).predict(request(["Type A", "Type X"]))
    assert answer["p_redeem"].tolist() == [0.2, 0.05]
    assert answer["p_redeem_high"].tolist() == [0.3, 0.1]


def test_other_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(RedemptionModel("none", "", 0).to_bytes())
    with pytest.raises(PermanentError, match="mailings"):
        _load_pyfunc(str(tmp_path)).predict(request(["Type A"], "events"))
