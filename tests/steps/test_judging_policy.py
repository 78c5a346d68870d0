"""The policy as learned now, judged on past trials: proven where it pays, an experiment where that is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from mktgen.documents import LaunchEvidence
from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.trial_log import TrialLog
from mktgen.response.fitting import fit_response
from mktgen.response.past import held_out_effects
from mktgen.settings import ResponseSettings, Settings, StrategySettings
from mktgen.steps.judging_policy import Past, believed, foretold_by, judge, offers_of
from mktgen.strategy.past import candidate_chances, usual_chances
from tests.support.trial_world import ACTIONS, PARTITION, Effect, TrialWorld, linear, make_trials, nothing

COST = {"coupon": 100, "mail": 60}


def with_budget(customers: int) -> Settings:
    return Settings(strategy=StrategySettings(budget_minor=45 * customers, posterior_draws=32))


SETTINGS = with_budget(600)


def candidates(world: TrialWorld, seed: int) -> pl.DataFrame:
    """Offers of the trials' day; redemption has nothing to do with the effect."""
    rng = np.random.default_rng(seed)
    pairs = world.trials.select("customer_id").join(pl.DataFrame({"offer_id": ACTIONS}), how="cross")
    return pairs.with_columns(
        cost_minor=pl.col("offer_id").replace_strict(COST, return_dtype=pl.Int64),
        p_redeem=pl.Series(rng.uniform(0, 1, pairs.height)),
    )


def past(world: TrialWorld, seed: int) -> Past:
    model, held_out = fit_response(world.trials, world.covariates, ResponseSettings(), PARTITION, seed)
    foretold = held_out_effects(held_out)
    offers, trials = offers_of(world.trials, candidates(world, seed), foretold, model, world.features, SETTINGS)
    return Past(trials, foretold, offers.with_columns(decided_on=world.trials["decided_on"][0]))


def judged(effect: Effect, seed: int, customers: int = 8_000) -> tuple[TrialWorld, Past, LaunchEvidence]:
    world = make_trials(customers, seed, effect)
    found = past(world, seed)
    return world, found, judge(found, with_budget(customers), PARTITION)


def harm(x: np.ndarray) -> np.ndarray:
    """Contacts cost, and change nothing."""
    return nothing(x) - 40


def test_a_policy_that_pays_is_proven_and_its_lead_is_the_true_one() -> None:
    world, found, evidence = judged(linear, seed=3)
    assert evidence.standing == "proven", evidence.reason
    strategy = with_budget(world.trials.height).strategy
    budget = strategy.budget_minor - int(strategy.budget_minor * strategy.usual_share)
    chances = candidate_chances(found.offers, budget, strategy)
    truth = world.trials.select("decision_id").hstack(pl.DataFrame(world.effect, schema=list(ACTIONS), orient="row"))
    effects = truth.unpivot(index="decision_id", variable_name="action", value_name="truth")
    gain = chances.join(effects, on=["decision_id", "action"]).select((pl.col("p") * pl.col("truth")).sum()).item()
    lead = next(one.difference for one in evidence.comparisons if one.incumbent == "no contact")
    assert lead is not None
    assert lead.low < gain / world.trials.height < lead.high
    assert {one.incumbent for one in evidence.comparisons} == {"no contact", "business as usual"}


def test_a_market_where_nothing_works_proves_no_policy() -> None:
    """Each world lets one in forty through by chance; chances made with a customer's own outcomes would lead in all."""
    found = [judged(nothing, seed, customers=900)[2] for seed in range(16)]
    leads = [one.comparisons[0].difference for one in found]
    z = [3.92 * lead.value / (lead.high - lead.low) for lead in leads if lead is not None]
    assert len(z) == 16
    assert abs(np.mean(z)) < 2.5 / np.sqrt(len(z))  # with in-sample chances: 0.73
    assert sum(one.standing == "proven" for one in found) <= 1


def test_contacts_that_only_cost_prove_no_policy() -> None:
    assert all(judged(harm, seed, customers=900)[2].standing != "proven" for seed in range(6))


def test_where_contacts_only_cost_exploring_ends_and_it_is_said_why() -> None:
    found = judged(harm, 0)[2]
    assert found.standing == "futile"
    assert "not worth exploring on: against no contact it gains at most" in found.reason


def test_the_version_that_serves_foretells_later_trials_by_itself() -> None:
    """Its own trials by its held-out effects; what it never saw by its draws; expected rewards of the newest version."""
    world = make_trials(600, seed=2, effect=linear)
    model, held_out = fit_response(world.trials, world.covariates, ResponseSettings(), PARTITION, 2)
    newest = held_out_effects(held_out)
    first = newest.filter(pl.col("decision_id") < "d0000300").with_columns(pl.col("effect_minor", "expected_minor") + 1)
    foretold = foretold_by({PARTITION: first, PARTITION + timedelta(days=1): newest}, PARTITION)
    own, later = (foretold.filter((pl.col("decision_id") < "d0000300") == before) for before in (True, False))
    assert own.sort("decision_id", "action").equals(first)
    assert later["expected_minor"].null_count() == 0
    assert later.filter(pl.col("effect_minor").is_null()).height == 2 * 300
    offers, _ = offers_of(world.trials, candidates(world, 2), foretold, model, world.features, SETTINGS)
    unseen = offers.filter(pl.col("decision_id") >= "d0000300").sort("decision_id", "offer_id")
    features = world.features.filter(pl.col("customer_id") >= "c000300").sort("customer_id")
    exact = model.draws(features, SETTINGS.strategy.posterior_draws, SETTINGS.seed).transpose(1, 2, 0)
    assert np.allclose(unseen["draws"].to_numpy(), exact.reshape(600, -1))
    assert foretold_by({PARTITION: newest}, PARTITION).equals(newest)


def test_a_log_too_small_is_an_experiment_that_says_so() -> None:
    evidence = judged(linear, seed=1, customers=320)[2]
    assert evidence.standing == "experiment"
    assert "effective_sample: incumbent: under this policy the log is worth" in evidence.reason
    assert evidence.comparisons[0].difference is None


def test_the_order_of_rows_changes_nothing() -> None:
    world = make_trials(600, seed=2, effect=linear)
    found = past(world, 2)
    turned = Past(
        found.trials.reverse(), found.foretold.reverse(), found.offers.sample(fraction=1.0, shuffle=True, seed=1)
    )
    assert judge(found, SETTINGS, PARTITION) == judge(turned, SETTINGS, PARTITION)


def test_chances_of_a_past_day_keep_the_budget_the_floor_and_the_sum() -> None:
    found = past(make_trials(600, seed=2, effect=linear), 2)
    for budget in (0, 500, 20_000):
        p = candidate_chances(found.offers, budget, SETTINGS.strategy)
        sums = p.group_by("decision_id").agg(pl.col("p").sum())["p"]
        assert sums.len() == 600
        assert np.allclose(sums.to_numpy(), 1.0)
        costs = p.join(found.offers.rename({"offer_id": "action"}), on=["decision_id", "action"])
        assert costs.select((pl.col("p") * pl.col("cost_minor")).sum()).item() <= budget + 1e-6
        usual = usual_chances(found.offers, budget).join(
            found.offers.rename({"offer_id": "action"}), on=["decision_id", "action"], how="left"
        )
        assert usual.filter(pl.col("p") == 1).height == 600
        assert usual.select((pl.col("p") * pl.col("cost_minor").fill_null(0)).sum()).item() <= budget


def test_trials_whose_offers_are_no_longer_stored_are_left_out() -> None:
    world = make_trials(600, seed=2, effect=linear)
    model, held_out = fit_response(world.trials, world.covariates, ResponseSettings(), PARTITION, 2)
    foretold, stored = held_out_effects(held_out), candidates(world, 2).slice(10)
    offers, trials = offers_of(world.trials, stored, foretold, model, world.features, SETTINGS)
    assert trials.height == offers["decision_id"].n_unique() == 595


def test_an_action_without_an_expected_reward_is_refused() -> None:
    world = make_trials(400, seed=2, effect=linear)
    found = past(world, 2)
    with pytest.raises(PermanentError, match="no expected reward"):
        TrialLog.of(world.trials, found.foretold.slice(1))
    assert TrialLog.of(found.trials, found.foretold).actions == ["coupon", "mail", "no_contact"]
    assert judge(replace(found, foretold=found.foretold.reverse()), SETTINGS, PARTITION).facts["decisions"] == 400


def test_what_is_doubted_is_no_evidence() -> None:
    trials = make_trials(400, 1, linear).trials
    later = trials.with_columns(
        decision_id=pl.format("{}-later", "decision_id"), decided_on=pl.col("decided_on") + timedelta(days=7)
    )
    both, first = pl.concat([trials, later]), later["decided_on"].min()
    assert isinstance(first, date)
    assert believed(both, None).height == both.height
    assert believed(both, first)["decision_id"].to_list() == later["decision_id"].to_list()
    assert believed(both, first + timedelta(days=1)).is_empty()
