"""Adapters in MLflow: one run and version per training day, aliases as promoted; and the whole way with a real training."""

from __future__ import annotations

import json
from datetime import timedelta

import mlflow
import pandas as pd
import pytest

from mktgen import pipeline
from mktgen.documents import CopyPromotion, CopyReport, CopywriterTraining
from tests.steps.conftest import PlatformOf
from tests.steps.test_copywriter import BARE, adapter, copied, learned, offered, planned, promoted, wordings
from tests.support.campaign_world import PARTITION


def test_an_adapter_is_logged_once_and_the_registry_says_who_writes(platform_of: PlatformOf, mlflow_uri: str) -> None:
    platform, before = platform_of(mlflow_uri=mlflow_uri, copywriting=BARE), PARTITION - timedelta(days=7)
    client = mlflow.MlflowClient(tracking_uri=mlflow_uri)
    learned(platform, before, adapter(0.0))
    learned(platform, PARTITION, adapter(0.0))
    promoted(platform, before)
    found = client.get_registered_model("mktgen-copywriter")
    assert found.aliases == {"champion": "1"}
    promoted(platform, PARTITION)
    again = pipeline.run_step("promote_copywriter", PARTITION, platform=platform)
    assert again.notes[-1] == "MLflow mktgen-copywriter: moved {'challenger': '2', 'champion': '1'}"
    found = client.get_registered_model("mktgen-copywriter")
    assert found.aliases == {"champion": "1", "challenger": "2"}
    assert "cells that were kept from it" in found.tags["mktgen.rule"]
    assert len(client.search_model_versions("name = 'mktgen-copywriter'")) == 2
    run = client.get_run(client.get_model_version("mktgen-copywriter", "2").run_id)
    assert run.data.tags["mktgen.role"] == "challenger"
    assert run.data.metrics["judged.answers"] == 18
    assert run.data.metrics["verified_difference"] == 0.0
    assert [data.dataset.name for data in run.inputs.dataset_inputs] == ["wordings of the template bank"]
    served = mlflow.pyfunc.load_model("models:/mktgen-copywriter/1")
    cell = json.dumps({"form": "sms", "language": "en", "tone": "deal", "slots": ["item", "valid_to"]})
    frame = pd.DataFrame({"table": ["cells"], "record": [cell]})
    assert served.predict(frame).equals(served.predict(frame))


@pytest.mark.slow
def test_the_whole_way_with_a_real_training_comes_to_the_same_bytes_again(
    platform_of: PlatformOf, mlflow_uri: str
) -> None:
    tuning = {"steps": 24, "threads": 1}
    platform = platform_of(
        mlflow_uri=mlflow_uri,
        copywriting={"engine": "embedded", "drafts": 2, "judged_answers": 3, "min_verified": 0.05, "tuning": tuning},
    )
    planned(platform)
    offered(platform, 100)
    report = copied(platform)
    store = platform.store
    trained = store.read_document(store.need("copywriter_training", PARTITION), CopywriterTraining)
    assert trained.figures["kept_wordings_nats"] < trained.curves["likelihood"][0] - 0.5
    promotion = store.read_document(store.need("copy_promotion", PARTITION), CopyPromotion)
    assert promotion.role == "champion"
    assert report.tally.malformed == 0
    assert wordings(platform).height > 0
    assert set(wordings(platform)["language"]) == {"en"}
    assert platform.objects.keys("_checkpoints/") == []
    names = ("copywriter", "copywriter_training", "copy_promotion", "wordings", "copy_report")
    digests = [store.need(name, PARTITION).digest for name in names]
    assert copied(platform, "all") == report, "trained anew from the start"
    assert [store.need(name, PARTITION).digest for name in names] == digests
    assert store.read_document(store.need("copy_report", PARTITION), CopyReport) == report
