"""What a policy would have done on a past day: the chances it would have given to the actions that were possible then.

What: today's rule (mixture.py, with its budget and floor) and business as usual, on the customers, offers and costs of one
past day. Assumption: the day's customers with a choice are the ones the budget is for. When it fails: what customers were
sent before was another policy's doing; a policy that would have left them in another state is judged as if it had not.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from mktgen.settings import StrategySettings
from mktgen.strategy.allocation import allocate
from mktgen.strategy.decision_rows import NO_CONTACT
from mktgen.strategy.mixture import mixture
from mktgen.strategy.policy import Table


def candidate_chances(offers: pl.DataFrame, budget_minor: int, settings: StrategySettings) -> pl.DataFrame:
    """decision_id, action, p: what the policy as learned now would have done on one past day; no contact included.

    offers: decision_id, offer_id, cost_minor (Int64), draws (Array of Float64: the posterior of the effect, without the
    decision's own outcome), one row per possible offer of each decision.
    """
    table = _table(offers.with_columns(value_minor=pl.lit(0.0)), offers)
    reserve = int(table.problem.cost.max(initial=0))
    floor = settings.propensity_floor if budget_minor > reserve else 0.0
    found = mixture(table.problem, max(budget_minor - reserve, 0), floor, settings.no_contact_floor)
    rows = table.drawn_rows(found.p, np.zeros(len(found.p), dtype=np.int64))
    return _named(rows)


def usual_chances(offers: pl.DataFrame, budget_minor: int) -> pl.DataFrame:
    """decision_id, action, p (0 or 1): business as usual, offers by the chance of redemption within the budget.

    offers: decision_id, offer_id, cost_minor, p_redeem.
    """
    named = offers.rename({"decision_id": "customer_id"})
    taken, _ = allocate(named.with_columns(value_minor="p_redeem"), budget_minor)
    made = named.join(
        taken.select("customer_id", "offer_id", p=pl.lit(1.0)), on=["customer_id", "offer_id"], how="left"
    ).select("customer_id", "offer_id", pl.col("p").fill_null(0.0))
    none = made.group_by("customer_id").agg(p=1.0 - pl.col("p").sum()).with_columns(offer_id=pl.lit(None, pl.String))
    return _named(pl.concat([made, none.select(made.columns)]))


def _table(offers: pl.DataFrame, draws: pl.DataFrame) -> Table:
    """The decisions of one day stand for their customers: each has one."""
    named = offers.rename({"decision_id": "customer_id"}).sort("customer_id", "offer_id")
    return Table.of(named, draws.select("offer_id", "draws", customer_id="decision_id"))


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    action = pl.coalesce("offer_id", pl.lit(NO_CONTACT))
    return rows.select(decision_id="customer_id", action=action, p="p").sort("decision_id", "action")
