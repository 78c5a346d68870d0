"""Every decision of a day can be explained from what was stored, whatever decided it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import polars as pl
import pytest

from mktgen import __main__ as command
from mktgen import contracts, pipeline
from mktgen.documents import Strategy
from mktgen.documents.why import WhyDecision
from mktgen.errors import MissingArtefact
from mktgen.steps.runner import Platform
from mktgen.steps.why import why
from mktgen.store import ObjectStore
from mktgen.strategy.why_text import WIDTH, render
from tests.steps.conftest import PlatformOf, platform_on
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import BY, WRITE, prepare, run, sent_before
from tests.support.s3_server import S3Server

SETTINGS = {
    "strategy": {
        "budget_minor": 9_000,
        "cohorts": 1,
        "campaign_holdout_share": 0.1,
        "usual_share": 0.2,
        "propensity_floor": 0.05,
        "no_contact_floor": 0.1,
    },
    "execution": {"live_from": PARTITION},
    "contact": {"consent_default": "existing_customers"},
}


def decided(platform: Platform) -> Platform:
    """A day that was decided; one customer was contacted the day before."""
    prepare(platform)
    sent_before(platform, "c0100", PARTITION - timedelta(days=1))
    run(platform, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    return platform


@pytest.fixture(scope="module")
def day(s3_server: S3Server) -> Iterator[Platform]:
    """One for the tests that only look."""
    with s3_server.keys():
        yield decided(platform_on(ObjectStore(s3_server.location("test_why")), **SETTINGS))


@pytest.fixture
def moving(platform_of: PlatformOf) -> Platform:
    """One for a test that goes on with the day."""
    return decided(platform_of(**SETTINGS))


def decisions(platform: Platform) -> pl.DataFrame:
    return platform.store.read_table(platform.store.need("decisions", PARTITION))


def told(platform: Platform, rows: pl.DataFrame) -> WhyDecision:
    return why(platform, rows["decision_id"][0])


def test_every_decision_is_explained_with_its_own_action_set_and_chances(day: Platform) -> None:
    scores = day.store.read_table(day.store.need("offer_scores", PARTITION))
    kinds = set()
    for row in decisions(day).head(25).iter_rows(named=True):
        found = why(day, row["decision_id"], PARTITION)
        possible = [option for option in found.options if option.propensity is not None]
        assert [option.action for option in possible] == row["action_set"]
        assert [option.propensity for option in possible] == row["action_propensities"]
        assert [option.action for option in found.options if option.drawn] == [row["action"]]
        own = scores.filter(pl.col("customer_id") == row["customer_id"])
        assert {option.action for option in found.options} == {"no_contact", *own["offer_id"]}
        assert all(option.excluded_by != "not_stored" for option in found.options)
        kinds.add(found.decided_by)
    assert len(kinds) >= 3, kinds


def test_a_held_out_customer_s_offers_are_shown_with_their_worth_and_the_rule(day: Platform) -> None:
    scores = day.store.read_table(day.store.need("offer_scores", PARTITION))
    held = decisions(day).filter("holdout").join(scores, on="customer_id", how="semi")
    found = told(day, held)
    assert (found.decided_by, found.action) == ("holdout", "no_contact")
    assert {option.excluded_by for option in found.options if option.propensity is None} == {"holdout"}
    assert any(option.value_minor for option in found.options)
    assert "10% of customers" in found.because[0]


def test_a_customer_at_the_cap_is_told_the_cap(day: Platform) -> None:
    found = told(day, decisions(day).filter(pl.col("customer_id") == "c0100"))
    assert found.decided_by == "contact_cap"
    assert "1 contacts in the last 7 days; 1 allowed" in " ".join(found.because)


def test_a_campaign_s_own_hold_out_is_named(day: Platform) -> None:
    left = day.store.read_table(day.store.need("excluded_offers", PARTITION)).filter(rule="campaign_holdout")
    assert left.height > 0
    found = told(day, decisions(day).join(left, on="customer_id", how="semi"))
    assert "campaign_holdout" in {option.excluded_by for option in found.options}


def test_business_as_usual_is_named(day: Platform) -> None:
    rows = decisions(day).filter((pl.col("arm") == "business_as_usual") & (pl.col("action_set").list.len() > 1))
    contacted, left = rows.filter(pl.col("offer_id").is_not_null()), rows.filter(pl.col("offer_id").is_null())
    assert told(day, contacted).decided_by == "business_as_usual"
    assert "The budget went to others" in told(day, left).because[0]


def test_a_draw_by_the_floor_is_called_exploration(day: Platform) -> None:
    floor = 0.05
    explored = decisions(day).filter("explored").filter(pl.col("propensity") <= floor)
    assert explored.height
    for identity in explored["decision_id"].head(5):
        found = why(day, identity)
        assert found.decided_by == "exploration_floor"
        assert "a less likely action" in found.draw


def test_who_was_left_alone_to_measure_is_told_so(day: Platform) -> None:
    alone = decisions(day).filter((pl.col("arm") == "policy") & pl.col("explored") & pl.col("offer_id").is_null())
    found = [why(day, identity) for identity in alone["decision_id"]]
    assert "no_contact_floor" in {one.decided_by for one in found}
    for one in found:
        assert one.decided_by in ("no_contact_floor", "uncertainty")
        if one.decided_by == "no_contact_floor":
            assert max(option.net_minor for option in one.options if option.propensity is not None) > 0


def test_the_price_of_the_budget_decides_where_a_paying_offer_is_not_worth_its_cost(day: Platform) -> None:
    quiet = decisions(day).filter((pl.col("arm") == "policy") & ~pl.col("explored") & pl.col("offer_id").is_null())
    found = [why(day, identity) for identity in quiet["decision_id"].head(30)]
    priced = [one for one in found if one.decided_by == "budget_price"]
    assert priced
    for one in priced:
        best = max(one.options, key=lambda option: option.value_minor if option.propensity is not None else -1e9)
        assert best.value_minor > 0 >= best.net_minor


def test_the_text_fits_a_terminal_and_says_what_it_must(day: Platform) -> None:
    for identity in decisions(day)["decision_id"].head(15):
        text = render(why(day, identity))
        assert max(len(line) for line in text.splitlines()) <= WIDTH
        for words in ("What was possible", "What decided", "Past events", "What became of it", "policy: "):
            assert words in text


def test_whose_turn_it_is_not_is_told_when_it_is(platform_of: PlatformOf) -> None:
    platform = decided(platform_of(**SETTINGS | {"strategy": SETTINGS["strategy"] | {"cohorts": 7}}))
    rows = decisions(platform).filter(pl.col("arm") == "policy")
    drawn = rows.filter(pl.col("action_set").list.len() > 1).height
    assert 0 < drawn < rows.height / 4
    left_out = platform.store.read_table(platform.store.need("excluded_offers", PARTITION)).filter(rule="turn")
    one = rows.filter(pl.col("customer_id") == left_out["customer_id"][0])
    found = told(platform, one)
    assert found.decided_by == "turn"
    assert any("next on 2017-10-0" in line for line in found.because)


def test_a_decision_that_is_not_there_gets_help(day: Platform) -> None:
    with pytest.raises(MissingArtefact, match="column decision_id"):
        why(day, "nonsense")
    with pytest.raises(MissingArtefact, match=f"there are decisions of {PARTITION - timedelta(days=1)}, {PARTITION}"):
        why(day, decisions(day)["decision_id"][0], date(2017, 1, 1))


def test_no_decisions_at_all_gets_help(platform_of: PlatformOf) -> None:
    with pytest.raises(MissingArtefact, match="run step allocate"):
        why(platform_of(), "x")


def test_decisions_made_anew_leave_the_old_ones_explicable(moving: Platform, platform_of: PlatformOf) -> None:
    before = decisions(moving)["decision_id"][0]
    other = platform_of(**(SETTINGS | {"strategy": SETTINGS["strategy"] | {"budget_minor": 8_000}}))
    run(other, "segment", "allocate")
    assert before not in decisions(other)["decision_id"].to_list()
    assert why(other, before).decision_id == before


def reasons(platform: Platform, row: dict[str, str]) -> None:
    empty = dict.fromkeys(contracts.REASONS.columns)
    event = {"about": "item", "customer_id": row["customer_id"], "item_id": "i01", "decision_id": row["decision_id"]}
    event |= {
        "position": 1,
        "kind": "basket",
        "events": 2,
        "at_least": False,
        "text": "the basket of 3 May",
        "model": "m",
    }
    frame = pl.DataFrame([empty | event], schema=contracts.REASONS.columns)
    platform.store.write_table("reasons", PARTITION, frame, BY)


def test_a_sent_decision_tells_when_and_which_events_mattered(moving: Platform) -> None:
    row = decisions(moving).filter(pl.col("offer_id").is_not_null()).row(0, named=True)
    reasons(moving, row)
    assert why(moving, row["decision_id"]).sending.status == "not_published"
    run(moving, *WRITE, "evaluate_strategy", "publish")
    assert why(moving, row["decision_id"]).sending.status == "not_approved"
    pipeline.record_approval(PARTITION, True, "ana", platform=moving)
    assert "ana" in why(moving, row["decision_id"]).sending.detail
    run(moving, "dispatch")
    found = why(moving, row["decision_id"])
    assert found.sending.status == "sent"
    assert found.sending.when.startswith(f"{PARTITION + timedelta(days=1)}T14:00")
    assert found.events == ["shown item i01: the basket of 3 May"]
    assert found.notes == []
    strategy = moving.store.read_document(moving.store.need("strategy", PARTITION), Strategy)
    assert (found.source, found.notice) == (strategy.source, strategy.source_notice)
    assert found.versions["decisions"] == moving.store.need("decisions", PARTITION).folder


def test_a_refusal_at_dispatch_names_its_rule(moving: Platform, platform_of: PlatformOf) -> None:
    row = decisions(moving).filter(pl.col("offer_id").is_not_null()).row(0, named=True)
    reasons(moving, row)
    run(moving, *WRITE, "evaluate_strategy", "publish")
    pipeline.record_approval(PARTITION, True, "ana", platform=moving)
    strict = platform_of(**(SETTINGS | {"contact": {"consent_default": "refuse"}}))
    run(strict, "dispatch")
    found = why(strict, row["decision_id"])
    assert (found.sending.status, found.sending.rule) == ("refused", "consent")
    assert "was never given" in found.sending.detail


def test_a_simulated_source_is_labelled(day: Platform) -> None:
    found = told(day, decisions(day)).model_copy(update={"notice": "SIMULATED market: assumptions, not data."})
    assert "SIMULATED market" in render(found)


def test_the_command_prints_text_or_json(
    day: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Platform, "from_environment", classmethod(lambda cls: day))
    identity = decisions(day)["decision_id"][0]
    assert command.main(["why", identity, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision_id"] == identity
    assert command.main(["why", identity]) == 0
    assert capsys.readouterr().out.startswith(f"Decision {identity}")
    assert command.main(["why", "nothing"]) == 1
    assert "no decision 'nothing'" in capsys.readouterr().err
