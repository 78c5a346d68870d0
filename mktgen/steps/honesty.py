"""The honesty gates of a trained model: nothing of the future, no matter of row order, the same in training as in serving.

A sample of customers makes a small shop of its own. Its past is taken to the cut in several ways that must not matter, and
each model scores it there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
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
from mktgen.steps.worlds import TABLES, Around, Fold, day_by_day, history_at, scored, training_tables


@dataclass(frozen=True)
class Worlds:
    """The sample's past by ways that must not matter, and what was found of its tables, by gate.

    one_pass: as validation takes it. future: from lines that are falsified from the cut on, which are left among its events
    as well. order: from lines in another order. daily: as the daily steps take it. at_once: nothing was found in the tables,
    and `future` comes from lines in another order too, so that one scoring answers both questions.
    """

    customers: list[str]
    one_pass: History
    future: History
    order: History
    daily: History
    tables: dict[str, list[Finding]]
    at_once: bool

    def told(self, known: Around, seed: int) -> Worlds:
        """The same with what is known beside events: in another order where the lines are in another, and in `future` with
        promotion plans that came in later left in."""
        shuffled = Around(*(reordered(getattr(known, f.name), seed) for f in fields(known)))
        return replace(
            self,
            one_pass=known.told(self.one_pass),
            future=(shuffled if self.at_once else known).told(self.future, later=True),
            order=shuffled.told(self.order),
            daily=known.told(self.daily),
        )


@dataclass(frozen=True)
class Known:
    """Scores (sameness.SCORES) from elsewhere. in_memory: by the model that `train` held, on one_pass of the sample.

    validated: the sample's, as they were scored among all customers; again: scored without the others and their events.
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
    falsified = corrupt_future(ours, cut, settings.seed)

    def way(some: pl.DataFrame) -> _Way:
        return _Way(
            history_at(some, cut, settings.features, in_one_pass), training_tables(some, cut, first_day, settings)
        )

    one, both = way(ours), way(reordered(falsified, settings.seed))
    at_once = not _found("", one, both).different
    future, order = (both, both) if at_once else (way(falsified), way(reordered(ours, settings.seed)))
    late = history_events(falsified.filter(pl.col("business_date") >= cut))
    by_day = day_by_day(ours, (one.last_labelled, cut), settings.features, daily)
    tables = {
        "point_in_time": [_found("tables with another future", one, future)] if late.height else [],
        "row_order": [_found("tables from rows in another order", one, order)],
        "training_serving_skew": _skew(one, by_day[one.last_labelled], by_day[cut], settings),
    }
    left_in = pl.concat([future.history.events, late]).sort("customer_id", "event_time", "order_id", "item_id")
    return Worlds(
        customers,
        one.history,
        replace(future.history, events=left_in),
        order.history,
        by_day[cut],
        tables,
        at_once,
    )


@dataclass(frozen=True)
class _Way:
    """What validation and training make of the same lines."""

    history: History
    learnt: dict[str, pl.DataFrame]

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """Of both, under names of their own."""
        return _tables(self.history) | {f"training {name}": frame for name, frame in self.learnt.items()}

    @property
    def last_labelled(self) -> date:
        last = self.learnt["examples"]["cut"].max()
        assert isinstance(last, date)
        return last


def _tables(history: History) -> dict[str, pl.DataFrame]:
    return {name: getattr(history, name) for name in TABLES}


def _found(what: str, expected: _Way, found: _Way) -> Finding:
    return sameness.same_tables(what, expected.tables, found.tables)


def _skew(one: _Way, earlier: History, daily: History, settings: Settings) -> list[Finding]:
    """Training's tables against the daily steps': features at the last labelled cut, sequences and items at the cut."""
    examples, events = one.learnt["examples"], one.learnt["events"]
    labelled = examples.filter(pl.col("cut") == earlier.cut).select(earlier.features.columns)
    active = earlier.features.filter(pl.col("recency_days") <= settings.features.active_days)
    bounded = events.group_by("customer_id", maintain_order=True).tail(settings.features.sequence_events)
    return [
        sameness.same_tables(
            "training's tables against those of the daily steps",
            {"examples": labelled, "events": bounded.select(daily.events.columns), "items": one.learnt["items"]},
            {"examples": active, "events": daily.events, "items": daily.items},
        ),
        sameness.same_tables("one pass against day by day", _tables(one.history), _tables(daily)),
    ]


def gates_of(model: Model, among: Worlds, known: Known) -> list[Gate]:
    """The three gates of one stored and loaded model."""

    def score(history: History) -> pl.DataFrame:
        return scored(model, history, among.customers)

    base = score(among.one_pass)
    other = score(among.future)
    future = sameness.same_scores("scores with it, also left among the events", base, other)
    if not among.at_once or future.different:
        other = score(among.order)
    order = sameness.same_scores("scores from them", base, other)
    tables = among.tables["training_serving_skew"]
    # The same model on the same rows says the same: it is asked again only where the daily steps' rows are others.
    served = score(among.daily) if any(finding.different for finding in tables) else base
    skew = [
        sameness.close_scores("in memory against stored", known.in_memory, served),
        sameness.close_scores("validated among all against scored again", known.validated, known.again),
    ]
    return [
        sameness.gate(
            "point_in_time", [*among.tables["point_in_time"], future] if among.tables["point_in_time"] else []
        ),
        sameness.gate("row_order", [*among.tables["row_order"], order]),
        sameness.gate("training_serving_skew", [*tables, *skew]),
    ]
