"""Every artefact's schema. A contract says what the columns are, which may be empty and what identifies a row.

Conventions: times are UTC (microseconds); `business_date` is the shop's local day; money is in minor units of the
shop's currency (Int64, cents for USD); identifiers are strings; customers are pseudonyms (keyed hash).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from mktgen.errors import PermanentError

UTC_TIME: Final = pl.Datetime("us", "UTC")


class ContractError(PermanentError):
    """A frame or document breaks its contract. Never retried: the same input breaks it again."""


@dataclass(frozen=True)
class Contract:
    """Schema of one table artefact.

    `columns` are in stored order; `key` identifies a row ("" in an error means there is no key); `nullable` lists the
    columns that may hold nulls. `open_strings` allows further String columns (raw tables, whose columns the source owns).
    """

    name: str
    columns: dict[str, pl.DataType | type[pl.DataType]]
    key: tuple[str, ...] = ()
    nullable: frozenset[str] = frozenset()
    open_strings: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, types, nullability and key; stored in every manifest and compared on read."""
        body = {
            "name": self.name,
            "columns": [[name, str(_instance(dtype))] for name, dtype in self.columns.items()],
            "key": list(self.key),
            "nullable": sorted(self.nullable),
            "open_strings": self.open_strings,
        }
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.columns)

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` in stored column order, or raise ContractError naming the column and an example."""
        self._check_columns(frame)
        if not self.open_strings:
            frame = frame.select(list(self.columns))
        required = [name for name in self.columns if name not in self.nullable]
        nulls = frame.select(pl.col(required).null_count()).row(0, named=True) if required else {}
        for name, count in nulls.items():
            if count:
                raise ContractError(f"{self.name}.{name}: {count} of {frame.height} rows are null, none may be")
        if self.key and frame.select(self.key).is_duplicated().any():
            example = frame.filter(frame.select(self.key).is_duplicated()).select(self.key).row(0, named=True)
            raise ContractError(f"{self.name}: key {self.key} is not unique, e.g. {example}")
        return frame

    def _check_columns(self, frame: pl.DataFrame) -> None:
        have = dict(frame.schema)
        missing = [name for name in self.columns if name not in have]
        if missing:
            raise ContractError(f"{self.name}: missing columns {missing}; have {list(have)}")
        for name, dtype in have.items():
            if name not in self.columns:
                if self.open_strings and dtype == pl.String:
                    continue
                raise ContractError(f"{self.name}: unexpected column {name} ({dtype})")
            want = _instance(self.columns[name])
            if dtype != want:
                raise ContractError(f"{self.name}.{name}: is {dtype}, must be {want}")


def _instance(dtype: pl.DataType | type[pl.DataType]) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


_REGISTRY: dict[str, Contract] = {}


def _table(
    name: str,
    columns: dict[str, pl.DataType | type[pl.DataType]],
    key: Iterable[str] = (),
    nullable: Iterable[str] = (),
    open_strings: bool = False,
) -> Contract:
    contract = Contract(name, columns, tuple(key), frozenset(nullable), open_strings)
    _REGISTRY[name] = contract
    return contract


def contract(name: str) -> Contract:
    """The contract of an artefact; raw tables (`raw_<table>`) share one."""
    if name.startswith("raw_"):
        return Contract(name, RAW.columns, RAW.key, RAW.nullable, RAW.open_strings)
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ContractError(f"no contract named {name!r}; known: {sorted(_REGISTRY)}") from None


def all_contracts() -> dict[str, Contract]:
    return dict(_REGISTRY)


# -- collect: rows as received, every value a string, so that any hostile value can be represented -----------------
RAW = _table("raw", {"row": pl.UInt32}, key=["row"], open_strings=True)

# -- clean: canonical tables ------------------------------------------------------------------------------------------
QUARANTINE = _table(
    "quarantine",
    {"table": pl.String, "row": pl.UInt32, "rule": pl.String, "value": pl.String, "raw": pl.String},
    key=["table", "row"],
    nullable=["value"],
)
REFERENCE_QUARANTINE = _table("reference_quarantine", dict(QUARANTINE.columns), QUARANTINE.key, QUARANTINE.nullable)
ITEMS = _table(
    "items",
    {
        "item_id": pl.String,
        "department": pl.String,
        "category": pl.String,
        "item_type": pl.String,
        "brand": pl.String,
        "manufacturer_id": pl.String,
        "package_size": pl.String,
        "merchandise": pl.Boolean,  # False: fuel, coupons, store supplies, services; never recommended
    },
    key=["item_id"],
    nullable=["item_type", "brand", "manufacturer_id", "package_size"],
)
CUSTOMERS = _table(
    "customers",
    {
        "customer_id": pl.String,
        "age": pl.String,
        "income": pl.String,
        "home_ownership": pl.String,
        "marital_status": pl.String,
        "household_size": pl.String,
        "household_comp": pl.String,
        "kids_count": pl.String,
    },
    key=["customer_id"],
    nullable=["age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count"],
)
ORDER_LINES = _table(
    "order_lines",
    {
        "order_id": pl.String,
        "item_id": pl.String,
        "customer_id": pl.String,
        "store_id": pl.String,
        "event_time": UTC_TIME,
        "business_date": pl.Date,
        "category": pl.String,  # "UNKNOWN" when the item is not in the catalogue
        "merchandise": pl.Boolean,
        "units": pl.Int32,  # null where the unit is not pieces (fuel)
        "net_minor": pl.Int64,  # what the retailer received
        "gross_minor": pl.Int64,  # list value: net + loyalty discount + coupon match
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "match_disc_minor": pl.Int64,
        "paid_minor": pl.Int64,  # what the customer paid: max(0, net - coupon)
        "on_display": pl.Boolean,
        "on_mailer": pl.Boolean,
        "ingested_at": UTC_TIME,
    },
    key=["order_id", "item_id"],
    nullable=["units"],
)
CONTEXT_PROMOTIONS = _table(
    "context_promotions",
    {
        "item_id": pl.String,
        "store_id": pl.String,
        "week_start": pl.Date,
        "display": pl.Boolean,
        "mailer": pl.Boolean,
    },
    key=["item_id", "store_id", "week_start"],
)
CAMPAIGNS = _table(
    "campaigns",
    {"campaign_id": pl.String, "campaign_type": pl.String, "start_date": pl.Date, "end_date": pl.Date},
    key=["campaign_id"],
)
OFFERS = _table(
    "offers",
    {
        "offer_id": pl.String,  # "<campaign>:<coupon>"
        "campaign_id": pl.String,
        "coupon_id": pl.String,
        "valid_from": pl.Date,
        "valid_to": pl.Date,
        "face_value_minor": pl.Int64,  # null where the source does not record it
    },
    key=["offer_id"],
    nullable=["face_value_minor"],
)
OFFER_ITEMS = _table("offer_items", {"offer_id": pl.String, "item_id": pl.String}, key=["offer_id", "item_id"])
EXPOSURES = _table(
    "exposures",
    {
        "exposure_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "channel": pl.String,
        "exposed_on": pl.Date,
        "propensity": pl.Float64,  # null: the source logged none
    },
    key=["exposure_id"],
    nullable=["propensity"],
)
RESPONSES = _table(
    "responses",
    {
        "response_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "offer_id": pl.String,
        "response_type": pl.String,  # redeem
        "responded_on": pl.Date,
    },
    key=["response_id"],
)

# -- features: state is a fold over days (integers only, so that sums don't depend on order) -----------------------
CUSTOMER_DAYS = _table(
    "customer_days",
    {
        "customer_id": pl.String,
        "business_date": pl.Date,
        "orders": pl.Int64,
        "lines": pl.Int64,
        "items": pl.Int64,  # distinct merchandise items
        "categories": pl.Int64,  # distinct merchandise categories
        "net_minor": pl.Int64,  # merchandise only
        "other_minor": pl.Int64,  # fuel and other non-merchandise spend, kept apart
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "gross_minor": pl.Int64,
        "promo_lines": pl.Int64,  # lines on display or in the mailer
    },
    key=["customer_id", "business_date"],
)
CUSTOMER_STATE = _table(
    "customer_state",
    {
        "customer_id": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "days": pl.Int64,
        "orders": pl.Int64,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
        "other_minor": pl.Int64,
        "loyalty_disc_minor": pl.Int64,
        "coupon_disc_minor": pl.Int64,
        "gross_minor": pl.Int64,
        "promo_lines": pl.Int64,
        "gap_days_sum": pl.Int64,  # sums of gaps between visit days and of their squares
        "gap_days_sq_sum": pl.Int64,
    },
    key=["customer_id"],
)
CUSTOMER_CATEGORIES = _table(
    "customer_categories",
    {
        "customer_id": pl.String,
        "category": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "days": pl.Int64,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
    },
    key=["customer_id", "category"],
)
ITEM_DAYS = _table(
    "item_days",
    {
        "item_id": pl.String,
        "business_date": pl.Date,
        "lines": pl.Int64,
        "customers": pl.Int64,
        "net_minor": pl.Int64,
        "promo_lines": pl.Int64,
    },
    key=["item_id", "business_date"],
)
ITEM_STATE = _table(
    "item_state",
    {
        "item_id": pl.String,
        "category": pl.String,
        "first_day": pl.Date,
        "last_day": pl.Date,
        "lines": pl.Int64,
        "net_minor": pl.Int64,
        "promo_lines": pl.Int64,
    },
    key=["item_id"],
)
SEQUENCES = _table(
    "sequences",  # the last merchandise events of each customer, oldest first
    {
        "customer_id": pl.String,
        "event_time": UTC_TIME,
        "business_date": pl.Date,
        "order_id": pl.String,
        "item_id": pl.String,
        "category": pl.String,
        "net_minor": pl.Int64,
        "on_promotion": pl.Boolean,
    },
    key=["customer_id", "order_id", "item_id"],
)
CUSTOMER_FEATURES = _table(
    "customer_features",
    {
        "customer_id": pl.String,
        "recency_days": pl.Float64,
        "tenure_days": pl.Float64,
        "orders_7d": pl.Float64,
        "orders_28d": pl.Float64,
        "orders_84d": pl.Float64,
        "orders_all": pl.Float64,
        "active_weeks_12": pl.Float64,
        "net_minor_7d": pl.Float64,
        "net_minor_28d": pl.Float64,
        "net_minor_84d": pl.Float64,
        "net_minor_all": pl.Float64,
        "other_minor_84d": pl.Float64,
        "lines_28d": pl.Float64,
        "lines_84d": pl.Float64,
        "lines_per_order_84d": pl.Float64,
        "net_minor_per_order_84d": pl.Float64,
        "discount_share_84d": pl.Float64,  # (loyalty + coupon) / gross
        "coupon_share_84d": pl.Float64,
        "promo_share_84d": pl.Float64,
        "trend_28d": pl.Float64,  # orders 28 d / orders of the 28 d before, smoothed
        "gap_days_mean": pl.Float64,
        "gap_days_sd": pl.Float64,
        "recency_over_gap": pl.Float64,
        "categories_all": pl.Float64,
        "category_entropy": pl.Float64,  # nats, over lifetime lines
        "top_category": pl.String,
        "top_category_share": pl.Float64,
    },
    key=["customer_id"],
)
ITEM_FEATURES = _table(
    "item_features",
    {
        "item_id": pl.String,
        "category": pl.String,
        "recency_days": pl.Float64,
        "age_days": pl.Float64,
        "lines_28d": pl.Float64,
        "customers_28d": pl.Float64,  # customer-days
        "lines_all": pl.Float64,
        "price_minor": pl.Float64,  # mean net value of a line
        "promo_share": pl.Float64,
    },
    key=["item_id"],
)

# -- models -----------------------------------------------------------------------------------------------------------
RANKING_METRICS: Final = tuple(
    part + metric
    for part in ("", "repeat.", "novel.")
    for metric in ("ndcg_at_10", "recall_at_10", "recall_at_20", "hit_rate_at_10")
)
VALIDATION_RANKING = _table(
    "validation_ranking",  # per evaluated customer, on the frozen week after the cut; null: bought nothing of that part
    {"kind": pl.String, "customer_id": pl.String, **dict.fromkeys(RANKING_METRICS, pl.Float64)},
    key=["kind", "customer_id"],
    nullable=RANKING_METRICS,
)
VALIDATION_CUSTOMERS = _table(
    "validation_customers",
    {
        "kind": pl.String,
        "customer_id": pl.String,
        "p_purchase_7d": pl.Float64,
        "p_purchase_28d": pl.Float64,
        "purchased_7d": pl.Boolean,
        "purchased_28d": pl.Boolean,
    },
    key=["kind", "customer_id"],
)
REDEMPTION_HOLDOUT = _table(
    "redemption_holdout",  # mailings of campaigns that the redemption recipe had not seen
    {
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "campaign_type": pl.String,
        "p_redeem": pl.Float64,
        "affinity": pl.Float64,
        "redeemed": pl.Boolean,
    },
    key=["campaign_id", "customer_id"],
)
CUSTOMER_SCORES = _table(
    "customer_scores",
    {
        "customer_id": pl.String,
        "p_purchase_7d": pl.Float64,
        "p_purchase_28d": pl.Float64,
        "p_churn_28d": pl.Float64,  # = 1 - p_purchase_28d, by the definition of churn
        "vector": pl.List(pl.Float32),  # customer vector of the behaviour Transformer
        "customer_model": pl.String,  # kind of the model that gave the probabilities
    },
    key=["customer_id"],
)
ITEM_SCORES = _table(
    "item_scores",  # top items per customer, seen (bought before) and unseen apart
    {
        "customer_id": pl.String,
        "item_id": pl.String,
        "seen": pl.Boolean,
        "rank": pl.Int32,  # 1 = best within (customer, seen)
        "score": pl.Float64,
        "ranking_model": pl.String,
    },
    key=["customer_id", "item_id"],
)

# -- strategy -----------------------------------------------------------------------------------------------------------
SEGMENTS = _table(
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
CUSTOMER_SEGMENTS = _table(
    "customer_segments", {"customer_id": pl.String, "segment_id": pl.String}, key=["customer_id"]
)
RECOMMENDATIONS = _table(
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
OFFER_SCORES = _table(
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
DECISIONS = _table(
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
        "propensity": pl.Float64,  # of the drawn action, given the customer is not held out
        "explored": pl.Boolean,
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
MESSAGES = _table(
    "messages",
    {
        "decision_id": pl.String,
        "customer_id": pl.String,
        "campaign_id": pl.String,
        "channel": pl.String,
        "language": pl.String,
        "subject": pl.String,
        "body": pl.String,
        "template_id": pl.String,
    },
    key=["decision_id"],
)

# -- execution and feedback ---------------------------------------------------------------------------------------------
SENDS = _table(
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
OUTCOMES = _table(
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
ATTRIBUTIONS = _table(
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
        "redeemed": pl.Boolean,
        "orders": pl.Int64,
        "net_minor": pl.Int64,
        "recommended_bought": pl.Int64,  # recommended items bought: "would have bought", not response
        "recommended": pl.Int64,
    },
    key=["kind", "reference_id"],
    nullable=["campaign_id", "predicted", "holdout"],
)
DRIFT = _table(
    "drift",
    {
        "feature": pl.String,
        "psi": pl.Float64,  # population stability index against the training cut
        "threshold": pl.Float64,
        "drifted": pl.Boolean,
    },
    key=["feature"],
)
