"""The honesty gates of a trained model: nothing of the future, no matter of row order, the same in training as in serving.

A sample of customers makes a small shop of its own. Its past is taken to the cut in several ways that must not matter, and
each model scores it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from mktgen import features
from mktgen.documents import Gate
from mktgen.evaluation import sameness
from mktgen.evaluation.corruption import corrupt_future, reordered
from mktgen.evaluation.sameness import Finding
from mktgen.features.state import history_events
from mktgen.models.base import History, Model
from mktgen.settings import Settings
from mktgen.steps.worlds import TABLES, Fold, day_by_day, history_at, scored, training_tables


@dataclass(frozen=True)
class Worlds:
    """The sample's past in ways that must not matter, and what was found of its tables, by gate.

    one_pass: as validation takes it. other_future: the same, of lines that are falsified from the cut on. future_left_in:
    one_pass with that future among its events. other_order: of lines in another order. daily: as the daily steps take it.
    """

    customers: list[str]
    one_pass: History
    other_future: History
    future_left_in: History
    other_order: History
    daily: History
    tables: dict[str, list[Finding]]


@dataclass(frozen=True)
class Known:
    """Scores (sameness.SCORES) from elsewhere. in_memory: by the model that `train` held, on one_pass of the sample.

    validated: the sample's, as they were scored among all customers; again: the same, scored without the others.
    """

    in_memory: pl.DataFrame
    validated: pl.DataFrame
    again: pl.DataFrame


def worlds(
    lines: pl.DataFrame,
    customers: list[str],
    cut: date,
    first_day: date,
    settings: Settings,
    in_one_pass: Fold = features.fold,
    daily: Fold = features.fold,
) -> Worlds:
    """`lines`: contracts.ORDER_LINES from `first_day` on, past the cut; those of other customers are left out.

    `in_one_pass`, `daily`: how a state takes in lines, on validation's way and on the daily steps' way.
    """
    ours = lines.filter(pl.col("customer_id").is_in(customers))
    corrupted, shuffled = corrupt_future(ours, cut, settings.seed), reordered(ours, settings.seed)
    one_pass, other_future, other_order = (
        history_at(part, cut, settings.features, in_one_pass) for part in (ours, corrupted, shuffled)
    )
    late = history_events(corrupted.filter(pl.col("business_date") >= cut))
    events = pl.concat([one_pass.events, late]).sort("customer_id", "event_time", "order_id", "item_id")
    learnt, *others = (training_tables(part, cut, first_day, settings) for part in (ours, corrupted, shuffled))
    future = [
        _same("tables with another future", one_pass, other_future),
        sameness.same_tables("training tables with it", learnt, others[0]),
    ]
    tables = {
        "point_in_time": future if late.height else [],
        "row_order": [
            _same("tables from rows in another order", one_pass, other_order),
            sameness.same_tables("training tables from them", learnt, others[1]),
        ],
    }
    last = learnt["examples"]["cut"].max()
    assert isinstance(last, date)
    by_day = day_by_day(ours, (last, cut), settings.features, daily)
    tables["training_serving_skew"] = _skew(learnt, one_pass, by_day[last], by_day[cut], settings)
    left_in = History(cut, events, one_pass.features, one_pass.items)
    return Worlds(customers, one_pass, other_future, left_in, other_order, by_day[cut], tables)


def _same(what: str, expected: History, found: History) -> Finding:
    one, two = ({name: getattr(history, name) for name in TABLES} for history in (expected, found))
    return sameness.same_tables(what, one, two)


def _skew(
    learnt: dict[str, pl.DataFrame], one_pass: History, earlier: History, daily: History, settings: Settings
) -> list[Finding]:
    """Training's tables against the daily steps': features at the last labelled cut, sequences and items at the cut."""
    labelled = learnt["examples"].filter(pl.col("cut") == earlier.cut).select(earlier.features.columns)
    active = earlier.features.filter(pl.col("recency_days") <= settings.features.active_days)
    bounded = learnt["events"].group_by("customer_id", maintain_order=True).tail(settings.features.sequence_events)
    return [
        sameness.same_tables(
            "training's tables against those of the daily steps",
            {"examples": labelled, "events": bounded.select(daily.events.columns), "items": learnt["items"]},
            {"examples": active, "events": daily.events, "items": daily.items},
        ),
        _same("one pass against day by day", one_pass, daily),
    ]


def gates_of(model: Model, among: Worlds, known: Known) -> list[Gate]:
    """The three gates of one stored and loaded model."""

    def score(history: History) -> pl.DataFrame:
        return scored(model, history, among.customers)

    base, future = score(among.one_pass), among.tables["point_in_time"]
    if future:
        future = [
            *future,
            sameness.same_scores("scores with another future", base, score(among.other_future)),
            sameness.same_scores("scores with it among the events", base, score(among.future_left_in)),
        ]
    order = sameness.same_scores("scores from rows in another order", base, score(among.other_order))
    skew = [
        sameness.close_scores("in memory against stored, on daily tables", known.in_memory, score(among.daily)),
        sameness.close_scores("validated among all against scored again", known.validated, known.again),
    ]
    return [
        sameness.gate("point_in_time", future),
        sameness.gate("row_order", [*among.tables["row_order"], order]),
        sameness.gate("training_serving_skew", [*among.tables["training_serving_skew"], *skew]),
    ]
