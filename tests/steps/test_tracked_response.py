"""A version of the response model in MLflow: logged once, aliases as the day's promotion decided, the rule beside them."""

from __future__ import annotations

import json

import mlflow
import pandas as pd
import pytest

from mktgen import pipeline
from mktgen.contracts import RESPONSE_FACTS
from mktgen.response.succession import RULE
from mktgen.steps.known import covariates
from mktgen.steps.responding import model_of
from mktgen.steps.runner import Platform
from tests.steps.conftest import PlatformOf
from tests.steps.test_responding import TODAY, features, reading, scores
from tests.steps.test_succession import DAYS, decide, tried


@pytest.fixture
def platform(platform_of: PlatformOf, mlflow_uri: str) -> Platform:
    return tried(platform_of(mlflow_uri=mlflow_uri))


def test_versions_are_logged_once_and_the_registry_says_who_serves_and_by_which_rule(
    platform: Platform, mlflow_uri: str
) -> None:
    client = mlflow.MlflowClient(tracking_uri=mlflow_uri)
    decide(platform, DAYS[0])
    note = pipeline.run_step("promote_response", DAYS[0], platform=platform).notes[-1]
    assert note == "MLflow mktgen-response: moved {'champion': '1'}"
    decide(platform, DAYS[1])
    registered = client.get_registered_model("mktgen-response")
    assert registered.tags["mktgen.rule"] == RULE
    assert registered.aliases == {"champion": "2", "rollback": "1"}
    decide(platform, DAYS[2])
    assert client.get_registered_model("mktgen-response").aliases == {
        "champion": "2",
        "rollback": "1",
        "challenger": "3",
    }
    older = pipeline.run_step("promote_response", DAYS[0], platform=platform).notes[-1]
    assert older.startswith("MLflow mktgen-response: unchanged")
    pipeline.roll_back_response("ada", "looked wrong", platform=platform)
    decide(platform, DAYS[3])
    registered = client.get_registered_model("mktgen-response")
    assert registered.aliases["champion"] == "1"
    assert "pinned to the version of" in registered.tags["mktgen.reason"]
    assert len(client.search_model_versions("name = 'mktgen-response'")) == 4

    run = client.get_run(client.get_model_version("mktgen-response", "2").run_id)
    assert run.data.tags["mktgen.role"] == "champion"
    assert run.data.metrics["gain_over_champion_high"] >= 0
    assert "learned from randomised decisions only" in run.data.tags["mlflow.note.content"]
    assert run.inputs.dataset_inputs[0].dataset.name == "trials 2017-06-11 to 2017-06-12"


def test_the_served_version_answers_as_the_loop_does(platform: Platform, mlflow_uri: str) -> None:
    decide(platform, DAYS[0])
    mlflow.set_tracking_uri(mlflow_uri)
    served = mlflow.pyfunc.load_model("models:/mktgen-response@champion")
    known = covariates(features(TODAY), scores(), RESPONSE_FACTS.empty()).head(20)
    records = pd.DataFrame({"table": "customers", "record": [json.dumps(row) for row in known.to_dicts()]})
    model = model_of(reading(platform, DAYS[0]))
    assert model is not None
    ours = model.effects(known)
    assert served.predict(records)["effect_minor"].tolist() == pytest.approx(ours["effect_minor"].to_list())
    with pytest.raises(Exception, match="takes records of table 'customers'"):
        served.predict(records.assign(table="mailings"))
