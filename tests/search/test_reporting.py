"""Searches and comparisons in a real MLflow, and what they advise."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import mlflow
import pytest
from optuna.distributions import FloatDistribution

from mktgen import config
from mktgen.__main__ import main
from mktgen.documents import Interval
from mktgen.search import reporting, space
from mktgen.search.learning import TrialFailed
from mktgen.search.space import with_values
from mktgen.search.study import Answer, Question, Search, Tried
from mktgen.tracking import SEARCHES
from tests.search.conftest import DAY, SearchPlatform, forget

KIND, RATE = "gradient_boosting", "gradient_boosting.ranking.learning_rate"


@pytest.fixture
def client(mlflow_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=mlflow_uri)


def runs(client: mlflow.MlflowClient, role: str) -> list[mlflow.entities.Run]:
    experiment = client.get_experiment_by_name(SEARCHES)
    found = client.search_runs([experiment.experiment_id], f"tags.`mktgen.role` = '{role}'", max_results=1000)
    return sorted(found, key=lambda run: run.info.start_time)


def test_a_search_is_a_parent_run_with_a_child_per_trial(
    search_platform: SearchPlatform, client: mlflow.MlflowClient, mlflow_uri: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(space._RANGES, KIND, {RATE: FloatDistribution(0.05, 8.0, log=True)})
    platform, said = search_platform(mlflow_uri), list[str]()
    found = reporting.search(platform, KIND, DAY, trials=8, folds=2, timeout=None, say=said.append)
    (parent,) = runs(client, "search")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mktgen.verdict"] in said
    assert parent.data.params["folds"] == ", ".join(map(str, found.question.cuts))
    assert parent.data.params["seed"] == str(platform.settings.seed)
    assert parent.data.params[f"today.{RATE}"] == "0.1"
    contexts = [
        tag.value for item in parent.inputs.dataset_inputs for tag in item.tags if tag.key == "mlflow.data.context"
    ]
    assert sorted(contexts) == ["evaluation"] * 3 + ["training"] * 3
    assert sum(name.startswith("mktgen.input.") for name in parent.data.tags) == 6
    states = ("complete", "pruned", "failed")
    counts = {state: parent.data.metrics[f"trials.{state}"] for state in states}
    assert counts == {state: sum(one.state == state for one in found.trials) for state in states}
    assert counts["complete"]
    assert counts["failed"]

    children = runs(client, "trial")
    assert [run.data.tags["mktgen.trial"] for run in children] == [str(number) for number in range(8)]
    for run, one in zip(children, found.trials, strict=True):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["mktgen.state"] == one.state
        assert run.info.status == {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}[one.state]
        assert float(run.data.params[RATE]) == one.values[RATE]
        if one.state == "failed":
            assert "less than or equal to 1" in run.data.tags["mktgen.reason"]
            continue
        history = client.get_metric_history(run.info.run_id, "ranking.ndcg_at_10")
        assert [(point.step, point.value) for point in history] == [
            (step, fold.metrics["ranking.ndcg_at_10"]) for step, fold in enumerate(one.folds, start=1)
        ]
        assert run.data.metrics["seconds"] > 0
        assert run.data.metrics["difference"] == one.value

    best = Path(client.download_artifacts(parent.info.run_id, reporting.BEST, str(tmp_path)))
    asked = with_values(config.settings().models, found.answer.best.values)
    assert config.settings((str(best),)).models == asked
    assert "| trial | state |" in parent.data.tags["mlflow.note.content"]

    reporting.search(platform, KIND, DAY, trials=8, folds=2, timeout=None, say=said.append)
    assert [run.info.run_id for run in runs(client, "trial")] == [run.info.run_id for run in children]
    assert [run.info.run_id for run in runs(client, "search")] == [parent.info.run_id]
    forget(platform)


def test_a_comparison_shows_kinds_and_folds_in_a_table_and_in_mlflow(
    search_platform: SearchPlatform, client: mlflow.MlflowClient, mlflow_uri: str
) -> None:
    platform, said = search_platform(mlflow_uri), list[str]()
    kinds = ["popularity", "personal_frequency", "logistic_regression", "recent_spend"]
    found = reporting.crossvalidate(platform, kinds, DAY, folds=2, say=said.append)
    assert {(line.kind, line.measure) for line in found.lines} >= {
        ("popularity", "NDCG@10"), ("personal_frequency", "NDCG@10"), ("logistic_regression", "churn AUC"),
        ("recent_spend", "spend MAE"),
    }  # fmt: skip
    ranked = {line.kind: line for line in found.lines if line.measure == "NDCG@10"}
    assert ranked["personal_frequency"].mean.low > ranked["popularity"].mean.high  # customers of this shop have habits
    head = next(place for place, line in enumerate(said) if line.startswith("NDCG@10"))
    assert said[head].split()[1:3] == [str(cut) for cut in found.cuts]
    assert said[head + 1].startswith("personal_frequency")
    (parent,) = runs(client, "crossvalidation")
    assert len(parent.inputs.dataset_inputs) == 4
    children = {run.data.tags["mktgen.kind"]: run for run in runs(client, "kind")}
    assert set(children) == set(kinds)
    shown = children["personal_frequency"].data.metrics
    assert shown["mean.ranking.ndcg_at_10_low"] == ranked["personal_frequency"].mean.low
    history = client.get_metric_history(children["popularity"].info.run_id, "ranking.ndcg_at_10")
    assert [point.value for point in history] == ranked["popularity"].folds
    forget(platform)


def test_the_command_line_compares_kinds(
    search_platform: SearchPlatform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = search_platform()
    places = {
        "MKTGEN_S3_ENDPOINT": platform.environment.s3_endpoint, "MKTGEN_S3_BUCKET": platform.environment.s3_bucket,
        "MKTGEN_S3_PREFIX": platform.environment.s3_prefix, "MKTGEN_PSEUDONYM_KEY": "k" * 32, "MLFLOW_TRACKING_URI": "",
        "MKTGEN_CONFIG": "",
    }  # fmt: skip
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    common = ["--day", str(DAY), "--folds", "1"]
    assert main(["crossvalidate", "--kinds", "popularity", *common]) == 0
    assert "popularity" in capsys.readouterr().out
    assert main(["crossvalidate", "--kinds", "popularity,astrology", *common]) == 1
    assert "no model kind astrology; kinds: " in capsys.readouterr().err
    assert main(["search", "--kind", "popularity", *common]) == 1
    assert "popularity has no settings to search" in capsys.readouterr().err
    forget(platform)


# -- the advice ---------------------------------------------------------------------------------------------------------
def found(on_folds: Interval | None, later: Interval | None, failed: str = "", **others: Interval) -> Search:
    day = date(2017, 7, 2)
    question = Question(KIND, day, [day], day, {}, {}, 1, "id")
    base, best = (Tried(number, {}, "complete", [], 0.1 * number) for number in (0, 3))
    watched = {"churn AUC": SURE, "spend MAE": WORSE} | {
        name.replace("_", " "): value for name, value in others.items()
    }
    return Search(question, [base, best], Answer(best, on_folds, later, watched if on_folds else {}, failed))


SURE = Interval(value=0.02, low=0.01, high=0.03)
UNSURE = Interval(value=0.02, low=-0.01, high=0.05)
WORSE = Interval(value=-0.02, low=-0.03, high=-0.01)


def test_settings_change_only_where_the_lead_is_sure_twice_and_nothing_is_worse() -> None:
    head, *facts = reporting.verdict(found(SURE, SURE))  # a spend error that falls is no reason to stay
    assert head.startswith("Trial 3 is better than today's settings: pass best.yaml")
    assert any("+0.0200 [+0.0100, +0.0300]" in fact for fact in facts)
    for search, reason in (
        (found(UNSURE, SURE), "the interval of the best trial's lead on the folds holds 0"),
        (found(SURE, UNSURE), "the lead is not sure at the later cut"),
        (found(SURE, None, str(TrialFailed("out of memory"))), "could not be trained: out of memory"),
        (found(SURE, SURE, churn_AUC=WORSE), "churn AUC is surely worse"),
        (found(SURE, SURE, spend_MAE=SURE), "spend MAE is surely worse"),
        (found(None, None), "none of 1 others was better"),
    ):
        head, *_ = reporting.verdict(search)
        assert head.startswith("The settings should stay: ")
        assert reason in head
