"""The peer's side of benchmarks/off_policy.py: its own data, its own estimators, in its own environment.

    PEER/bin/python benchmarks/off_policy_peer.py --world synthetic --runs 20 --first 0 --out DIR

Settings are those of the library's own examples (synthetic, multiclass and obd; READMEs and conf/hyperparams.yaml). One
npz per run: context, action, reward, propensity, policy, q_hat, truth, and the estimates with their seconds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import obp
from obp.dataset import MultiClassToBanditReduction, OpenBanditDataset, SyntheticBanditDataset, logistic_reward_function
from obp.ope import (
    DirectMethod,
    DoublyRobust,
    DoublyRobustWithShrinkageTuning,
    InverseProbabilityWeighting,
    OffPolicyEvaluation,
    RegressionModel,
    SelfNormalizedDoublyRobust,
    SelfNormalizedInverseProbabilityWeighting,
    SwitchDoublyRobustTuning,
)
from obp.policy import BernoulliTS, IPWLearner
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

SEED = 12345
FOLDS = 3
LAMBDAS = [10, 50, 100, 500, 1000, 5000, 10000, np.inf]
BTS_DRAWS = 100_000


def logistic() -> Any:
    return LogisticRegression(max_iter=10_000, C=100, random_state=SEED)


def forest() -> Any:
    return RandomForestClassifier(n_estimators=30, max_depth=5, min_samples_leaf=10, random_state=SEED)


def boosting() -> Any:
    return GradientBoostingClassifier(
        n_estimators=30, learning_rate=0.01, max_depth=5, min_samples_leaf=10, random_state=SEED
    )


def estimators() -> list[Any]:
    return [
        DirectMethod(),
        InverseProbabilityWeighting(),
        SelfNormalizedInverseProbabilityWeighting(),
        DoublyRobust(),
        SelfNormalizedDoublyRobust(),
        SwitchDoublyRobustTuning(lambdas=LAMBDAS),
        DoublyRobustWithShrinkageTuning(lambdas=LAMBDAS),
    ]


def synthetic(run: int) -> tuple[dict[str, Any], np.ndarray, float, RegressionModel]:
    world = SyntheticBanditDataset(
        n_actions=30, dim_context=5, reward_function=logistic_reward_function, beta=-3, random_state=run
    )
    policy = IPWLearner(n_actions=30, base_classifier=logistic())
    train = world.obtain_batch_bandit_feedback(n_rounds=10_000)
    log = world.obtain_batch_bandit_feedback(n_rounds=10_000)
    policy.fit(**{name: train[name] for name in ("context", "action", "reward", "pscore")})
    chosen = policy.predict_proba(context=log["context"])
    truth = world.calc_ground_truth_policy_value(expected_reward=log["expected_reward"], action_dist=chosen)
    model = RegressionModel(n_actions=30, action_context=world.action_context, base_model=logistic())
    return log, chosen, float(truth), model


def digits(run: int) -> tuple[dict[str, Any], np.ndarray, float, RegressionModel]:
    x, y = load_digits(return_X_y=True)
    world = MultiClassToBanditReduction(X=x, y=y, base_classifier_b=logistic(), alpha_b=0.4, dataset_name="digits")
    world.split_train_eval(eval_size=0.7, random_state=run)
    log = world.obtain_batch_bandit_feedback(random_state=run)
    chosen = world.obtain_action_dist_by_eval_policy(base_classifier_e=forest(), alpha_e=0.9)
    truth = world.calc_ground_truth_policy_value(action_dist=chosen)
    return log, chosen, float(truth), RegressionModel(n_actions=world.n_actions, base_model=boosting())


def open_bandit(run: int) -> tuple[dict[str, Any], np.ndarray, float, RegressionModel]:
    world = OpenBanditDataset(behavior_policy="random", campaign="all")
    policy = BernoulliTS(
        n_actions=world.n_actions, len_list=world.len_list, is_zozotown_prior=True, campaign="all", random_state=SEED
    )
    once = policy.compute_batch_action_dist(n_rounds=1, n_sim=BTS_DRAWS)
    truth = OpenBanditDataset.calc_on_policy_policy_value_estimate(behavior_policy="bts", campaign="all")
    log = world.sample_bootstrap_bandit_feedback(random_state=run)
    model = RegressionModel(
        n_actions=world.n_actions, len_list=world.len_list, action_context=world.action_context, base_model=logistic()
    )
    return log, np.tile(once, (log["n_rounds"], 1, 1)), float(truth), model


WORLDS = {"synthetic": synthetic, "digits": digits, "open_bandit": open_bandit}


def run_once(world: str, run: int, path: Path) -> None:
    log, policy, truth, model = WORLDS[world](run)
    started = time.perf_counter()
    fit = {"pscore": log["pscore"], "position": log["position"]} if world == "open_bandit" else {}
    q_hat = model.fit_predict(
        context=log["context"], action=log["action"], reward=log["reward"], n_folds=FOLDS, random_state=SEED, **fit
    )
    model_seconds = time.perf_counter() - started
    names, values, seconds = [], [], []
    for estimator in estimators():
        started = time.perf_counter()
        found = OffPolicyEvaluation(bandit_feedback=log, ope_estimators=[estimator]).estimate_policy_values(
            action_dist=policy, estimated_rewards_by_reg_model=q_hat
        )
        seconds.append(time.perf_counter() - started)
        names += found.keys()
        values += found.values()
    rows = np.arange(len(log["action"]))
    position = log["position"] if log["position"] is not None else np.zeros(len(rows), dtype=int)
    np.savez(
        path,
        context=np.asarray(log["context"], dtype=float),
        action=log["action"].astype(np.int64),
        reward=log["reward"].astype(float),
        propensity=np.asarray(log["pscore"], dtype=float),
        logging=logging_of(log, rows, position),
        policy=policy[rows, :, position],
        q_hat=q_hat[rows, :, position],
        expected=np.asarray(log.get("expected_reward", np.zeros((0, 0))), dtype=float),
        position=position,
        action_context=np.asarray(log.get("action_context", np.zeros((0, 0)))),
        truth=truth,
        peer_version=obp.__version__,
        peer_names=np.array(names),
        peer_values=np.array(values, dtype=float),
        peer_seconds=np.array(seconds),
        peer_model_seconds=model_seconds,
    )


def logging_of(log: dict[str, Any], rows: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[n, A] of the logging policy where the world tells it; else empty."""
    full = log.get("pi_b")
    return np.zeros((0, 0)) if full is None else np.asarray(full, dtype=float)[rows, :, position]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=sorted(WORLDS), required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    asked.out.mkdir(parents=True, exist_ok=True)
    for run in range(asked.first, asked.first + asked.runs):
        run_once(asked.world, run, asked.out / f"{asked.world}-{run:05d}.npz")


if __name__ == "__main__":
    main()
