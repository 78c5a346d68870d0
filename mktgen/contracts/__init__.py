"""Every artefact's schema. A contract says what the columns are, which may be empty and what identifies a row.

Conventions: times are UTC (microseconds); `business_date` is the shop's local day; money is in minor units of the
shop's currency (Int64, cents for USD); identifiers are strings; customers are pseudonyms (keyed hash).
"""

from mktgen.contracts.base import RAW, UTC_TIME, Contract, ContractError, all_contracts, contract
from mktgen.contracts.canonical import (
    CAMPAIGNS,
    CONTEXT_PROMOTIONS,
    CUSTOMERS,
    EXPOSURES,
    ITEMS,
    OFFER_ITEMS,
    OFFERS,
    ORDER_LINES,
    QUARANTINE,
    REFERENCE_QUARANTINE,
    RESPONSES,
)
from mktgen.contracts.features import (
    CUSTOMER_CATEGORIES,
    CUSTOMER_DAYS,
    CUSTOMER_FEATURES,
    CUSTOMER_STATE,
    ITEM_DAYS,
    ITEM_FEATURES,
    ITEM_STATE,
    SEQUENCES,
)
from mktgen.contracts.models import (
    CUSTOMER_SCORES,
    ITEM_SCORES,
    RANKING_METRICS,
    REDEMPTION_HOLDOUT,
    VALIDATION_CUSTOMERS,
    VALIDATION_RANKING,
)
from mktgen.contracts.strategy import (
    ATTRIBUTIONS,
    CUSTOMER_SEGMENTS,
    DECISIONS,
    DRIFT,
    MESSAGES,
    OFFER_SCORES,
    OUTCOMES,
    RECOMMENDATIONS,
    SEGMENTS,
    SENDS,
)

__all__ = [
    "ATTRIBUTIONS",
    "CAMPAIGNS",
    "CONTEXT_PROMOTIONS",
    "CUSTOMERS",
    "CUSTOMER_CATEGORIES",
    "CUSTOMER_DAYS",
    "CUSTOMER_FEATURES",
    "CUSTOMER_SCORES",
    "CUSTOMER_SEGMENTS",
    "CUSTOMER_STATE",
    "DECISIONS",
    "DRIFT",
    "EXPOSURES",
    "ITEMS",
    "ITEM_DAYS",
    "ITEM_FEATURES",
    "ITEM_SCORES",
    "ITEM_STATE",
    "MESSAGES",
    "OFFERS",
    "OFFER_ITEMS",
    "OFFER_SCORES",
    "ORDER_LINES",
    "OUTCOMES",
    "QUARANTINE",
    "RANKING_METRICS",
    "RAW",
    "RECOMMENDATIONS",
    "REDEMPTION_HOLDOUT",
    "REFERENCE_QUARANTINE",
    "RESPONSES",
    "SEGMENTS",
    "SENDS",
    "SEQUENCES",
    "UTC_TIME",
    "VALIDATION_CUSTOMERS",
    "VALIDATION_RANKING",
    "Contract",
    "ContractError",
    "all_contracts",
    "contract",
]
