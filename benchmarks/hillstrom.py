"""Who should get which e-mail? A learned policy on Hillstrom's randomised test, against one mail for all.

    python -m benchmarks.hillstrom --data hillstrom.csv.gz [--cost-cents 10 50 100] [--resamples 1000] [--splits 10]

64,000 customers, a third each without mail, with a men's and with a women's mail. Outcome: spend in two weeks less the cost
of the mail. The policy is cross-fitted: a customer's action comes from a model fitted on the other folds. Values of policies
by inverse propensity and doubly robust, with 95% intervals and paired differences; how well effects are ranked by AUTOC and
QINI (Yadlowsky et al., 2021), Qini and AUCC, each with bootstrap intervals; an interval that holds 0 (AUCC: 1/2) says that
nothing was shown. Then the published protocol of scikit-uplift's notebook (visit, one mail against everyone else, 70/30,
stratified, seed 42), ours and class transformation with boosted trees in the same splits; its figures are quoted.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

from mktgen.documents import Interval
from mktgen.evaluation.uplift.cost import cost_curve_areas
from mktgen.evaluation.uplift.qini import qini, uplift_at
from mktgen.evaluation.uplift.rate import rate
from mktgen.response.checks import sanity_gates
from mktgen.response.fitting import fit_response
from mktgen.response.held_out import HeldOut
from mktgen.settings import ResponseSettings

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DAY: Final = date(2008, 3, 20)
ARMS: Final = {"No E-Mail": "no_contact", "Mens E-Mail": "mens", "Womens E-Mail": "womens"}
ACTIONS: Final = ("mens", "womens")  # as in a fitted model; -1 is no contact
PUBLISHED: Final = {"womens": 0.0314, "mens": 0.0654}  # scikit-uplift: class transformation with CatBoost
TOP: Final = 0.1
OFFERS: Final = pl.DataFrame({"action": list(ACTIONS), "mechanic": list(ACTIONS), "face_value_minor": [0, 0]})


def read(path: Path) -> pl.DataFrame:
    """The file, with customer_id, action and one column per category."""
    frame = pl.read_csv(path.read_bytes(), infer_schema_length=10_000)
    return frame.with_row_index("row").with_columns(
        pl.format("c{}", pl.col("row").cast(pl.String).str.zfill(6)).alias("customer_id"),
        pl.col("segment").replace_strict(ARMS).alias("action"),
    )


def covariates(data: pl.DataFrame) -> pl.DataFrame:
    groups = {"zip_code": ("Rural", "Urban"), "channel": ("Phone", "Multichannel")}  # against Surburban and Web
    return data.select(
        "customer_id", pl.lit(DAY).alias("decided_on"), "recency", "history", "mens", "womens", "newbie",
        *((pl.col(name) == value).alias(value) for name, values in groups.items() for value in values),
    )  # fmt: skip


def trials(data: pl.DataFrame, reward: Floats, converted: NDArray[np.bool_], one_of: dict[str, float]) -> pl.DataFrame:
    """TRIALS. one_of: chance of each action; `data.action` holds the drawn one."""
    names, chances = list(one_of), list(one_of.values())
    return data.select(
        pl.col("customer_id").alias("decision_id"),
        "customer_id",
        pl.lit(DAY).alias("decided_on"),
        "action",
        pl.lit(names).alias("action_set"),
        pl.lit(chances).alias("action_propensities"),
        pl.col("action").replace_strict(one_of, return_dtype=pl.Float64).alias("propensity"),
        pl.Series("reward_minor", reward),
        pl.Series("converted", converted),
        pl.lit(False).alias("holdout"),
    )


def fit(data: pl.DataFrame, given: pl.DataFrame, seed: int) -> Any:
    return fit_response(given, covariates(data), ResponseSettings(), DAY + timedelta(days=1), seed)


def held_out_effects(data: pl.DataFrame, given: pl.DataFrame, folds: int, seed: int) -> tuple[Floats, Integers]:
    """[n, 2] effects on the reward, each customer's from a model that never saw its fold; and the folds [n]."""
    fold = np.random.Generator(np.random.PCG64(seed)).permutation(data.height) % folds
    result = np.empty((data.height, len(ACTIONS)))
    for number in range(folds):
        seen, unseen = data.filter(fold != number), data.filter(fold == number)
        model, _ = fit(seen, given.filter(fold != number), seed)
        result[fold == number] = model.effects(covariates(unseen))["effect_minor"].to_numpy().reshape(-1, len(ACTIONS))
    return result, fold


def place_in_fold(effect: Floats, fold: Integers) -> Floats:
    """Share of the customers of the same fold with a smaller effect.

    What the predictions of a fold have in common moves against its own trials, which the others lack; so they are put in
    order within folds.
    """
    result = np.empty(effect.size)
    for number in np.unique(fold):
        rows = fold == number
        result[rows] = rankdata(effect[rows]) / rows.sum()
    return result


def values(held: HeldOut, reward: Floats, policy: Integers) -> tuple[Floats, Floats]:
    """Contributions [n] to the value of a policy (index of the action, -1 none): inverse propensity, doubly robust."""
    drawn = held.trials.drawn
    chance = np.column_stack([held.trials.chance, held.trials.chance_none])
    rows = np.arange(len(drawn))
    weight = np.where(drawn == policy, 1.0 / chance[rows, policy], 0.0)
    predicted = held.reward.q[rows, policy]
    return weight * reward, predicted + weight * (reward - predicted)


def mean(values_: Floats) -> Interval:
    error = 1.96 * float(values_.std(ddof=1)) / np.sqrt(len(values_))
    middle = float(values_.mean())
    return Interval(value=middle, low=middle - error, high=middle + error, method="normal")


def policies(data: pl.DataFrame, cost: float, folds: int, resamples: int, seed: int) -> dict[str, Any]:
    spend = 100 * data["spend"].to_numpy()
    reward = spend - cost * (data["action"] != "no_contact").to_numpy()
    given = trials(data, reward, data["conversion"].to_numpy() == 1, dict.fromkeys(ARMS.values(), 1 / 3))
    model, held = fit(data, given, seed)
    effect, fold = held_out_effects(data, given, folds, seed)
    best = effect.argmax(axis=1)
    learned = np.where(effect.max(axis=1) > 0, best, -1)
    fixed = {name: np.full(data.height, number) for number, name in enumerate((*ACTIONS, "nobody"))}
    fixed["nobody"] = np.full(data.height, -1)
    parts = {name: values(held, reward, policy) for name, policy in {"learned": learned, **fixed}.items()}
    parts["random"] = tuple(sum(parts[name][k] for name in fixed) / len(fixed) for k in range(2))  # type: ignore[assignment]
    champion = max(fixed, key=lambda name: parts[name][1].mean())  # in hindsight: it can only flatter the fixed one
    found: dict[str, Any] = {
        "learned_actions": {name: int((learned == policy[0]).sum()) for name, policy in fixed.items()},
        "best_fixed": champion,
        "value_ipw": {name: mean(part[0]) for name, part in parts.items()},
        "value_dr": {name: mean(part[1]) for name, part in parts.items()},
        "learned_less_best_fixed": {
            kind: mean(parts["learned"][k] - parts[champion][k]) for k, kind in enumerate(("ipw", "dr"))
        },
        "learned_less_random": {
            kind: mean(parts["learned"][k] - parts["random"][k]) for k, kind in enumerate(("ipw", "dr"))
        },
    }
    spent = np.full(data.height, cost)
    chosen = held.reward.score[np.arange(data.height), best] + cost  # gross of the cost of the mail
    areas = cost_curve_areas(chosen, spent, place_in_fold(effect.max(axis=1), fold), resamples=resamples, seed=seed)
    found["aucc"], found["cost_curve_advantage"] = areas.aucc, areas.advantage
    found["ranking"] = {
        name: ranking(data, spend, held.reward.score[:, k], place_in_fold(effect[:, k], fold), name, resamples, seed)
        for k, name in enumerate(ACTIONS)
    }
    found["gates"] = [f"{gate.name}: {gate.passed}: {gate.detail}" for gate in sanity_gates(held, OFFERS)]
    found["facts"] = model.facts
    return found


def ranking(
    data: pl.DataFrame, outcome: Floats, score: Floats, effect: Floats, action: str, resamples: int, seed: int
) -> dict[str, Interval]:
    """AUTOC and QINI on doubly robust scores of all arms; Qini on those with this mail or none."""
    arms = data["action"].is_in([action, "no_contact"]).to_numpy()
    treated = (data["action"] == action).to_numpy()
    return {
        "autoc": rate(score, effect, "autoc", resamples=resamples, seed=seed),
        "qini_rate": rate(score, effect, "qini", resamples=resamples, seed=seed),
        "qini": qini(outcome[arms], treated[arms], effect[arms], resamples=resamples, seed=seed),
    }


def published_protocol(data: pl.DataFrame, action: str, seed: int, resamples: int) -> dict[str, Any]:
    """uplift@10% on visit, `action` against everyone else, in one split: ours, and class transformation with trees."""
    visit, treated = data["visit"].to_numpy() == 1, (data["action"] == action).to_numpy()
    train, test = train_test_split(
        np.arange(data.height), stratify=np.column_stack([treated, visit]), test_size=0.3, random_state=seed
    )
    other = pl.when(pl.col("action") == action).then(pl.lit(action)).otherwise(pl.lit("no_contact"))
    seen = data.with_columns(other.alias("action"))[np.sort(train)]
    rows = np.sort(train)
    given = trials(seen, visit[rows].astype(np.float64), visit[rows], {"no_contact": 2 / 3, action: 1 / 3})
    model, _ = fit(seen, given, seed)
    unseen = data[np.sort(test)]
    ours = model.effects(covariates(unseen))["effect_minor"].to_numpy()
    space = covariates(data).drop("customer_id", "decided_on").to_numpy()
    peer = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=15, random_state=42)
    peer.fit(space[rows], visit[rows] == treated[rows])  # class transformation: z = y t + (1 - y)(1 - t)
    held = np.sort(test)
    theirs = 2 * peer.predict_proba(space[held])[:, 1] - 1
    outcome = visit[held].astype(np.float64)
    shown = {"ours": (ours, TOP), "class_transformation": (theirs, TOP), "everyone": (ours, 1.0)}
    return {
        name: uplift_at(outcome, treated[held], priority, share, resamples=resamples, seed=seed)
        for name, (priority, share) in shown.items()
    }


def protocols(data: pl.DataFrame, splits: int, resamples: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in ("womens", "mens"):
        first = published_protocol(data, action, 42, resamples)
        more = [published_protocol(data, action, 43 + k, 2) for k in range(splits)]
        gap = np.array([split["ours"].value - split["class_transformation"].value for split in more])
        found[action] = {
            "published": PUBLISHED[action],
            **first,
            "mean_of_other_splits": {
                name: float(np.mean([split[name].value for split in more])) for name in first
            } if more else {},
            "ours_less_class_transformation": [float(gap.mean()), float(gap.std(ddof=1))] if splits > 1 else None,
        }  # fmt: skip
    return found


def plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cost-cents", type=float, nargs="+", default=[10.0, 50.0, 100.0], help="of one mail")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--splits", type=int, default=10, help="further splits of the published protocol")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.data.exists():
        sys.exit(f"{arguments.data} is missing: this benchmark needs the public file; nothing was run")
    data = read(arguments.data)
    found: dict[str, Any] = {"customers": dict(data["action"].value_counts().sort("action").iter_rows())}
    for cost in arguments.cost_cents:
        found[f"mail at {cost:g} cents"] = plain(
            policies(data, cost, arguments.folds, arguments.resamples, arguments.seed)
        )
        print(json.dumps({f"mail at {cost:g} cents": found[f"mail at {cost:g} cents"]}, indent=1), flush=True)
    found["uplift_at_10"] = plain(protocols(data, arguments.splits, arguments.resamples))
    print(json.dumps({"uplift_at_10": found["uplift_at_10"]}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
