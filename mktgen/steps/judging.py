"""What a trained model says at cuts whose outcome is known, its figures, and the gates of its honesty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.documents import Gate
from mktgen.evaluation import classification, ranking, sameness, spend
from mktgen.features.training import LABELS, SPEND, labels
from mktgen.models.base import History, Model
from mktgen.settings import Settings
from mktgen.steps import honesty
from mktgen.steps.worlds import RANK_DEPTH, Around, history_at, scored

WEEK_DAYS: Final = 7  # days that a ranking is made for


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


@dataclass(frozen=True)
class Material:
    """What every kind of a training day is judged on: the frozen cut, the weeks after it, a sample's past by several ways."""

    frozen: Judgement
    later: list[Week]
    among: honesty.Worlds


@dataclass(frozen=True)
class Judged:
    """One model: its figures, the frames behind them (None where the kind lacks the task), its gates."""

    metrics: dict[str, float]
    ranked: pl.DataFrame | None
    chances: pl.DataFrame | None
    gates: list[Gate]


def judge(model: Model, material: Material, in_memory: pl.DataFrame) -> Judged:
    """`in_memory`: what the model said of the sample while `train` held it (sameness.SCORES)."""
    frozen, among = material.frozen, material.among
    said, ours = answers(model, frozen), pl.col("customer_id").is_in(among.customers)
    validated = sameness.stacked(
        *(each.filter(ours) if each is not None else None for each in (said.rankings, said.chances, said.amounts))
    )
    alone = replace(frozen.history, events=frozen.history.events.filter(ours))
    again = scored(model, alone, among.customers)
    gates = honesty.gates_of(model, among, honesty.Known(in_memory, validated, again))
    chances = said.chances.join(frozen.outcomes, on="customer_id") if said.chances is not None else None
    if said.ranked is None:
        return Judged(said.metrics, None, chances, gates)
    further = (week.judged(model.rank(week.history, week.customers, RANK_DEPTH)) for week in material.later)
    ranked = ranking.mean_of_weeks([said.ranked, *further])
    return Judged(said.metrics | ranking.summary(ranked), ranked, chances, gates)


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


def week_at(lines: pl.DataFrame, cut: date, settings: Settings, known: Around) -> Week:
    """What rankings are judged on at a cut; `lines` (contracts.ORDER_LINES) must go on for 7 days from it."""
    history = history_at(lines, cut, settings.features)
    active = history.features.filter(pl.col("recency_days") <= settings.features.active_days)
    week = pl.col("business_date").is_between(cut, cut + timedelta(days=WEEK_DAYS - 1))
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
