"""Who is left alone, who gets business as usual, and who gets the policy: by a keyed hash, the same on every day and rerun.

What: each customer's id is hashed with a key to a number in [0, 1); shares of that interval are the arms. Assumption: the hash
says nothing of the customer, so that arms differ by chance only (checked daily: gate sample_ratio). When it fails: a key that
changes mid-way draws new arms, and what was learned of the old ones no longer belongs to them.
"""

from __future__ import annotations

import hashlib
from typing import Final

import polars as pl

from mktgen.settings import StrategySettings

HOLDOUT: Final = "holdout"  # left alone by all campaigns
USUAL: Final = "business_as_usual"  # contacted as the shop would without us
POLICY: Final = "policy"
_SCALE: Final = float(2**64)


def position(customer_id: str, key: str) -> float:
    """A customer's number in [0, 1) under a key: keyed BLAKE2b of the id."""
    digest = hashlib.blake2b(customer_id.encode(), key=hashlib.sha256(key.encode()).digest(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _SCALE


def is_held_out(customer_id: str, share: float, key: str) -> bool:
    """Whether a customer belongs to the permanent hold-out: the lowest `share` of positions."""
    return position(customer_id, key) < share


def arms(customers: pl.Series, settings: StrategySettings, key: str) -> pl.DataFrame:
    """customer_id, arm (String) of each customer, in the order given.

    The hold-out is the lowest part of the interval and business as usual the highest, so that a change of one share never moves
    customers of the other.
    """

    def arm(customer: str) -> str:
        place = position(customer, key)
        if place < settings.holdout_share:
            return HOLDOUT
        return USUAL if place >= 1.0 - settings.usual_share else POLICY

    names = [arm(customer) for customer in customers.to_list()]
    return pl.DataFrame({"customer_id": customers, "arm": names}, schema={"customer_id": pl.String, "arm": pl.String})


def without_campaign_holdouts(candidates: pl.DataFrame, share: float, key: str) -> pl.DataFrame:
    """The candidates less those of customers that a campaign leaves alone: each campaign has a hold-out of its own."""
    if share <= 0 or candidates.is_empty():
        return candidates
    pairs = candidates.select("customer_id", "campaign_id").unique()
    left = [is_held_out(customer, share, f"{key}:campaign:{campaign}") for customer, campaign in pairs.iter_rows()]
    return candidates.join(pairs.filter(pl.Series(left)), on=["customer_id", "campaign_id"], how="anti")
