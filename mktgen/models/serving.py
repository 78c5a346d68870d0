"""Serving a saved model through MLflow's pyfunc flavour (loader module), without MLflow or pickles in it.

A request is a `History` as a pandas frame with two String columns, `table` and `record`: every row is one row of the
history's events, features or items (contracts SEQUENCES, CUSTOMER_FEATURES, ITEM_FEATURES) or, where they are known, of
its item_attributes, customer_attributes or promotions (ITEMS, CUSTOMERS, ITEM_PROMOTIONS) as a JSON object, dates and
times in ISO 8601.
`request(history)` makes that frame. Parameters of a call:

- cut: ISO date, required; nothing dated on or after it is used
- task: "ranking", "customer" or "spend"; empty means the model's only task, or customer where it has several
- k: items per customer, seen and unseen apart (ranking), default 10

The answer is Model.rank's, Model.probabilities' or Model.spend's frame, for the customers that have a row in `features`
(or, where there is none, in `events`). `mktgen` itself must be installed where the model is served.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from mktgen import contracts
from mktgen.errors import PermanentError
from mktgen.models import model_class
from mktgen.models._files import read_meta
from mktgen.models.base import History, Model, Task

if TYPE_CHECKING:
    import pandas as pd

TABLES: Final[dict[str, contracts.Contract]] = {
    "events": contracts.SEQUENCES,
    "features": contracts.CUSTOMER_FEATURES,
    "items": contracts.ITEM_FEATURES,
    "item_attributes": contracts.ITEMS,
    "customer_attributes": contracts.CUSTOMERS,
    "promotions": contracts.ITEM_PROMOTIONS,
}
_ORDER: Final = {
    "events": ["customer_id", "event_time", "order_id", "item_id"],
    "features": ["customer_id"],
    "items": ["item_id"],
    "item_attributes": ["item_id"],
    "customer_attributes": ["customer_id"],
    "promotions": ["item_id", "week_start"],
}


class RequestError(PermanentError):
    """A request that can't be answered; the message says what to change."""


def load_model(directory: Path) -> Model:
    """Load any saved model by the `kind` in its model.json. Raises CorruptArtefact or RequestError."""
    kind = str(read_meta(directory)["kind"])
    try:
        return model_class(kind).load(directory)
    except KeyError as error:
        raise RequestError(
            f"{directory}: {error.args[0]}; serve it with the version of mktgen that trained it"
        ) from error


def request(history: History) -> pd.DataFrame:
    """The history as a request: a pandas frame with columns `table` and `record`."""
    parts = []
    for name, contract in TABLES.items():
        frame: pl.DataFrame = getattr(history, name).select(list(contract.columns))
        records = frame.write_ndjson().splitlines()
        schema = {"table": pl.String(), "record": pl.String()}
        parts.append(pl.DataFrame({"table": [name] * len(records), "record": records}, schema=schema))
    return pl.concat(parts).to_pandas()


def _history(model_input: pd.DataFrame, cut: date) -> History:
    missing = {"table", "record"} - set(model_input.columns)
    if missing:
        raise RequestError(f"the request lacks columns {sorted(missing)}; make it with mktgen.models.serving.request")
    unknown = sorted(set(model_input["table"]) - set(TABLES))
    if unknown:
        raise RequestError(f"the request names tables {unknown}; known: {sorted(TABLES)}")
    frames = {name: _table(name, model_input.loc[model_input["table"] == name, "record"].tolist()) for name in TABLES}
    frames["events"] = frames["events"].filter(pl.col("business_date") < cut)
    return History(cut, **frames)


def _table(name: str, records: list[str]) -> pl.DataFrame:
    contract = TABLES[name]
    if not records:
        return contract.empty()
    try:
        rows = [json.loads(record) for record in records]
        text = {column: _text_type(dtype) for column, dtype in contract.columns.items()}
        frame = pl.DataFrame(rows, schema=text, orient="row", strict=False)
        frame = frame.select(_parsed(column, dtype) for column, dtype in contract.columns.items())
    except (json.JSONDecodeError, pl.exceptions.PolarsError, TypeError) as error:
        raise RequestError(f"the request's {name} rows don't fit their contract: {error}") from error
    return contract.check(frame).sort(_ORDER[name])


def _text_type(dtype: Any) -> Any:
    return pl.String if dtype in (pl.Date, contracts.UTC_TIME) else dtype


def _parsed(column: str, dtype: Any) -> pl.Expr:
    if dtype == pl.Date:
        return pl.col(column).str.to_date()
    if dtype == contracts.UTC_TIME:
        return pl.col(column).str.to_datetime(time_unit="us", time_zone="UTC")
    return pl.col(column)


@dataclass(frozen=True)
class Served:
    """What MLflow calls."""

    model: Model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer a request; see the module's documentation. Raises RequestError."""
        given = dict(params or {})
        try:
            cut = date.fromisoformat(str(given.get("cut", "")))
        except ValueError:
            raise RequestError(f"parameter cut must be a date like 2017-09-03, not {given.get('cut')!r}") from None
        history = _history(model_input, cut)
        asked_in = history.features if history.features.height else history.events
        customers = asked_in["customer_id"].unique().sort().to_list()
        task = self._task(str(given.get("task") or ""))
        if task == "customer":
            return self.model.probabilities(history, customers).to_pandas()
        if task == "spend":
            return self.model.spend(history, customers).to_pandas()
        return self.model.rank(history, customers, int(given.get("k") or 10)).to_pandas()

    def _task(self, asked: str) -> Task:
        if not asked:
            return "customer" if "customer" in self.model.tasks else sorted(self.model.tasks)[0]
        for task in sorted(self.model.tasks):
            if task == asked:
                return task
        raise RequestError(f"{self.model.kind} has no task {asked!r}; it has {sorted(self.model.tasks)}")


def _load_pyfunc(data_path: str) -> Served:
    """Called by MLflow with the folder of the saved model (or, for a single file, with that file)."""
    path = Path(data_path)
    return Served(load_model(path.parent if path.is_file() else path))
