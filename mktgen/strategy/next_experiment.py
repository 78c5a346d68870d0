"""Which offer is worth an experiment next: where knowing its effect would change what is done, for the most money.

What: the value of knowing an offer's mean effect m over its N eligible customers for certain, if it is then sent to all of
them or to none. Formula: with m ~ N(mu, s^2), N (E max(m, 0) - max(mu, 0)) = N s (phi(z) - |z| Phi(-|z|)), z = mu / s.
Largest where the interval is wide, straddles 0 and many customers are concerned. Assumption: the posterior is normal and
its spread honest (checked: response/checks.py); the decision is for all at once, while the policy decides by customer,
so the figure ranks offers rather than promising money. When it fails: nothing was learned yet, and then the offer with
the most eligible customers is named. Reference: Raiffa and Schlaifer (1961), the unit normal loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl
from scipy.special import ndtr

from mktgen.documents import Interval, NextExperiment, OfferUncertainty

_Z = 1.959963984540054


@dataclass(frozen=True)
class Design:
    """How large an experiment must be. per_arm: customers, for an effect of detectable_minor at that power and alpha, given
    the spread of one customer's reward. window_days: after which an outcome is known and the customer counts anew.
    daily_budget_minor: that an experiment may spend."""

    per_arm: int
    detectable_minor: float
    power: float
    alpha: float
    reward_sd_minor: float
    window_days: int
    daily_budget_minor: int


def propose(
    eligible: pl.DataFrame, draws: pl.DataFrame | None, design: Design, others: int = 4
) -> NextExperiment | None:
    """The proposal; None where nobody can be contacted.

    eligible: customer_id, campaign_id, offer_id, cost_minor, value_minor (the mean effect, where draws are given) of those who
    may be contacted today. draws: customer_id, offer_id, draws (Array: posterior of the effect); None: nothing was learned.
    """
    if eligible.is_empty():
        return None
    known = _uncertain(eligible, draws)
    found = [_offer(row, design) for row in known.iter_rows(named=True)]
    # The most valuable information first; where nothing is known, the most customers; of equals the first by name.
    ranked = sorted(found, key=lambda one: (-(one.information_minor or 0.0), -one.eligible, one.offer_id))
    first = ranked[0]
    return NextExperiment(
        offer=first,
        reason=_reason(first, design),
        detectable_minor=design.detectable_minor,
        power=design.power,
        alpha=design.alpha,
        reward_sd_minor=design.reward_sd_minor,
        others=ranked[1 : 1 + others],
    )


def value_of_information(mean: float, sd: float) -> float:
    """E max(m, 0) - max(mean, 0) for m ~ N(mean, sd^2), in the unit of both; 0 where sd is 0."""
    if sd <= 0:
        return 0.0
    z = abs(mean) / sd
    return float(sd * (math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) - z * ndtr(-z)))


def _uncertain(eligible: pl.DataFrame, draws: pl.DataFrame | None) -> pl.DataFrame:
    """offer_id, campaign_id, eligible, cost, mean and sd of the mean effect (null where nothing was learned)."""
    totals = eligible.group_by("offer_id", "campaign_id").agg(
        eligible=pl.len().cast(pl.Int64), cost=pl.col("cost_minor").mean(), mean=pl.col("value_minor").mean()
    )
    if draws is None:
        return totals.with_columns(mean=pl.lit(None, pl.Float64), sd=pl.lit(None, pl.Float64)).sort("offer_id")
    ours = draws.join(eligible.select("customer_id", "offer_id"), on=["customer_id", "offer_id"], how="semi")
    spread = {
        str(key[0]): float(own["draws"].to_numpy().mean(axis=0).std(ddof=1))
        for key, own in ours.sort("offer_id", "customer_id").partition_by("offer_id", as_dict=True).items()
    }
    return totals.with_columns(sd=pl.col("offer_id").replace_strict(spread, return_dtype=pl.Float64)).sort("offer_id")


def _offer(row: dict[str, object], design: Design) -> OfferUncertainty:
    count, cost = int(row["eligible"]), float(row["cost"])  # type: ignore[call-overload, arg-type]
    effect, information = None, None
    if row["sd"] is not None:
        mean, sd = float(row["mean"]), float(row["sd"])  # type: ignore[arg-type]
        effect = Interval(value=mean, low=mean - _Z * sd, high=mean + _Z * sd, method="posterior of the mean effect")
        information = count * value_of_information(mean, sd)
    return OfferUncertainty(
        offer_id=str(row["offer_id"]),
        campaign_id=str(row["campaign_id"]),
        eligible=count,
        effect_minor=effect,
        information_minor=information,
        customers_per_arm=design.per_arm,
        days=days_needed(count, cost, design),
    )


def days_needed(eligible: int, cost_minor: float, design: Design) -> int:
    """Days until both arms are full and their outcomes known.

    Each eligible customer counts once per window, so both arms take ceil(2 n / eligible) windows; and n contacts take
    ceil(n cost / daily budget) days, and the last one's window. The longer of both.
    """
    by_customers = math.ceil(2 * design.per_arm / eligible) * design.window_days
    spending = math.ceil(design.per_arm * cost_minor / max(design.daily_budget_minor, 1))
    return int(max(by_customers, spending - 1 + design.window_days))


def _reason(offer: OfferUncertainty, design: Design) -> str:
    size = (
        f"{offer.customers_per_arm} customers contacted and as many left alone find an effect of "
        f"{design.detectable_minor:.0f} minor units per contact with {design.power:.0%} power; with {offer.eligible} eligible "
        f"customers today that takes about {offer.days} days"
    )
    if offer.effect_minor is None or offer.information_minor is None:
        return (
            f"nothing is known yet of any offer's effect, and {offer.offer_id} has the most eligible customers. {size}"
        )
    effect = offer.effect_minor
    sure = (
        "may gain or lose" if effect.low < 0 < effect.high else "is fairly sure already, and is the least sure of all"
    )
    return (
        f"{offer.offer_id} {sure}: {effect.value:.1f} minor units per contact, [{effect.low:.1f}, {effect.high:.1f}]. "
        f"To know it would be worth up to {offer.information_minor:.0f} for its {offer.eligible} eligible customers. {size}"
    )
