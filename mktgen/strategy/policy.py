"""The stochastic policy: a decision for every active customer, each with its action set and exact propensities.

What: of the N customers that may be contacted, exactly m explorers are drawn uniformly without replacement; an
explorer draws uniformly from its own action set A, everyone else gets the allocated action.
Formula: P(a) = (1 - m/N) * 1[a is allocated] + (m/N) / |A|, the marginal propensity over the draw of explorers.
Budget: the allocation may spend the budget less a reserve, the reserve being the sum of the m largest costs that any
m explorers could incur; so no draw overspends. Assumption: the action set and the allocation don't depend on the draw.
When it fails: joint propensities of two customers are not products (m is fixed), which matters only for variances of
off-policy estimates, by a factor of about 1 - 1/N. Reference: Horvitz & Thompson (1952).

Hold-out: a keyed hash of the customer, the same on every day and in every rerun; held-out customers are left alone and
their propensity of no contact is 1, given that they are held out.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from mktgen.contracts import DECISIONS
from mktgen.documents import Allocation
from mktgen.errors import PermanentError
from mktgen.settings import StrategySettings
from mktgen.strategy.allocation import AllocationResult, allocate

NO_CONTACT: Final = "no_contact"
POLICY_VERSION: Final = "explore-fixed-m/1"
# Exploration may reserve at most this share of the budget; beyond it the propensity floor is lowered, openly.
EXPLORATION_BUDGET_SHARE: Final = 0.5
_SCALE: Final = float(2**64)


@dataclass(frozen=True)
class Versions:
    """What made a decision: written into every row."""

    model: str
    config: str
    policy: str = POLICY_VERSION


@dataclass(frozen=True)
class Exploration:
    """How many of the eligible customers explore, the budget kept back for them, and the floor that this gives."""

    explorers: int
    eligible: int
    reserve_minor: int
    floor: float
    notes: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.explorers / self.eligible if self.eligible else 0.0


@dataclass(frozen=True)
class PolicyResult:
    """decisions: contracts.DECISIONS. notes: what a reader must know of the day's policy (a lowered floor, ...)."""

    decisions: pl.DataFrame
    allocation: Allocation
    exploration: Exploration
    notes: list[str]


def is_held_out(customer_id: str, share: float, key: str) -> bool:
    """Whether a customer belongs to the permanent hold-out: keyed BLAKE2b of the id, as a number in [0, 1), < share."""
    digest = hashlib.blake2b(customer_id.encode(), key=hashlib.sha256(key.encode()).digest(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _SCALE < share


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
) -> PolicyResult:
    """Plan exploration, allocate what remains of the budget, draw: the whole policy of one day.

    candidates: contracts.OFFER_SCORES. customers: contracts.CUSTOMER_SEGMENTS, one row for EVERY active customer.
    recent_contacts: customer_id (String), contacts (Int64, in the last settings.contact_cap_days; customers without
    a row have 0). recommendations: contracts.RECOMMENDATIONS, to fill a message with further items.
    """
    eligible = eligible_candidates(candidates, customers, settings, holdout_key, recent_contacts)
    exploration = plan_exploration(eligible, settings)
    assignments, result = allocate(eligible, settings.budget_minor - exploration.reserve_minor)
    decisions = draw(
        assignments,
        eligible,
        customers,
        settings,
        partition,
        seed,
        versions,
        holdout_key,
        exploration,
        recommendations,
    )
    allocation = _allocation(decisions, eligible, exploration, result, settings)
    return PolicyResult(decisions, allocation, exploration, exploration.notes)


def eligible_candidates(
    candidates: pl.DataFrame,
    customers: pl.DataFrame,
    settings: StrategySettings,
    holdout_key: str,
    recent_contacts: pl.DataFrame,
) -> pl.DataFrame:
    """The candidates of customers that may be contacted: active, not held out, under the contact cap."""
    held_out = [c for c in customers["customer_id"] if is_held_out(c, settings.holdout_share, holdout_key)]
    capped = recent_contacts.filter(pl.col("contacts") >= settings.contact_cap).select("customer_id")
    kept = candidates.join(customers.select("customer_id"), on="customer_id", how="semi")
    kept = kept.join(capped, on="customer_id", how="anti")
    return kept.filter(~pl.col("customer_id").is_in(held_out)).sort("customer_id", "offer_id")


def plan_exploration(eligible: pl.DataFrame, settings: StrategySettings) -> Exploration:
    """The smallest m that lifts every action's propensity to the floor, if the budget allows; else as many as it does.

    With |A| actions the least propensity is (m/N) / |A|, so m = ceil(floor * N * max |A|).
    """
    per_customer = eligible.group_by("customer_id").agg(pl.len() + 1, pl.col("cost_minor").max().alias("worst"))
    number = per_customer.height
    if number == 0:
        return Exploration(0, 0, 0, 0.0, ["nobody can be contacted: no eligible customer has a candidate offer"])
    largest_set = int(per_customer["len"].max())  # type: ignore[arg-type]
    needed = math.ceil(settings.propensity_floor * number * largest_set - 1e-9)
    worst = np.cumsum(np.sort(per_customer["worst"].to_numpy())[::-1])
    affordable = int(np.searchsorted(worst, EXPLORATION_BUDGET_SHARE * settings.budget_minor, side="right"))
    explorers = min(needed, affordable, number)
    reserve = int(worst[explorers - 1]) if explorers else 0
    floor = explorers / number / largest_set
    return Exploration(explorers, number, reserve, floor, _exploration_notes(explorers, needed, floor, settings))


def _exploration_notes(explorers: int, needed: int, floor: float, settings: StrategySettings) -> list[str]:
    if explorers >= needed:
        return []
    if explorers == 0:
        return [
            f"exploration is off: the budget of {settings.budget_minor} minor units can't reserve one explorer's cost; "
            "these decisions can't serve off-policy evaluation"
        ]
    return [f"propensity floor lowered from {settings.propensity_floor} to {floor:.5f}: the budget reserves no more"]


def draw(
    assignments: pl.DataFrame,
    candidates: pl.DataFrame,
    customers: pl.DataFrame,
    settings: StrategySettings,
    partition: date,
    seed: int,
    versions: Versions,
    holdout_key: str,
    exploration: Exploration,
    recommendations: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Draw one action for every customer; returns contracts.DECISIONS sorted by customer_id.

    candidates: those of `eligible_candidates`; assignments: rows of it, at most one per customer. The draw depends on
    seed, partition and the set of eligible customers, on nothing else.
    Raises PermanentError where an assignment is not among the candidates.
    """
    chosen = dict(assignments.select("customer_id", "offer_id").iter_rows())
    offers: dict[str, dict[str, dict[str, object]]] = {}
    for row in candidates.sort("customer_id", "offer_id").iter_rows(named=True):
        offers.setdefault(row["customer_id"], {})[row["offer_id"]] = row
    _check_assignments(chosen, offers)
    rng = np.random.Generator(np.random.PCG64(_stream(seed, partition)))
    eligible = sorted(offers)
    picked = rng.choice(len(eligible), size=exploration.explorers, replace=False) if eligible else np.array([], int)
    explorers = {eligible[int(index)] for index in picked}
    uniform = dict(zip(eligible, rng.random(len(eligible)).tolist(), strict=True))
    further = _further_items(recommendations)
    rows = []
    for customer, segment in customers.select("customer_id", "segment_id").sort("customer_id").iter_rows():
        own = offers.get(customer, {})
        actions = [NO_CONTACT, *own]
        allocated = chosen.get(customer, NO_CONTACT)
        explored = customer in explorers
        action = actions[int(uniform[customer] * len(actions))] if explored else allocated
        row = _action_columns(own.get(action), further.get(customer, []), settings)
        propensities = _propensities(actions, allocated, exploration.share if own else 0.0)
        row |= {
            "decision_id": _decision_id(partition, customer, versions),
            "customer_id": customer,
            "segment_id": segment,
            "action": action,
            "action_set": actions,
            "action_propensities": propensities,
            "propensity": propensities[actions.index(action)],
            "explored": explored,
            "holdout": is_held_out(customer, settings.holdout_share, holdout_key),
            "holdout_share": settings.holdout_share,
            "model_version": versions.model,
            "policy_version": versions.policy,
            "config_version": versions.config,
        }
        rows.append(row)
    return DECISIONS.check(pl.DataFrame(rows, schema=DECISIONS.columns))


def _check_assignments(chosen: dict[str, str], offers: dict[str, dict[str, dict[str, object]]]) -> None:
    for customer, offer in chosen.items():
        if offer not in offers.get(customer, {}):
            raise PermanentError(f"policy: {offer} was allocated to {customer}, who has no such candidate")


def _propensities(actions: list[str], allocated: str, explore: float) -> list[float]:
    return [(1 - explore) * (action == allocated) + explore / len(actions) for action in actions]


def _action_columns(
    candidate: dict[str, object] | None, further: list[str], settings: StrategySettings
) -> dict[str, object]:
    if candidate is None:
        empty: dict[str, object] = dict.fromkeys(("campaign_id", "offer_id", "channel", "p_redeem"))
        return empty | {"item_ids": [], "expected_value_minor": 0.0, "cost_minor": 0}
    shown = str(candidate["item_id"])
    items = [shown, *(item for item in further if item != shown)][: settings.items_per_message]
    return {
        "campaign_id": candidate["campaign_id"],
        "offer_id": candidate["offer_id"],
        "channel": settings.channel,
        "p_redeem": candidate["p_redeem"],
        "item_ids": items,
        "expected_value_minor": candidate["value_minor"],
        "cost_minor": candidate["cost_minor"],
    }


def _further_items(recommendations: pl.DataFrame | None) -> dict[str, list[str]]:
    """Recommended items of each customer, seen and unseen in turn, best first."""
    if recommendations is None:
        return {}
    ordered = recommendations.sort("customer_id", "rank", "seen", "item_id", descending=[False, False, True, False])
    grouped = ordered.group_by("customer_id", maintain_order=True).agg("item_id")
    return dict(grouped.iter_rows())


def _stream(seed: int, partition: date) -> int:
    return int.from_bytes(hashlib.sha256(f"policy:{seed}:{partition.isoformat()}".encode()).digest()[:16], "big")


def _decision_id(partition: date, customer: str, versions: Versions) -> str:
    text = "\x1f".join([partition.isoformat(), customer, versions.model, versions.policy, versions.config])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _allocation(
    decisions: pl.DataFrame,
    eligible: pl.DataFrame,
    exploration: Exploration,
    result: AllocationResult,
    settings: StrategySettings,
) -> Allocation:
    return Allocation(
        budget_minor=settings.budget_minor,
        worst_case_cost_minor=result.cost_minor + exploration.reserve_minor,
        allocated_cost_minor=result.cost_minor,
        value_minor=result.value_minor,
        bound_minor=result.bound_minor,
        gap_share=result.gap_share,
        shadow_price=result.shadow_price,
        exploration_customers=exploration.explorers,
        contacts=decisions.filter(pl.col("action") != NO_CONTACT).height,
        candidates=eligible.height,
    )
