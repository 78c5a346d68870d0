"""Two waves on the simulated market, by Airflow: what the first one sent is what the second one learned from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest

from benchmarks.airflow_waves import FIRST, SOURCE, WINDOW_DAYS, Waves, reached, sections, wave_day
from local.airflow import Airflow
from local.parts import Parts
from local.terminal import Terminal
from mktgen.documents import Approval, ResponseReport
from mktgen.market_sim import inbox
from mktgen.market_sim.scenario import load
from mktgen.settings import ResponseSettings
from mktgen.sources.simulated_market import SimulatedMarket
from mktgen.steps.proving import prove_export
from mktgen.steps.runner import Platform
from mktgen.store import Store
from tests.e2e.instance import objects, store

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECTIONS = sections("strong", copies=1, budget_minor=400_000, customers=2_000)
SENT = (wave_day(0), wave_day(1))
OURS = {offer.campaign_id for offer in load("strong").offers.values()}
OVER = wave_day(0) + timedelta(days=WINDOW_DAYS)  # the last day of the first wave's window


@pytest.fixture(scope="module")
def played(instance: Parts) -> Iterator[Store]:
    with Airflow.connect(instance) as airflow:
        waves = Waves(instance, airflow, Terminal())
        waves.history(SimulatedMarket.first_day, FIRST)
        waves.decide(0)
        waves.close(0)
        waves.decide(1)
        yield store()


def test_what_was_sent_came_back_as_trials_of_the_first_wave(played: Store) -> None:
    trials = played.read_table(played.need("trials", OVER))
    decisions = played.read_table(played.need("decisions", wave_day(0)))
    assert set(trials["decision_id"]) == set(decisions.filter(pl.col("arm") != "business_as_usual")["decision_id"])
    drawn = trials.filter(~pl.col("holdout") & (pl.col("action") != "no_contact"))
    assert drawn["action"].n_unique() >= 2
    assert drawn.select((pl.col("propensity") > 0).all()).item()


def test_the_second_wave_learned_from_them(played: Store) -> None:
    report = played.read_document(played.need("response_report", wave_day(1)), ResponseReport)
    first = played.read_document(played.need("response_report", wave_day(0)), ResponseReport)
    assert (first.trials, first.usable) == (0, False)
    assert report.trials >= ResponseSettings().min_trials
    assert {action.partition(":")[0] for action in report.actions} <= OURS
    assert len(report.actions) >= 2
    assert report.gates
    assert report.usable or report.reason


def answers(where: Store) -> pl.DataFrame:
    """Redemptions of the market's own offers in the first wave's window."""
    days = pl.date_range(wave_day(0), OVER, closed="right", eager=True)
    found = pl.concat(where.read_table(where.need("responses", day)) for day in days)
    return found.filter(pl.col("campaign_id").is_in(list(OURS)))


def test_customers_answered(played: Store) -> None:
    assert answers(played).height > 0
    assert set(answers(played)["customer_id"]) <= set(reached(played, wave_day(0))["customer_id"])


def test_who_redeemed_an_offer_may_get_it_again(played: Store) -> None:
    possible = played.read_table(played.need("offer_scores", wave_day(1)))
    redeemed = answers(played).join(possible.select("customer_id").unique(), on="customer_id", how="semi")
    assert redeemed.height > 0
    assert redeemed.join(possible, on=["customer_id", "offer_id"], how="anti").is_empty()


def test_nothing_is_sent_twice_and_only_what_was_approved(played: Store) -> None:
    assert played.partitions("sends") == list(SENT)
    sent = [reached(played, day) for day in SENT]
    assert all(wave.height for wave in sent)
    assert all(wave["customer_id"].is_unique().all() for wave in sent)
    ids = [send for wave in sent for send in wave["send_id"]]
    assert len(set(ids)) == len(ids)
    assert objects().keys(f"{inbox.PREFIX}/") == sorted(
        inbox.key(day, send) for day, wave in zip(SENT, sent, strict=True) for send in wave["send_id"]
    )
    answered = {
        day: played.read_document(played.need("approval", day), Approval).approved
        for day in played.partitions("approval")
    }
    assert [day for day, approved in answered.items() if approved] == list(SENT)
    assert len(answered) == 3, "the day between was put before a person too, who said no"


def test_both_dispatches_are_proven(played: Store) -> None:
    for day in SENT:
        proven = prove_export(Platform.from_environment(), str(day))
        assert proven.holds, proven.text
    assert Platform.from_environment().source.name == SOURCE
