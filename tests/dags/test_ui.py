"""The strategy pages: who gets in, what they show, and that nothing in a strategy becomes markup."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import httpx
import polars as pl
import pytest

from mktgen.contracts import CHURN_WARNINGS, DEMAND_FORECAST
from mktgen.documents import (
    Allocation,
    Approval,
    Campaign,
    Gate,
    Interval,
    OfferLine,
    PublishedStrategy,
    Refusal,
    Strategy,
    StrategyEvaluation,
    WhyExample,
)
from mktgen.store import ObjectStore, Provenance, Store

DAY = date(2017, 10, 3)
HOSTILE = '<script>alert("x")</script>'


def strategy(day: date = DAY, *, stopped: bool = False, name: str = "Coffee for regulars") -> Strategy:
    evaluation = StrategyEvaluation(
        partition=day,
        gates=[Gate(name="budget", passed=not stopped, detail=f"worst case {HOSTILE}")],
        metrics={},
        refused=[Refusal(metric="uplift", missing=["randomised holdout"], reason="No randomisation.")],
        stopped=stopped,
        reasons=["the budget is overspent"] if stopped else [],
    )
    campaign = Campaign(
        campaign_id="18", name={"en": name, "zh": "老客户咖啡"}, objective="repeat purchase", audience={"en": HOSTILE},
        segment_ids=["s1"], customers=1234, offers=[OfferLine(offer_id="18:1", label=HOSTILE, customers=7)], items=["i1"],
        channel="outbox", send_at_local="2017-10-04T10:00", budget_minor=50_000, worst_case_cost_minor=49_900,
        expected_redemptions=Interval(value=12.34, low=10.0, high=15.0), expected_redemption_rate=None,
        expected_value_minor=None, holdout_customers=12, reasons=[HOSTILE], copy_example={"en": HOSTILE},
        why_examples=[WhyExample(customer_id="c1", item_id="i1", item=HOSTILE, reasons=["bought 6 times", HOSTILE])],
    )  # fmt: skip
    allocation = Allocation(
        budget_minor=50_000, worst_case_cost_minor=49_900, allocated_cost_minor=40_000, value_minor=1.0, bound_minor=1.25,
        gap_share=0.2, shadow_price=0.5, propensity_floor=0.02, expected_cost_minor=90.0, expected_value_minor=10.0,
        contacts=10, candidates=20,
    )  # fmt: skip
    return Strategy(
        partition=day, status="stopped" if stopped else "evaluated", source="complete_journey", source_notice=HOSTILE,
        assumptions=[HOSTILE], customers=2301, contacted=310, holdout=34, segments={"s1": 3}, campaigns=[campaign],
        allocation=allocation, versions={"policy": HOSTILE}, evaluation=evaluation,
    )  # fmt: skip


def provenance(run: str) -> Provenance:
    return Provenance(step="test", run=run, code="c", config="c", seed=0, parents=())


def publish(store: Store, day: date, run: str) -> None:
    uri = store.objects.uri(f"strategy/dt={day}/run={run}")
    document = PublishedStrategy(partition=day, strategy_uri=uri, decisions_uri="d", messages_uri="m", markdown="# s")
    store.write_document("published", day, document, provenance(f"p-{run}"))


def get(app: Any, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://airflow.test", follow_redirects=True
        ) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def guarded(airflow_home: Any) -> Any:
    """The app as the plugin mounts it, behind Airflow's own login."""
    from airflow.api_fastapi.app import init_auth_manager
    from mktgen_ui.app import make_app
    from mktgen_ui.login import login_required

    init_auth_manager()
    return make_app(login_required())


@pytest.fixture
def open_app(airflow_home: Any, store_environment: ObjectStore) -> Any:
    """The app for someone who is logged in."""
    from fastapi import Depends
    from mktgen_ui.app import make_app

    return make_app(Depends(lambda: "somebody"))


@pytest.fixture
def store(store_environment: ObjectStore) -> Store:
    return Store(store_environment)


@pytest.mark.parametrize("path", ["/", "/strategies/2017-10-03", "/strategies/none"])
def test_without_a_login_there_is_nothing_to_see(guarded: Any, path: str) -> None:
    assert get(guarded, path).status_code == 401


def test_a_forged_token_is_refused(guarded: Any) -> None:
    assert get(guarded, "/", {"Authorization": "Bearer forged"}).status_code in {401, 403}


def test_airflows_own_token_opens_the_pages(guarded: Any, store_environment: ObjectStore) -> None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ana", role="viewer"))
    assert get(guarded, "/", {"Authorization": f"Bearer {token}"}).status_code == 200
    assert get(guarded, "/", {"Cookie": f"_token={token}"}).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_no_page_describes_the_app(guarded: Any, path: str) -> None:
    assert get(guarded, path).status_code in {401, 404}


def test_an_empty_store_says_how_to_begin(open_app: Any) -> None:
    page = get(open_app, "/")
    assert page.status_code == 200
    assert "marketing_loop" in page.text


def test_days_are_listed_newest_first_with_their_status(open_app: Any, store: Store) -> None:
    days = [date(2017, 10, day) for day in range(1, 6)]
    for day in days:
        store.write_document("strategy", day, strategy(day, stopped=day == days[0]), provenance("r1"))
    for day in days[2:]:
        publish(store, day, "r1")
    for day, approved in ((days[3], False), (days[4], True)):
        answer = Approval(partition=day, approved=approved, responder="ana", strategy_run="r1")
        store.write_document("approval", day, answer, provenance("a1"))
    text = get(open_app, "/").text
    places = [text.index(f"strategies/{day}") for day in reversed(days)]
    assert places == sorted(places)
    statuses = [part.split("<", 1)[0].rsplit(">", 1)[-1] for part in text.split('<span class="tag ')[1:]]
    assert statuses == ["approved", "rejected", "published", "evaluated", "stopped"]
    assert "2,301" in text


def test_a_strategy_made_anew_is_not_shown_as_published(open_app: Any, store: Store) -> None:
    store.write_document("strategy", DAY, strategy(), provenance("r1"))
    publish(store, DAY, "r1")
    store.write_document(
        "approval", DAY, Approval(partition=DAY, approved=True, responder="ana", strategy_run="r1"), provenance("a1")
    )
    assert '<span class="tag approved">' in get(open_app, f"/strategies/{DAY}").text
    store.write_document("strategy", DAY, strategy(name="Tea"), provenance("r2"))
    assert '<span class="tag evaluated">' in get(open_app, f"/strategies/{DAY}").text


def test_the_page_shows_the_strategy_and_escapes_everything(open_app: Any, store: Store) -> None:
    store.write_document("strategy", DAY, strategy(name=HOSTILE), provenance("r1"))
    page = get(open_app, f"/strategies/{DAY}")
    assert page.status_code == 200
    for shown in ("老客户咖啡", "12.3 (10.0 to 15.0)", "500.00", "uplift", "refused", "randomised holdout"):
        assert shown in page.text
    assert "<script" not in page.text
    assert page.text.count("&lt;script&gt;") >= 8
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_page_shows_what_is_to_come_and_escapes_it(open_app: Any, store: Store) -> None:
    store.write_document("strategy", DAY, strategy(), provenance("r1"))
    assert "Demand ahead" not in get(open_app, f"/strategies/{DAY}").text
    bounds = [
        ("category", HOSTILE, 120.4, 96.0, 149.0),
        ("category", "CHEESE", 80.0, None, None),
        ("all", "", 1200.0, 1100.0, 1300.0),
    ]
    rows = [
        (days, level, name, DAY, DAY, days, units, low, high, low, high, units, "blend", 1)
        for days in (7, 28) for level, name, units, low, high in bounds
    ]  # fmt: skip
    forecast = pl.DataFrame(rows, schema=DEMAND_FORECAST.columns, orient="row")
    store.write_table("demand_forecast", DAY, forecast, provenance("d1"))
    risk = [
        (f"c{n}", n, 0.61, 5_000.0 * n, 3_050.0, 24.0, 6.0, f"no visit for 23 days {HOSTILE}", "m")
        for n in range(1, 13)
    ]
    store.write_table(
        "churn_warnings", DAY, pl.DataFrame(risk, schema=CHURN_WARNINGS.columns, orient="row"), provenance("w1")
    )
    page = get(open_app, f"/strategies/{DAY}")
    assert page.status_code == 200
    for shown in (
        "120 (96 to 149)",
        "1,200 (1,100 to 1,300) in 7 days",
        "12 are likely",
        "no visit for 23 days",
        "61%",
        "50.00",
    ):
        assert shown in page.text
    assert page.text.count("no visit for") == 10, "the first ten only"
    assert "<script" not in page.text


def test_a_day_without_a_strategy_is_not_found(open_app: Any) -> None:
    page = get(open_app, "/strategies/2017-10-09")
    assert page.status_code == 404
    assert "2017-10-09" in page.text


def test_missing_settings_are_named(open_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKTGEN_PSEUDONYM_KEY")
    page = get(open_app, "/")
    assert page.status_code == 503
    assert "MKTGEN_PSEUDONYM_KEY" in page.text
