"""Judge the trained models on the frozen cut, keep them in MLflow, choose the champions."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import TypedDict

import polars as pl

from mktgen import models
from mktgen.contracts import VALIDATION_CUSTOMERS, VALIDATION_RANKING
from mktgen.documents import ModelEntry, ModelSet, Promotion, TaskPromotion
from mktgen.evaluation import promotion
from mktgen.evaluation.floor import untrained_floor
from mktgen.models.base import Model
from mktgen.steps import honesty
from mktgen.steps.data import days_between
from mktgen.steps.handover import hand_over, taken_over
from mktgen.steps.judging import WEEK_DAYS, Judged, Material, judgement_at, week_at
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.workers import run_judges
from mktgen.steps.worlds import around, around_reads, sample_customers
from mktgen.store import Manifest


# -- validate -----------------------------------------------------------------------------------------------------------
def validate_reads(training: date, platform: Platform) -> list[Read]:
    first, last = platform.source.first_day, training - timedelta(days=1)
    lines = Read("order_lines", days_between(first, last), True, "clean")
    names = ("models", "trained_models", "redemption_holdout", "sample_scores")
    return [*(Read(name, (training,), True, "train") for name in names), lines, *around_reads(first, last, platform)]


def validate(run: Run) -> Outcome:
    """Figures of every kind on the same frozen days, and the gates that say whether they can be believed.

    Purchase, churn and spend are foretold once, at the cut. Items are ranked anew at the start of each week of the frozen
    window, with what was known by then, by the model as it was trained before the window: one week alone can't tell kinds
    that are nearly as good apart.
    """
    trained, settings = run.document("trained_models", ModelSet), run.settings
    with tempfile.TemporaryDirectory(prefix="mktgen-validate-") as place:
        judged = _judged(run, trained, Path(place))
    rankings = {kind: one.ranked for kind, one in judged.items() if one.ranked is not None}
    customers = {kind: one.chances for kind, one in judged.items() if one.chances is not None}
    untrained = {entry.kind for entry in trained.models if entry.untrained}
    entries, notes = [], []
    for entry in trained.models:
        one = judged[entry.kind]
        gates = [*entry.gates, *one.gates]
        if one.ranked is not None:
            gates.append(
                untrained_floor(
                    entry.kind, rankings, untrained, resamples=settings.models.bootstrap, seed=settings.seed
                )
            )
        entries.append(entry.model_copy(update={"metrics": one.metrics, "gates": gates}))
        notes.append(_note(entries[-1]))
    return Outcome(
        tables={
            "validation_ranking": _stack(rankings, VALIDATION_RANKING.columns),
            "validation_customers": _stack(customers, VALIDATION_CUSTOMERS.columns),
        },
        documents={"model_set": trained.model_copy(update={"models": entries})},
        notes=notes,
    )


def _judged(run: Run, trained: ModelSet, job: Path) -> dict[str, Judged]:
    """Every kind, judged by processes that share them out."""
    for name in ("begun", "judged", "models"):
        (job / name).mkdir()
    for entry in trained.models:
        _fetch_model(run, entry, run.inputs["models"][-1], job / "models" / entry.kind)
    run.table("sample_scores").write_parquet(job / "sample_scores.parquet")
    hand_over(job / "material", _material(run, trained))
    kinds = [entry.kind for entry in trained.models]
    run_judges(job, kinds, run.platform.environment)
    return {kind: taken_over(job / "judged" / kind, Judged) for kind in kinds}


def _material(run: Run, trained: ModelSet) -> Material:
    lines, known = run.table("order_lines"), around(run)
    frozen = judgement_at(lines, trained.evaluation_from, run.settings, known)
    last = trained.evaluation_to - timedelta(days=WEEK_DAYS - 1)
    starts = days_between(trained.evaluation_from, last)[WEEK_DAYS::WEEK_DAYS]
    later = [week_at(lines, start, run.settings, known) for start in starts]
    return Material(frozen, later, _worlds(run, trained.evaluation_from))


def _worlds(run: Run, cut: date) -> honesty.Worlds:
    lines, settings = run.table("order_lines"), run.settings
    customers = sample_customers(lines, cut, settings)
    among = honesty.worlds(lines, customers, cut, run.platform.source.first_day, settings)
    return among.told(around(run), settings.seed)


def _note(entry: ModelEntry) -> str:
    figures = ", ".join(f"{name} {entry.metrics[name]:.4f}" for name in _SHOWN if name in entry.metrics)
    failed = [gate.name for gate in entry.gates if gate.passed is False]
    unasked = [gate.name for gate in entry.gates if gate.passed is None]
    word = f"failed {', '.join(failed)}" if failed else "no gate failed" if unasked else "all gates passed"
    return f"{entry.kind}: {figures}; {word}" + (f" (nothing to ask: {', '.join(unasked)})" if unasked else "")


_SHOWN = (
    "ranking.ndcg_at_10",
    "ranking.recall_at_10",
    "ranking.novel.recall_at_10",
    "churn_28d.auc",
    "churn_28d.log_loss",
)


def _stack(frames: dict[str, pl.DataFrame], columns: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=columns)
    named = [frame.with_columns(pl.lit(kind).alias("kind")).select(list(columns)) for kind, frame in frames.items()]
    return pl.concat([empty, *named]).sort("kind", "customer_id")


def load_model(run: Run, kind: str, trained_on: date | None = None) -> Model:
    """A trained model from the `models` artefact of the run's inputs: of the last of its days, or of the one named."""
    entry, manifest = trained_model(run, kind, trained_on), _of_day(run.inputs["models"], trained_on)
    with tempfile.TemporaryDirectory(prefix="mktgen-model-") as place:
        _fetch_model(run, entry, manifest, Path(place) / kind)
        return models.model_class(kind).load(Path(place) / kind)


def _fetch_model(run: Run, entry: ModelEntry, manifest: Manifest, folder: Path) -> None:
    for name, body in run.platform.store.read_files(manifest, f"{entry.directory}/").items():
        path = folder / name.removeprefix(f"{entry.directory}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def trained_model(run: Run, kind: str, trained_on: date | None = None) -> ModelEntry:
    """What is known of a model of the run's inputs (`model_set`, or `trained_models` before it was judged)."""
    manifests = run.inputs.get("model_set") or run.inputs["trained_models"]
    trained = run.platform.store.read_document(_of_day(manifests, trained_on), ModelSet)
    return next(entry for entry in trained.models if entry.kind == kind)


def _of_day(manifests: list[Manifest], day: date | None) -> Manifest:
    return [manifest for manifest in manifests if day is None or manifest.partition == day.isoformat()][-1]


# -- promote ------------------------------------------------------------------------------------------------------------
def promote_reads(training: date, platform: Platform) -> list[Read]:
    earlier = [day for day in platform.store.partitions("promotion") if day < training][-1:]
    names = ("model_set", "validation_ranking", "validation_customers")
    judged = [Read(name, (training,), True, "validate") for name in names]
    return [*judged, Read("promotion", tuple(earlier), required=False)]


def promote(run: Run) -> Outcome:
    """A challenger replaces the incumbent kind only if it wins on the same frozen cut with an interval above 0.

    Kinds that failed a gate are no candidates. Raises GateFailed where that leaves nobody, and no champion to keep.
    """
    previous = run.document("promotion", Promotion) if run.has("promotion") else None
    by_ranking = _by_kind(run.table("validation_ranking"))
    by_customer = _by_kind(run.table("validation_customers"))
    outcomes = next(iter(by_customer.values())).select("customer_id", "purchased_7d", "purchased_28d")
    chosen = Promotion(
        training_partition=run.day,
        ranking=promotion.promote_ranking(by_ranking, **_standing(run, "ranking", previous)),
        customer=promotion.promote_customer(by_customer, outcomes, **_standing(run, "customer", previous)),
    )
    notes = [f"{task.task}: {task.reason}" for task in (chosen.ranking, chosen.customer)]
    return Outcome(documents={"promotion": chosen}, notes=notes)


class _Standing(TypedDict):
    incumbent: str
    kept_from: date | None
    barred: dict[str, str]
    resamples: int
    seed: int


def _standing(run: Run, task: promotion.Task, previous: Promotion | None) -> _Standing:
    """Where a task stood before this training day, and who is out of it."""
    settings = run.settings.models
    failed = {
        entry.kind: promotion.failed_gates(entry.gates, task) for entry in run.document("model_set", ModelSet).models
    }
    before: TaskPromotion | None = getattr(previous, task) if previous else None
    return _Standing(
        incumbent=before.champion if before else settings.initial_champion,
        kept_from=before.kept_from or previous.training_partition if before and previous else None,
        barred={kind: reasons for kind, reasons in failed.items() if reasons},
        resamples=settings.bootstrap,
        seed=run.settings.seed,
    )


def champion_days(training: date, platform: Platform) -> tuple[date, ...]:
    """The training days whose models serve: `training`, last, and before it those that a champion was kept from."""
    manifest = platform.store.current("promotion", training)
    if manifest is None:
        return (training,)
    decided = platform.store.read_document(manifest, Promotion)
    kept = {task.kept_from for task in (decided.ranking, decided.customer) if task.kept_from}
    return (*sorted(kept - {training}), training)


def _by_kind(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = frame.partition_by("kind", as_dict=True, include_key=False, maintain_order=True)
    return {str(key[0]): part for key, part in sorted(parts.items(), key=lambda pair: str(pair[0]))}
