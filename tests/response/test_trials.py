"""Admission: only trials drawn with logged chances, and every refusal by its name and count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mktgen.contracts import ContractError
from mktgen.response.trials import NOT_CONTACTED, NotRandomised, Trials, admit
from tests.support.trial_world import PARTITION, TrialWorld, make_trials


@pytest.fixture(scope="module")
def world() -> TrialWorld:
    return make_trials(40, 1)


def broken(world: TrialWorld, rows: int, **columns: Any) -> pl.DataFrame:
    """The first `rows` trials with other values."""
    head = world.trials.head(rows).with_columns(
        **{name: value if isinstance(value, pl.Expr) else pl.lit(value) for name, value in columns.items()}
    )
    return pl.concat([head, world.trials[rows:]], how="vertical_relaxed")


def test_chances_and_contrasts_are_those_logged(world: TrialWorld) -> None:
    found = admit(world.trials, PARTITION)
    assert found.actions == ["coupon", "mail"]
    assert (found.chance.sum(axis=1) + found.chance_none) == pytest.approx(np.ones(40))
    names = [*found.actions, "no_contact"]
    assert [names[k] for k in found.drawn] == found.frame["action"].to_list()
    assert found.contrast[found.drawn == 0, 0] == pytest.approx(2 / 3)
    assert found.contrast[found.drawn == NOT_CONTACTED] == pytest.approx(-1 / 3)


def test_the_order_of_rows_has_no_say(world: TrialWorld) -> None:
    one, other = (
        admit(world.trials, PARTITION),
        admit(world.trials.sample(fraction=1.0, shuffle=True, seed=2), PARTITION),
    )
    assert_frame_equal(one.frame, other.frame)
    assert (one.chance == other.chance).all()
    assert (one.drawn == other.drawn).all()


@pytest.mark.parametrize(
    ("reason", "columns"),
    [
        ("propensities were not logged", {"action_propensities": pl.lit(None, dtype=pl.List(pl.Float64))}),
        ("propensities were not logged", {"propensity": pl.lit(None, dtype=pl.Float64)}),
        ("propensities are not as many as actions", {"action_propensities": [0.5, 0.5]}),
        ("the action set names an action twice", {"action_set": ["coupon", "coupon", "no_contact"]}),
        ("the action set lacks no_contact", {"action_set": ["coupon", "mail", "call"]}),
        ("propensities are no distribution", {"action_propensities": [0.5, 0.5, 0.5]}),
        ("propensities are no distribution", {"action_propensities": [1.5, -0.5, 0.0]}),
        ("the action was impossible", {"action": "call"}),
        ("the action was impossible", {"action": "no_contact", "action_propensities": [0.5, 0.5, 0.0]}),
        ("the logged propensity is another action's", {"propensity": 0.9}),
        ("held out, yet contacted", {"holdout": True, "action": "mail"}),
        ("the reward is not finite", {"reward_minor": float("nan")}),
        ("the reward is not finite", {"reward_minor": float("inf")}),
        (f"not decided before {PARTITION}", {"decided_on": PARTITION}),
    ],
)
def test_what_contradicts_itself_is_refused_by_name_and_count(
    world: TrialWorld, reason: str, columns: dict[str, Any]
) -> None:
    with pytest.raises(NotRandomised, match=f"{reason}: 3 .e.g. decision d000000"):
        admit(broken(world, 3, **columns), PARTITION)


def test_all_reasons_are_told_at_once(world: TrialWorld) -> None:
    with pytest.raises(NotRandomised, match=r"2 reasons against 40 trials: .*twice: 1.*finite: 1"):
        admit(broken(world, 1, action_set=["coupon", "coupon", "no_contact"], reward_minor=float("nan")), PARTITION)


def test_a_shape_that_is_not_the_contract_is_refused(world: TrialWorld) -> None:
    with pytest.raises(ContractError, match="missing columns"):
        admit(world.trials.drop("propensity"), PARTITION)
    with pytest.raises(ContractError, match="not unique"):
        admit(pl.concat([world.trials, world.trials.head(1)]), PARTITION)


def test_trials_with_one_possible_action_are_left_out_and_counted(world: TrialWorld) -> None:
    certain = broken(world, 5, action="mail", action_propensities=[0.0, 1.0, 0.0], propensity=1.0)
    found = admit(certain, PARTITION)
    assert found.dropped == {"one possible action": 5}
    assert len(found.drawn) == 35


def test_a_policy_that_never_explored_teaches_nothing(world: TrialWorld) -> None:
    certain = broken(world, 40, action="mail", action_propensities=[0.0, 1.0, 0.0], propensity=1.0)
    with pytest.raises(NotRandomised, match=r"none of 40 trials was randomised .*'one possible action': 40"):
        admit(certain, PARTITION)
    with pytest.raises(NotRandomised, match="none of 0"):
        admit(world.trials.clear(), PARTITION)


def held_out(share: float, seed: int, customers: int = 2000) -> Trials:
    world = make_trials(customers, seed)
    held = np.random.default_rng(seed).random(customers) < share
    trials = world.trials.with_columns(pl.Series("holdout", held)).with_columns(
        pl.when("holdout").then(pl.lit("no_contact")).otherwise("action").alias("action")
    )
    return admit(trials, PARTITION, holdout_share=share)


def test_held_out_customers_count_as_part_of_the_draw() -> None:
    found = held_out(0.2, 3)
    assert found.chance_none == pytest.approx(0.2 + 0.8 / 3)
    assert found.chance == pytest.approx(0.8 / 3)
    assert len(found.drawn) == 2000
    # The chances are those of what happened: no contact is as frequent as they say.
    assert (found.drawn == NOT_CONTACTED).mean() == pytest.approx(0.2 + 0.8 / 3, abs=0.05)


def test_without_the_share_held_out_customers_are_left_out(world: TrialWorld) -> None:
    trials = world.trials.with_columns((pl.col("action") == "no_contact").alias("holdout"))
    found = admit(trials, PARTITION)
    assert (found.drawn != NOT_CONTACTED).all()
    assert found.dropped == {"held out, and the share is not stated": trials["holdout"].sum()}


def test_another_share_than_the_stated_is_refused() -> None:
    with pytest.raises(NotRandomised, match=r"customers with a choice are held out, 20.00% was stated"):
        admit(make_trials(2000, 3).trials, PARTITION, holdout_share=0.2)
    with pytest.raises(NotRandomised, match="lies in"):
        admit(make_trials(50, 3).trials, PARTITION, holdout_share=1.0)


def test_a_trial_counts_half_after_a_half_life() -> None:
    world = make_trials(2, 1, days=3)
    found = admit(world.trials, PARTITION)
    age = (PARTITION - timedelta(days=1) - PARTITION).days
    assert age == -1
    assert found.age_weight(PARTITION, 2.0) == pytest.approx([2**-1.5, 2**-1, 2**-0.5] * 2)
    old = found.age_weight(PARTITION, 2.0, PARTITION - timedelta(days=2), 0.25)
    assert old == pytest.approx([2**-1.5 / 4, 2**-1, 2**-0.5] * 2)
