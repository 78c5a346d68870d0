"""From messages that were sent and clicked to the words of the next day, by the steps themselves on a real S3."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest

from mktgen import pipeline
from mktgen.contracts import CLICKS, DECISIONS, MESSAGES, REASONS, SENDS, WORDING_PAIRS, WORDING_POOL
from mktgen.copywriting.pool import Pool
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_fit import fit
from mktgen.copywriting.traits import TRAITS
from mktgen.copywriting.wording import TONES, Wording
from mktgen.documents import Approval, PublishedStrategy, WordingReport
from mktgen.errors import MissingArtefact, TransientError
from mktgen.feedback.clicks import impressions
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.steps.conftest import PlatformOf
from tests.support.campaign_world import PARTITION
from tests.support.decided_day import WRITE, prepare
from tests.support.decided_day import run as decide
from tests.support.words_world import KNOWN, SEGMENTS, taste, trials

SENT = date(2017, 6, 5)
OVER = SENT + timedelta(days=3)
TODAY = OVER + timedelta(days=1)
BY = Provenance("test", "r", "", "", 0, ())
AGAIN = replace(BY, run="again")
MARKET = {"name": "simulated_market", "promotion_plan": False}
PER_SEGMENT = 400


def asks(wording: Wording) -> bool:
    return "?" in wording.subject + wording.body


def dispatched(platform: Platform, day: date = SENT, share: float = 0.25) -> pl.DataFrame:
    """A day that was sent: wordings drawn from the bank's pools. Clicked a day later: those that ask a question `share` of the
    time, others a fifth of that. Returns the sends."""
    store, pool, rng = platform.store, Pool("email", "en"), np.random.default_rng(day.toordinal())
    decisions, messages, sends, clicks = [], [], [], []
    for segment, tone in SEGMENTS.items():
        for number in range(PER_SEGMENT):
            name = f"{day}{segment}{number:04d}"
            wording, chance = pool.drawn(tone, KNOWN, name)[0]
            decisions.append({"decision_id": f"d{name}", "customer_id": f"c{name}", "segment_id": segment})
            messages.append(
                {
                    "decision_id": f"d{name}", "customer_id": f"c{name}", "campaign_id": "9001", "channel": "simulated_market",
                    "form": "email", "language": "en", "subject": wording.subject, "body": wording.body,
                    "wording_id": wording.id, "origin": "fallback" if number == 0 else "template",
                    "wording_propensity": chance, "cell": pool.cell(tone, KNOWN),
                }
            )  # fmt: skip
            status = "refused" if number == 1 else "sent"
            sends.append((f"s{name}", f"d{name}", f"c{name}", "9001", "9001:1", "simulated_market", day, status, ""))
            if rng.random() < (share if asks(wording) else share / 5):
                clicks.append((f"s{name}:1", f"s{name}", f"c{name}", day + timedelta(days=1)))
    drawn = WORDING_POOL.check(pool.log())
    blank = {name: pl.lit(None, dtype=kind) for name, kind in DECISIONS.columns.items()}
    typical = {
        "action": "9001:1", "item_ids": ["1"], "action_set": ["no_contact", "9001:1"], "action_propensities": [0.5, 0.5],
        "propensity": 0.5, "explored": False, "arm": "policy", "holdout": False, "holdout_share": 0.1,
        "expected_value_minor": 1.0, "cost_minor": 140, "model_version": "m", "policy_version": "p", "config_version": "c",
    }  # fmt: skip
    filled = {name: pl.lit(value).cast(DECISIONS.columns[name]) for name, value in typical.items()}
    rows = pl.DataFrame(decisions)
    missing = {name: value for name, value in {**blank, **filled}.items() if name not in rows.columns}
    store.write_table("decisions", day, rows.with_columns(**missing).select(list(DECISIONS.columns)), BY)
    message_table = pl.DataFrame(messages, schema=MESSAGES.columns).sort("decision_id")
    written = store.write_table("messages", day, message_table, BY)
    store.write_table("wording_pool", day, drawn, BY)
    uris = {
        "strategy_uri": written.folder, "decisions_uri": store.need("decisions", day).folder, "messages_uri": written.folder
    }  # fmt: skip
    release = store.write_document("published", day, PublishedStrategy(partition=day, markdown="", **uris), BY)
    table = pl.DataFrame(sends, schema=SENDS.columns, orient="row").sort("send_id")
    store.write_table("sends", day, table, replace(BY, parents=(release.as_parent(),)))
    approval = Approval(partition=day, approved=True, responder="test", strategy_run="r")
    store.write_document("approval", day, approval, BY)
    for late in range(1, 4):
        when = day + timedelta(days=late)
        made = clicks if late == 1 else []
        store.write_table("clicks", when, pl.DataFrame(made, schema=CLICKS.columns, orient="row").sort("click_id"), BY)
    return table


def run(platform: Platform, step: str, day: date) -> list[str]:
    return pipeline.run_step(step, day, platform=platform).notes


def report(platform: Platform, day: date = TODAY) -> WordingReport:
    return platform.store.read_document(platform.store.need("wording_report", day), WordingReport)


@pytest.fixture
def market(platform_of: PlatformOf) -> Platform:
    return platform_of(source=MARKET)


def test_what_is_clicked_more_is_chosen_more(market: Platform) -> None:
    dispatched(market)
    assert f"messages of {SENT} were clicked" in run(market, "collect_clicks", OVER)[0]
    counted = market.store.read_table(market.store.need("wording_trials", OVER))
    assert counted["sends"].sum() == len(SEGMENTS) * (PER_SEGMENT - 2), (
        "neither what was refused nor other words than drawn"
    )
    run(market, "learn_wording", TODAY)
    found = report(market)
    assert found.learned
    assert found.sends == counted["sends"].sum()
    assert found.held_out_segments == ["s04", "s06"]
    assert found.judge
    files = market.store.read_files(market.store.need("wording_model", TODAY), "")
    assert sorted(files) == ["judge.npz", "model.npz"]
    preference = Preference.from_bytes(files["model.npz"])
    for tone in TONES:
        pool = [one for one, _ in Pool("email", "en").chances(tone, KNOWN)]
        likely = sum(p for p, one in zip(preference.best(pool, 0), pool, strict=True) if asks(one))
        assert likely > 0.9 or not any(map(asks, pool))
    pairs = market.store.read_table(market.store.need("wording_pairs", TODAY))
    WORDING_PAIRS.check(pairs)
    assert pairs.height == found.pairs > 0
    told = pairs.filter((pl.col("chosen_subject") + pl.col("chosen_body")).str.contains(r"\?").not_())
    assert told.filter((pl.col("rejected_subject") + pl.col("rejected_body")).str.contains(r"\?")).is_empty()


def test_before_anything_was_sent_all_words_have_even_chances_and_it_is_said(market: Platform) -> None:
    notes = run(market, "learn_wording", TODAY)
    assert notes[0] == "all wordings have even chances: 0 of 0 randomised messages were clicked; 30 clicks are needed"
    assert not report(market).learned
    assert market.store.read_files(market.store.need("wording_model", TODAY), "") == {}
    assert market.store.read_table(market.store.need("wording_pairs", TODAY)).is_empty()
    assert "nothing was dispatched" in run(market, "collect_clicks", OVER)[0]


def test_a_source_without_clicks_is_refused_by_name(platform_of: PlatformOf) -> None:
    platform = platform_of()
    why = "the source records no clicks (has_clicks)"
    assert run(platform, "learn_wording", TODAY)[0] == f"all wordings have even chances: {why}"
    assert run(platform, "collect_clicks", OVER) == [f"nothing on words: {why}"]


def test_what_is_learned_waits_for_the_feedback_and_for_the_days_of_clicks(market: Platform) -> None:
    dispatched(market)
    market.store.write_table("decisions", OVER, DECISIONS.empty(), BY)
    with pytest.raises(TransientError, match=f"the feedback of {OVER} has not collected yet \\(wording_trials\\)"):
        run(market, "learn_wording", TODAY)
    market.store.withdraw("clicks", OVER)
    with pytest.raises(MissingArtefact, match=f"clicks of {OVER}"):
        run(market, "collect_clicks", OVER)


def test_a_click_that_comes_too_late_is_none(market: Platform) -> None:
    """A click on the last day counts, and once; one of a message that isn't ours doesn't, nor one after its time."""
    sends = dispatched(market, share=0.0)
    one = sends.filter(pl.col("status") == "sent").row(5, named=True)
    made = [(f"{one['send_id']}:{n}", one["send_id"], one["customer_id"], OVER) for n in (1, 2)]
    made.append(("other:1", "other", one["customer_id"], OVER))
    market.store.write_table("clicks", OVER, pl.DataFrame(made, schema=CLICKS.columns, orient="row"), AGAIN)
    run(market, "collect_clicks", OVER)
    counted = market.store.read_table(market.store.need("wording_trials", OVER))
    assert counted["clicks"].sum() == 1
    late = impressions(sends, pl.DataFrame(made, schema=CLICKS.columns, orient="row"), 2, OVER)
    assert not late["clicked"].any()


def test_a_day_for_which_two_strategies_were_approved_teaches_nothing(market: Platform) -> None:
    dispatched(market)
    other = Approval(partition=SENT, approved=True, responder="test", strategy_run="another")
    market.store.write_document("approval", SENT, other, replace(BY, run="another"))
    assert "was decided anew" in run(market, "collect_clicks", OVER)[0]


def test_a_rerun_gives_the_same_bytes(market: Platform) -> None:
    dispatched(market)
    run(market, "collect_clicks", OVER)
    first = pipeline.run_step("learn_wording", TODAY, platform=market)
    again = pipeline.run_step("learn_wording", TODAY, platform=market, recompute="day")
    assert first.digests == again.digests


def test_each_days_model_is_a_run_and_a_version_that_answers_as_the_loop_does(
    platform_of: PlatformOf, mlflow_uri: str
) -> None:
    platform = platform_of(source=MARKET, mlflow_uri=mlflow_uri)
    dispatched(platform)
    run(platform, "collect_clicks", OVER)
    assert run(platform, "learn_wording", OVER)[-1] == "MLflow: nothing was learned of words, nothing to log"
    assert run(platform, "learn_wording", TODAY)[-1] == "MLflow mktgen-wording: moved {'champion': '1'}"
    again = pipeline.run_step("learn_wording", TODAY, platform=platform)
    assert again.reused
    client = mlflow.MlflowClient(tracking_uri=mlflow_uri)
    version = client.get_model_version_by_alias("mktgen-wording", "champion")
    logged = client.get_run(version.run_id).data.metrics
    assert logged["sends"] == report(platform).sends
    assert logged["trait.question_low"] < logged["trait.question"] < logged["trait.question_high"]
    pool = [one for one, _ in Pool("email", "en").chances("everyday", KNOWN)]
    records = [
        {"form": "email", "language": "en", "tone": one.tone, "subject": one.subject, "body": one.body} for one in pool
    ]
    mlflow.set_tracking_uri(mlflow_uri)
    served = mlflow.pyfunc.load_model(f"models:/mktgen-wording/{version.version}")
    told = served.predict(pd.DataFrame({"table": "wordings", "record": [json.dumps(one) for one in records]}))
    files = platform.store.read_files(platform.store.need("wording_model", TODAY), "")
    assert told["best"].tolist() == Preference.from_bytes(files["model.npz"]).best(pool, 0)
    assert (told["low"] < told["click_rate"]).all()
    assert (told["click_rate"] < told["high"]).all()


def test_a_days_messages_are_drawn_by_what_was_learned(platform_of: PlatformOf) -> None:
    """Of a taste for questions: they are most of the messages where they can be, by the chances that are logged."""
    market = platform_of(source=MARKET)
    prepare(market)
    decide(market, "segment", "learn_response", "promote_response", "estimate_response", "judge_policy", "allocate")
    market.store.write_table("reasons", PARTITION, REASONS.empty(), BY)
    strong = taste(0, 0.0, 0.0, 0.0)
    strong.common[[trait.name for trait in TRAITS].index("question")] = 2.0
    learned = fit(trials(strong, 3), 30)
    market.store.write_files("wording_model", PARTITION, {"model.npz": learned.to_bytes()}, BY)
    decide(market, *WRITE[1:])
    drawn_from, messages = (
        market.store.read_table(market.store.need(name, PARTITION)) for name in ("wording_pool", "messages")
    )
    sums = drawn_from.group_by("cell").agg(pl.col("chance").sum(), pl.col("chance").min().alias("least"))
    assert sums["chance"].to_list() == pytest.approx([1.0] * sums.height)
    assert sums["least"].min() > 0
    asked = pl.col("subject").str.contains("?", literal=True) | pl.col("body").str.contains("?", literal=True)
    likely = drawn_from.filter(asked).group_by("cell").agg(pl.col("chance").sum())["chance"]
    assert likely.min() > 0.8  # type: ignore[operator]
    assert messages.select(asked.mean()).item() > 0.6
    logged = messages.join(drawn_from.select("cell", "wording_id", "chance"), on=["cell", "wording_id"])
    assert logged["wording_propensity"].to_list() == pytest.approx(logged["chance"].to_list())
    assert logged.height == messages.height
