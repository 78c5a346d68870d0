"""Proof that a day's decisions keep the contact policy: each rule is one gate, recomputed from the rows alone.

Nothing here is shared with the code that made the decisions; a fault there must show here.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.documents import Allocation, Gate
from mktgen.evaluation.power import sample_ratio_p_value
from mktgen.settings import ContactSettings, EvaluationSettings, StrategySettings

NO_CONTACT: Final = "no_contact"
TOLERANCE: Final = 1e-9
_LEAST_EXPLORATION: Final = 0.1  # of the floor, however many trials are known (strategy/exploration.py)


def gate(name: str, wrong: int, detail: str) -> Gate:
    """A rule that no row may break."""
    return Gate(name=name, passed=wrong == 0, detail=detail, value=float(wrong), threshold=0.0)


def contacted(decisions: pl.DataFrame) -> pl.DataFrame:
    return decisions.filter(pl.col("action") != NO_CONTACT)


def one_decision_per_customer(decisions: pl.DataFrame, customers: list[str]) -> Gate:
    decided = decisions["customer_id"].to_list()
    twice = len(decided) - len(set(decided))
    missing, extra = set(customers) - set(decided), set(decided) - set(customers)
    detail = (
        f"{len(set(customers))} active customers, {len(decided)} decisions: {len(missing)} without one, "
        f"{twice} more than one, {len(extra)} for customers who are not active"
    )
    return gate("one_decision_per_customer", twice + len(missing) + len(extra), detail)


def holdout_not_contacted(decisions: pl.DataFrame) -> Gate:
    held = decisions.filter("holdout")
    wrong = contacted(held).height
    return gate("holdout_not_contacted", wrong, f"{wrong} of {held.height} held-out customers would be contacted")


def contact_cap(decisions: pl.DataFrame, recent_contacts: pl.DataFrame, settings: StrategySettings) -> Gate:
    capped = recent_contacts.filter(pl.col("contacts") >= settings.contact_cap)
    wrong = contacted(decisions).join(capped, on="customer_id", how="semi").height
    rule = f"at most {settings.contact_cap} contacts in {settings.contact_cap_days} days"
    return gate("contact_cap", wrong, f"{rule}: {capped.height} customers are at the cap, {wrong} would be contacted")


def budget(decisions: pl.DataFrame, offer_scores: pl.DataFrame, settings: StrategySettings) -> Gate:
    """Worst case over every possible draw: what is expected to be spent, and the dearest single action."""
    sets = _action_rows(decisions).join(
        offer_scores.select("customer_id", pl.col("offer_id").alias("action"), "cost_minor"),
        on=["customer_id", "action"],
        how="left",
    )
    unknown = sets.filter((pl.col("action") != NO_CONTACT) & pl.col("cost_minor").is_null()).height
    priced = sets.with_columns(pl.col("cost_minor").fill_null(0))
    uncertain = priced.filter((pl.col("p") > 0) & (pl.col("p") < 1))["cost_minor"].max()
    expected = float(priced.select((pl.col("p") * pl.col("cost_minor")).sum()).item())
    worst = math.ceil(expected - 1e-6) + (uncertain if isinstance(uncertain, int) else 0)
    drawn = int(decisions["cost_minor"].sum())
    return Gate(
        name="budget_worst_case",
        passed=worst <= settings.budget_minor and drawn <= worst and unknown == 0,
        detail=f"worst case {worst}, this draw {drawn}, budget {settings.budget_minor} minor units"
        + (f"; {unknown} actions are not among the scored offers" if unknown else ""),
        value=float(max(worst, drawn)),
        threshold=float(settings.budget_minor),
    )


def consent(contact: ContactSettings) -> Gate:
    """Not decided here: consent is read when a message is sent, because it may change until then."""
    unknown = {
        "refuse": "whose consent is not known is refused",
        "existing_customers": "ASSUMPTION (contact.consent_default): where nothing is known the shop has a legal basis for "
        "contacting its existing customers; withdrawn consent and suppression refuse all the same",
    }
    return Gate(name="consent", passed=None, detail=f"looked up at dispatch; {unknown[contact.consent_default]}")


def quiet_hours(settings: StrategySettings) -> Gate:
    """In the shop's time zone; dispatch looks at the customer's own."""
    hour, start, end = settings.send_hour_local, settings.quiet_from_hour, settings.quiet_to_hour
    quiet = settings.is_quiet(hour)
    return gate("quiet_hours", int(quiet), f"sent at {hour}:00 local time; quiet from {start}:00 to {end}:00")


def propensities(decisions: pl.DataFrame) -> Gate:
    """Every action set sums to 1, holds no contact and the drawn action; outside the policy's arm nothing is left to chance."""
    rows = _action_rows(decisions)
    summary = rows.group_by("decision_id").agg(
        pl.col("p").sum().alias("total"),
        pl.col("p").min().alias("least"),
        (pl.col("action") == NO_CONTACT).sum().alias("none"),
        pl.col("action").n_unique().alias("distinct"),
        pl.col("actions").first(),
        ((pl.col("action") == pl.col("drawn")) & ((pl.col("p") - pl.col("propensity")).abs() < TOLERANCE))
        .sum()
        .alias("drawn"),
        pl.col("propensity").first(),
        pl.col("arm").first(),
    )
    sound = (
        ((pl.col("total") - 1).abs() < TOLERANCE)
        & (pl.col("least") >= 0)
        & (pl.col("propensity") > 0)
        & (pl.col("none") == 1)
        & (pl.col("distinct") == pl.col("actions"))
        & (pl.col("drawn") == 1)
    )
    certain = (pl.col("arm") == "policy") | ((pl.col("propensity") - 1).abs() < TOLERANCE)
    wrong = decisions.height - summary.filter(sound & certain).height
    explored = int(decisions["explored"].sum())
    return gate(
        "propensities",
        wrong,
        f"{wrong} of {decisions.height} action sets break the rule; {explored} drew an unlikely action",
    )


def propensity_floor(decisions: pl.DataFrame, plan: Allocation, settings: StrategySettings) -> Gate:
    """No action that the policy may take is less likely than the floor, or than the lower one that was stated openly."""
    stated, asked = plan.propensity_floor, plan.propensity_floor_wanted
    rows = _action_rows(decisions).filter((pl.col("actions") > 1) & (pl.col("arm") == "policy"))
    if rows.is_empty():
        return Gate(name="propensity_floor", passed=None, detail="nobody has more than one possible action")
    least, largest = float(rows["p"].min()), int(rows["actions"].max())  # type: ignore[arg-type]
    detail = f"least propensity {least:.5f}, floor {settings.propensity_floor}"
    wanted = settings.floor_among(largest)
    if asked is not None and asked < _LEAST_EXPLORATION * wanted - TOLERANCE:
        detail += f"; {asked:.5f} was asked for, less than exploration ever narrows to"
        return Gate(name="propensity_floor", passed=False, detail=detail, value=least, threshold=wanted)
    if asked is not None and asked < wanted - TOLERANCE:
        detail += f", {asked:.5f} as so many trials are known"
        wanted = asked
    if stated < wanted - TOLERANCE:
        detail += f"; lowered openly to {stated:.5f}, because the budget does not allow more exploration"
    passed = True if least >= wanted - TOLERANCE else None if least >= stated - TOLERANCE else False
    return Gate(name="propensity_floor", passed=passed, detail=detail, value=least, threshold=wanted)


def messages(decisions: pl.DataFrame, written: pl.DataFrame) -> Gate:
    sent = contacted(decisions)
    without = sent.join(written, on="decision_id", how="anti").height
    beyond = written.join(sent, on="decision_id", how="anti").height
    twice = written.height - written["decision_id"].n_unique()
    empty = written.filter(
        (pl.col("subject").str.strip_chars() == "") | (pl.col("body").str.strip_chars() == "")
    ).height
    detail = (
        f"{sent.height} contacts, {written.height} messages: {without} contacts without one, {beyond} messages "
        f"without a contact, {twice} double, {empty} empty"
    )
    return gate("message_per_contact", without + beyond + twice + empty, detail)


def offer_window(decisions: pl.DataFrame, offers: pl.DataFrame, partition: date) -> Gate:
    """The offer is open on the day the message arrives, the day after the partition."""
    arrives = partition + timedelta(days=1)
    sent = contacted(decisions)
    window = pl.lit(arrives).is_between(pl.col("valid_from"), pl.col("valid_to"))
    valid = sent.join(offers.filter(window), on=["offer_id", "campaign_id"], how="semi").height
    wrong = sent.height - valid
    return gate("offer_window", wrong, f"{wrong} of {sent.height} contacts have an offer not open on {arrives}")


def versions(decisions: pl.DataFrame) -> Gate:
    names = ("model_version", "policy_version", "config_version")
    wrong = decisions.filter(pl.any_horizontal(pl.col(name).str.strip_chars() == "" for name in names)).height
    return gate("versions", wrong, f"{wrong} decisions lack the version of model, policy or configuration")


def sample_ratio(decisions: pl.DataFrame, settings: StrategySettings, evaluation: EvaluationSettings) -> Gate:
    held = int(decisions["holdout"].sum())
    p_value = sample_ratio_p_value(held, decisions.height, settings.holdout_share)
    detail = f"{held} of {decisions.height} held out, {settings.holdout_share:.1%} designed: p = {p_value:.4f}"
    return Gate(
        name="sample_ratio",
        passed=p_value >= evaluation.srm_alpha,
        detail=detail,
        value=p_value,
        threshold=evaluation.srm_alpha,
    )


def _action_rows(decisions: pl.DataFrame) -> pl.DataFrame:
    """One row per action of a decision: customer_id, decision_id, action, p, actions (size of the set), drawn.

    Sets whose propensities don't line up with their actions have no rows; the gate `propensities` counts them.
    """
    aligned = pl.col("action_set").list.len() == pl.col("action_propensities").list.len()
    return (
        decisions.filter(aligned & (pl.col("action_set").list.len() > 0))
        .select(
            "customer_id",
            "decision_id",
            "propensity",
            "arm",
            pl.col("action").alias("drawn"),
            pl.col("action_set").list.len().cast(pl.Int64).alias("actions"),
            pl.col("action_set").alias("action"),
            pl.col("action_propensities").alias("p"),
        )
        .explode("action", "p")
    )
