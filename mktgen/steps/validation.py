"""Judge the trained models on the frozen cut, keep them in MLflow, choose the champions."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from mktgen import features, models
from mktgen.contracts import VALIDATION_CUSTOMERS, VALIDATION_RANKING
from mktgen.documents import ModelSet, Promotion
from mktgen.evaluation import classification, promotion, ranking
from mktgen.features.training import labels
from mktgen.models.base import History, Model
from mktgen.steps.data import days_between
from mktgen.steps.runner import Outcome, Platform, Read, Run

RANK_DEPTH = 20  # items per customer, seen and unseen apart, that the metrics look at


# -- validate -----------------------------------------------------------------------------------------------------------
def validate_reads(training: date, platform: Platform) -> list[Read]:
    first, last = platform.source.first_day, training - timedelta(days=1)
    lines = Read("order_lines", days_between(first, last), True, "clean")
    trained = [Read(name, (training,), True, "train") for name in ("models", "trained_models", "redemption_holdout")]
    return [*trained, lines]


@dataclass(frozen=True)
class Judgement:
    """The frozen evaluation data: what was known before the cut, and what customers then did."""

    history: History
    customers: list[str]
    truth: pl.DataFrame  # customer_id, item_id bought in the 7 days from the cut
    before: pl.DataFrame  # customer_id, item_id bought before it
    outcomes: pl.DataFrame  # customer_id, purchased_7d, purchased_28d


def validate(run: Run) -> Outcome:
    trained, frozen = run.document("trained_models", ModelSet), _frozen(run)
    entries, rankings, customers, notes = [], [], [], []
    for entry in trained.models:
        model = load_model(run, entry.directory, entry.kind)
        metrics: dict[str, float] = {}
        if "ranking" in model.tasks:
            ranked = model.rank(frozen.history, frozen.customers, RANK_DEPTH)
            scored = ranking.per_customer(ranked, frozen.truth, frozen.before)
            metrics |= ranking.summary(scored)
            rankings.append(scored.with_columns(pl.lit(entry.kind).alias("kind")))
        if "customer" in model.tasks:
            chances = model.probabilities(frozen.history, frozen.customers)
            metrics |= classification.customer_task(chances, frozen.outcomes)
            joined = chances.join(frozen.outcomes, on="customer_id")
            customers.append(joined.with_columns(pl.lit(entry.kind).alias("kind")))
        entries.append(entry.model_copy(update={"metrics": metrics}))
        notes.append(f"{entry.kind}: " + ", ".join(f"{name} {metrics[name]:.4f}" for name in _SHOWN if name in metrics))
    return Outcome(
        tables={
            "validation_ranking": _stack(rankings, VALIDATION_RANKING.columns),
            "validation_customers": _stack(customers, VALIDATION_CUSTOMERS.columns),
        },
        documents={"model_set": trained.model_copy(update={"models": entries})},
        notes=notes,
    )


_SHOWN = (
    "ranking.ndcg_at_10",
    "ranking.recall_at_10",
    "ranking.novel.recall_at_10",
    "churn_28d.auc",
    "churn_28d.log_loss",
)


def _frozen(run: Run) -> Judgement:
    trained, lines, settings = run.document("trained_models", ModelSet), run.table("order_lines"), run.settings.features
    cut = trained.evaluation_from
    known = lines.filter(pl.col("business_date") < cut)
    state = features.fold(features.empty_state(), known, cut - timedelta(days=1), settings)
    facts = features.customer_features(state, cut)
    active = facts.filter(pl.col("recency_days") <= settings.active_days)
    week = pl.col("business_date").is_between(cut, cut + timedelta(days=6))
    after = active.select("customer_id").join(labels(lines, cut), on="customer_id", how="left", maintain_order="left")
    goods = lines.filter("merchandise").select("customer_id", "item_id", "business_date")
    return Judgement(
        history=History(cut, state.sequences, facts, features.item_features(state, cut)),
        customers=active["customer_id"].to_list(),
        truth=goods.filter(week).select("customer_id", "item_id").unique().sort("customer_id", "item_id"),
        before=goods.filter(pl.col("business_date") < cut).select("customer_id", "item_id").unique(),
        outcomes=after.with_columns(pl.col("purchased_7d", "purchased_28d").fill_null(False)),
    )


def _stack(frames: list[pl.DataFrame], columns: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=columns)
    return pl.concat([empty, *(frame.select(list(columns)) for frame in frames)]).sort("kind", "customer_id")


def load_model(run: Run, directory: str, kind: str) -> Model:
    """A trained model from the `models` artefact of the run's inputs."""
    with tempfile.TemporaryDirectory(prefix="mktgen-model-") as place:
        root = Path(place)
        for name, body in run.files("models", f"{directory}/").items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return models.model_class(kind).load(root / directory)


# -- promote ------------------------------------------------------------------------------------------------------------
def promote_reads(training: date, platform: Platform) -> list[Read]:
    earlier = [day for day in platform.store.partitions("promotion") if day < training][-1:]
    names = ("model_set", "validation_ranking", "validation_customers")
    judged = [Read(name, (training,), True, "validate") for name in names]
    return [*judged, Read("promotion", tuple(earlier), required=False)]


def promote(run: Run) -> Outcome:
    """A challenger replaces the incumbent kind only if it wins on the same frozen cut with an interval above 0."""
    settings = run.settings.models
    previous = run.document("promotion", Promotion) if run.has("promotion") else None
    by_ranking = _by_kind(run.table("validation_ranking"))
    by_customer = _by_kind(run.table("validation_customers"))
    outcomes = next(iter(by_customer.values())).select("customer_id", "purchased_7d", "purchased_28d")
    first = settings.initial_champion
    chosen = Promotion(
        training_partition=run.day,
        ranking=promotion.promote_ranking(
            by_ranking, previous.ranking.champion if previous else first,
            resamples=settings.bootstrap, seed=run.settings.seed,
        ),
        customer=promotion.promote_customer(
            by_customer, outcomes, previous.customer.champion if previous else first,
            resamples=settings.bootstrap, seed=run.settings.seed,
        ),
    )  # fmt: skip
    notes = [f"{task.task}: {task.reason}" for task in (chosen.ranking, chosen.customer)]
    return Outcome(documents={"promotion": chosen}, notes=notes)


def _by_kind(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = frame.partition_by("kind", as_dict=True, include_key=False, maintain_order=True)
    return {str(key[0]): part for key, part in sorted(parts.items(), key=lambda pair: str(pair[0]))}
