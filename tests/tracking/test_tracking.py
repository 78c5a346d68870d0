"""Tracking against a real MLflow server: a run is logged once, aliases move forward, models load without pickles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import mlflow
import polars as pl
import pytest
from mlflow.exceptions import MlflowException
from polars.testing import assert_frame_equal

from mktgen import tracking
from mktgen.documents import Gate, Interval, ModelEntry, Promotion, TaskPromotion
from mktgen.evaluation import classification, ranking
from mktgen.model_run import Input, Logged, ModelRun
from mktgen.models import model_class
from mktgen.models.serving import request
from mktgen.settings import ModelSettings
from mktgen.steps import tracked
from mktgen.tracking import REGISTERED, Tracking, TrackingRefused, TrackingUnavailable
from tests.support.shop import make_shop
from tests.support.training import session

CUT = date(2017, 6, 4)
DAY = date(2017, 7, 2)
HONEST = Gate(name="point_in_time", passed=True, detail="scores with another future: 9 customers the same", value=0.0)
FLOOR = Gate(name="untrained_floor", passed=False, detail="the untrained line itself | not served")
KINDS = ("popularity", "personal_frequency", "logistic_regression", "matrix_factorisation")


@pytest.fixture(scope="module")
def connection(mlflow_uri: str) -> Tracking:
    return tracking.connect(mlflow_uri)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelRun]:
    """Models that were really trained and evaluated on the small shop."""
    shop = make_shop(customers=40, items=50)
    history, customers, outcomes = shop.history(CUT), shop.active(CUT), shop.examples(CUT)
    made: dict[str, ModelRun] = {}
    for kind in KINDS:
        model = model_class(kind)()
        report = model.fit(shop.training_set(CUT), ModelSettings(threads=1), session())
        directory = tmp_path_factory.mktemp(kind)
        model.save(directory)
        before = shop.before(CUT).select("customer_id", "item_id")
        ranked = model.rank(history, customers, 20)
        metrics = ranking.summary(ranking.per_customer(ranked, shop.truth(CUT), before))
        reliability = None
        if "customer" in model.tasks:
            probabilities = model.probabilities(history, customers)
            metrics |= classification.customer_task(probabilities, outcomes)
            reliability = classification.churn_reliability(probabilities, outcomes, bins=4)
        files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(directory.iterdir())}
        parameters = report.parameters
        entry = ModelEntry(
            kind=kind, directory=kind, metrics=metrics, parameters=parameters, curves=report.curves, files=files,
            gates=[HONEST, FLOOR] if kind == "popularity" else [HONEST],
        )  # fmt: skip
        made[kind] = ModelRun(
            entry=entry,
            tasks=frozenset(model.tasks),
            description=str(type(model).__doc__),
            directory=directory,
            artefact_run="run-1",
            training_partition=DAY,
            evaluation_from=CUT,
            evaluation_to=CUT + timedelta(days=28),
            inputs=[
                Input("sequences", "s3://shop/sequences/dt=2017-06-03/run=a/_manifest.json", "ab" * 32, "training", 9),
                Input(
                    "order_lines",
                    "s3://shop/order_lines/dt=2017-07-01/run=b/_manifest.json",
                    "cd" * 32,
                    "evaluation",
                    7,
                ),
            ],
            reliability=reliability,
            git_commit="0123abc",
        )
    comparison = {kind: run.entry.metrics for kind, run in made.items()}
    return {kind: replace(run, comparison=comparison) for kind, run in made.items()}


@pytest.fixture(scope="module")
def logged(connection: Tracking, runs: dict[str, ModelRun]) -> dict[str, Logged]:
    return {kind: connection.log_model_run(run) for kind, run in runs.items()}


@pytest.fixture
def client(mlflow_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=mlflow_uri)


def test_a_run_holds_inputs_parameters_metrics_curves_and_tags(
    client: mlflow.MlflowClient, runs: dict[str, ModelRun], logged: dict[str, Logged]
) -> None:
    for kind, run in runs.items():
        found = client.get_run(logged[kind].run_id)
        assert found.info.status == "FINISHED"
        metrics = {
            name: value for name, value in found.data.metrics.items() if not name.startswith(("curve.", "gate."))
        }
        assert metrics == pytest.approx(run.entry.metrics)
        assert found.data.params == {name: str(value) for name, value in run.entry.parameters.items()}
        assert found.data.tags["mktgen.kind"] == kind
        assert found.data.tags["mktgen.training_partition"] == "2017-07-02"
        assert found.data.tags["mktgen.artefact_run"] == "run-1"
        assert found.data.tags["mlflow.source.git.commit"] == "0123abc"
        assert found.data.tags["mktgen.input.sequences"].startswith("ab" * 32)
        facts = {item.dataset.name: {tag.key: tag.value for tag in item.tags} for item in found.inputs.dataset_inputs}
        assert facts["sequences"] == {"mlflow.data.context": "training", "mktgen.rows": "9"}
        assert facts["order_lines"] == {"mlflow.data.context": "evaluation", "mktgen.rows": "7"}
        assert {item.dataset.digest for item in found.inputs.dataset_inputs} == {"ab" * 16, "cd" * 16}
    curve = client.get_metric_history(logged["matrix_factorisation"].run_id, "curve.train.loss")
    assert [point.value for point in curve] == pytest.approx(runs["matrix_factorisation"].entry.curves["train.loss"])
    assert [point.step for point in curve] == list(range(1, len(curve) + 1))


def test_plots_and_card_are_there(client: mlflow.MlflowClient, logged: dict[str, Logged], tmp_path: Path) -> None:
    def plots(kind: str) -> set[str]:
        return {item.path for item in client.list_artifacts(logged[kind].run_id, "plots")}

    assert plots("popularity") == {"plots/ranking_comparison.png"}
    assert "plots/reliability_churn_28d.png" in plots("logistic_regression")
    assert "plots/training_curves.png" in plots("matrix_factorisation")
    card = Path(client.download_artifacts(logged["popularity"].run_id, "model_card.md", str(tmp_path))).read_text()
    assert "ranking.ndcg_at_10" in card
    assert "ab" * 32 in card


def test_gates_are_tags_metrics_a_file_and_a_part_of_the_card(
    client: mlflow.MlflowClient, logged: dict[str, Logged], tmp_path: Path
) -> None:
    run = client.get_run(logged["popularity"].run_id)
    assert run.data.tags["mktgen.gates"] == "failed: untrained_floor"
    assert run.data.tags["mktgen.gate.point_in_time"] == f"passed: {HONEST.detail}"
    assert run.data.tags["mktgen.gate.untrained_floor"] == f"FAILED: {FLOOR.detail}"
    assert run.data.metrics["gate.point_in_time"] == 0.0
    assert "gate.untrained_floor" not in run.data.metrics
    version = client.get_model_version("mktgen-ranking", logged["personal_frequency"].versions["ranking"])
    assert version.tags["mktgen.gates"] == "passed"
    files = {
        name: Path(client.download_artifacts(run.info.run_id, name, str(tmp_path))).read_text()
        for name in ("gates.json", "model_card.md")
    }
    assert [Gate.model_validate(body) for body in json.loads(files["gates.json"])] == [HONEST, FLOOR]
    assert "failed: untrained_floor. A model that failed one can't become champion." in files["model_card.md"]
    assert "| untrained_floor | FAILED | the untrained line itself / not served |" in files["model_card.md"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_version_answers_like_the_model(
    kind: str, runs: dict[str, ModelRun], logged: dict[str, Logged], mlflow_uri: str
) -> None:
    assert set(logged[kind].versions) == set(runs[kind].tasks) & REGISTERED.keys()
    history = make_shop(customers=40, items=50).history(CUT)
    served = mlflow.pyfunc.load_model(f"models:/mktgen-ranking/{logged[kind].versions['ranking']}")
    answer = served.predict(request(history), params={"cut": CUT.isoformat(), "task": "ranking", "k": 3})
    customers = history.features["customer_id"].to_list()
    direct = model_class(kind).load(runs[kind].directory).rank(history, customers, 3)
    assert_frame_equal(pl.from_pandas(answer), direct, check_exact=True)


def test_logging_again_adds_nothing(
    connection: Tracking, client: mlflow.MlflowClient, runs: dict[str, ModelRun], logged: dict[str, Logged]
) -> None:
    again = connection.log_model_run(runs["personal_frequency"])
    assert again == replace(logged["personal_frequency"], created=False)
    assert len(client.search_runs([connection.experiment_id], max_results=1000)) == len(KINDS)
    assert len(client.search_model_versions("name = 'mktgen-ranking'")) == len(KINDS)


@pytest.mark.parametrize("broken", ["_log_files", "_register", "set_tag"])
def test_an_attempt_that_ended_halfway_is_replaced(
    connection: Tracking,
    client: mlflow.MlflowClient,
    runs: dict[str, ModelRun],
    logged: dict[str, Logged],
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = replace(runs["popularity"], artefact_run=f"halfway-{broken}")

    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if broken == "set_tag":
            # Ends between the registration of the versions and the tag that completes the run.
            plain = connection._client.set_tag

            def last(run_id: str, key: str, value: str) -> None:
                if key == "mktgen.complete":
                    raise Killed
                plain(run_id, key, value)

            patch.setattr(connection._client, "set_tag", last)
        else:
            patch.setattr(connection, broken, die)
        with pytest.raises(Killed):
            connection.log_model_run(run)
    done = connection.log_model_run(run)
    assert done.created
    where = f"tags.`mktgen.artefact_run` = 'halfway-{broken}'"
    assert [found.info.run_id for found in client.search_runs([connection.experiment_id], where)] == [done.run_id]
    versions = client.search_model_versions(f"name = 'mktgen-ranking' and {where}")
    assert [str(item.version) for item in versions] == [done.versions["ranking"]]
    assert connection.log_model_run(run) == replace(done, created=False)
    client.delete_run(done.run_id)
    client.delete_model_version("mktgen-ranking", done.versions["ranking"])


def decided(task: str, incumbent: str, challenger: str, champion: str) -> TaskPromotion:
    return TaskPromotion(
        task="ranking" if task == "ranking" else "customer",
        metric="ndcg_at_10" if task == "ranking" else "auc",
        incumbent=incumbent,
        challenger=challenger,
        difference=Interval(value=0.1, low=0.05 if champion == challenger else -0.05, high=0.2, method="test"),
        champion=champion,
        reason=f"{champion} of {task}",
    )


def promotion(partition: date, ranking_champion: str) -> Promotion:
    return Promotion(
        training_partition=partition,
        ranking=decided("ranking", "personal_frequency", "matrix_factorisation", ranking_champion),
        customer=decided("customer", "personal_frequency", "logistic_regression", "personal_frequency"),
    )


def aliases(client: mlflow.MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}


def test_aliases_follow_the_comparison_and_only_move_forward(
    connection: Tracking, client: mlflow.MlflowClient, runs: dict[str, ModelRun], logged: dict[str, Logged]
) -> None:
    first = connection.promote(promotion(DAY, "personal_frequency"), "run-1")
    incumbent = logged["personal_frequency"].versions["ranking"]
    challenger = logged["matrix_factorisation"].versions["ranking"]
    assert [move.moved for move in first] == [True, True]
    assert aliases(client, "mktgen-ranking") == {"champion": incumbent, "challenger": challenger}
    tags = client.get_model_version("mktgen-ranking", challenger).tags
    assert tags["mktgen.promotion.role"] == "challenger"
    assert json.loads(tags["mktgen.promotion.difference"])["low"] == -0.05

    later = {kind: connection.log_model_run(_at(run, DAY + timedelta(days=7))) for kind, run in runs.items()}
    newer = promotion(DAY + timedelta(days=7), "matrix_factorisation")
    connection.promote(newer, "run-1")
    winner = later["matrix_factorisation"].versions["ranking"]
    assert aliases(client, "mktgen-ranking") == {"champion": winner, "rollback": incumbent}
    kept = aliases(client, "mktgen-customer")
    assert kept["champion"] == later["personal_frequency"].versions["customer"]
    assert kept["rollback"] == logged["personal_frequency"].versions["customer"]

    connection.promote(newer, "run-1")
    assert aliases(client, "mktgen-ranking") == {"champion": winner, "rollback": incumbent}
    older = connection.promote(promotion(DAY, "personal_frequency"), "run-1")
    assert not any(move.moved for move in older)
    assert "older" in older[0].reason
    assert aliases(client, "mktgen-ranking") == {"champion": winner, "rollback": incumbent}
    assert set(connection.runs_of(DAY + timedelta(days=7))) == set(KINDS)


def _at(run: ModelRun, partition: date) -> ModelRun:
    return replace(run, training_partition=partition)


def test_promoting_what_is_not_registered_is_refused(connection: Tracking, logged: dict[str, Logged]) -> None:
    with pytest.raises(TrackingRefused, match="log the models first"):
        connection.promote(promotion(DAY + timedelta(days=70), "personal_frequency"), "run-1")


def test_a_champion_that_is_kept_stays_the_version_that_it_was(
    connection: Tracking, client: mlflow.MlflowClient, runs: dict[str, ModelRun]
) -> None:
    earlier, day = DAY + timedelta(days=84), DAY + timedelta(days=91)
    versions = {}
    for at in (earlier, day):
        for kind in ("personal_frequency", "matrix_factorisation", "logistic_regression"):
            versions[at, kind] = connection.log_model_run(_at(runs[kind], at)).versions
    connection.promote(promotion(earlier, "personal_frequency"), "run-1")
    before = aliases(client, "mktgen-customer")
    assert before["champion"] == versions[earlier, "personal_frequency"]["customer"]
    decision = promotion(day, "personal_frequency")
    kept = decision.customer.model_copy(update={"kept_from": earlier})
    moves = connection.promote(decision.model_copy(update={"customer": kept}), "run-1")
    assert [move.moved for move in moves] == [True, True]
    after = aliases(client, "mktgen-customer")
    assert after == before | {"challenger": versions[day, "logistic_regression"]["customer"]}
    assert aliases(client, "mktgen-ranking")["champion"] == versions[day, "personal_frequency"]["ranking"]
    lost = decision.customer.model_copy(update={"kept_from": DAY - timedelta(days=700)})
    with pytest.raises(TrackingRefused, match="no version of personal_frequency for 2015-08-02"):
        connection.promote(decision.model_copy(update={"customer": lost}), "run-1")


def test_errors_say_whether_to_try_again(connection: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    here = mlflow.get_tracking_uri()
    try:
        with pytest.raises(TrackingUnavailable, match="is the server up"):
            tracking.connect("http://127.0.0.1:9")
    finally:
        mlflow.set_tracking_uri(here)
    with pytest.raises(TrackingRefused, match="refused to x"), tracking._errors("x"):
        connection._client.get_run("no such run")
    with pytest.raises(MlflowException):
        connection._client.get_run("no such run")


def test_a_network_s_training_is_seen_in_curves_and_speeds(
    client: mlflow.MlflowClient, mlflow_uri: str, tmp_path: Path
) -> None:
    """A Transformer that is really trained: losses, gradient norm, throughput, share of the matrix rate, and that rate."""
    shop, model = make_shop(customers=40, items=50), model_class("transformer")()
    recipe = {"width": 16, "epochs": 2, "batch_customers": 4, "events": 32, "memory_events": 32}
    report = model.fit(
        shop.training_set(CUT), ModelSettings.model_validate({"threads": 1, "transformer": recipe}), session()
    )
    model.save(tmp_path)
    entry = ModelEntry(
        kind="transformer", directory="transformer", metrics={}, parameters=report.parameters, curves=report.curves
    )
    run = ModelRun(
        entry=tracked.with_speeds(entry, {"seconds": [3.5], **report.speeds}),
        tasks=frozenset(model.tasks),
        description="",
        directory=tmp_path,
        artefact_run="curves",
        training_partition=DAY,
        evaluation_from=CUT,
        evaluation_to=CUT,
        inputs=[],
        packages=model.packages,
    )
    logged = tracking.connect(mlflow_uri, "mktgen-curves").log_model_run(run)
    found = client.get_run(logged.run_id).data
    losses, speeds = ("loss_ranking", "loss_purchase", "loss_spend"), ("events_per_second", "share_of_matrix_rate")
    shown = {
        name: [point.value for point in client.get_metric_history(logged.run_id, f"curve.{name}")]
        for name in (*losses, "gradient_norm", *speeds, "matrix_rate_gflops")
    }
    assert {len(values) for values in shown.values()} == {20}  # ten points an epoch
    assert sum(shown["loss_ranking"][-5:]) < sum(shown["loss_ranking"][:5])
    assert all(value > 0 for values in shown.values() for value in values)
    for name in speeds:
        assert found.metrics[f"training.{name}"] == pytest.approx(sum(shown[name]) / 20)
    assert found.metrics["training.matrix_rate_gflops"] > 0
    assert found.metrics["training.seconds"] == 3.5
    assert found.params["device"] == str(report.parameters["device"])
    assert [item.path for item in client.list_artifacts(logged.run_id, "plots")] == ["plots/training_curves.png"]
    client.delete_run(logged.run_id)
    for task, number in logged.versions.items():
        client.delete_model_version(REGISTERED[task], number)
