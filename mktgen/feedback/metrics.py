"""The figures of mktgen/metrics.py, each with a 95% interval clustered by customer, or refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from mktgen.documents import Interval, Refusal
from mktgen.feedback.effect.lift import lift, roi
from mktgen.feedback.effect.sample import CONTROL, TREATED
from mktgen.feedback.intervals import clustered_share
from mktgen.feedback.programme import BASELINE
from mktgen.metrics import BY_NAME, Log, refusal

OUTCOME: Final = "net_minor"
MARGIN: Final = "margin_minor"
COST: Final = "cost_minor"


@dataclass(frozen=True)
class Observed:
    """What was recorded of one log of contacts, matured rows only.

    contacts: customer_id, redeemed (an offer of the contact's campaign); where offers are recorded also offer_id and
    redeemed_offer (that very offer). impressions: customer_id, clicked. arms: customer_id, wave, arm ("treated", "control"),
    net_minor of everyone as drawn, and where they are recorded margin_minor and cost_minor (contact and redemption).
    covariates: columns of `arms` from before the draw, which narrow the interval of the uplift.
    """

    contacts: pl.DataFrame
    impressions: pl.DataFrame | None = None
    arms: pl.DataFrame | None = None
    covariates: tuple[str, ...] = ()


Figures = dict[str, Interval]


def figure(name: str, observed: Observed, capabilities: Mapping[str, bool], log: Log) -> Figures | Refusal:
    """A metric of the table under its name (offer_response also by offer, as `offer_response.<offer>`), or its refusal.

    Refused where a capability is missing, whatever the frames hold, and where the frames don't hold what it is made of.
    Raises KeyError for a name that is not in CALCULATED.
    """
    metric, calculate = BY_NAME[name], CALCULATED[name]
    refused = refusal(metric, capabilities, log)
    if refused is not None:
        return refused
    found = calculate(observed)
    if isinstance(found, str):
        return Refusal(
            metric=name, missing=[found], reason=f"{metric.name} is {metric.numerator} / {metric.denominator}."
        )
    return found


def ours(
    attributions: pl.DataFrame,
    decisions: pl.DataFrame | None = None,
    outcomes: pl.DataFrame | None = None,
    arms: pl.DataFrame | None = None,
) -> Observed:
    """What contracts.ATTRIBUTIONS record of our own decisions, as drawn.

    decisions: decision_id and offer_id of those days, and outcomes: contracts.OUTCOMES of the days followed: with both,
    response is known by offer. arms: programme.programme_arms, with margins and costs of whole waves; None: each matured
    decision with what followed it. There are none where nothing was sent yet, or where a held-out customer was sent
    something.
    """
    mine = attributions.filter((pl.col("kind") == "decision") & pl.col("matured"))
    delivered = mine.filter("was_sent")
    contacts = delivered.select("customer_id", "redeemed")
    if decisions is not None and outcomes is not None:
        contacts = _by_offer(delivered, decisions, outcomes)
    if arms is not None:
        return Observed(contacts, arms=arms, covariates=tuple({BASELINE} & set(arms.columns)))
    arm = pl.when("holdout").then(pl.lit(CONTROL)).otherwise(pl.lit(TREATED)).alias("arm")
    arms = mine.select("customer_id", pl.col("decided_on").alias("wave"), arm, OUTCOME)
    broken = delivered.is_empty() or bool(delivered["holdout"].any())
    return Observed(contacts, arms=None if broken else arms)


def shops(attributions: pl.DataFrame) -> Observed:
    """What contracts.ATTRIBUTIONS record of the mailings that the shop itself sent."""
    theirs = attributions.filter((pl.col("kind") == "exposure") & pl.col("matured"))
    return Observed(theirs.select("customer_id", "redeemed"))


def _by_offer(delivered: pl.DataFrame, decisions: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    held = delivered.join(decisions.select(pl.col("decision_id").alias("reference_id"), "offer_id"), on="reference_id")
    redeemed = outcomes.select("customer_id", "business_date", pl.col("redeemed_offers").alias("offer_id"))
    days = held.join(redeemed.explode("offer_id", empty_as_null=True), on=["customer_id", "offer_id"])
    inside = days.filter(
        (pl.col("business_date") > pl.col("decided_on")) & (pl.col("business_date") <= pl.col("window_end"))
    )
    return held.select(
        "customer_id",
        "redeemed",
        "offer_id",
        pl.col("reference_id").is_in(inside["reference_id"].to_list()).alias("redeemed_offer"),
    )


# -- one function per metric: its figures, or what the frames lack -------------------------------------------------------
def _ctr(observed: Observed) -> Figures | str:
    rows = observed.impressions
    if rows is None or rows.is_empty():
        return "recorded_impressions"
    return {"ctr": clustered_share(rows.select("customer_id", pl.col("clicked").alias("hit")))}


def _cvr(observed: Observed) -> Figures | str:
    if observed.contacts.is_empty():
        return "matured_contacts"
    return {"cvr": clustered_share(observed.contacts.select("customer_id", pl.col("redeemed").alias("hit")))}


def _offer_response(observed: Observed) -> Figures | str:
    rows = observed.contacts
    if "offer_id" not in rows.columns or rows.is_empty():
        return "matured_contacts_by_offer"
    hits = rows.select("customer_id", "offer_id", pl.col("redeemed_offer").alias("hit"))
    parts = {str(offer): part for (offer,), part in hits.sort("offer_id").group_by("offer_id", maintain_order=True)}
    by_offer = {f"offer_response.{offer}": clustered_share(part) for offer, part in parts.items()}
    return {"offer_response": clustered_share(hits), **by_offer}


def _uplift(observed: Observed) -> Figures | str:
    if observed.arms is None or not _drawn(observed.arms):
        return "randomised_holdout_of_sent"
    return {"uplift": lift(observed.arms, OUTCOME, _borne(observed)).adjusted.interval()}


def _roi(observed: Observed) -> Figures | str:
    if observed.arms is None or not _drawn(observed.arms):
        return "randomised_holdout_of_sent"
    if not {MARGIN, COST} <= set(observed.arms.columns):
        return "recorded_margins_and_costs"
    found = roi(observed.arms, MARGIN, COST, _borne(observed))
    return "a cost that is surely above 0" if found is None else {"roi": found}


def _drawn(arms: pl.DataFrame) -> bool:
    counts = _customers_by_arm(arms)
    return len(counts) >= 2 and min(counts) >= 2


def _borne(observed: Observed) -> tuple[str, ...]:
    """As many covariates as the smaller arm bears: each needs two customers, and so does the mean."""
    counts = _customers_by_arm(observed.arms) if observed.arms is not None else [0]
    return tuple(observed.covariates)[: max(min(counts) // 2 - 1, 0)]


def _customers_by_arm(arms: pl.DataFrame) -> list[int]:
    return arms.group_by("arm").agg(pl.col("customer_id").n_unique().alias("customers"))["customers"].to_list()


CALCULATED: Final[dict[str, Callable[[Observed], Figures | str]]] = {
    "ctr": _ctr,
    "cvr": _cvr,
    "offer_response": _offer_response,
    "uplift": _uplift,
    "roi": _roi,
}
