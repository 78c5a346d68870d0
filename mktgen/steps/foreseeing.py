"""What is to come: demand and customers at risk, with reasons; and how earlier forecasts did."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen import features
from mktgen.contracts import REASONS
from mktgen.documents import Faithfulness, Promotion, ReasonsCheck
from mktgen.errors import PermanentError
from mktgen.feedback import forecasts
from mktgen.foresight import churn, demand, occasions, reason_rows
from mktgen.models import reasons
from mktgen.models.base import Model
from mktgen.steps.data import days_between
from mktgen.steps.deciding import champion_reads, today
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.validation import load_model
from mktgen.steps.worlds import PLAN_DAYS, around, around_reads

_SAME: Final = 1e-4  # a score made anew is the one that was given, but for the last digits of 32 bits


# -- demand -------------------------------------------------------------------------------------------------------------
def demand_reads(day: date, platform: Platform) -> list[Read]:
    return today(("category_days",), day, "extract_features")


def forecast_demand(run: Run) -> Outcome:
    """Units by category for the 7 and 28 days after the partition."""
    cut = run.day + timedelta(days=1)
    ahead = days_between(cut, run.day + timedelta(days=max(demand.HORIZONS)))
    closed = [day for day in ahead if run.platform.source.is_closed(day)]
    table, report = demand.forecast(run.table("category_days"), cut, closed, run.settings.foresight)
    totals = {row["horizon_days"]: row for row in table.filter(pl.col("level") == "all").iter_rows(named=True)}
    notes = [f"{c.horizon_days} days: {totals[c.horizon_days]['units']:.0f} units; {c.reason}" for c in report.choices]
    return Outcome(tables={"demand_forecast": table}, documents={"demand_report": report}, notes=notes)


# -- churn --------------------------------------------------------------------------------------------------------------
def churn_reads(day: date, platform: Platform) -> list[Read]:
    return [*today(("customer_features",), day, "extract_features"), *today(("customer_scores",), day, "score")]


def warn_churn(run: Run) -> Outcome:
    """Active customers at risk, by the champion's probability and what they are worth."""
    settings = run.settings.foresight
    scores = run.table("customer_scores")
    warnings = churn.churn_warnings(run.table("customer_features"), scores, settings)
    likely = scores.filter(pl.col("p_churn_28d") >= settings.churn_from).height
    stake = warnings["expected_loss_minor"].sum() / 100
    note = f"{warnings.height} warnings, expected loss {stake:.0f} in 28 days; {likely} customers are at risk in all"
    return Outcome(tables={"churn_warnings": warnings}, notes=[note])


# -- reasons ------------------------------------------------------------------------------------------------------------
def explain_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *champion_reads(day, platform),
        *today(("item_features",), day, "extract_features"),
        *today(("customer_scores", "item_scores"), day, "score"),
        *today(("decisions",), day, "allocate"),
        *today(("churn_warnings",), day, "warn_churn"),
        *around_reads(day - timedelta(days=PLAN_DAYS), day, platform),
        Read("order_lines", days_between(platform.source.first_day, day), True, "clean"),
    ]


def explain(run: Run) -> Outcome:
    """Reasons for the items that contacted customers are shown, and for the churn warnings."""
    promotion = run.document("promotion", Promotion)
    ranker = load_model(run, promotion.ranking.champion, promotion.ranking.kept_from)
    predictor = load_model(run, promotion.customer.champion, promotion.customer.kept_from)
    lines = run.table("order_lines")
    items, item_check = _explain_items(run, ranker, lines)
    warned, churn_check = _explain_churn(run, predictor, lines)
    table = REASONS.check(pl.concat([items, warned])).sort(REASONS.key)
    check = ReasonsCheck(partition=run.day, checks=[item_check, churn_check])
    notes = [
        f"{frame.select('customer_id').n_unique()} customers explained by {model.kind}; {done.about}: without the named "
        f"events the score moves {done.named:.3f}, without as many others {done.others:.3f} ({done.targets} targets)"
        for frame, model, done in ((items, ranker, item_check), (warned, predictor, churn_check))
    ]
    return Outcome(tables={"reasons": table}, documents={"reasons_check": check}, notes=notes)


def _scene(run: Run, lines: pl.DataFrame, customers: pl.DataFrame) -> reasons.Scene:
    cut, settings = run.day + timedelta(days=1), run.settings

    def refold(left: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        state = features.fold_customers(features.empty_state(), left, run.day, settings.features)
        return state.sequences, features.customer_features(state, cut)

    own = lines.join(customers.select("customer_id").unique(), on="customer_id", how="semi")
    return reasons.Scene(cut, own, run.table("item_features"), refold, settings.models.top_k, **around(run).before(cut))


def _explain_items(run: Run, ranker: Model, lines: pl.DataFrame) -> tuple[pl.DataFrame, Faithfulness]:
    settings = run.settings.foresight
    contacted = run.table("decisions").filter(pl.col("item_ids").list.len() > 0)
    contacted = contacted.sort(["expected_value_minor", "customer_id"], descending=[True, False])
    contacted = contacted.head(settings.explained_customers).select("customer_id", "decision_id", "item_ids")
    goods = run.table("items").select("item_id", "category")
    shown = contacted.explode("item_ids", empty_as_null=True).rename({"item_ids": "item_id"}).join(goods, on="item_id")
    top = contacted.with_columns(pl.col("item_ids").list.head(settings.explained_items)).explode(
        "item_ids", empty_as_null=True
    )
    top = top.rename({"item_ids": "item_id"}).join(goods, on="item_id").select("customer_id", "item_id", "category")
    scene = _scene(run, lines, contacted)
    groups = occasions.item_occasions(scene.lines, top, settings.recent_baskets)
    found = reasons.effects(ranker, "item", scene, top, groups)
    given = run.table("item_scores").rename({"item_id": "target", "score": "given"})
    _require_the_same(run.day, found.join(given, on=["customer_id", "target"]), ranker.kind)
    named = reasons.named(found, groups, "item", settings.reasons_per_target)
    table = pl.concat([
        reason_rows.item_rhythms(shown, scene.lines, run.day, ranker.kind),
        reason_rows.event_reasons(named, groups, scene.lines, "item", ranker.kind, contacted),
    ])  # fmt: skip
    check = (settings.check_targets, run.settings.seed)
    return table, reasons.faithfulness(ranker, "item", scene, named, groups, *check)


def _explain_churn(run: Run, predictor: Model, lines: pl.DataFrame) -> tuple[pl.DataFrame, Faithfulness]:
    settings = run.settings.foresight
    warned = run.table("churn_warnings").sort("customer_id")
    targets = warned.select("customer_id", pl.lit(None, pl.String).alias("item_id"))
    scene = _scene(run, lines, warned)
    groups = occasions.visit_occasions(scene.lines, scene.cut, settings.recent_baskets)
    found = reasons.effects(predictor, "churn", scene, targets, groups)
    given = warned.select("customer_id", pl.col("p_churn_28d").alias("given"))
    _require_the_same(run.day, found.join(given, on="customer_id"), predictor.kind)
    named = reasons.named_together(predictor, scene, targets, found, groups, settings.reasons_per_target)
    table = pl.concat([
        reason_rows.visit_rhythms(warned, predictor.kind),
        reason_rows.event_reasons(named, groups, scene.lines, "churn", predictor.kind),
    ])  # fmt: skip
    check = (settings.check_targets, run.settings.seed)
    return table, reasons.faithfulness(predictor, "churn", scene, named, groups, *check)


def _require_the_same(day: date, found: pl.DataFrame, kind: str) -> None:
    """The score that is explained is the one that was given. Raises PermanentError with an example where it isn't."""
    off = found.filter((pl.col("score") - pl.col("given")).abs() > _SAME)
    if off.height:
        row = off.row(0, named=True)
        raise PermanentError(
            f"{kind} scores {row['customer_id']} {row['score']} from the order lines up to {day}, but {row['given']} was "
            f"given by score. Order lines have changed since: run extract_features and score of {day} again."
        )


# -- feedback -----------------------------------------------------------------------------------------------------------
def judge_reads(day: date, platform: Platform) -> list[Read]:
    first = day - timedelta(days=forecasts.FOLLOWED_DAYS + max(forecasts.HORIZONS) - 1)
    made = {
        name: tuple(d for d in platform.store.partitions(name) if first <= d < day)
        for name in ("demand_forecast", "churn_warnings")
    }
    return [
        *today(("category_days", "customer_days"), day, "extract_features"),
        *(Read(name, days, required=False) for name, days in made.items()),
    ]


def judge_forecasts(run: Run) -> Outcome:
    """Forecasts and warnings whose days are over, against what came."""
    sold = forecasts.demand_outcomes(run.tables_by_day("demand_forecast"), run.table("category_days"), run.day)
    stayed = forecasts.churn_outcomes(run.tables_by_day("churn_warnings"), run.table("customer_days"), run.day)
    counts = [f"{sold.filter(horizon_days=h)['forecast_on'].n_unique()} of {h} days" for h in forecasts.HORIZONS]
    notes = [f"demand forecasts that matured: {', '.join(counts)}; churn warnings: {stayed.height}"]
    return Outcome(tables={"demand_outcomes": sold, "churn_outcomes": stayed}, notes=notes)
