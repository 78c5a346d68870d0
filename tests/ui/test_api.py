"""What the API says of stored strategies, and that it says what is stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from fastapi import FastAPI
from pydantic import Field

from mktgen import contracts
from mktgen.documents import Approval, Document, PublishedStrategy, Strategy
from mktgen.documents.what_if import WhatIf
from mktgen.execution import audit
from mktgen.steps.runner import Platform
from mktgen.steps.why import why
from mktgen.store import ObjectStore, Provenance
from tests.steps.conftest import platform_on
from tests.support.any_strategy import strategy
from tests.support.decided_day import BY
from tests.support.pages_world import DAY, HOSTILE, HOSTILE_DAY, SECTIONS, STOPPED_DAY, UNREADABLE_DAY
from tests.ui.conftest import Get, asked, mounted

OF_DAY = f"/api/strategies/{DAY}"


def decisions(world: Platform) -> pl.DataFrame:
    return world.store.read_table(world.store.need("decisions", DAY))


def published(platform: Platform, strategy_uri: str) -> None:
    uri = platform.objects.uri(strategy_uri)
    document = PublishedStrategy(partition=DAY, strategy_uri=uri, decisions_uri="d", messages_uri="m", markdown="# s")
    platform.store.write_document("published", DAY, document, BY)


def approved(run: str) -> Approval:
    return Approval(partition=DAY, approved=True, responder="ana", strategy_run=run)


# -- strategies -----------------------------------------------------------------------------------------------------------
def test_days_are_listed_newest_first_with_their_status(get: Get) -> None:
    found = get("/api/strategies").json()
    assert [(row["day"], row["status"]) for row in found["rows"]] == [
        (str(DAY), "approved"), (str(HOSTILE_DAY), "evaluated"), (str(STOPPED_DAY), "stopped"),
        (str(UNREADABLE_DAY), "unreadable"),
    ]  # fmt: skip
    assert found["rows"][2]["stopped_by"] == ["the budget is overspent"]
    assert found["rows"][2]["gates"] == {"passed": 0, "failed": 1, "noted": 0}
    assert "another contract" in found["rows"][3]["note"]


def test_the_list_goes_on_where_it_ended(get: Get) -> None:
    first = get("/api/strategies", limit=2).json()
    second = get("/api/strategies", limit=2, before=first["next"]).json()
    assert [row["day"] for page in (first, second) for row in page["rows"]] == [
        str(day) for day in (DAY, HOSTILE_DAY, STOPPED_DAY, UNREADABLE_DAY)
    ]
    assert second["next"] is None


def test_a_strategy_is_shown_as_it_is_stored(get: Get, world: Platform) -> None:
    stored = world.store.read_document(world.store.need("strategy", DAY), Strategy)
    found = get(OF_DAY).json()
    assert found["strategy"] == stored.model_dump(mode="json")
    assert found["approval"]["responder"] == "ana"
    assert sum(found["copy"]["origins"].values()) == stored.contacted
    assert {one["campaign_id"] for one in found["copy"]["examples"]} == {one.campaign_id for one in stored.campaigns}
    assert {one["segment_id"] for one in found["segments"]} >= set(stored.segments)
    assert [one["category"] for one in found["ahead"]["demand"]] == ["CHEESE", HOSTILE]
    assert (found["ahead"]["warned"], len(found["ahead"]["warnings"])) == (12, 10)
    whole = sum(one.expected_value_minor.value for one in stored.campaigns if one.expected_value_minor)
    assert found["expected"]["value"] == pytest.approx(whole)
    assert found["expected"]["incremental"] is False


def test_a_strategy_made_anew_is_not_shown_as_published(object_store: ObjectStore) -> None:
    platform = platform_on(object_store, **SECTIONS)
    app, store, document = mounted(platform), platform.store, strategy(DAY)
    manifest = store.write_document("strategy", DAY, document, BY)
    published(platform, manifest.folder)
    store.write_document("approval", DAY, approved(BY.run), BY)
    assert asked(app, OF_DAY).json()["status"] == "approved"
    answer = f"approval/dt={DAY}/run={BY.run}/_manifest.json"
    kept = platform.objects.get(answer) or b""
    platform.objects.put(answer, kept.replace(store.need("approval", DAY).contract.encode(), b"0" * 64))
    older = asked(app, OF_DAY).json()
    assert (older["status"], older["approval"]) == ("published", None), (
        "an answer of another contract counts for nothing"
    )
    platform.objects.put(answer, kept)
    again = document.model_copy(update={"customers": document.customers + 1})
    store.write_document("strategy", DAY, again, Provenance("test", "again", "", "", 0, ()))
    after = asked(app, OF_DAY).json()
    assert (after["status"], after["approval"]) == ("evaluated", None)
    assert sorted(after["runs"]) == sorted(["again", manifest.run])
    older = asked(app, f"{OF_DAY}?run={manifest.run}").json()
    assert (older["status"], older["strategy"]["customers"]) == ("replaced", document.customers)
    pair = asked(app, f"/api/compare?one={DAY}&one_run={manifest.run}&other={DAY}").json()
    assert [pair[side]["strategy"]["customers"] for side in ("one", "other")] == [document.customers, again.customers]


class Stored(Document):
    """A document of whatever shape: the pages show some as they are stored."""

    briefs: list[dict[str, str]] = Field(default_factory=list)
    reason: str = ""


def test_briefs_are_those_that_were_written_with_the_messages(object_store: ObjectStore) -> None:
    platform = platform_on(object_store, **SECTIONS)
    store, app = platform.store, mounted(platform)
    told = {run: Provenance("write_briefs", run, "", "", 0, ()) for run in ("one", "two")}
    messages = {run: store.write_table("messages", DAY, contracts.MESSAGES.empty(), by) for run, by in told.items()}
    for run, by in told.items():
        store.write_document("briefs", DAY, Stored(briefs=[{"campaign_id": "18", "title": run}]), by)
    made = Provenance("test", "r", "", "", 0, (messages["one"].as_parent(),))
    store.write_document("strategy", DAY, strategy(DAY), made)
    assert asked(app, OF_DAY).json()["copy"] == {
        "origins": {}, "examples": [], "briefs": [{"campaign_id": "18", "title": "one"}], "drafts": None
    }  # fmt: skip
    store.write_document("copy_report", DAY, Stored(reason="nobody was asked"), BY)
    assert asked(app, OF_DAY).json()["copy"]["drafts"]["reason"] == "nobody was asked"
    key = f"briefs/dt={DAY}/run=one/document.json"
    platform.objects.put(key, (platform.objects.get(key) or b"").replace(b"one", b"won"))
    assert asked(app, OF_DAY).status_code == 503


def test_the_audit_trail_is_shown_and_what_was_changed_is_named(get: Get, object_store: ObjectStore) -> None:
    shown = get(OF_DAY).json()["audit"]
    assert [entry["what"] for entry in shown["entries"]] == ["published", "approved", "begun", "dispatched"]
    assert shown["entries"][1]["note"] == "prices checked"
    assert shown["broken"] == ""
    platform = platform_on(object_store, **SECTIONS)
    platform.store.write_document("strategy", DAY, strategy(DAY), BY)
    event = audit.Event("published", "step publish", BY.run, {})
    entry = audit.append(platform.objects, DAY, event, datetime(2017, 10, 2, tzinfo=UTC))
    platform.objects.put(entry.key, entry.to_bytes().replace(b"step publish", b"step pub1ish"))
    found = asked(mounted(platform), OF_DAY).json()["audit"]
    assert found["entries"] == []
    assert "was changed at entry 1" in found["broken"]


def test_lineage_leads_back_step_by_step(get: Get, world: Platform) -> None:
    manifest = world.store.need("strategy", DAY)
    found = get(OF_DAY).json()["lineage"]
    parents = {(one["artefact"], node["run"], node["digest"]) for one in found["parents"] for node in one["of"]}
    assert parents == {(parent.artefact, parent.run, parent.digest) for parent in manifest.parents}
    node = next(one["of"][0] for one in found["parents"] if one["artefact"] == "decisions")
    back = get(f"/api/artefacts/decisions/{DAY}/{node['run']}").json()
    assert back["digest"] == node["digest"]
    assert back["step"] == "allocate"
    assert {one["artefact"] for one in back["parents"]} >= {"customer_features", "items"}


def test_models_are_named_where_mlflow_is_not(get: Get, world: Platform) -> None:
    found = get(f"{OF_DAY}/models").json()
    assert found["note"] == "MLflow is not configured"
    assert {one["artefact"] for one in found["artefacts"]} >= {"strategy", "models"}


# -- decisions ------------------------------------------------------------------------------------------------------------
def test_pages_are_the_table_without_gap_or_repetition(get: Get, world: Platform) -> None:
    every = decisions(world)
    rows, offset = [], 0
    while page := get(f"{OF_DAY}/decisions", offset=offset, limit=37).json()["rows"]:
        rows += page
        offset += 37
    assert [row["decision_id"] for row in rows] == every["decision_id"].to_list()
    assert [row["propensity"] for row in rows] == every["propensity"].to_list()


@pytest.mark.parametrize("descending", ["true", "false"])
@pytest.mark.parametrize("column", ["customer_id", "propensity", "p_redeem", "expected_value_minor", "cost_minor"])
def test_sorted_pages_are_the_sorted_table(get: Get, world: Platform, column: str, descending: str) -> None:
    down = descending == "true"
    by, downs = ([column, "customer_id"], [down, False]) if column != "customer_id" else ([column], [down])
    wanted = decisions(world).sort(by, descending=downs, nulls_last=True)["decision_id"].to_list()
    found = [
        row["decision_id"]
        for offset in range(0, len(wanted), 100)
        for row in get(f"{OF_DAY}/decisions", offset=offset, limit=100, sort=column, descending=descending).json()[
            "rows"
        ]
    ]
    assert found == wanted


def test_filters_find_what_they_say(get: Get, world: Platform) -> None:
    every = decisions(world)
    contacted = every.filter(pl.col("action") != "no_contact")
    campaign, segment = contacted["campaign_id"][0], contacted["segment_id"][0]
    found = get(f"{OF_DAY}/decisions", contacted="true", campaign=campaign, segment=segment, limit=200).json()
    wanted = contacted.filter((pl.col("campaign_id") == campaign) & (pl.col("segment_id") == segment))
    assert found["matching"] == wanted.height
    assert [row["decision_id"] for row in found["rows"]] == wanted["decision_id"].to_list()
    assert found["total"] == every.height
    assert get(f"{OF_DAY}/decisions", contacted="false").json()["matching"] == every.height - contacted.height


def test_search_finds_a_customer_and_a_decision_by_how_their_ids_begin(get: Get, world: Platform) -> None:
    row = decisions(world).row(7, named=True)
    for text in (row["customer_id"], row["decision_id"], row["decision_id"][:12]):
        found = get(f"{OF_DAY}/decisions", search=text).json()
        assert [one["decision_id"] for one in found["rows"]] == [row["decision_id"]]
    many = get(f"{OF_DAY}/decisions", search=row["customer_id"][:3]).json()
    assert (
        many["matching"]
        == decisions(world).filter(pl.col("customer_id").str.starts_with(row["customer_id"][:3])).height
    )
    assert get(f"{OF_DAY}/decisions", search="zzz").json()["matching"] == 0


def test_pages_of_a_run_stay_that_run(get: Get) -> None:
    run = get(f"{OF_DAY}/decisions").json()["run"]
    assert get(f"{OF_DAY}/decisions", run=run, offset=50).json()["run"] == run
    assert get(f"{OF_DAY}/decisions", run="0000").status_code == 404


def test_a_decision_is_explained_as_the_command_explains_it(get: Get, world: Platform) -> None:
    contacted = decisions(world).filter(pl.col("action") != "no_contact").row(0, named=True)
    found = get(f"{OF_DAY}/decisions/{contacted['decision_id']}").json()
    assert found["why"] == why(world, contacted["decision_id"], DAY).model_dump(mode="json")
    assert found["why"]["sending"]["status"] == "sent"
    assert found["message"]["decision_id"] == contacted["decision_id"]
    assert found["segment"]["segment_id"] == contacted["segment_id"]
    assert contacted["action"] in found["labels"]
    assert get(f"{OF_DAY}/decisions/nobody").status_code == 404


# -- what if, learning -------------------------------------------------------------------------------------------------------
def test_what_if_answers_from_the_stored_curves(get: Get, world: Platform) -> None:
    stored = world.store.read_document(world.store.need("what_if", DAY), WhatIf)
    curves = get(f"{OF_DAY}/what-if").json()
    assert [point["value_minor"] for point in curves["points"]] == [point.value_minor for point in stored.points]
    assert curves["refused"]["metric"] == "incremental_profit"
    assert "totals" not in json.dumps(curves)
    plan = get(f"{OF_DAY}/what-if/answer", budget=stored.budget_minor, holdout=stored.holdout_share).json()
    assert plan["difference_minor"] == 0.0
    less = get(
        f"{OF_DAY}/what-if/answer", budget=stored.budget_minor // 2, holdout=0.3, without=stored.without[0].offer_id
    )
    assert less.json()["value_minor"] < plan["value_minor"]
    unknown = get(f"{OF_DAY}/what-if/answer", budget=1, holdout=0.1, without="nothing")
    assert unknown.status_code == 422
    assert stored.without[0].offer_id in unknown.json()["error"]


def test_learning_shows_the_newest_day_with_feedback(get: Get) -> None:
    found = get("/api/learning").json()
    assert found["day"] == str(DAY)
    assert [row["shortfall"] for row in found["ledger"] if row["campaign_id"] == ""] == [False, True]
    assert found["requests"][0]["reasons"] == ["recency_days drifted: PSI 0.31, at most 0.25"]
    assert [row["feature"] for row in found["drift"] if row["drifted"]] == ["recency_days"]
    assert found["verdicts"][0]["effect"]["value"] == 61.0
    assert get("/api/learning", day="2010-01-01").json()["ledger"] == []


def test_realised_profit_is_that_of_the_days_own_wave(get: Get) -> None:
    rows = {row["day"]: row for row in get("/api/strategies").json()["rows"]}
    # The last wave began 28 days before DAY, and the window is 28 days: HOSTILE_DAY lies in it, DAY in the next.
    assert rows[str(HOSTILE_DAY)]["realised"]["value"] == 18_000.0
    assert rows[str(DAY)]["realised"] is None


# -- plain answers ----------------------------------------------------------------------------------------------------------
def test_an_empty_store_is_an_empty_list(empty: FastAPI) -> None:
    assert asked(empty, "/api/strategies").json() == {"rows": [], "next": None, "total": 0}
    assert asked(empty, "/api/learning").json() == {"day": None, "days": []}
    for path in (OF_DAY, f"{OF_DAY}/decisions", f"{OF_DAY}/what-if", f"{OF_DAY}/what-if/answer?budget=1&holdout=0.1"):
        answer = asked(empty, path)
        assert answer.status_code == 404
        assert str(DAY) in answer.json()["error"]


def test_every_answer_forbids_foreign_code(get: Get) -> None:
    for path in (
        "/",
        f"/strategies/{DAY}",
        "/static/app.js",
        "/api/strategies",
        "/api/strategies/none",
        "/static/none",
    ):
        policy = get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert get(path).headers["x-content-type-options"] == "nosniff"


def test_the_page_holds_no_data_and_no_script_of_its_own(get: Get) -> None:
    page = get(f"/strategies/{HOSTILE_DAY}")
    assert page.headers["content-type"].startswith("text/html")
    assert 'data-base="/mktgen"' in page.text
    assert page.text.count("<script") == 1
    assert '<script type="module" src="/mktgen/static/app.js"></script>' in page.text


def test_a_file_is_sent_once(get: Get) -> None:
    first = get("/static/app.css")
    assert first.headers["content-type"].startswith("text/css")
    assert get("/static/app.css", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert get("/static/..%2Fapp.py").status_code == 404


def test_hostile_words_stay_words(get: Get) -> None:
    answer = get(f"/api/strategies/{HOSTILE_DAY}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["strategy"]["campaigns"][0]["name"]["en"] == HOSTILE
