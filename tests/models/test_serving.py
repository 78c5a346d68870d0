"""Serving answers what the model answers, and says what is wrong with a request."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.errors import CorruptArtefact
from mktgen.models.logistic_regression import LogisticRegression
from mktgen.models.popularity import Popularity
from mktgen.models.recent_spend import RecentSpend
from mktgen.models.serving import RequestError, _history, _load_pyfunc, load_model, request
from mktgen.settings import ModelSettings
from tests.support.shop import Shop, make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(customers=30, items=40)


@pytest.fixture(scope="module")
def saved(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = LogisticRegression()
    model.fit(shop.training_set(CUT), ModelSettings(), session())
    directory = tmp_path_factory.mktemp("model")
    model.save(directory)
    return directory


@pytest.mark.parametrize("task", ["ranking", "customer"])
def test_served_results_equal_the_models(shop: Shop, saved: Path, task: str) -> None:
    history = shop.history(CUT)
    customers = history.features["customer_id"].to_list()
    model = LogisticRegression.load(saved)
    answer = _load_pyfunc(str(saved)).predict(request(history), {"cut": "2017-06-04", "task": task, "k": 4})
    direct = model.rank(history, customers, 4) if task == "ranking" else model.probabilities(history, customers)
    assert_frame_equal(pl.from_pandas(answer), direct, check_exact=True)


def test_rows_after_the_cut_are_left_out(shop: Shop, saved: Path) -> None:
    history = shop.history(CUT)
    served = _load_pyfunc(str(saved))
    params = {"cut": "2017-05-28", "task": "ranking", "k": 4}
    early = served.predict(request(history), params)
    assert set(early["customer_id"]) <= set(history.features["customer_id"])
    bought_late = set(shop.after(date(2017, 5, 28), 7).select("customer_id", "item_id").iter_rows())
    bought_before = set(shop.before(date(2017, 5, 28)).select("customer_id", "item_id").iter_rows())
    seen = {(row.customer_id, row.item_id) for row in early.itertuples() if row.seen}
    assert not seen & (bought_late - bought_before)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "cut must be a date"),
        ({"cut": "yesterday"}, "cut must be a date"),
        ({"cut": "2017-06-04", "task": "x"}, "no task"),
    ],
)
def test_wrong_parameters_are_explained(shop: Shop, saved: Path, params: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        _load_pyfunc(str(saved)).predict(request(shop.history(CUT)), params)


def test_wrong_rows_are_explained(shop: Shop, saved: Path) -> None:
    frame = request(shop.history(CUT))
    served = _load_pyfunc(str(saved))
    broken = frame.copy()
    broken.loc[broken["table"] == "events", "record"] = json.dumps({"customer_id": "c1", "event_time": "not a time"})
    with pytest.raises(RequestError, match="events rows"):
        served.predict(broken, {"cut": "2017-06-04"})
    with pytest.raises(RequestError, match="lacks columns"):
        served.predict(frame[["record"]], {"cut": "2017-06-04"})
    with pytest.raises(RequestError, match="names tables"):
        served.predict(frame.assign(table="secrets"), {"cut": "2017-06-04"})


def test_attributes_come_along_and_may_be_missing(shop: Shop) -> None:
    history = shop.history(CUT)
    frame = request(history)
    told = _history(frame, CUT)
    assert_frame_equal(told.item_attributes, history.item_attributes, check_exact=True)
    assert_frame_equal(told.customer_attributes, history.customer_attributes, check_exact=True)
    untold = _history(frame[~frame["table"].isin(["item_attributes", "customer_attributes"])], CUT)
    assert untold.item_attributes.height == untold.customer_attributes.height == 0
    assert_frame_equal(untold.events, told.events)


def test_spend_is_served(shop: Shop, tmp_path: Path) -> None:
    model, history = RecentSpend(), shop.history(CUT)
    model.save(tmp_path)
    given = _load_pyfunc(str(tmp_path)).predict(request(history), {"cut": CUT.isoformat()})
    expected = model.spend(history, history.features["customer_id"].to_list())
    assert_frame_equal(pl.from_pandas(given), expected)


def test_loading_refuses_what_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtefact, match="not a saved model"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text('{"kind": "oracle"}')
    with pytest.raises(RequestError, match="oracle"):
        load_model(tmp_path)
    Popularity().save(tmp_path)
    with pytest.raises(CorruptArtefact, match="expected"):
        LogisticRegression.load(tmp_path)


def test_serving_imports_no_mlflow() -> None:
    code = "import sys, mktgen.models.serving; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
