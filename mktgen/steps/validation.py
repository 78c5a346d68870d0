"""Judge the trained models on the frozen cut, keep them in MLflow, choose the champions."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final, TypedDict

import polars as pl

from mktgen import models
from mktgen.contracts import VALIDATION_CUSTOMERS, VALIDATION_RANKING
from mktgen.documents import Gate, ModelEntry, ModelSet, Promotion, TaskPromotion
from mktgen.evaluation import classification, promotion, ranking, sameness, spend
from mktgen.evaluation.floor import untrained_floor
from mktgen.features.training import LABELS, SPEND, labels
from mktgen.models.base import History, Model
from mktgen.settings import Settings
from mktgen.steps import honesty
from mktgen.steps.data import days_between
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.worlds import RANK_DEPTH, Around, around, around_reads, history_at, sample_customers, scored
from mktgen.store import Manifest

_WEEK: Final = 7  # days that a ranking is made for


# -- validate -----------------------------------------------------------------------------------------------------------
def validate_reads(training: date, platform: Platform) -> list[Read]:
    first, last = platform.source.first_day, training - timedelta(days=1)
    lines = Read("order_lines", days_between(first, last), True, "clean")
    names = ("models", "trained_models", "redemption_holdout", "sample_scores")
    return [*(Read(name, (training,), True, "train") for name in names), lines, *around_reads(first, last, platform)]


@dataclass(frozen=True)
class Week:
    """What was known before a cut, and what customers bought in the week from it on."""

    history: History
    customers: list[str]
    truth: pl.DataFrame  # customer_id, item_id bought in the 7 days from the cut
    before: pl.DataFrame  # customer_id, item_id bought before it

    def judged(self, rankings: pl.DataFrame) -> pl.DataFrame:
        return ranking.per_customer(rankings, self.truth, self.before)


@dataclass(frozen=True)
class Judgement(Week):
    """A week with what customers did in the 28 days from its cut on."""

    outcomes: pl.DataFrame  # customer_id, purchased_7d, purchased_28d, spend_28d_minor


@dataclass(frozen=True)
class Answers:
    """What a model says at a cut, and its figures. None where the kind lacks the task.

    rankings, chances, amounts: as Model gives them. ranked: ranking.per_customer's frame.
    """

    metrics: dict[str, float]
    rankings: pl.DataFrame | None = None
    ranked: pl.DataFrame | None = None
    chances: pl.DataFrame | None = None
    amounts: pl.DataFrame | None = None


@dataclass
class _Judged:
    """One model on the frozen cut: answers joined to what happened, and gates."""

    entry: ModelEntry
    metrics: dict[str, float]
    ranked: pl.DataFrame | None
    chances: pl.DataFrame | None
    gates: list[Gate]


def validate(run: Run) -> Outcome:
    """Figures of every kind on the same frozen days, and the gates that say whether they can be believed.

    Purchase, churn and spend are foretold once, at the cut. Items are ranked anew at the start of each week of the frozen
    window, with what was known by then, by the model as it was trained before the window: one week alone can't tell kinds
    that are nearly as good apart.
    """
    trained, lines = run.document("trained_models", ModelSet), run.table("order_lines")
    frozen = judgement_at(lines, trained.evaluation_from, run.settings, around(run))
    starts = days_between(trained.evaluation_from, trained.evaluation_to - timedelta(days=_WEEK - 1))[_WEEK::_WEEK]
    later = [week_at(lines, start, run.settings, around(run)) for start in starts]
    among = _worlds(run, trained.evaluation_from)
    in_memory = run.table("sample_scores")
    judged = [_judge(run, entry, frozen, later, among, in_memory.filter(kind=entry.kind)) for entry in trained.models]
    rankings = {one.entry.kind: one.ranked for one in judged if one.ranked is not None}
    customers = {one.entry.kind: one.chances for one in judged if one.chances is not None}
    untrained = {entry.kind for entry in trained.models if entry.untrained}
    entries, notes, settings = [], [], run.settings
    for one in judged:
        kind, gates = one.entry.kind, [*one.entry.gates, *one.gates]
        if one.ranked is not None:
            gates.append(
                untrained_floor(kind, rankings, untrained, resamples=settings.models.bootstrap, seed=settings.seed)
            )
        entries.append(one.entry.model_copy(update={"metrics": one.metrics, "gates": gates}))
        notes.append(_note(entries[-1]))
    return Outcome(
        tables={
            "validation_ranking": _stack(rankings, VALIDATION_RANKING.columns),
            "validation_customers": _stack(customers, VALIDATION_CUSTOMERS.columns),
        },
        documents={"model_set": trained.model_copy(update={"models": entries})},
        notes=notes,
    )


def answers(model: Model, at: Judgement) -> Answers:
    """Ask a model for everything it can say of the customers, and measure it."""
    metrics: dict[str, float] = {}
    rankings = ranked = chances = amounts = None
    if "ranking" in model.tasks:
        rankings = model.rank(at.history, at.customers, RANK_DEPTH)
        ranked = at.judged(rankings)
        metrics |= ranking.summary(ranked)
    if "customer" in model.tasks:
        chances = model.probabilities(at.history, at.customers)
        metrics |= classification.customer_task(chances, at.outcomes)
    if "spend" in model.tasks:
        amounts = model.spend(at.history, at.customers)
        metrics |= spend.summary(amounts, at.outcomes)
    return Answers(metrics, rankings, ranked, chances, amounts)


def _judge(
    run: Run,
    entry: ModelEntry,
    frozen: Judgement,
    later: list[Week],
    among: honesty.Worlds,
    in_memory: pl.DataFrame,
) -> _Judged:
    model = load_model(run, entry.kind)
    said, ours = answers(model, frozen), pl.col("customer_id").is_in(among.customers)
    validated = sameness.stacked(
        *(each.filter(ours) if each is not None else None for each in (said.rankings, said.chances, said.amounts))
    )
    alone = replace(frozen.history, events=frozen.history.events.filter(ours))
    again = scored(model, alone, among.customers)
    gates = honesty.gates_of(model, among, honesty.Known(in_memory.drop("kind"), validated, again))
    chances = said.chances.join(frozen.outcomes, on="customer_id") if said.chances is not None else None
    if said.ranked is None:
        return _Judged(entry, said.metrics, None, chances, gates)
    further = (week.judged(model.rank(week.history, week.customers, RANK_DEPTH)) for week in later)
    ranked = ranking.mean_of_weeks([said.ranked, *further])
    return _Judged(entry, said.metrics | ranking.summary(ranked), ranked, chances, gates)


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


def week_at(lines: pl.DataFrame, cut: date, settings: Settings, known: Around) -> Week:
    """What rankings are judged on at a cut; `lines` (contracts.ORDER_LINES) must go on for 7 days from it."""
    history = history_at(lines, cut, settings.features)
    active = history.features.filter(pl.col("recency_days") <= settings.features.active_days)
    week = pl.col("business_date").is_between(cut, cut + timedelta(days=_WEEK - 1))
    goods = lines.filter("merchandise").select("customer_id", "item_id", "business_date")
    return Week(
        history=known.told(history),
        customers=active["customer_id"].to_list(),
        truth=goods.filter(week).select("customer_id", "item_id").unique().sort("customer_id", "item_id"),
        before=goods.filter(pl.col("business_date") < cut).select("customer_id", "item_id").unique(),
    )


def judgement_at(lines: pl.DataFrame, cut: date, settings: Settings, known: Around) -> Judgement:
    """What models are judged on at a cut; `lines` (contracts.ORDER_LINES) must go on for 28 days from it."""
    week = week_at(lines, cut, settings, known)
    after = pl.DataFrame({"customer_id": week.customers}, schema={"customer_id": pl.String}).join(
        labels(lines, cut), on="customer_id", how="left", maintain_order="left"
    )
    outcomes = after.with_columns(pl.col(LABELS).fill_null(False), pl.col(SPEND).fill_null(0))
    return Judgement(week.history, week.customers, week.truth, week.before, outcomes)


def _stack(frames: dict[str, pl.DataFrame], columns: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=columns)
    named = [frame.with_columns(pl.lit(kind).alias("kind")).select(list(columns)) for kind, frame in frames.items()]
    return pl.concat([empty, *named]).sort("kind", "customer_id")


def load_model(run: Run, kind: str, trained_on: date | None = None) -> Model:
    """A trained model from the `models` artefact of the run's inputs: of the last of its days, or of the one named."""
    entry = trained_model(run, kind, trained_on)
    manifest = _of_day(run.inputs["models"], trained_on)
    with tempfile.TemporaryDirectory(prefix="mktgen-model-") as place:
        root = Path(place)
        for name, body in run.platform.store.read_files(manifest, f"{entry.directory}/").items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return models.model_class(kind).load(root / entry.directory)


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
