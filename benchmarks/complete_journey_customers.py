"""Customer tasks on Complete Journey: purchase, churn, spend and redemption against simple models, in one run.

    python -m benchmarks.complete_journey_customers --cache DIR [--out DIR] [--model transformer ...] [--seeds 0 1 2]
        [--retrain each-cut|once] [--settings FILE ...] [--json FILE]

Protocol: benchmarks/complete_journey/customers_task.py. Intervals are 95%, by household over all cuts (mailings)
together; differences are to the simple model that is best by that measure on these rows, on the same draws (it is chosen
where it is compared, which favours it). Each seed of a product model is a row. A kind is
judged on spend and on redemption where it has them; for redemption it is trained before the campaigns' split, on the same
mailings as the baselines. `--out`: calibration plots, one png per task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.complete_journey import command, tabular
from benchmarks.complete_journey.calibration import draw
from benchmarks.complete_journey.customers_task import CAMPAIGN_SPLIT, Examples, examples, redemption
from benchmarks.complete_journey.data import NOTICE, Tables, canonical
from benchmarks.complete_journey.intervals import Estimate, Floats, Households
from benchmarks.complete_journey.items_task import history_at, training_at
from benchmarks.complete_journey.product import Retrain, trained
from mktgen import config
from mktgen.models import model_class
from mktgen.models._neural import NeuralModel
from mktgen.models.base import Mailings
from mktgen.settings import Settings
from mktgen.strategy.redemption import fit_redemption

RESAMPLES: Final = 500
SEED: Final = 20170101  # of the household draws
RFM: Final = ("recency_days", "orders_84d", "net_minor_84d")

Predictions = dict[str, Floats]  # row -> one value per test row


@dataclass(frozen=True)
class Task:
    """What happened (Boolean, or dollars), and what each row said; `simple`: the rows that a product model must beat."""

    name: str
    outcome: Floats
    predictions: Predictions
    simple: tuple[str, ...]
    households: pl.Series
    amount: bool = False


def purchase_tasks(data: Examples, models: Mapping[str, pl.DataFrame]) -> list[Task]:
    """models: row -> customer_id, cut, p_purchase_7d, p_purchase_28d (and spend_28d) of the test examples, in order."""
    households = data.test["customer_id"]
    simple = _both(data, "purchased_7d")
    week = simple | {name: _column(frame, "p_purchase_7d") for name, frame in models.items()}
    month = {name: 1.0 - p for name, p in _both(data, "purchased_28d").items()}
    month |= {name: 1.0 - _column(frame, "p_purchase_28d") for name, frame in models.items()}
    spend, amounts = _amounts(data, models)
    churned = 1.0 - _column(data.test, "purchased_28d")
    return [
        Task("purchase within 7 days", _column(data.test, "purchased_7d"), week, tuple(simple), households),
        Task("churn: no purchase within 28 days", churned, month, tuple(simple), households),
        Task("spend in 28 days ($)", _column(data.test, "spend_28d"), amounts, spend, households, True),
    ]


def _both(data: Examples, outcome: str) -> Predictions:
    label = data.train[outcome].to_numpy().astype(np.bool_)
    return {
        "LR recency": tabular.logistic(data.train, label, ("recency_days",))(data.test),
        "LR RFM": tabular.logistic(data.train, label, RFM)(data.test),
        "LR all": tabular.logistic(data.train, label)(data.test),
        "HGB": tabular.boosted(data.train, label)(data.test),
    }


def _amounts(data: Examples, models: Mapping[str, pl.DataFrame]) -> tuple[tuple[str, ...], Predictions]:
    target = _column(data.train, "spend_28d")
    rows = {
        "mean": np.full(data.test.height, target.mean()),
        "84 d / 3": tabular.recent_amount(data.test),
        "HGB absolute error": tabular.boosted_amount(data.train, target, "absolute_error")(data.test),
        "HGB Poisson": tabular.boosted_amount(data.train, target, "poisson")(data.test),
    }
    told = {name: _column(frame, "spend_28d") for name, frame in models.items() if "spend_28d" in frame.columns}
    return tuple(rows), rows | told


def redemption_task(data: Examples, seed: int, models: Predictions) -> Task:
    kinds = sorted(data.train["campaign_type"].unique().to_list())
    (train, names), (test, _) = tabular.with_types(data.train, kinds), tabular.with_types(data.test, kinds)
    label = train["redeemed"].to_numpy().astype(np.bool_)
    product, _ = fit_redemption(data.train, CAMPAIGN_SPLIT, seed)
    rows = {
        "rate of the type": tabular.type_rate(train)(test),
        "LR RFM": tabular.logistic(train, label, RFM)(test),
        "LR all": tabular.logistic(train, label, names)(test),
        "HGB": tabular.boosted(train, label, names)(test),
        "the product's": product.predict(data.test)["p_redeem"].to_numpy(),
    }
    redeemed, households = _column(test, "redeemed"), test["customer_id"]
    return Task("redemption of a mailed campaign", redeemed, rows | models, tuple(rows), households)


def product_rows(
    kinds: list[str], tables: Tables, test: pl.DataFrame, seeds: list[int], retrain: Retrain, settings: Settings
) -> dict[str, pl.DataFrame]:
    cuts = tuple(test["cut"].unique().sort().to_list())
    training = cache(lambda cut: training_at(tables, cut, settings))
    history = cache(lambda cut: history_at(tables, cut, settings))
    rows = {}
    for kind in kinds:
        for seed in seeds:
            parts = []
            for cut, model, _ in trained(kind, cuts, seed, retrain, training, settings.models):
                asked = test.filter(pl.col("cut") == cut)["customer_id"].to_list()
                known = model.probabilities(history(cut), asked)
                if "spend" in model.tasks:
                    dollars = (pl.col("spend_28d_minor") / 100).alias("spend_28d")
                    spend = model.spend(history(cut), asked).select("customer_id", dollars)
                    known = known.join(spend, on="customer_id", maintain_order="left")
                parts.append(known.with_columns(pl.lit(cut).alias("cut")))
            keys = ["cut", "customer_id"]
            rows[f"{kind}, seed {seed}"] = test.select(keys).join(pl.concat(parts), on=keys, maintain_order="left")
    return rows


def redemption_rows(
    kinds: list[str], tables: Tables, data: Examples, seeds: list[int], settings: Settings
) -> Predictions:
    """Of the kinds with a redemption head: one value per row of data.test."""
    offers = tables.table("offers").select("offer_id", "campaign_id")
    items = tables.table("offer_items").join(offers, on="offer_id").select("campaign_id", "item_id").unique()
    mailings = Mailings(_mailing_rows(data.train, label=True), items)
    training = cache(lambda cut: replace(training_at(tables, cut, settings), mailings=mailings))
    rows = {}
    for kind in (kind for kind in kinds if issubclass(model_class(kind), NeuralModel)):
        for seed in seeds:
            ((_, model, _),) = trained(kind, (CAMPAIGN_SPLIT,), seed, "once", training, settings.models)
            assert isinstance(model, NeuralModel)
            predicted = np.zeros(data.test.height)
            for start in data.test["started_on"].unique().sort().to_list():
                chosen = (data.test["started_on"] == start).to_numpy()
                asked = Mailings(_mailing_rows(data.test.filter(chosen), label=False), items)
                predicted[chosen] = model.redemptions(history_at(tables, start, settings), asked)["p_redeem"].to_numpy()
            rows[f"{kind}, seed {seed}"] = predicted
    return rows


def _mailing_rows(mailed: pl.DataFrame, label: bool) -> pl.DataFrame:
    """mktgen.models.base.Mailings.rows: the facts that the baselines have too."""
    length = (pl.col("ended_on") - pl.col("started_on")).dt.total_days().cast(pl.Float64).alias("window_days")
    keys = ("customer_id", "campaign_id", "campaign_type", pl.col("started_on").alias("cut"))
    return mailed.select(*keys, *tabular.MAILING_FEATURES, length, *(["redeemed"] if label else []))


def _column(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).to_numpy()


# -- figures ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Measure:
    """own: of a row; against: its difference to another row's, on the same draws. larger: whether more is better."""

    own: Callable[[Floats], Estimate]
    against: Callable[[Floats, Floats], Estimate]
    larger: bool

    def best(self, predictions: Predictions, among: tuple[str, ...]) -> str:
        sign = -1.0 if self.larger else 1.0
        return min(among, key=lambda name: (sign * self.own(predictions[name]).value, name))


def figures(task: Task) -> list[dict[str, Any]]:
    """Two measures per row, each with its interval and its difference to the best simple row."""
    measures = _measures(task)
    best = {name: measure.best(task.predictions, task.simple) for name, measure in measures.items()}
    rows = []
    for name, predicted in task.predictions.items():
        row: dict[str, Any] = {"task": task.name, "row": name, "mean": float(predicted.mean())}
        for measure, how in measures.items():
            against = how.against(predicted, task.predictions[best[measure]])
            row[measure] = {**asdict(how.own(predicted)), "best simple": best[measure], "against it": asdict(against)}
        rows.append(row)
    return rows


def _measures(task: Task) -> dict[str, Measure]:
    households, label = Households(task.households, RESAMPLES, SEED), task.outcome > 0.5

    def loss(p: Floats) -> Floats:
        clipped = np.clip(p, 1e-7, 1 - 1e-7)
        return -np.where(label, np.log(clipped), np.log1p(-clipped))

    def error(predicted: Floats) -> Floats:
        return np.abs(predicted - task.outcome)

    def mean_of(each: Callable[[Floats], Floats]) -> Measure:
        return Measure(lambda p: households.mean(each(p)), lambda p, q: households.mean(each(p) - each(q)), False)

    if not task.amount:
        auc = Measure(
            lambda p: households.auc(label, p), lambda p, q: households.auc_difference(label, p, q), larger=True
        )
        return {"AUC": auc, "log loss": mean_of(loss)}
    rmse = Measure(
        lambda p: households.root_mean(error(p) ** 2),
        lambda p, q: households.root_mean(error(p) ** 2, error(q) ** 2),
        larger=False,
    )
    return {"MAE": mean_of(error), "RMSE": rmse}


def show(task: Task, rows: list[dict[str, Any]]) -> None:
    kind = f"mean {task.outcome.mean():.1f}" if task.amount else f"base rate {task.outcome.mean():.4f}"
    print(f"\n{task.name}: {task.outcome.size} rows, {task.households.n_unique()} households, {kind}")
    for row in rows:
        cells = []
        for measure, found in row.items():
            if not isinstance(found, dict):
                continue
            best = found["best simple"]
            versus = "" if row["row"] == best else f"  vs {best} {Estimate(**found['against it']).signed()}"
            cells.append(f"{measure} {Estimate(found['value'], found['low'], found['high'])}{versus}")
        print(f"  {row['row']:<22}" + "  |  ".join(cells), flush=True)


def main() -> None:
    parser = command.arguments(__doc__, "once")
    parser.add_argument("--out", type=Path, help="folder for the calibration plots")
    arguments = parser.parse_args()
    settings = config.settings(tuple(arguments.settings))
    tables = canonical(arguments.cache, settings)
    print(NOTICE, flush=True)
    data = examples(tables, settings.features)
    models = product_rows(arguments.model, tables, data.test, arguments.seeds, arguments.retrain, settings)
    mailed = redemption(tables, settings.features)
    redeemed = redemption_rows(arguments.model, tables, mailed, arguments.seeds, settings)
    tasks = [*purchase_tasks(data, models), redemption_task(mailed, settings.seed, redeemed)]
    every = []
    for task in tasks:
        rows = figures(task)
        show(task, rows)
        every += rows
        if arguments.out:
            draw(task.name, task.outcome, task.predictions, arguments.out)
    if arguments.json:
        arguments.json.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
