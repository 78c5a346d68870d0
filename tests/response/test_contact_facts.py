"""Past contacts, redemptions and affinity as covariates: of what was known, and of nothing later."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen.contracts import CUSTOMER_CATEGORIES, EXPOSURES, RESPONSE_FACTS, RESPONSES, SENDS
from mktgen.response.contact_facts import aligned, contact_facts, with_contact_facts

DAY = date(2017, 6, 5)
CUSTOMERS = pl.DataFrame({"customer_id": ["a", "b", "c"]})


def sends(*rows: tuple[str, int, str]) -> pl.DataFrame:
    """customer, days before DAY, status"""
    made = [
        (f"s{n}", "d", who, "1", "1:x", "outbox", DAY - timedelta(days=ago), how, "")
        for n, (who, ago, how) in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=SENDS.columns, orient="row")


def categories(*rows: tuple[str, str, int]) -> pl.DataFrame:
    found = [(who, name, DAY, DAY, 1, 1, spent) for who, name, spent in rows]
    return pl.DataFrame(found, schema=CUSTOMER_CATEGORIES.columns, orient="row")


def facts(**tables: pl.DataFrame) -> dict[tuple[str, str], float]:
    goods = pl.DataFrame({"campaign_id": ["7", "7"], "category": ["MEAT", "PORK"]})
    found = contact_facts(
        DAY, CUSTOMERS, tables.get("sends", SENDS.empty()), tables.get("responses", RESPONSES.empty()),
        tables.get("exposures", EXPOSURES.empty()), tables.get("categories", CUSTOMER_CATEGORIES.empty()), goods,
    )  # fmt: skip
    return {(who, name): value for who, name, value in found.iter_rows()}


def test_contacts_count_for_four_weeks_and_only_where_one_may_have_arrived() -> None:
    counted = [("a", 1, "sent"), ("a", 28, "unconfirmed")]
    sent = sends(*counted, ("a", 29, "sent"), ("a", 0, "sent"), ("b", 3, "refused"), ("x", 1, "sent"))
    assert facts(sends=sent) == {("a", "contacts_28d"): 2.0}


def test_redemptions_and_exposures_of_later_days_are_not_known() -> None:
    days = (DAY - timedelta(days=40), DAY, DAY + timedelta(days=1))
    redeemed = [(f"r{n}", "a", "7", "7:x", "redeem", day) for n, day in enumerate(days)]
    exposed = [(f"e{n}", "b", "7", "post", day, None) for n, day in enumerate(days)]
    found = facts(
        responses=pl.DataFrame(redeemed, schema=RESPONSES.columns, orient="row"),
        exposures=pl.DataFrame(exposed, schema=EXPOSURES.columns, orient="row"),
    )
    assert found == {("a", "redemptions_before"): 2.0, ("b", "exposures_before"): 2.0}


def test_affinity_is_the_share_of_spending_on_what_the_campaign_offers() -> None:
    meat = (("a", "MEAT", 300), ("a", "PORK", 100), ("c", "MEAT", -50))
    spent = categories(*meat, ("a", "SOAP", 400), ("b", "SOAP", 100))
    assert facts(categories=spent) == {("a", "affinity_7"): 0.5}


def test_covariates_get_a_column_for_each_fact_and_nought_where_there_is_no_row() -> None:
    given = [("a", "contacts_28d", 2.0), ("b", "affinity_7", 0.25)]
    rows = pl.DataFrame(given, schema=RESPONSE_FACTS.columns, orient="row")
    wide = with_contact_facts(CUSTOMERS.with_columns(spend=pl.lit(1.0)), rows)
    facts_in_order = ["affinity_7", "contacts_28d", "exposures_before", "redemptions_before"]
    assert wide.columns == ["customer_id", "spend", *facts_in_order]
    assert wide["contacts_28d"].to_list() == [2.0, 0.0, 0.0]
    assert wide["affinity_7"].to_list() == [0.0, 0.25, 0.0]
    assert with_contact_facts(CUSTOMERS, RESPONSE_FACTS.empty())["redemptions_before"].to_list() == [0.0] * 3


def test_a_campaign_that_is_over_is_not_known_rather_than_nought() -> None:
    known = aligned(CUSTOMERS, ["spend", "affinity_9"])
    assert known["affinity_9"].null_count() == 3
    assert "spend" not in known.columns, "what must be there and isn't is for the model to refuse"
