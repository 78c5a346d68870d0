"""From dispatched decisions to a response model and back into the next decisions, by the steps themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from mktgen import contracts, pipeline
from mktgen.contracts import RESPONSE_SCORES
from mktgen.documents import Approval, ContactProof, ProofContact, ResponseReport
from mktgen.errors import TransientError
from mktgen.steps.dispatched import decisions_in_force, followed_decisions, made_by_same_model
from mktgen.steps.known import covariates
from mktgen.steps.responding import serving_reads, value_note
from mktgen.steps.runner import Platform, Run, resolve
from mktgen.store import Provenance
from tests.steps.conftest import PlatformOf
from tests.support.sent_day import store_sends

DECIDED = date(2017, 6, 4)
MATURED = DECIDED + timedelta(days=7)
TODAY = MATURED + timedelta(days=1)
BY = Provenance("test", "r", "", "", 0, ())
OFFER, NONE = "18:c1", "no_contact"
CUSTOMERS = [f"c{number:05d}" for number in range(1_500)]


def features(day: date) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    columns = {}
    for name, kind in contracts.CUSTOMER_FEATURES.columns.items():
        columns[name] = pl.Series(rng.gamma(2.0, 10.0, len(CUSTOMERS)), dtype=pl.Float64).cast(kind, strict=False)
    frame = pl.DataFrame(columns).with_columns(customer_id=pl.Series(CUSTOMERS))
    if "cut" in frame.columns:
        frame = frame.with_columns(cut=pl.lit(day + timedelta(days=1)))
    return frame


def scores() -> pl.DataFrame:
    rng = np.random.default_rng(6)
    chances = {
        name: rng.uniform(0.1, 0.9, len(CUSTOMERS)) for name in ("p_purchase_7d", "p_purchase_28d", "p_churn_28d")
    }
    return pl.DataFrame(
        {"customer_id": CUSTOMERS, **chances, "vector": [[0.0, 1.0]] * len(CUSTOMERS), "customer_model": "m"}
    ).select(pl.col(name).cast(kind) for name, kind in contracts.CUSTOMER_SCORES.columns.items())


def dispatched(platform: Platform, drawn: np.ndarray, by: Provenance = BY, version: str = "d") -> None:
    """A day whose customers were drawn between an offer and no contact, evenly."""
    decided(platform, drawn, by, version)
    sent = [
        (f"s{number}", f"{version}{number}", CUSTOMERS[number], "18", OFFER, "outbox", DECIDED, "sent", "")
        for number in np.flatnonzero(drawn)
    ]
    store_sends(platform.store, DECIDED, sent, by)


def decided(platform: Platform, drawn: np.ndarray, by: Provenance = BY, version: str = "d") -> None:
    count = len(CUSTOMERS)
    actions = np.where(drawn, OFFER, NONE).tolist()
    rows = pl.DataFrame(
        {
            "decision_id": [f"{version}{number}" for number in range(count)], "customer_id": CUSTOMERS, "segment_id": "s",
            "action": actions, "campaign_id": ["18" if one else None for one in drawn],
            "offer_id": [OFFER if one else None for one in drawn], "item_ids": [["i"]] * count,
            "channel": ["outbox" if one else None for one in drawn], "action_set": [[NONE, OFFER]] * count,
            "action_propensities": [[0.5, 0.5]] * count, "propensity": 0.5, "explored": False, "arm": "policy",
            "holdout": False, "holdout_share": 0.1, "p_redeem": 0.1, "expected_value_minor": 1.0, "cost_minor": 140,
            "model_version": "m", "policy_version": "p", "config_version": "c",
        }
    )  # fmt: skip
    decisions = rows.select(pl.col(name).cast(kind) for name, kind in contracts.DECISIONS.columns.items())
    platform.store.write_table("decisions", DECIDED, decisions, by)
    offer = [(OFFER, "18", "c1", DECIDED, date(2017, 12, 31), 100)]
    platform.store.write_table(
        "offers", DECIDED, pl.DataFrame(offer, schema=contracts.OFFERS.columns, orient="row"), BY
    )
    for day in (DECIDED, TODAY):
        platform.store.write_table("customer_features", day, features(day), BY)
        platform.store.write_table("customer_scores", day, scores(), BY)
        platform.store.write_table("response_facts", day, contracts.RESPONSE_FACTS.empty(), BY)
    nothing_bought(platform)


def nothing_bought(platform: Platform) -> None:
    """What facts of today are made from, where nobody bought anything of what is offered."""
    write = platform.store.write_table
    write("customer_categories", TODAY, contracts.CUSTOMER_CATEGORIES.empty(), BY)
    write("items", platform.source.first_day, contracts.ITEMS.empty(), BY)


def bought(platform: Platform, drawn: np.ndarray, effect_minor: int) -> None:
    rng = np.random.default_rng(8)
    likely = scores()["p_churn_28d"].to_numpy()
    spent = rng.poisson(300, len(CUSTOMERS)) + np.rint(drawn * effect_minor * 2 * likely)
    rows = [
        (customer, MATURED - timedelta(days=2), 1, int(money), ["i"], [])
        for customer, money in zip(CUSTOMERS, spent, strict=True)
    ]
    platform.store.write_table(
        "outcomes", MATURED, pl.DataFrame(rows, schema=contracts.OUTCOMES.columns, orient="row"), BY
    )


def report(platform: Platform) -> ResponseReport:
    return platform.store.read_document(platform.store.need("response_report", TODAY), ResponseReport)


def reading(platform: Platform, day: date) -> Run:
    """What allocate reads of the response model on a day."""
    return Run(day, "r", platform, resolve("allocate", day, serving_reads(day, platform), platform))


def test_an_effect_that_was_tried_is_found_and_a_class_named(platform_of: PlatformOf) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    bought(platform, drawn, effect_minor=1_000)
    assert pipeline.run_step("collect_trials", MATURED, platform=platform).rows["trials"] == len(CUSTOMERS)
    pipeline.run_step("learn_response", TODAY, platform=platform)
    assert report(platform).usable, report(platform).reason
    assert "today's version is champion" in pipeline.run_step("promote_response", TODAY, platform=platform).notes[0]
    assert pipeline.run_step("estimate_response", TODAY, platform=platform).rows["response_scores"] == len(CUSTOMERS)
    found = platform.store.read_table(platform.store.need("response_scores", TODAY))
    assert set(found["action"]) == {OFFER}
    # 30% margin of 10.00 more in the mean, the more the likelier somebody is to leave, less the contact; nobody redeemed
    truth = scores().select("customer_id", truth=0.3 * 2_000 * pl.col("p_churn_28d") - 40)
    both = found.join(truth, on="customer_id")
    assert both["effect_minor"].mean() == pytest.approx(both["truth"].mean(), abs=10)
    assert np.corrcoef(both["effect_minor"], both["truth"])[0, 1] > 0.95
    assert (found["low"] < found["high"]).all()


def test_what_is_learned_does_not_depend_on_how_fast_feedback_was(platform_of: PlatformOf) -> None:
    """A backfill starts the next day's loop while the feedback of the day before still runs."""
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    bought(platform, drawn, effect_minor=1_000)
    platform.store.write_table("decisions", MATURED, contracts.DECISIONS.empty(), BY)
    with pytest.raises(TransientError, match=f"the feedback of {MATURED} has not collected yet"):
        pipeline.run_step("learn_response", TODAY, platform=platform)
    pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert pipeline.run_step("learn_response", TODAY, platform=platform).rows["held_out_effects"] > 0


def test_without_dispatched_decisions_there_is_no_model_and_it_is_said_why(platform_of: PlatformOf) -> None:
    platform = platform_of()
    for name, frame in (("customer_features", features(TODAY)), ("customer_scores", scores())):
        platform.store.write_table(name, TODAY, frame, BY)
    nothing_bought(platform)
    assert pipeline.run_step("learn_response", TODAY, platform=platform).notes[0].startswith("no model: no decision")
    assert not report(platform).usable
    pipeline.run_step("promote_response", TODAY, platform=platform)
    assert value_note(reading(platform, TODAY)).startswith(
        "values are assumed, not learned: nothing serves: no decision"
    )
    assert pipeline.run_step("estimate_response", TODAY, platform=platform).rows["response_scores"] == 0


def test_a_day_that_was_not_dispatched_gives_no_trials(platform_of: PlatformOf) -> None:
    platform = platform_of()
    bought(platform, np.zeros(len(CUSTOMERS), dtype=bool), 0)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == 0
    assert "nothing was dispatched" in result.notes[0]


ANEW = replace(BY, run="r2")


def test_trials_are_of_the_decisions_that_were_dispatched_not_of_those_made_anew_since(platform_of: PlatformOf) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    bought(platform, drawn, effect_minor=1_000)
    decided(platform, ~drawn, ANEW, "anew")
    assert platform.store.need("decisions", DECIDED).run == "r2"
    assert pipeline.run_step("collect_trials", MATURED, platform=platform).rows["trials"] == len(CUSTOMERS)
    trials = platform.store.read_table(platform.store.need("trials", MATURED)).sort("customer_id")
    assert (trials["action"] == OFFER).to_numpy().tolist() == drawn.tolist()
    assert trials["decision_id"].str.starts_with("d").all()


def test_a_day_dispatched_twice_by_other_decisions_is_no_experiment(platform_of: PlatformOf) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    dispatched(platform, ~drawn, ANEW, "anew")
    bought(platform, drawn, effect_minor=1_000)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == 0
    assert "is not one experiment" in result.notes[0]


def test_contacts_of_decisions_that_were_made_anew_before_they_were_sent_are_no_experiment(
    platform_of: PlatformOf,
) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    decided(platform, drawn)
    sent = [("s1", "gone", CUSTOMERS[1], "18", OFFER, "outbox", DECIDED, "already_sent", "")]
    store_sends(platform.store, DECIDED, sent, BY)
    bought(platform, drawn, effect_minor=1_000)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == 0
    assert "1 contacts" in result.notes[0]


def test_two_approved_strategies_of_a_day_are_no_experiment_even_if_only_one_dispatch_ended(
    platform_of: PlatformOf,
) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    bought(platform, drawn, effect_minor=1_000)
    approve(platform, "first")
    assert pipeline.run_step("collect_trials", MATURED, platform=platform).rows["trials"] == len(CUSTOMERS)
    approve(platform, "rejected", approved=False)
    assert pipeline.run_step("collect_trials", MATURED, platform=platform).rows["trials"] == len(CUSTOMERS)
    assert [found.run for found in followed_decisions(platform, [DECIDED])] == ["r"]
    approve(platform, "second")
    assert "is not one experiment" in pipeline.run_step("collect_trials", MATURED, platform=platform).notes[0]
    assert followed_decisions(platform, [DECIDED]) == ()
    assert [found.run for found in decisions_in_force(platform, [DECIDED])] == ["r"], "nobody is drawn meanwhile"


def approve(platform: Platform, strategy: str, approved: bool = True) -> None:
    answer = Approval(partition=DECIDED, approved=approved, responder="ana", strategy_run=strategy)
    platform.store.write_document("approval", DECIDED, answer, replace(BY, run=f"approval-{strategy}"))


@pytest.mark.parametrize(("rule", "words"), [("too_late", "refused by too_late"), ("suppression", None)])
def test_refusals_that_say_nothing_of_the_customer_spoil_the_day(
    platform_of: PlatformOf, rule: str, words: str | None
) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    decided(platform, drawn)
    first = int(np.flatnonzero(drawn)[0])
    sent = [
        (f"s{n}", f"d{n}", CUSTOMERS[n], "18", OFFER, "outbox", DECIDED, "refused" if n == first else "sent", "")
        for n in np.flatnonzero(drawn)
    ]
    store_sends(platform.store, DECIDED, sent, BY)
    refused = ProofContact(
        send_id=f"s{first}", decision_id=f"d{first}", customer_id=CUSTOMERS[first], campaign_id="18", status="refused",
        rule=rule, send_at="", ledger={}, seen={},
    )  # fmt: skip
    proof = ContactProof(
        partition=DECIDED, channel="outbox", purposes=[], holds_messages=True, planned_send_at="", time_zone="UTC", inputs=[],
        settings={}, campaign_types={}, counts={}, refused={rule: 1}, records=0, records_sha256="", contacts=[refused],
    )  # fmt: skip
    platform.store.write_document("contact_proof", DECIDED, proof, BY)
    bought(platform, drawn, effect_minor=1_000)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == (0 if words else len(CUSTOMERS))
    assert words is None or words in result.notes[0]


def test_a_day_of_which_nothing_was_sent_teaches_nothing(platform_of: PlatformOf) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    decided(platform, drawn)
    sent = [
        (f"s{n}", f"d{n}", CUSTOMERS[n], "18", OFFER, "outbox", DECIDED, "refused", "") for n in np.flatnonzero(drawn)
    ]
    store_sends(platform.store, DECIDED, sent, BY)
    bought(platform, drawn, effect_minor=0)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == 0
    assert "was made" in result.notes[0]


def test_customers_who_were_drawn_again_inside_the_window_spoil_the_day(platform_of: PlatformOf) -> None:
    platform = platform_of()
    drawn = np.random.default_rng(1).random(len(CUSTOMERS)) < 0.5
    dispatched(platform, drawn)
    bought(platform, drawn, effect_minor=1_000)
    again = DECIDED + timedelta(days=3)
    table = platform.store.read_table(platform.store.need("decisions", DECIDED)).head(5)
    platform.store.write_table("decisions", again, table, BY)
    store_sends(platform.store, again, [], BY)
    result = pipeline.run_step("collect_trials", MATURED, platform=platform)
    assert result.rows["trials"] == 0
    assert "5 customers were drawn again" in result.notes[0]


def test_what_a_model_foretold_is_found_by_the_model_of_the_decisions(platform_of: PlatformOf) -> None:
    """The scores of the day were made anew by another model after the dispatch; those it went by are still stored."""
    store = platform_of().store
    models = [
        store.write_files("response_model", DECIDED, {"m": bytes([n])}, replace(BY, run=f"m{n}")) for n in range(2)
    ]
    empty = RESPONSE_SCORES.empty()
    for n, model in enumerate(models):
        made = replace(BY, run=f"s{n}", parents=(model.as_parent(),))
        store.write_table("response_scores", DECIDED, empty, made)
    for n, expected in ((0, ["s0"]), (1, ["s1"])):
        by = replace(BY, run=f"d{n}", parents=(models[n].as_parent(),))
        went_by = store.write_table("decisions", DECIDED, contracts.DECISIONS.empty(), by)
        assert [found.run for found in made_by_same_model(store, "response_scores", [went_by])] == expected
    without = store.write_table("decisions", DECIDED, contracts.DECISIONS.empty(), BY)
    assert made_by_same_model(store, "response_scores", [without]) == ()


def test_vectors_of_another_training_are_no_covariates() -> None:
    assert "vector" not in covariates(features(TODAY), scores(), contracts.RESPONSE_FACTS.empty()).columns


def test_a_day_without_trials_asks_for_no_features_of_a_time_before_the_shop_was_onboarded(
    platform_of: PlatformOf,
) -> None:
    platform = platform_of()
    bought(platform, np.zeros(len(CUSTOMERS), dtype=bool), 0)
    assert pipeline.run_step("collect_trials", MATURED, platform=platform).rows["trials"] == 0
    assert pipeline.run_step("learn_response", TODAY, platform=platform).notes[0].startswith("no model: no decision")
