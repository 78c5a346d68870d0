"""Why one decision came out as it did, from the rows that were stored when it was made.

Nothing is computed anew: chances, values, the price of the budget and the rules that left offers out are those of the
day. What is inferred is only which of them decided, by the order in which the policy applies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mktgen.documents import Allocation
from mktgen.documents.why import WhyDecision, WhyOption, WhySending
from mktgen.strategy import arms
from mktgen.strategy.decision_rows import NO_CONTACT

Row = Mapping[str, Any]
_CLOSE: Final = 1e-9


@dataclass(frozen=True)
class Trace:
    """The stored rows about one decision.

    decision: of contracts.DECISIONS. offers, excluded: of contracts.OFFER_SCORES and EXCLUDED_OFFERS about its customer;
    excluded None: not stored with these decisions. effects: of contracts.RESPONSE_SCORES about the customer. learned: values
    are incremental, by a response model. day_notes: of the
    day's allocation. reasons: of contracts.REASONS, of this decision or about the customer's churn.
    seed: of the draw.
    """

    partition: date
    decision: Row
    offers: Sequence[Row]
    excluded: Sequence[Row] | None
    effects: Sequence[Row]
    learned: bool
    allocation: Allocation
    day_notes: list[str]
    reasons: Sequence[Row]
    seed: int
    source: str
    notice: str
    versions: dict[str, str]
    sending: WhySending
    notes: list[str]


def explain(trace: Trace) -> WhyDecision:
    """The decision with its options in the order of the action set, the excluded ones last."""
    decision, options = trace.decision, _options(trace)
    decided_by, because = _decider(trace, options)
    return WhyDecision(
        decision_id=decision["decision_id"],
        partition=trace.partition,
        customer_id=decision["customer_id"],
        source=trace.source,
        notice=trace.notice,
        arm=decision["arm"],
        action=decision["action"],
        propensity=decision["propensity"],
        explored=decision["explored"],
        options=options,
        decided_by=decided_by,
        because=because,
        draw=_draw(trace),
        day=_day(trace),
        events=_events(trace.reasons),
        sending=trace.sending,
        versions=trace.versions,
        notes=trace.notes,
    )


def _options(trace: Trace) -> list[WhyOption]:
    chances = dict(zip(trace.decision["action_set"], trace.decision["action_propensities"], strict=True))
    offers = {row["offer_id"]: row for row in trace.offers}
    rules = {row["offer_id"]: row for row in trace.excluded or ()}
    left_out = sorted(set(offers) - set(chances))
    return [_option(action, trace, offers.get(action), chances.get(action), rules.get(action))
            for action in [*chances, *left_out]]  # fmt: skip


def _option(action: str, trace: Trace, offer: Row | None, chance: float | None, rule: Row | None) -> WhyOption:
    effect = next((row for row in trace.effects if row["action"] == action), None) if trace.learned else None
    value, cost = (float(offer["value_minor"]), int(offer["cost_minor"])) if offer else (0.0, 0)
    excluded = chance is None
    return WhyOption(
        action=action,
        campaign_id=offer["campaign_id"] if offer else None,
        value_minor=value,
        low_minor=effect["low"] if effect else None,
        high_minor=effect["high"] if effect else None,
        value_rests_on=_rests_on(action, trace.learned, effect is not None),
        p_redeem=offer["p_redeem"] if offer else None,
        cost_minor=cost,
        net_minor=value - trace.allocation.shadow_price * cost,
        propensity=chance,
        drawn=action == trace.decision["action"],
        excluded_by=(rule["rule"] if rule else "not_stored") if excluded else None,
        excluded_because=(rule["detail"] if rule else "the rule was not stored with these decisions")
        if excluded
        else None,
    )


def _rests_on(action: str, learned: bool, tried: bool) -> str:
    if action == NO_CONTACT:
        return "by definition: all else is measured against it"
    if not learned:
        return "assumed: chance of redemption and configured margins; not incremental"
    return "learned from randomised decisions" if tried else "learned from other offers: this one was never tried"


# -- which rule decided -----------------------------------------------------------------------------------------------
def _decider(trace: Trace, options: list[WhyOption]) -> tuple[str, list[str]]:
    decision, excluded = trace.decision, [option for option in options if option.propensity is None]
    if decision["arm"] == arms.HOLDOUT:
        share = decision["holdout_share"]
        words = (
            f"This customer is held out: {share:.0%} of customers are left alone by all campaigns, to measure against."
        )
        return "holdout", [words, *_left_out(excluded)]
    if not trace.offers:
        return "no_candidate", ["No offer of a running campaign was a candidate for this customer."]
    if len(options) == len(excluded) + 1:
        first = excluded[0].excluded_by or ""
        return first, ["Every offer was left out by a rule, so no contact was the only action.", *_left_out(excluded)]
    possible = [option for option in options if option.propensity is not None]
    if decision["arm"] == arms.USUAL:
        name, words = _as_usual(trace, possible)
    else:
        name, words = _by_policy(trace, possible)
    return name, [words, *_left_out(excluded)]


def _left_out(excluded: list[WhyOption]) -> list[str]:
    rules = sorted({(option.excluded_by or "", option.excluded_because or "") for option in excluded})
    return [
        f"Left out by {rule}: {', '.join(o.action for o in excluded if o.excluded_because == words)} ({words})."
        for rule, words in rules
    ]


def _as_usual(trace: Trace, possible: list[WhyOption]) -> tuple[str, str]:
    rule = (
        "This customer is in the business-as-usual arm: offers go by the chance of redemption within a budget of "
        f"{money(trace.allocation.usual_budget_minor)}, as without a model of effect. Nothing was left to chance."
    )
    if trace.decision["action"] != NO_CONTACT:
        return arms.USUAL, rule
    if trace.allocation.usual_budget_minor == 0:
        return arms.USUAL, f"{rule} There was no budget that day."
    best = max(
        (option for option in possible if option.action != NO_CONTACT), key=lambda option: option.p_redeem or 0.0
    )
    return arms.USUAL, f"{rule} The budget went to others: the likeliest here, {best.action}, has {best.p_redeem:.1%}."


def _by_policy(trace: Trace, possible: list[WhyOption]) -> tuple[str, str]:
    plan, drawn = trace.allocation, next(option for option in possible if option.drawn)
    best = max(possible, key=lambda option: (option.net_minor, -option.cost_minor))
    chance = drawn.propensity or 0.0
    if chance <= plan.propensity_floor * (1 + 1e-6) and trace.decision["explored"]:
        return "exploration_floor", (
            f"{drawn.action} was drawn to learn: every action that may be taken keeps a chance of at least "
            f"{plan.propensity_floor:.2%}, and without that floor it would have had none."
        )
    if drawn.action == NO_CONTACT != best.action and chance <= (plan.propensity_floor + plan.no_contact_floor) * (
        1 + 1e-6
    ):
        return "no_contact_floor", (
            f"No contact was drawn to measure: everybody is left alone with a chance of at least {chance:.2%}, so that what "
            f"contacts bring can be told. {best.action} was expected to be best ({money(best.net_minor)})."
        )
    if drawn.action != best.action and drawn.net_minor < best.net_minor - _CLOSE:
        return "uncertainty", (
            f"At the day's price {best.action} is expected to be best ({money(best.net_minor)} after what its share of the "
            f"budget would bring elsewhere, {drawn.action} {money(drawn.net_minor)}). How sure that is sets the chances: "
            f"{drawn.action} was drawn with {chance:.1%}."
        )
    if drawn.action == NO_CONTACT:
        return _nobody(plan, possible)
    return "value", (
        f"{drawn.action} is worth most: {money(drawn.value_minor)} expected, {money(drawn.net_minor)} after what the "
        f"{money(drawn.cost_minor)} it may cost would bring elsewhere (price of the budget {plan.shadow_price:.3f})."
    )


def _nobody(plan: Allocation, possible: list[WhyOption]) -> tuple[str, str]:
    best = max((option for option in possible if option.action != NO_CONTACT), key=lambda option: option.value_minor)
    if best.value_minor <= 0:
        return "value", f"No offer is expected to pay: the best, {best.action}, is worth {money(best.value_minor)}."
    return "budget_price", (
        f"{best.action} is worth {money(best.value_minor)}, but may cost {money(best.cost_minor)} of a budget whose every "
        f"unit brings {plan.shadow_price:.3f} elsewhere: {money(best.net_minor)} are left."
    )


def _draw(trace: Trace) -> str:
    decision = trace.decision
    if len(decision["action_set"]) == 1 or decision["propensity"] == 1.0:
        return f"{decision['action']} was certain: nothing was drawn."
    kind = "a less likely action" if decision["explored"] else "the likeliest action"
    return (
        f"{decision['action']}, {kind}, was drawn with a chance of {decision['propensity']:.2%} among "
        f"{len(decision['action_set'])} actions, by seed {trace.seed} and the customer's id."
    )


def _day(trace: Trace) -> list[str]:
    plan = trace.allocation
    budget = (
        f"budget {money(plan.budget_minor)}, {money(plan.usual_budget_minor)} of it for business as usual; one more unit would "
        f"add {plan.shadow_price:.3f} of expected value; every action that may be taken has a chance of at least "
        f"{plan.propensity_floor:.2%}, no contact of {plan.propensity_floor + plan.no_contact_floor:.2%}"
    )
    return [budget, *trace.day_notes]


def _events(reasons: Sequence[Row]) -> list[str]:
    ordered = sorted(reasons, key=lambda row: (row["about"] != "item", row["item_id"] or "", row["position"]))
    about = {"item": "shown item {item_id}", "churn": "risk of leaving"}
    return [f"{about[row['about']].format(item_id=row['item_id'])}: {row['text']}" for row in ordered]


def money(minor: float) -> str:
    """Minor units as the shop's currency units with two decimals."""
    return f"{minor / 100:,.2f}"
