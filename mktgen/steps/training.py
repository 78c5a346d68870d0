"""Train: which training day serves a partition, the data for it, and the process that learns from it."""

from __future__ import annotations

import json
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from mktgen import features, models
from mktgen.contracts import SAMPLE_SCORES
from mktgen.documents import Gate, ModelEntry, ModelSet, RetrainingRequest, TrainingPlan
from mktgen.evaluation.leakage import label_leakage
from mktgen.features.training import LABELS, SPEND, states_at
from mktgen.settings import Settings
from mktgen.steps.data import ONBOARD, days_between
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.workers import run_workers
from mktgen.steps.worlds import TABLES, around, around_reads, history_at, sample_customers, training_tables
from mktgen.strategy import mailings, redemption

CAMPAIGN_TABLES: Final = ("campaigns", "offers", "offer_items", "exposures", "responses")
REDEMPTION: Final = "redemption"
JOB_TABLES: Final = ("events", "examples", "items")
SAMPLE: Final = "sample_"  # prefix of the tables on which the gates' customers are scored while the model is in memory


# -- which training day -----------------------------------------------------------------------------------------------
def scheduled_training(day: date, settings: Settings) -> date:
    """The last scheduled training day on or before `day`."""
    return day - timedelta(days=(day.weekday() - settings.models.retrain_weekday) % 7)


def plan_reads(day: date, platform: Platform) -> list[Read]:
    settings = platform.settings
    last = day - timedelta(days=settings.models.request_takes_effect_after_days)
    since = scheduled_training(day, settings)
    asked = [found for found in platform.store.partitions("retraining_request") if since <= found <= last]
    return [Read("retraining_request", tuple(asked), required=False)]


def train_due(run: Run) -> Outcome:
    """The scheduled training day, or the day after the newest request since then that has taken effect."""
    settings, store = run.settings, run.platform.store
    training, reason = scheduled_training(run.day, settings), "weekly schedule"
    for manifest in run.inputs["retraining_request"]:
        request = store.read_document(manifest, RetrainingRequest)
        if "behaviour" in request.models:
            training = request.partition + timedelta(days=1)
            reason = f"retraining request of {request.partition}: {'; '.join(request.reasons)}"
    plan = TrainingPlan(
        partition=run.day,
        training_partition=training,
        evaluation_from=cut_of(training, settings),
        evaluation_to=training - timedelta(days=1),
        reason=reason,
    )
    note = (
        f"training day {training} ({reason}); learns before {plan.evaluation_from}, judged until {plan.evaluation_to}"
    )
    return Outcome(documents={"training_plan": plan}, notes=[note])


def cut_of(training: date, settings: Settings) -> date:
    return training - timedelta(days=settings.models.evaluation_days)


def training_day(day: date, platform: Platform) -> date:
    """The training day of a partition, as `train_due` planned it."""
    manifest = platform.store.need("training_plan", day)
    return platform.store.read_document(manifest, TrainingPlan).training_partition


# -- learning -----------------------------------------------------------------------------------------------------------
def train_reads(training: date, platform: Platform) -> list[Read]:
    first, last = platform.source.first_day, training - timedelta(days=1)
    lines = Read("order_lines", days_between(first, last), True, ONBOARD)
    return [lines, *campaign_reads(last, platform), *around_reads(first, last, platform)]


def campaign_reads(last: date, platform: Platform) -> list[Read]:
    """Everything known of campaigns up to a day."""
    reads = []
    for name in CAMPAIGN_TABLES:
        days = tuple(day for day in platform.store.partitions(name) if day <= last)
        reads.append(Read(name, days, required=False))
    return reads


def processes(training: date, platform: Platform) -> str:
    """Gradients summed over another number of processes are other floats, so other bytes under another identity."""
    return f"processes={platform.environment.train_processes}"


def train(run: Run) -> Outcome:
    """All kinds of the behaviour experiment and the redemption model, for one training day."""
    settings = run.settings
    cut, lines = cut_of(run.day, settings), run.table("order_lines")
    with tempfile.TemporaryDirectory(prefix="mktgen-train-") as place:
        job = Path(place)
        leakage = _write_job(job, run, lines, cut)
        run_workers(job, settings.models.kinds or models.kinds(), run.platform.environment)
        files = {
            str(path.relative_to(job / "models")): path.read_bytes()
            for path in sorted((job / "models").rglob("*"))
            if path.is_file()
        }
        entries = [
            ModelEntry.model_validate_json(path.read_bytes()) for path in sorted((job / "entries").glob("*.json"))
        ]
        scores = pl.concat([SAMPLE_SCORES.empty(), *map(pl.read_parquet, sorted((job / "scores").glob("*.parquet")))])
    model, held_out = _fit_redemption(run, lines)
    files[f"{REDEMPTION}/model.json"] = model.to_bytes()
    entries = [entry.model_copy(update={"gates": [leakage]}) for entry in entries]
    trained = ModelSet(
        training_partition=run.day, evaluation_from=cut, evaluation_to=run.day - timedelta(days=1), models=entries
    )
    notes = [f"{entry.kind}: {len(entry.files)} files" for entry in entries] + [f"redemption: {model.note}"]
    notes.append(f"{leakage.name}: {leakage.detail}")
    return Outcome(
        tables={"redemption_holdout": held_out, "sample_scores": scores},
        documents={"trained_models": trained},
        files={"models": files},
        notes=notes,
    )


def clear_checkpoints(run: Run, written: object) -> list[str]:
    """A finished training needs its checkpoints no more."""
    objects = run.platform.objects
    for key in objects.keys(checkpoint_prefix(run.run_id)):
        objects.delete(key)
    return []


def checkpoint_prefix(run_id: str) -> str:
    return f"_checkpoints/{run_id}/"


def speed_key(run_id: str, kind: str) -> str:
    """How fast a kind was trained: for MLflow, and no artefact, because no two runs take the same time."""
    return f"_speeds/{run_id}/{kind}.json"


def _write_job(job: Path, run: Run, lines: pl.DataFrame, cut: date) -> Gate:
    """Everything the worker needs, in its folder; gives the gate of what it will learn from."""
    settings, first = run.settings, run.platform.source.first_day
    tables = training_tables(lines, cut, first, settings)
    customers = sample_customers(lines, cut, settings)
    sample = history_at(lines.filter(pl.col("customer_id").is_in(customers)), cut, settings.features)
    for name in JOB_TABLES:
        tables[name].write_parquet(job / f"{name}.parquet")
    known = around(run).before(cut)
    for name, frame in known.items():
        frame.write_parquet(job / f"{name}.parquet")
    for name in TABLES:
        getattr(sample, name).write_parquet(job / f"{SAMPLE}{name}.parquet")
    body = {
        "cut": cut.isoformat(),
        "seed": settings.seed,
        "checkpoints": checkpoint_prefix(run.run_id),
        "models": settings.models.model_dump(mode="json"),
        "customers": customers,
    }
    (job / "job.json").write_text(json.dumps(body, sort_keys=True))
    told = tables["examples"].drop(SPEND).join(known["customer_attributes"], on="customer_id", how="left")
    return label_leakage(told, LABELS, settings.models.max_feature_auc)


def _fit_redemption(run: Run, lines: pl.DataFrame) -> tuple[redemption.RedemptionModel, pl.DataFrame]:
    settings = run.settings
    frames = {name: run.table(name) for name in CAMPAIGN_TABLES}
    mature = mailings.campaigns_to_learn_from(frames["exposures"], frames["campaigns"], run.day)
    starts = sorted({start for start in mature["start_date"] if start > run.platform.source.first_day})
    parts = [
        features.customer_features(state, start).with_columns(pl.lit(start).alias("started_on"))
        for start, state in states_at(lines, starts, settings.features)
    ]
    empty = features.customer_features(features.empty_state(), run.day).with_columns(
        pl.lit(run.day).alias("started_on")
    )
    examples = mailings.redemption_examples(
        frames["exposures"], frames["campaigns"], frames["responses"], frames["offers"], frames["offer_items"],
        lines.filter("merchandise"), pl.concat([empty, *parts]), run.day,
    )  # fmt: skip
    return redemption.fit_redemption(examples, run.day, settings.seed)
