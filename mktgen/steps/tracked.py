"""What training leaves in MLflow: a run and versions per model, and the aliases. Idempotent, so done on every run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from mktgen import config, models
from mktgen.documents import ModelEntry, ModelSet, Promotion
from mktgen.evaluation.classification import churn_reliability
from mktgen.evaluation.redemption_calibration import redemption_metrics
from mktgen.model_run import Input, ModelRun
from mktgen.steps.runner import Run
from mktgen.steps.training import REDEMPTION, speed_key
from mktgen.store import Manifest, sha256
from mktgen.strategy.redemption import RedemptionModel

if TYPE_CHECKING:
    from mktgen.tracking import Tracking

NOT_TRACKED = "MLflow is not configured (MLFLOW_TRACKING_URI): models are on S3 only"


def log_models(run: Run, written: dict[str, Manifest]) -> list[str]:
    """One MLflow run and its registered versions for each model of the training day, once."""
    uri, store = run.platform.environment.mlflow_uri, run.platform.store
    if not uri:
        return [NOT_TRACKED]
    from mktgen import tracking  # late: mlflow takes seconds to import

    server = tracking.connect(uri)
    trained = store.read_document(written["model_set"], ModelSet)
    customers = store.read_table(written["validation_customers"])
    inputs = _inputs(run)
    comparison = {entry.kind: entry.metrics for entry in trained.models}
    made = 0
    for entry in trained.models:
        with tempfile.TemporaryDirectory(prefix="mktgen-log-") as place:
            logged = server.log_model_run(
                ModelRun(
                    entry=with_speeds(entry, _speeds(run, entry.kind)),
                    tasks=frozenset(models.model_class(entry.kind).tasks),
                    description=(models.model_class(entry.kind).__doc__ or entry.kind).strip(),
                    directory=_download(run, entry, Path(place)),
                    artefact_run=run.inputs["models"][-1].run,
                    training_partition=run.day,
                    evaluation_from=trained.evaluation_from,
                    evaluation_to=trained.evaluation_to,
                    inputs=inputs,
                    comparison=comparison,
                    reliability=_reliability(customers, entry.kind),
                    git_commit=config.git_commit() or None,
                    notice=run.platform.source.notice,
                    packages=models.model_class(entry.kind).packages,
                )
            )
        made += logged.created
    made += _log_redemption(run, server, trained)
    return [f"MLflow: {made} models logged, {len(trained.models) + 1 - made} found"]


def _log_redemption(run: Run, server: Tracking, trained: ModelSet) -> bool:
    """The redemption model: judged on campaigns that its recipe had not seen. One recipe, so there is no champion."""
    held_out = run.table("redemption_holdout")
    model = RedemptionModel.from_bytes(run.files("models", f"{REDEMPTION}/")[f"{REDEMPTION}/model.json"])
    entry = ModelEntry(
        kind=REDEMPTION,
        directory=REDEMPTION,
        metrics={**redemption_metrics(held_out), "trained_on": float(model.trained_on)},
        parameters={"recipe": model.kind, "note": model.note},
    )
    with tempfile.TemporaryDirectory(prefix="mktgen-log-") as place:
        logged = server.log_model_run(
            ModelRun(
                entry=entry,
                tasks=frozenset({"redemption"}),
                description=(RedemptionModel.__doc__ or "").strip(),
                directory=_download(run, entry, Path(place)),
                artefact_run=run.inputs["models"][-1].run,
                training_partition=run.day,
                evaluation_from=trained.evaluation_from,
                evaluation_to=trained.evaluation_to,
                inputs=_inputs(run),
                git_commit=config.git_commit() or None,
                notice=run.platform.source.notice,
                loader="mktgen.strategy.serving",
            )
        )
    return logged.created


def _speeds(run: Run, kind: str) -> dict[str, list[float]]:
    raw = run.platform.objects.get(speed_key(run.inputs["models"][-1].run, kind))
    return {} if raw is None else dict(json.loads(raw))


def with_speeds(entry: ModelEntry, speeds: Mapping[str, list[float]]) -> ModelEntry:
    """The entry as it is logged: how fast it was trained among its metrics (`training.*`, means) and its curves."""
    metrics = {f"training.{name}": sum(values) / len(values) for name, values in speeds.items() if values}
    curves = {name: values for name, values in speeds.items() if len(values) > 1}
    return entry.model_copy(update={"metrics": entry.metrics | metrics, "curves": entry.curves | curves})


def _download(run: Run, entry: ModelEntry, place: Path) -> Path:
    for name, body in run.files("models", f"{entry.directory}/").items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return place / entry.directory


def _inputs(run: Run) -> list[Input]:
    """What was learned from and judged on: order lines, one dataset each with a digest over its days, and attributes."""
    trained = run.document("trained_models", ModelSet)
    cut = trained.evaluation_from.isoformat()
    lines = run.inputs["order_lines"]
    parts = {
        "training": [manifest for manifest in lines if manifest.partition < cut],
        "evaluation": [manifest for manifest in lines if manifest.partition >= cut],
    }
    about = [
        Input(
            name=f"{manifest.artefact} of {manifest.partition}",
            uri=run.platform.objects.uri(manifest.folder),
            sha256=manifest.digest,
            context="training",
            rows=manifest.rows,
        )
        for name in ("items", "customers")
        for manifest in run.inputs.get(name, [])
    ]
    timed = [("order_lines", days, context) for context, days in parts.items()]
    timed.append(("item_promotions", run.inputs.get("item_promotions", []), "training"))
    return about + [_over_days(run, name, days, context) for name, days, context in timed if days]


def _over_days(run: Run, name: str, days: list[Manifest], context: str) -> Input:
    return Input(
        name=f"{name} {days[0].partition} to {days[-1].partition}",
        uri=f"{run.platform.objects.uri(name)}/dt={days[0].partition}..{days[-1].partition}",
        sha256=sha256("".join(manifest.digest for manifest in days).encode()),
        context=context,
        rows=sum(manifest.rows for manifest in days),
    )


def _reliability(customers: pl.DataFrame, kind: str) -> pl.DataFrame | None:
    ours = customers.filter(pl.col("kind") == kind)
    return churn_reliability(ours, ours.select("customer_id", "purchased_7d", "purchased_28d")) if ours.height else None


def move_aliases(run: Run, written: dict[str, Manifest]) -> list[str]:
    """champion, challenger and rollback as the comparison decided; an older training day moves nothing."""
    uri = run.platform.environment.mlflow_uri
    if not uri:
        return [NOT_TRACKED]
    from mktgen import tracking  # late: mlflow takes seconds to import

    promotion = run.platform.store.read_document(written["promotion"], Promotion)
    models_run = run.platform.store.need("models", run.day).run
    moves = tracking.connect(uri).promote(promotion, models_run)
    return [f"MLflow {move.name}: {'moved' if move.moved else 'unchanged'} {move.aliases}" for move in moves]
