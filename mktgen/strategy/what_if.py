"""What another budget, one offer less or another holdout would bring: curves made once a day, answers read off them.

What: the best allocation (allocation/) of the policy's candidates at a grid of budgets, with all offers and without each of
the widest ones. A total's uncertainty is that of the response posterior: the same allocation is worth another sum under each
draw. Formula: with a holdout share h' in place of h, f = (1 - h' - u) / (1 - h - u) times as many customers may be reached (u:
business as usual), and V'(b) = f V(b / f). Between points value is interpolated, which understates it, as V is concave.
Assumption: the held-out are like the others (they are drawn by a hash), allocations are fitted to the posterior's mean, and
the policy keeps its distance to the best allocation: it explores, so it earns less. When it fails: values that were not
learned have no posterior, so there is no interval; effects that wear off with more contacts are not in it.
Reference: Sinha & Zoltners (1979) for the allocation; Boyd & Vandenberghe (2004), 5.6, for V as a concave function of b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents.base import Refusal
from mktgen.documents.what_if import WhatIf, WhatIfAnswer, WhatIfPoint, WhatIfWithout, spread
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from mktgen.strategy import arms
from mktgen.strategy.allocation import allocate
from mktgen.strategy.policy import divided

Floats = NDArray[np.float64]
BUDGETS: Final = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0)  # of the plan's
BUDGETS_WITHOUT: Final = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
OFFERS: Final = 12  # with a curve of their own
SAMPLE: Final = 20_000  # customers; with more, those with the lowest hash stand for all
MOST_HELD_OUT: Final = 0.5
_KEY: Final = "what-if"
_ASSUMED: Final = [
    "an estimate: the best allocation at each budget, less than which the policy earns because it explores",
    "customers of another holdout are taken to be like the present ones: both are drawn by a hash",
    "effects that wear off as a customer is contacted more often are not in it",
]


@dataclass(frozen=True)
class _Problem:
    """Candidates of the sample, with column `row`. share: of the policy's customers. draws [rows, S]: of what each candidate
    is worth, drawn together to `width` of their spread; None: not learned."""

    candidates: pl.DataFrame
    share: float
    draws: Floats | None
    width: float


def what_if(
    eligible: pl.DataFrame,
    among: pl.DataFrame,
    settings: StrategySettings,
    partition: date,
    draws: pl.DataFrame | None,
    width: float,
    refused: Refusal | None,
) -> WhatIf:
    """The day's curves.

    eligible: contracts.OFFER_SCORES that may be drawn. among: customer_id, arm. draws: of the response posterior (customer_id,
    offer_id, draws), drawn together to `width` of their spread; not looked at where `refused` says that nothing was learned.
    """
    ours, usual, _ = divided(eligible, among, settings.budget_minor)
    customers = ours["customer_id"].n_unique()
    problem = _sampled(ours, None if refused else draws, width, customers)
    parts = _parts(ours, usual, settings.budget_minor)
    offers = ours.group_by("offer_id", "campaign_id").agg(customers=pl.len())
    widest = offers.sort(["customers", "offer_id"], descending=[True, False])
    without = [
        WhatIfWithout(**row, points=_curve(problem, parts, BUDGETS_WITHOUT, row["offer_id"]))
        for row in widest.head(OFFERS).iter_rows(named=True)
    ]
    return WhatIf(
        partition=partition,
        budget_minor=settings.budget_minor,
        holdout_share=settings.holdout_share,
        usual_share=settings.usual_share,
        customers=customers,
        sampled=problem.candidates["customer_id"].n_unique(),
        refused=refused,
        points=_curve(problem, parts, BUDGETS, None),
        without=without,
        not_computed=max(widest.height - OFFERS, 0),
        assumptions=_ASSUMED,
    )


@dataclass(frozen=True)
class _Parts:
    """How a day's budget comes down to the policy's customers, as in policy.decide. usual, all: eligible customers."""

    plan: int
    usual: int
    all: int
    reserve: int

    def of(self, budget: int) -> int:
        return max(budget - budget * self.usual // max(self.all, 1) - self.reserve, 0)


def _parts(ours: pl.DataFrame, usual: pl.DataFrame, budget: int) -> _Parts:
    counts = [frame["customer_id"].n_unique() for frame in (ours, usual)]
    dearest = ours.select(pl.col("cost_minor").max().fill_null(0)).item()
    return _Parts(budget, counts[1], sum(counts), int(dearest))


def _sampled(ours: pl.DataFrame, draws: pl.DataFrame | None, width: float, customers: int) -> _Problem:
    if customers > SAMPLE:
        ids = ours["customer_id"].unique().sort()
        places = pl.Series([arms.position(customer, _KEY) for customer in ids.to_list()])
        ours = ours.join(ids.to_frame().filter(places < SAMPLE / customers), on="customer_id", how="semi")
    share = ours["customer_id"].n_unique() / customers if customers else 1.0
    rows = ours.sort("customer_id", "offer_id").with_row_index("row")
    if draws is None or rows.is_empty():
        return _Problem(rows, share, None, width)
    of_each = rows.join(draws, on=["customer_id", "offer_id"], how="left", maintain_order="left")["draws"]
    return _Problem(rows, share, of_each.to_numpy().reshape(rows.height, -1), width)


def _curve(problem: _Problem, parts: _Parts, grid: Sequence[float], dropped: str | None) -> list[WhatIfPoint]:
    candidates = problem.candidates if dropped is None else problem.candidates.filter(pl.col("offer_id") != dropped)
    return [_point(problem, candidates, parts, round(multiple * parts.plan)) for multiple in grid]


def _point(problem: _Problem, candidates: pl.DataFrame, parts: _Parts, budget: int) -> WhatIfPoint:
    chosen, result = allocate(candidates, int(parts.of(budget) * problem.share))
    return WhatIfPoint(
        budget_minor=budget,
        value_minor=result.value_minor / problem.share,
        cost_minor=round(result.cost_minor / problem.share),
        contacts=round(chosen.height / problem.share),
        price=min(result.shadow_price, _best_rate(candidates)),
        totals=_totals(chosen, problem),
    )


def _best_rate(candidates: pl.DataFrame) -> float:
    """Value per minor unit of the first that would be spent: the price where there is no budget at all."""
    paid = candidates.filter(pl.col("cost_minor") > 0)
    return float(max(paid.select((pl.col("value_minor") / pl.col("cost_minor")).max().fill_null(0.0)).item(), 0.0))


def _totals(chosen: pl.DataFrame, problem: _Problem) -> list[int]:
    """Of each draw of the whole posterior: what was drawn together for exploration is spread again."""
    if problem.draws is None:
        return []
    drawn = problem.draws[chosen["row"].to_numpy()].sum(axis=0)
    value = float(chosen["value_minor"].sum())
    whole = value + (drawn - drawn.mean()) / problem.width
    return [round(total) for total in (whole / problem.share).tolist()]


# -- answers ------------------------------------------------------------------------------------------------------------
def answer(curves: WhatIf, budget_minor: int, without: str, holdout_share: float) -> WhatIfAnswer:
    """Read off the curves. without: an offer id, "" for none.

    Raises PermanentError for a negative budget, an offer without a curve, a holdout outside 0 to MOST_HELD_OUT, or a day on
    which there was nothing to choose.
    """
    points = _points(curves, without)
    if budget_minor < 0 or not 0.0 <= holdout_share <= MOST_HELD_OUT:
        raise PermanentError(
            f"a budget is at least 0 and a holdout between 0 and {MOST_HELD_OUT:.0%} of customers; "
            f"asked for {budget_minor} and {holdout_share:.1%}"
        )
    reach = 1.0 - curves.usual_share
    more = (reach - holdout_share) / (reach - curves.holdout_share)
    here, plan = _read(points, budget_minor / more, more), _read(curves.points, curves.budget_minor, 1.0)
    gain = here.value - plan.value
    return WhatIfAnswer(
        budget_minor=budget_minor,
        without=without,
        holdout_share=holdout_share,
        value_minor=here.value,
        value=spread(here.value, here.totals.tolist()),
        difference_minor=gain,
        difference=spread(gain, (here.totals - plan.totals).tolist()),
        cost_minor=here.cost,
        contacts=here.contacts,
        price=here.price,
        error_ratio=_error(holdout_share) / _error(curves.holdout_share),
        beyond=budget_minor / more > points[-1].budget_minor,
    )


def _points(curves: WhatIf, without: str) -> list[WhatIfPoint]:
    if not curves.customers or curves.budget_minor == 0:
        raise PermanentError(f"nothing could be chosen on {curves.partition}: there is no curve to read from")
    if not without:
        return curves.points
    found = next((one.points for one in curves.without if one.offer_id == without), None)
    if found is None:
        known = ", ".join(one.offer_id for one in curves.without)
        raise PermanentError(f"no curve without that offer was made; there is one without each of: {known}")
    return found


@dataclass(frozen=True)
class _Reading:
    value: float
    cost: float
    contacts: float
    price: float
    totals: Floats


def _read(points: Sequence[WhatIfPoint], budget: float, more: float) -> _Reading:
    """At a budget between points, for `more` times as many customers; past the last point, its value."""
    at = [point.budget_minor for point in points]
    budget = min(budget, at[-1])
    high = max(int(np.searchsorted(at, budget)), 1)
    one, other = points[high - 1], points[high]
    part = (budget - one.budget_minor) / max(other.budget_minor - one.budget_minor, 1)

    def between(first: float, second: float) -> float:
        return more * (first + part * (second - first))

    totals = np.asarray(one.totals, float) * (1 - part) + np.asarray(other.totals, float) * part
    return _Reading(
        between(one.value_minor, other.value_minor), between(one.cost_minor, other.cost_minor),
        between(one.contacts, other.contacts), one.price + part * (other.price - one.price), more * totals,
    )  # fmt: skip


def _error(holdout: float) -> float:
    """Standard error of the difference between held-out and others, but for a constant; a holdout of 0 measures nothing."""
    share = max(holdout, 1e-6)
    return float((1.0 / share + 1.0 / (1.0 - share)) ** 0.5)
