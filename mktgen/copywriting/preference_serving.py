"""Serve what was learned of wordings from MLflow: a pyfunc loader that unpickles nothing.

Input: a pandas frame with the columns `table` ("wordings") and `record` (JSON: form, language, tone, subject, body; slots stand
as {{name}}). Output: click_rate with its 95% interval (low, high), and best: the probability that it is the best of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mktgen.copywriting.preference import Preference, tone_of
from mktgen.copywriting.wording import Wording
from mktgen.errors import PermanentError

if TYPE_CHECKING:
    import pandas as pd

TABLE: Final = "wordings"
MODEL: Final = "model.npz"  # of all segments: what wordings are chosen by


class PreferenceServer:
    """What MLflow calls `predict` on. The same frame gives the same answers."""

    def __init__(self, preference: Preference) -> None:
        self._preference = preference

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises PermanentError naming the tables that were sent where they are not wordings."""
        import pandas as pd

        tables = sorted(set(model_input["table"]))
        if tables != [TABLE]:
            raise PermanentError(f"the wording model takes records of table {TABLE!r}; got {tables}")
        wordings = [_wording(json.loads(record)) for record in model_input["record"]]
        rates = self._preference.rates(wordings, seed=0)
        low, high = np.quantile(rates, [0.025, 0.975], axis=0)
        best = self._preference.best(wordings, seed=0)
        return pd.DataFrame({"click_rate": rates.mean(axis=0), "low": low, "high": high, "best": best})


def _wording(record: dict[str, Any]) -> Wording:
    return Wording(
        record["form"], record["language"], tone_of(record["tone"]), record["subject"], record["body"], "model"
    )


def _load_pyfunc(data_path: str) -> PreferenceServer:
    return PreferenceServer(Preference.from_bytes((Path(data_path) / MODEL).read_bytes()))
