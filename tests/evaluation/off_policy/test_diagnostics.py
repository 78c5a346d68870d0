"""Each reason to refuse, alone; and none where the log is sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.estimate import ESTIMATORS, estimate
from mktgen.evaluation.off_policy.logged import Logged
from mktgen.settings import OffPolicySettings
from tests.support.bandit_world import Draw, draw, make_world

SETTINGS = OffPolicySettings()
WORLD = make_world(tilt=1.0)
SOUND = draw(WORLD, 3_000, seed=1)


def reasons(log: Logged, **settings: object) -> set[str]:
    found = estimate(log, SETTINGS.model_copy(update=settings))
    return {refusal.missing[0] for refusal in found.refused}


def test_a_sound_log_is_refused_by_nothing_and_told_in_figures() -> None:
    found = estimate(SOUND.log, SETTINGS)
    assert found.refused == ()
    shown = found.diagnostics
    assert 200 < shown.effective_sample < shown.clusters == 3_000
    assert shown.overlap == 1.0
    assert shown.mean_weight_low is not None
    assert shown.mean_weight_high is not None
    assert shown.mean_weight_low < 1 < shown.mean_weight_high
    assert shown.max_weight == SOUND.log.weight.max()
    assert shown.cut == 0.0
    assert found.low is not None
    assert found.high is not None
    assert found.low < WORLD.value < found.high


def never(action: int) -> Callable[[Draw], Logged]:
    """The same customers under a logging policy that never takes one action, which the judged policy does."""

    def change(drawn: Draw) -> Logged:
        world = make_world()
        world.logging[:, action] = 0.0
        world.logging[:] /= world.logging.sum(axis=1, keepdims=True)
        return draw(world, 3_000, seed=1).log

    return change


def test_an_action_that_was_never_logged() -> None:
    log = never(2)(SOUND)
    assert "unsupported_actions" in reasons(log)
    only_taken = replace(log, propensity=log.taken)
    assert "unsupported_actions" in reasons(only_taken)
    assert estimate(only_taken, SETTINGS).diagnostics.overlap == pytest.approx(1 - log.policy[:, 2].mean())


def test_an_action_logged_below_the_floor() -> None:
    assert reasons(SOUND.log, propensity_floor=0.2) == {"unsupported_actions"}


def test_a_log_worth_few_customers() -> None:
    assert reasons(SOUND.log, min_effective_sample=2_999) == {"effective_sample"}


def test_few_clusters() -> None:
    by_shop = replace(SOUND.log, cluster=np.arange(SOUND.log.rows) % 40)
    assert reasons(by_shop, min_effective_sample=2) == {"clusters"}


def test_one_customer_with_the_weight() -> None:
    assert reasons(SOUND.log, max_weight_share=1e-4) == {"max_weight_share"}


def test_propensities_that_were_not_those_of_the_log() -> None:
    uniform = np.full_like(SOUND.log.policy, 1 / SOUND.log.actions)
    assert {"mean_weight", "action_balance"} <= reasons(replace(SOUND.log, propensity=uniform))
    assert "mean_weight" in reasons(replace(SOUND.log, propensity=SOUND.log.taken / 2))


def test_action_balance_sees_what_the_mean_weight_can_not() -> None:
    """Under the claimed policy itself all weights are 1, whatever was really drawn."""
    uniform = np.full_like(SOUND.log.policy, 1 / SOUND.log.actions)
    for propensity in (uniform, uniform[:, 0]):
        assert reasons(replace(SOUND.log, propensity=propensity, policy=uniform)) == {"action_balance"}


def test_reward_balance_sees_a_tilt_that_keeps_the_shares_of_actions() -> None:
    """Good actions of each customer were drawn more often than claimed, each action as often as claimed in all."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 4_000)
    action = np.where(rng.random(4_000) < 0.8, kind, 1 - kind)
    table = np.where(np.eye(2)[kind] > 0, 0.6, 0.2)
    half = np.full((4_000, 2), 0.5)
    log = Logged(action, (rng.random(4_000) < table[np.arange(4_000), action]).astype(float), half, half, q_hat=table)
    assert reasons(log) == {"reward_balance"}
    assert reasons(replace(log, q_hat=None)) == set()  # without expected rewards nothing shows it


@pytest.mark.parametrize("name", ["dm", "clipped_ips", "switch_dr", "dros"])
def test_estimators_biased_on_purpose_have_no_interval_and_no_use(name: str) -> None:
    rng = np.random.default_rng(5)
    log = replace(SOUND.log, q_hat=rng.uniform(0, 1, SOUND.log.policy.shape))
    found = estimate(log, SETTINGS.model_copy(update={"estimator": name}))
    if ESTIMATORS[name](log).biased:
        assert found.low is None
        assert found.se is None
        assert {"no_interval"} == {refusal.missing[0] for refusal in found.refused}
    else:
        assert name != "dm"
        assert found.dial == np.inf


def test_a_policy_apart_from_the_log_is_refused_not_computed() -> None:
    log = Logged(np.zeros(500, dtype=np.int64), np.ones(500), np.full(500, 0.5), np.tile([0.0, 1.0], (500, 1)))
    assert {"unsupported_actions", "effective_sample", "max_weight_share", "mean_weight"} <= reasons(log)


def test_an_unknown_estimator_is_named() -> None:
    with pytest.raises(PermanentError, match="'dr2'"):
        estimate(SOUND.log, SETTINGS.model_copy(update={"estimator": "dr2"}))


def test_figures_do_not_depend_on_row_order() -> None:
    order = np.random.default_rng(3).permutation(SOUND.log.rows)
    log = SOUND.log
    assert log.cluster is not None
    other = Logged(
        log.action[order], log.reward[order], log.propensity[order], log.policy[order], cluster=log.cluster[order]
    )
    for interval in ("normal", "bootstrap"):
        settings = SETTINGS.model_copy(update={"interval": interval})
        assert estimate(other, settings, seed=4) == estimate(log, settings, seed=4)


def test_true_propensities_of_rare_actions_are_hardly_ever_called_wrong() -> None:
    """No contact with a chance of 3% for a third: with too few left alone, the spread seen of its weights is too small."""
    refused = 0
    for seed in range(400):
        chance = np.random.default_rng(seed)
        alone = np.where(chance.random(600) < 0.3, 0.034, 0.9)
        logging = np.column_stack([alone, 1 - alone])
        action = (chance.random(600) > alone).astype(np.int64)
        nobody = np.tile([1.0, 0.0], (600, 1))
        log = Logged(action, chance.normal(size=600), logging, nobody)
        p = estimate(log, SETTINGS).diagnostics.mean_weight_p
        refused += p is not None and p < SETTINGS.weight_alpha
    assert refused <= 2, "by the spread alone it is 8 of 400, where 0.4 are due"
