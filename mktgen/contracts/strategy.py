"""Decisions, what was sent, and what followed."""

from __future__ import annotations

import polars as pl

from mktgen.contracts.base import table

SEGMENTS = table(
    "segments",
    {
        "segment_id": pl.String,
        "name_en": pl.String,
        "name_zh": pl.String,
        "description_en": pl.String,
        "description_zh": pl.String,
        "customers": pl.Int64,
        "orders_84d": pl.Float64,
        "net_minor_84d": pl.Float64,
        "recency_days": pl.Float64,
        "discount_share_84d": pl.Float64,
        "p_churn_28d": pl.Float64,
    },
    key=["segment_id"],
)
CUSTOMER_SEGMENTS = table("customer_segments", {"customer_id": pl.String, "segment_id": pl.String}, key=["customer_id"])
RECOMMENDATIONS = table(
    "recommendations",
    {
        "customer_id": pl.String,
        "item_id": pl.String,
        "category": pl.String,
        "seen": pl.Boolean,
        "rank": pl.Int32,
        "score": pl.Float64,
        "reason": pl.String,
    },
    key=["customer_id", "item_id"],
)
OFFER_SCORES = table(
    "offer_scores",  # candidate actions: one offer of one running campaign for one customer
    {
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "item_id": pl.String,  # the eligible item shown with the offer
        "affinity": pl.Float64,  # share of the customer's lines on the offer's items
        "p_redeem": pl.Float64,  # P(redeems any coupon of the campaign | mailed), calibrated
        "p_redeem_low": pl.Float64,
        "p_redeem_high": pl.Float64,
        "cost_minor": pl.Int64,  # contact cost + reserved face value, what the budget is charged
        "value_minor": pl.Float64,  # expected margin under the configured assumptions; not incremental
    },
    key=["customer_id", "offer_id"],
)
EXCLUDED_OFFERS = table(
    "excluded_offers",  # candidates that could not be drawn today, and the first rule that left each out
    {
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "rule": pl.String,  # see strategy/exclusions.py
        "detail": pl.String,
    },
    key=["customer_id", "offer_id"],
)
DECISIONS = table(
    "decisions",
    {
        "decision_id": pl.String,
        "customer_id": pl.String,
        "segment_id": pl.String,
        "action": pl.String,  # offer_id, or "no_contact"
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "item_ids": pl.List(pl.String),
        "channel": pl.String,
        "action_set": pl.List(pl.String),  # always contains "no_contact"
        "action_propensities": pl.List(pl.Float64),  # aligned with action_set; sums to 1
        "propensity": pl.Float64,  # of the drawn action, given the customer's arm
        "explored": pl.Boolean,  # not the likeliest of its set
        "arm": pl.String,  # policy | business_as_usual | holdout
        "holdout": pl.Boolean,
        "holdout_share": pl.Float64,
        "p_redeem": pl.Float64,
        "expected_value_minor": pl.Float64,
        "cost_minor": pl.Int64,
        "model_version": pl.String,
        "policy_version": pl.String,
        "config_version": pl.String,
    },
    key=["decision_id"],
    nullable=["campaign_id", "offer_id", "channel", "p_redeem"],
)
MESSAGES = table(
    "messages",
    {
        "decision_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "channel": pl.String,
        "form": pl.String,  # email | sms | push | banner; see copywriting/forms.py
        "language": pl.String,
        "subject": pl.String,  # "" where the form has none
        "body": pl.String,
        "wording_id": pl.String,
        "origin": pl.String,  # template | model | fallback: another wording took the place of the one that was drawn
        "wording_propensity": pl.Float64,  # of the wording that was drawn
        "cell": pl.String,  # the pool it was drawn from; see WORDING_POOL
    },
    key=["decision_id"],
)
_WORDING: dict[str, pl.DataType | type[pl.DataType]] = {
    "cell": pl.String,  # form, language, tone and the slots that were known: see copywriting/request.py
    "form": pl.String,
    "language": pl.String,
    "tone": pl.String,
    "slots": pl.String,  # that were known, space-separated
    "wording_id": pl.String,
    "subject": pl.String,  # slots stand as {{name}}
    "body": pl.String,
    "origin": pl.String,  # template | model
    "chance": pl.Float64,  # sums to 1 over a cell
}
WORDINGS = table(
    "wordings",  # what a language model proposed and the verifier let pass, for the day's messages to be drawn from
    {
        "wording_id": pl.String,
        "form": pl.String,
        "language": pl.String,
        "tone": pl.String,
        "subject": pl.String,  # slots stand as {{name}}; "" where the form has none
        "body": pl.String,
        "slots": pl.String,  # that it says, space-separated
        "origin": pl.String,  # model
    },
    key=["wording_id"],
)
WORDING_POOL = table(
    "wording_pool",  # what the messages of a day were drawn from
    dict(_WORDING),
    key=["cell", "wording_id"],
)
WORDING_TRIALS = table(
    "wording_trials",  # what was sent of a pool to a segment and clicked, once the days to click are over; 0 sends kept
    {"decided_on": pl.Date, "segment_id": pl.String, **_WORDING, "sends": pl.Int64, "clicks": pl.Int64},
    key=["decided_on", "cell", "segment_id", "wording_id"],
)
WORDING_PAIRS = table(
    "wording_pairs",  # two wordings that were drawn at random and sent, and which was clicked more
    {
        "form": pl.String,
        "language": pl.String,
        "tone": pl.String,
        "slots": pl.String,  # that were known, space-separated
        "chosen_subject": pl.String,
        "chosen_body": pl.String,
        "rejected_subject": pl.String,
        "rejected_body": pl.String,
        "weight": pl.Float64,  # 2 P(chosen is clicked more) - 1
    },
)

SENDS = table(
    "sends",
    {
        "send_id": pl.String,
        "decision_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "channel": pl.String,
        "sent_for": pl.Date,  # the partition it was decided for
        "status": pl.String,  # sent | already_sent | unconfirmed | refused; see execution/dispatch.py
        "detail": pl.String,
    },
    key=["send_id"],
    nullable=["detail"],
)
OUTCOMES = table(
    "outcomes",  # what customers did on one day
    {
        "customer_id": pl.String,
        "business_date": pl.Date,
        "orders": pl.Int64,
        "net_minor": pl.Int64,
        "item_ids": pl.List(pl.String),
        "redeemed_offers": pl.List(pl.String),
    },
    key=["customer_id", "business_date"],
)
ATTRIBUTIONS = table(
    "attributions",  # one decision (ours) or exposure (really sent) and what followed inside the window, up to today
    {
        "kind": pl.String,  # decision | exposure
        "reference_id": pl.String,  # decision_id | exposure_id
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "decided_on": pl.Date,
        "window_end": pl.Date,
        "matured": pl.Boolean,
        "was_sent": pl.Boolean,
        "holdout": pl.Boolean,  # null for exposures: the shop kept no holdout of its own
        "predicted": pl.Float64,  # p_redeem when decided, where there was one
        "redeemed": pl.Boolean,  # an offer of its campaign
        "charged": pl.Boolean,  # its own offer, and no later contact held it: what a coupon's cost belongs to
        "orders": pl.Int64,
        "net_minor": pl.Int64,
        "recommended_bought": pl.Int64,  # recommended items bought: "would have bought", not response
        "recommended": pl.Int64,
    },
    key=["kind", "reference_id"],
    nullable=["campaign_id", "predicted", "holdout"],
)
RESPONSE_FACTS = table(
    "response_facts",  # what a response may depend on beside features and scores; no row: 0. See response/contact_facts.py
    {"customer_id": pl.String, "fact": pl.String, "value": pl.Float64},
    key=["customer_id", "fact"],
)
RESPONSE_SCORES = table(
    "response_scores",  # incremental profit of an offer for a customer against no contact, learned from trials
    {
        "customer_id": pl.String,
        "action": pl.String,  # offer_id
        "effect_minor": pl.Float64,
        "sd": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    },
    key=["customer_id", "action"],
)
CUSTOMER_CLASSES = table(
    "customer_classes",
    {
        "customer_id": pl.String,
        "class": pl.String,  # persuadable | sure_buyer | lost_cause | do_not_disturb | uncertain
        "best_action": pl.String,
        "base_conversion": pl.Float64,
        "effect": pl.Float64,  # of the best action on conversion; low, high: simultaneous over the actions
        "low": pl.Float64,
        "high": pl.Float64,
    },
    key=["customer_id"],
)
TRIALS = table(
    "trials",  # one past decision whose outcome window matured, and what came of it
    {
        "decision_id": pl.String,
        "customer_id": pl.String,
        "decided_on": pl.Date,
        "action": pl.String,
        "action_set": pl.List(pl.String),  # of a held-out row: what it would have been drawn from
        "action_propensities": pl.List(pl.Float64),  # aligned with action_set, given the customer is not held out
        "propensity": pl.Float64,  # of the action, given the customer is not held out
        "reward_minor": pl.Float64,  # margin in the window - face value redeemed - contact cost, as observed
        "converted": pl.Boolean,
        "holdout": pl.Boolean,
    },
    key=["decision_id"],
    nullable=["action_propensities", "propensity"],
)
HELD_OUT_EFFECTS = table(
    "held_out_effects",  # of each trial, as foretold by models that had not seen its customer; see response/past.py
    {
        "decision_id": pl.String,
        "action": pl.String,  # each that was possible, no_contact included
        "effect_minor": pl.Float64,  # on the reward, against no contact
        "expected_minor": pl.Float64,  # the reward under the action
    },
    key=["decision_id", "action"],
)
DRIFT = table(
    "drift",
    {
        "feature": pl.String,
        "psi": pl.Float64,  # population stability index against the training cut
        "threshold": pl.Float64,
        "drifted": pl.Boolean,
    },
    key=["feature"],
)
EFFECT_LEDGER = table(
    "effect_ledger",  # what a campaign was to bring and what it brought, by wave; see feedback/effect_ledger.py
    {
        "campaign_id": pl.String,  # "" = all campaigns together, against the holdout
        "wave": pl.Date,  # first day of decisions; a wave is as long as the attribution window
        "contacts": pl.Int64,  # delivered; of a campaign: matured
        "controls": pl.Int64,  # customers held out, or decisions that the draw left alone
        "predicted_minor": pl.Float64,  # incremental profit, summed over contacts
        "predicted_low_minor": pl.Float64,
        "predicted_high_minor": pl.Float64,
        "realised_minor": pl.Float64,  # null: could not be measured, `reason` says why
        "realised_low_minor": pl.Float64,
        "realised_high_minor": pl.Float64,
        "ratio": pl.Float64,  # realised / predicted, where the prediction is above 0
        "predicted_redemptions": pl.Float64,
        "redeemed": pl.Int64,
        "incremental": pl.Boolean,  # all predictions were learned from trials; else some rest on assumptions
        "matured": pl.Boolean,  # of all its contacts the window is over
        "shortfall": pl.Boolean,
        "reason": pl.String,
        "known_on": pl.Date,  # partition on which the row first stood here
        "called_on": pl.Date,  # partition on which a shortfall was first called; null: none
    },
    key=["campaign_id", "wave"],
    nullable=["predicted_low_minor", "predicted_high_minor", "realised_minor", "realised_low_minor",
              "realised_high_minor", "ratio", "called_on"],
)  # fmt: skip
