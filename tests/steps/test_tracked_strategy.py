"""A strategy in MLflow: one run, its campaigns below it, and what became of it added without logging anything twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest

from mktgen import pipeline
from mktgen.documents import Approval, Strategy
from mktgen.errors import GateFailed, TransientError
from mktgen.execution import audit
from mktgen.steps import tracked_strategy
from mktgen.steps.checking import audit_day
from mktgen.steps.runner import Platform, Run
from mktgen.store import Manifest
from mktgen.tracking import STRATEGIES
from tests.execution.conftest import decision, decisions, messages_for
from tests.feedback.shop import DAY
from tests.feedback.test_effect_ledger import KNOWN, market
from tests.steps import test_effects as effects
from tests.steps.conftest import PlatformOf
from tests.steps.test_launching import BUDGET, LIVE, decided
from tests.support.any_strategy import strategy as any_strategy
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import BY, run
from tests.support.mlflow_server import free_port

SENT = {
    "source": LIVE, "strategy": BUDGET, "contact": {"consent_default": "existing_customers"},
    "execution": {"live_from": PARTITION - timedelta(days=1)},
}  # fmt: skip


@pytest.fixture
def client(mlflow_uri: str) -> Any:
    """MLflow's client; what a test logged is gone after it."""
    found = mlflow.MlflowClient(tracking_uri=mlflow_uri)
    yield found
    for one in runs(found):
        found.delete_run(one.info.run_id)


def runs(client: Any, kind: str = "") -> list[Any]:
    experiment = client.get_experiment_by_name(STRATEGIES)
    if experiment is None:
        return []
    where = f"tags.`mktgen.kind` = '{kind}'" if kind else ""
    return list(client.search_runs([experiment.experiment_id], where))


def facts(client: Any) -> list[Any]:
    """Everything that is logged, by run, with the whole history of its metrics."""
    return [
        (one.info.run_id, one.data.tags, one.data.params, {
            name: [point.value for point in client.get_metric_history(one.info.run_id, name)] for name in one.data.metrics
        })
        for one in runs(client)
    ]  # fmt: skip


def page(client: Any, run_id: str, name: str, tmp_path: Path) -> str:
    return Path(client.download_artifacts(run_id, name, str(tmp_path))).read_text()


def test_a_strategy_is_one_run_from_its_evaluation_to_its_dispatch(
    platform_of: PlatformOf, mlflow_uri: str, client: Any, tmp_path: Path
) -> None:
    platform = platform_of(mlflow_uri=mlflow_uri, **SENT)
    decided(platform)
    run(platform, "evaluate_strategy", "publish")
    manifest = platform.store.need("strategy", PARTITION)
    strategy = platform.store.read_document(manifest, Strategy)
    (logged,) = runs(client, "strategy")
    assert (logged.info.run_name, logged.info.status) == (f"strategy {PARTITION}", "FINISHED")
    tags, metrics = logged.data.tags, logged.data.metrics
    assert (tags["mktgen.status"], tags["mktgen.gates"], tags["mktgen.launch"]) == ("published", "passed", "experiment")
    assert tags["mktgen.gate.budget_worst_case"].startswith("passed: ")
    assert tags["mktgen.artefact_run"] == manifest.run
    assert "as customers will read them" in tags["mlflow.note.content"]
    assert "SIMULATED" in tags["mlflow.note.content"]
    assert metrics["budget_minor"] == strategy.allocation.budget_minor
    assert metrics["contacted"] == strategy.contacted
    assert metrics["model_auc_28d"] == strategy.evaluation.metrics["model_auc_28d"] if strategy.evaluation else 0
    assert logged.data.params["version.policy"] == strategy.versions["policy"]
    digests = {item.dataset.name: item.dataset.digest for item in logged.inputs.dataset_inputs}
    for name in ("decisions", "messages", "offer_scores"):
        assert digests[f"{name} {PARTITION}"] == platform.store.need(name, PARTITION).digest[:32]

    children = runs(client, "campaign")
    assert {one.data.params["campaign"] for one in children} == {one.campaign_id for one in strategy.campaigns}
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {logged.info.run_id}
    for one in children:
        assert (
            one.data.metrics["expected.cvr_low"]
            <= one.data.metrics["expected.cvr"]
            <= one.data.metrics["expected.cvr_high"]
        )

    pipeline.record_approval(PARTITION, True, "ana", "go <b>on</b>", platform=platform)
    pipeline.run_step("dispatch", PARTITION, platform=platform)
    (sent,) = runs(client, "strategy")
    tags = sent.data.tags
    assert (tags["mktgen.status"], tags["mktgen.answered_by"], tags["mktgen.answer_note"]) == (
        "dispatched", "ana", "go <b>on</b>",
    )  # fmt: skip
    trail = audit.verified(platform.objects, PARTITION)
    assert [entry.what for entry in trail] == ["published", "approved", "begun", "dispatched"]
    assert tags["mktgen.audit_head"] == trail[-1].hash
    assert sent.data.metrics["dispatch.contacts"] == strategy.contacted
    html = page(client, sent.info.run_id, "report.html", tmp_path)
    assert "go &lt;b&gt;on&lt;/b&gt;" in html
    assert trail[-1].hash[:12] in html

    before = facts(client)
    pipeline.record_approval(PARTITION, False, "bo", platform=platform)
    for step in ("dispatch", "evaluate_strategy", "publish"):
        assert pipeline.run_step(step, PARTITION, platform=platform).reused
    assert facts(client) == before, "logged twice"

    for entry in trail[2:]:
        platform.objects.delete(entry.key)
    assert any(
        f"MLflow run {sent.info.run_id} names an entry" in words for words in audit_day(platform, PARTITION).audit.wrong
    )


def test_a_strategy_that_a_gate_stopped_is_a_run_too(platform_of: PlatformOf, mlflow_uri: str, client: Any) -> None:
    decided(platform_of(mlflow_uri=mlflow_uri, strategy=BUDGET, source=LIVE))
    strict = platform_of(mlflow_uri=mlflow_uri, strategy=BUDGET | {"experiment_budget_share": 0.1}, source=LIVE)
    for _ in range(2):
        with pytest.raises(GateFailed, match="off_policy_value"):
            run(strict, "evaluate_strategy")
    (logged,) = runs(client, "strategy")
    assert logged.data.tags["mktgen.status"] == "stopped"
    assert logged.data.tags["mktgen.gates"] == "failed: off_policy_value"
    assert logged.data.tags["mktgen.gate.off_policy_value"].startswith("FAILED: ")


def test_without_mlflow_the_strategy_is_kept_and_logged_later(
    platform_of: PlatformOf, mlflow_uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    decided(platform_of(strategy=BUDGET, source=LIVE))
    down = platform_of(mlflow_uri=f"http://127.0.0.1:{free_port()}", strategy=BUDGET, source=LIVE)
    with pytest.raises(TransientError, match="is the server up"):
        run(down, "evaluate_strategy")
    assert down.store.need("strategy", PARTITION)
    with pytest.raises(TransientError, match="is the server up"):
        run(down, "publish")
    assert down.store.need("published", PARTITION)
    up = platform_of(mlflow_uri=mlflow_uri, strategy=BUDGET, source=LIVE)
    run(up, "evaluate_strategy", "publish")
    (logged,) = runs(client, "strategy")
    assert logged.data.tags["mktgen.status"] == "published"
    assert [entry.what for entry in audit.read(up.objects, PARTITION)] == ["published"]


def test_what_came_of_it_is_added_under_the_names_of_the_metrics(
    platform_of: PlatformOf, mlflow_uri: str, client: Any, tmp_path: Path
) -> None:
    platform = platform_of(mlflow_uri=mlflow_uri, **effects.LIVE)
    sent = market(gain=60.0)
    effects.stored(platform, sent, learned=True)
    log(platform)
    note = effects.run(platform, "judge_effects", "assess_campaigns", "measure")[-1]
    assert note == "MLflow: what came of 1 days whose contacts have matured"
    (logged,) = runs(client, "strategy")
    metrics, report = logged.data.metrics, effects.report(platform)
    for name in ("cvr", "cvr_low", "decisions_sent", "effect_predicted_minor", "effect_realised_minor_high"):
        assert metrics[name] == pytest.approx(report.metrics[name])
    assert logged.data.tags["mktgen.wave"] == str(DAY)
    (campaign,) = runs(client, "campaign")
    assert campaign.data.metrics["cvr"] == pytest.approx(metrics["cvr"])
    html = page(client, logged.info.run_id, "realised.html", tmp_path)
    for words in (f"strategy of {DAY}", str(KNOWN), "all campaigns: realised", '<text x="0" y="18">cvr</text>'):
        assert words in html
    assert ">uplift</text>" not in html, "an amount has no place on an axis of shares"
    before = facts(client)
    pipeline.run_step("measure", KNOWN, platform=platform)
    assert facts(client) == before


def log(platform: Platform) -> None:
    """A strategy of the day that was sent, approved and logged."""
    frame = decisions([decision(0)])
    write, made = platform.store.write_table, any_strategy(DAY)
    inputs: dict[str, list[Manifest]] = {
        "decisions": [platform.store.need("decisions", DAY)],
        "messages": [write("messages", DAY, messages_for(frame), BY)],
    }
    manifest = platform.store.write_document("strategy", DAY, made, BY)
    tracked_strategy.log_strategy(Run(DAY, "r", platform, inputs), {"strategy": manifest})
    answer = Approval(partition=DAY, approved=True, responder="ana", strategy_run=manifest.run)
    platform.store.write_document("approval", DAY, answer, BY)
