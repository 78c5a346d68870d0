"""Whose turn it is: customers are decided on in turns, so that what follows one decision is over before the next.

What: customers are split into cohorts by a keyed hash, and each day is one cohort's. Formula: floor(C h(customer)) = day mod C,
h in [0, 1) as in arms.py. A customer whose last draw is still followed waits too, whatever the cohorts are. Assumption: the
days are decided one after the other; C days are at least the window in which outcomes are followed. When it fails: with
one cohort everybody is drawn on the first day, and nobody again before that day's window is over. Without turns, who is
left alone today would be drawn tomorrow, and what that contact brings and costs would count for today's no contact.
Reference: Bojinov, Simchi-Levi and Zhao, Management Science 69 (2023): carry-over, and designs that outlast it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.settings import StrategySettings
from mktgen.strategy import arms

NOT_TODAY: Final = "turn"
RUNNING_TRIAL: Final = "running_trial"
_WAITING: Final = {"customer_id": pl.String, "rule": pl.String, "detail": pl.String}


def waiting(
    customers: pl.Series,
    partition: date,
    settings: StrategySettings,
    key: str,
    dispatched: Mapping[date, pl.DataFrame],
    window_days: int,
) -> pl.DataFrame:
    """Customers that are not decided on today: customer_id, rule, detail, sorted. A running trial is named before the turn.

    key: as of the arms. dispatched: contracts.DECISIONS of earlier days that were dispatched. window_days: how long what
    follows a decision is counted, from the day after it on.
    """
    apart = [(customer, _days_to_go(customer, partition, settings, key)) for customer in customers.sort().to_list()]
    others = [
        (customer, NOT_TODAY, f"decided on every {settings.cohorts} days, next on {partition + timedelta(days=days)}")
        for customer, days in apart
        if days
    ]
    found = pl.DataFrame(others, schema=_WAITING, orient="row")
    trials = [_followed(frame, day, partition, window_days) for day, frame in dispatched.items()]
    running = pl.concat([pl.DataFrame(schema=_WAITING), *trials]).unique(
        "customer_id", keep="last", maintain_order=True
    )
    running = running.filter(pl.col("customer_id").is_in(customers.to_list()))
    return pl.concat([running, found.join(running, on="customer_id", how="anti")]).sort("customer_id")


def told(customers: int, waits: pl.DataFrame) -> str:
    """One sentence for the reader of the strategy. waits: of `waiting`."""
    counts = dict(waits.group_by("rule").len().iter_rows())
    others = [
        f"{counts[rule]} {words}"
        for rule, words in (
            (NOT_TODAY, "wait for their turn"),
            (RUNNING_TRIAL, "are still followed after their last draw"),
        )
        if rule in counts
    ]
    rest = f"; {', '.join(others)}" if others else ""
    return f"{customers - waits.height} of {customers} customers are decided on today{rest}"


def _days_to_go(customer: str, partition: date, settings: StrategySettings, key: str) -> int:
    turn = int(arms.position(customer, f"{key}:turn") * settings.cohorts)
    return (turn - partition.toordinal()) % settings.cohorts


def _followed(decisions: pl.DataFrame, day: date, partition: date, window_days: int) -> pl.DataFrame:
    """Who had a choice on `day`, where what follows it is not over by the end of `partition`."""
    last = day + timedelta(days=window_days)
    if not day < partition < last:
        return pl.DataFrame(schema=_WAITING)
    drawn = decisions.filter((pl.col("arm") == arms.POLICY) & (pl.col("action_set").list.len() > 1))
    words = f"drawn on {day}, and what follows is measured until {last}"
    return drawn.select("customer_id", rule=pl.lit(RUNNING_TRIAL), detail=pl.lit(words))
