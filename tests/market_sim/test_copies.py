"""Copies: the real household untouched, the others like it and not the same."""

from __future__ import annotations

import numpy as np
import polars as pl

from mktgen.market_sim.copies import copy_id, replicate
from tests.support.organic_days import order_lines


def test_copy_0_is_the_real_household(lines: pl.DataFrame) -> None:
    assert replicate(lines, 0, 7) is lines


def test_copies_have_other_identifiers_and_fewer_days(lines: pl.DataFrame) -> None:
    parts = [replicate(lines, copy, 7) for copy in range(4)]
    people = pl.concat([part.select("customer_id").unique() for part in parts])
    orders = pl.concat([part.select("order_id").unique() for part in parts])
    assert not people["customer_id"].is_duplicated().any()
    assert not orders["order_id"].is_duplicated().any()
    for part in parts[1:]:
        assert 0.7 < part.height / lines.height < 0.9
        assert part["customer_id"].str.contains(r"^[0-9]{1,19}$").all()


def test_a_copys_day_is_kept_as_a_whole(lines: pl.DataFrame) -> None:
    """Redemptions of a day stay with its basket."""
    days = lines.select("customer_id", "business_date").unique().sort("customer_id", "business_date")
    redemptions = days.rename({"business_date": "responded_on"})
    kept_lines = replicate(lines, 3, 7).select("customer_id", "business_date").unique()
    kept = replicate(redemptions, 3, 7, on="responded_on").rename({"responded_on": "business_date"})
    assert kept.sort(kept.columns).equals(kept_lines.select(kept.columns).sort(kept.columns))


def test_copies_spend_as_much_in_the_mean() -> None:
    """300 households x 10 copies: the standard error of the ratio is about 1%."""
    lines = order_lines(customers=300, days=60)
    spent = np.array([float(replicate(lines, copy, 7)["net_minor"].sum()) for copy in range(1, 11)])
    assert abs(spent.mean() / float(lines["net_minor"].sum()) - 1) < 0.04


def test_order_of_rows_does_not_matter_and_the_seed_does(lines: pl.DataFrame) -> None:
    by = ["customer_id", "order_id", "item_id", "net_minor"]
    first = replicate(lines, 2, 7).sort(by)
    assert replicate(lines.sample(fraction=1.0, shuffle=True, seed=1), 2, 7).sort(by).equals(first)
    assert replicate(lines.head(500), 2, 7).sort(by).equals(first.join(_ids(lines.head(500)), on=_ID).sort(by))
    assert not replicate(lines, 2, 8).sort(by).equals(first)


_ID = ["customer_id", "order_id"]


def _ids(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(copy_id(name, 2).alias(name) for name in _ID).unique()


def test_nothing_gives_nothing(lines: pl.DataFrame) -> None:
    assert replicate(lines.clear(), 2, 7).is_empty()
