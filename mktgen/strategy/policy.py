"""The stochastic policy: a decision for every active customer, each with its action set and exact propensities.

What: chances of every action by mixture.py, within the budget less the dearest single action; drawn by rounding.py, which
keeps each customer's chances exactly and the sum of costs within that reserve of what was expected: no draw overspends.
A share of customers gets business as usual instead: offers by the chance of redemption, as a shop does without a model of
effect, with their share of the budget. Hold-outs are left alone: no contact is certain, given that they are held out.
Assumption: chances don't depend on the draw. When it fails: joint propensities of two customers are not products (costs are
balanced), which matters only for variances of off-policy estimates, by a factor of about 1 - 1/N.
Reference: Horvitz & Thompson (1952); Gandhi, Khuller, Parthasarathy & Srinivasan (2006).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.documents import Allocation
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from mktgen.strategy import arms
from mktgen.strategy.allocation import allocate
from mktgen.strategy.decision_rows import NO_CONTACT, Versions, decision_rows
from mktgen.strategy.mixture import Floats, Mixture, Problem, mixture
from mktgen.strategy.rounding import draw_actions

POLICY_VERSION: Final = "mixture-rounded/1"


@dataclass(frozen=True)
class PolicyResult:
    """decisions: contracts.DECISIONS. notes: what a reader must know of the day's policy (a lowered floor, ...)."""

    decisions: pl.DataFrame
    allocation: Allocation
    notes: list[str]


def decide(
    candidates: pl.DataFrame,
    customers: pl.DataFrame,
    settings: StrategySettings,
    partition: date,
    seed: int,
    versions: Versions,
    holdout_key: str,
    recent_contacts: pl.DataFrame,
    recommendations: pl.DataFrame | None = None,
    value_draws: pl.DataFrame | None = None,
) -> PolicyResult:
    """The whole policy of one day; the order of rows does not matter.

    candidates: contracts.OFFER_SCORES. customers: contracts.CUSTOMER_SEGMENTS, one row for EVERY active customer.
    recent_contacts: customer_id (String), contacts (Int64, in the last settings.contact_cap_days; customers without
    a row have 0). recommendations: contracts.RECOMMENDATIONS, to fill a message with further items. value_draws:
    customer_id, offer_id, draws (Array of Float64, all of one length): the posterior of what a candidate is worth; None:
    value_minor is taken as known. Raises PermanentError where a candidate has no draws.
    """
    among = arms.arms(customers["customer_id"].sort(), settings, holdout_key)
    eligible = eligible_candidates(candidates, among, settings, holdout_key, recent_contacts)
    ours, usual, for_usual = divided(eligible, among, settings.budget_minor)
    as_usual, _ = allocate(usual.with_columns(value_minor=pl.col("p_redeem")), for_usual)
    budget = settings.budget_minor - for_usual
    table = Table.of(ours, value_draws)
    reserve = int(table.problem.cost.max(initial=0))
    floor = settings.propensity_floor if budget > reserve else 0.0
    chances = mixture(table.problem, max(budget - reserve, 0), floor, settings.no_contact_floor)
    drawn = draw_actions(chances.p, table.problem.cost, table.keys, _stream(seed, partition))
    decisions = decision_rows(
        customers.join(among, on="customer_id"), table.drawn_rows(chances.p, drawn), usual, as_usual, settings, partition,
        versions, recommendations,
    )  # fmt: skip
    _, best = allocate(ours, max(budget - reserve, 0))
    allocation = Allocation(
        budget_minor=settings.budget_minor,
        usual_budget_minor=for_usual,
        worst_case_cost_minor=table.worst_case(chances) + int(as_usual["cost_minor"].sum()),
        expected_cost_minor=chances.cost_minor,
        expected_value_minor=table.expected_value(chances.p),
        allocated_cost_minor=best.cost_minor,
        value_minor=best.value_minor,
        bound_minor=best.bound_minor,
        gap_share=best.gap_share,
        shadow_price=chances.price,
        propensity_floor=chances.floor,
        propensity_floor_wanted=_wanted_floor(table, settings),
        no_contact_floor=settings.no_contact_floor,
        contacts=decisions.filter(pl.col("action") != NO_CONTACT).height,
        candidates=eligible.height,
    )
    return PolicyResult(decisions, allocation, _notes(table, chances, settings))


def eligible_candidates(
    candidates: pl.DataFrame,
    among: pl.DataFrame,
    settings: StrategySettings,
    holdout_key: str,
    recent_contacts: pl.DataFrame,
) -> pl.DataFrame:
    """The candidates of customers that may be contacted: active, not held out (by all or by the campaign), under the cap.

    among: customer_id, arm (see arms.arms) of the active customers.
    """
    capped = recent_contacts.filter(pl.col("contacts") >= settings.contact_cap).select("customer_id")
    kept = candidates.join(among.filter(pl.col("arm") != arms.HOLDOUT), on="customer_id", how="semi")
    kept = kept.join(capped, on="customer_id", how="anti")
    return arms.without_campaign_holdouts(kept, settings.campaign_holdout_share, holdout_key).sort(
        "customer_id", "offer_id"
    )


def divided(eligible: pl.DataFrame, among: pl.DataFrame, budget: int) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Candidates of the policy's customers and of business as usual, and the latter's part of the budget: the same budget
    per eligible customer in both arms."""
    ours, usual = (
        eligible.join(among.filter(arm=arm), on="customer_id", how="semi") for arm in (arms.POLICY, arms.USUAL)
    )
    counts = [frame["customer_id"].n_unique() for frame in (ours, usual)]
    return ours, usual, budget * counts[1] // sum(counts) if counts[1] else 0


@dataclass(frozen=True)
class Table:
    """Candidates as arrays: customer i in order of id, action 0 no contact, then the customer's offers in order of id."""

    problem: Problem
    customers: pl.Series
    candidates: pl.DataFrame  # with columns row and column: their place

    @classmethod
    def of(cls, eligible: pl.DataFrame, value_draws: pl.DataFrame | None) -> Table:
        """`eligible`: sorted by customer_id, offer_id."""
        place = eligible.with_columns(
            row=pl.col("customer_id").rle_id().cast(pl.Int64), column=pl.int_range(1, pl.len() + 1).over("customer_id")
        )
        row, column = place["row"].to_numpy(), place["column"].to_numpy()
        customers = eligible["customer_id"].unique(maintain_order=True)
        shape = (customers.len(), int(column.max(initial=0)) + 1)
        values = _draws(eligible, value_draws)
        value = np.zeros((values.shape[1], *shape))
        value[:, row, column] = values.T
        cost, allowed = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
        cost[row, column] = eligible["cost_minor"].to_numpy()
        allowed[row, column] = True
        allowed[:, 0] = True
        return cls(Problem(value, cost, allowed), customers, place)

    @property
    def keys(self) -> NDArray[np.uint64]:
        """A number of each customer: 64 bits of its id's hash."""
        digests = (hashlib.blake2b(customer.encode(), digest_size=8).digest() for customer in self.customers)
        return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)

    def expected_value(self, p: Floats) -> float:
        """Of the chances p, by the candidates' own values: draws may say how offers are tried and not what they are worth."""
        places = self.candidates.select("row", "column").to_numpy()
        return float((p[places[:, 0], places[:, 1]] * self.candidates["value_minor"].to_numpy()).sum())

    def worst_case(self, chances: Mixture) -> int:
        """The most that any draw costs: what is expected, and the dearest action of one customer who still has a choice."""
        undecided = (chances.p > 0) & (chances.p < 1)
        dearest = int(self.problem.cost.max(initial=0, where=undecided))
        return math.ceil(chances.cost_minor - 1e-6) + dearest

    def drawn_rows(self, p: Floats, drawn: NDArray[np.int64]) -> pl.DataFrame:
        """The candidates and no contact of every customer: customer_id, column, the candidate's facts, p, drawn, likeliest."""
        count = self.customers.len()
        none = pl.DataFrame(
            {"customer_id": self.customers, "row": np.arange(count), "column": np.zeros(count, dtype=np.int64)},
            schema={"customer_id": pl.String, "row": pl.Int64, "column": pl.Int64},
        )
        rows = pl.concat([none, self.candidates], how="diagonal").sort("row", "column")
        row, column = rows["row"].to_numpy(), rows["column"].to_numpy()
        return rows.with_columns(
            p=pl.Series(p[row, column], dtype=pl.Float64),
            drawn=pl.Series(drawn[row] == column, dtype=pl.Boolean),
            likeliest=pl.Series(p.argmax(axis=1)[row] == column if count else [], dtype=pl.Boolean),
        ).drop("row")


def _draws(eligible: pl.DataFrame, value_draws: pl.DataFrame | None) -> Floats:
    """[rows, S] values of the candidates."""
    if value_draws is None or eligible.is_empty():
        return eligible["value_minor"].to_numpy().reshape(-1, 1)
    joined = eligible.select("customer_id", "offer_id").join(
        value_draws, on=["customer_id", "offer_id"], how="left", maintain_order="left"
    )
    missing = joined.filter(pl.col("draws").is_null())
    if missing.height:
        raise PermanentError(f"policy: {missing.height} candidates have no posterior, e.g. {missing.row(0)[:2]}")
    return joined["draws"].to_numpy().reshape(joined.height, -1)


def _wanted_floor(table: Table, settings: StrategySettings) -> float:
    return settings.floor_among(int(table.problem.allowed.sum(axis=1).max(initial=1)))


def _notes(table: Table, chances: Mixture, settings: StrategySettings) -> list[str]:
    if table.customers.is_empty():
        return ["nobody can be contacted: no eligible customer has a candidate offer"]
    wanted = _wanted_floor(table, settings)
    if chances.floor >= wanted - 1e-12:
        return []
    if chances.floor == 0.0:
        return [
            f"exploration is off: the budget of {settings.budget_minor} minor units can't bear one customer's cost; these "
            "decisions can't serve off-policy evaluation"
        ]
    return [f"propensity floor lowered from {wanted:.4f} to {chances.floor:.5f}: the budget bears no more"]


def _stream(seed: int, partition: date) -> int:
    return int.from_bytes(hashlib.sha256(f"policy:{seed}:{partition.isoformat()}".encode()).digest()[:8], "big")
