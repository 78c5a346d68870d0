"""Demand, churn warnings, reasons and how they did, as steps on a real S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from mktgen import models, pipeline
from mktgen.contracts import CUSTOMER_SCORES, DECISIONS, ITEM_SCORES, ITEMS
from mktgen.documents import (
    DemandReport,
    Document,
    ModelEntry,
    ModelSet,
    Promotion,
    ReasonsCheck,
    TaskPromotion,
    TrainingPlan,
)
from mktgen.errors import PermanentError
from mktgen.models.base import History, Model
from mktgen.settings import ModelSettings
from mktgen.steps.runner import Platform
from mktgen.store import Provenance
from tests.steps.conftest import PlatformOf
from tests.support.shop import START, Shop, make_shop, order_lines
from tests.support.training import session

DAYS = 84
DAY = START + timedelta(days=DAYS - 1)
CUT = DAY + timedelta(days=1)
KIND = "personal_frequency"
SETTINGS = {"churn_from": 0.0, "stake_from_minor": 100, "warnings_per_day": 9, "check_targets": 40, "recent_baskets": 3}
BY = Provenance("test", "r1", "", "", 0, ())


@dataclass(frozen=True)
class Put:
    """Shorthands to write and read artefacts of a platform."""

    platform: Platform

    def table(self, name: str, frame: pl.DataFrame, day: date = DAY, by: Provenance = BY) -> None:
        self.platform.store.write_table(name, day, frame, by)

    def document(self, name: str, body: Document, day: date = DAY) -> None:
        self.platform.store.write_document(name, day, body, BY)

    def read(self, name: str) -> pl.DataFrame:
        return self.platform.store.read_table(self.platform.store.need(name, DAY))


def put_lines(put: Put, shop: Shop) -> None:
    lines = order_lines(shop.before(CUT))
    for day in (START + timedelta(days=n) for n in range(DAYS)):
        put.table("order_lines", lines.filter(pl.col("business_date") == day), day)


def put_model(put: Put, shop: Shop, place: Path) -> Model:
    """One kind, trained, that is champion of both tasks."""
    model = models.model_class(KIND)()
    model.fit(shop.training_set(CUT, cuts=3), ModelSettings(), session())
    model.save(place)
    files = {f"{KIND}/{path.name}": path.read_bytes() for path in sorted(place.iterdir())}
    put.platform.store.write_files("models", DAY, files, BY)
    entry = ModelEntry(kind=KIND, directory=KIND, metrics={}, parameters={})
    frozen = {"training_partition": DAY, "evaluation_from": DAY, "evaluation_to": DAY}
    put.document("model_set", ModelSet(**frozen, models=[entry]))
    won = {
        name: TaskPromotion(
            task=name, metric="m", incumbent=KIND, challenger=KIND, difference=None, champion=KIND, reason="only one"
        )
        for name in ("ranking", "customer")
    }
    put.document("promotion", Promotion(training_partition=DAY, **won))
    put.document("training_plan", TrainingPlan(partition=DAY, reason="test", **frozen))
    return model


def put_scores(put: Put, shop: Shop, model: Model) -> pl.DataFrame:
    """What `score`, `recommend` and `allocate` would leave: every second active customer is contacted with two items."""
    facts, customers = put.read("customer_features"), shop.active(CUT)
    history = History(CUT, put.read("sequences"), facts, put.read("item_features"))
    ranked = model.rank(history, customers, 50).with_columns(pl.lit(KIND).alias("ranking_model"))
    put.table("item_scores", ranked.select(list(ITEM_SCORES.columns)))
    chances = model.probabilities(history, customers).with_columns(
        (1 - pl.col("p_purchase_28d")).alias("p_churn_28d"), pl.lit([0.0], pl.List(pl.Float32)).alias("vector"),
        pl.lit(KIND).alias("customer_model"),
    )  # fmt: skip
    put.table("customer_scores", chances.select(list(CUSTOMER_SCORES.columns)))
    catalogue = (
        ranked.select("item_id")
        .unique()
        .join(shop.events.select("item_id", "category").unique("item_id"), on="item_id")
    )
    rest = dict.fromkeys(("item_type", "brand", "manufacturer_id", "package_size"), pl.lit(None, pl.String))
    items = catalogue.with_columns(department=pl.lit("D"), merchandise=pl.lit(True), **rest).sort("item_id")
    put.table("items", items.select(list(ITEMS.columns)), START)
    decisions = _decisions(ranked.filter(pl.col("customer_id").is_in(customers[::2])))
    put.table("decisions", decisions)
    return decisions


def _decisions(ranked: pl.DataFrame) -> pl.DataFrame:
    best = ranked.filter(pl.col("rank") == 1).group_by("customer_id").agg(pl.col("item_id").alias("item_ids"))
    fixed = {
        "segment_id": "s", "action": "18:1", "campaign_id": "18", "offer_id": "18:1", "channel": "outbox", "propensity": 1.0,
        "explored": False, "arm": "policy",
        "holdout": False, "holdout_share": 0.1, "p_redeem": 0.1, "expected_value_minor": 1.0,
        "cost_minor": 1, "model_version": "m", "policy_version": "p", "config_version": "c",
    }  # fmt: skip
    made = best.sort("customer_id").with_columns(
        pl.format("d-{}", "customer_id").alias("decision_id"), pl.lit(["no_contact", "18:1"]).alias("action_set"),
        pl.lit([0.0, 1.0]).alias("action_propensities"), *(pl.lit(value).alias(name) for name, value in fixed.items()),
    )  # fmt: skip
    return made.select(pl.col(name).cast(kind) for name, kind in DECISIONS.columns.items())


@pytest.fixture
def day_of(platform_of: PlatformOf, tmp_path: Path) -> Callable[..., Put]:
    """day_of(**foresight settings): a day of a small shop, up to the decisions."""

    def make(**settings: float) -> Put:
        put, shop = Put(platform_of(foresight=SETTINGS | settings)), make_shop(customers=30, items=40, days=DAYS)
        put_lines(put, shop)
        pipeline.run_step("extract_features", DAY, platform=put.platform)
        put_scores(put, shop, put_model(put, shop, tmp_path))
        return put

    return make


def test_a_day_is_foreseen_explained_and_the_same_again(day_of: Callable[..., Put]) -> None:
    put = day_of()
    steps = ("forecast_demand", "warn_churn", "explain")
    first = [pipeline.run_step(name, DAY, platform=put.platform) for name in steps]
    again = [pipeline.run_step(name, DAY, platform=put.platform, recompute="day") for name in steps]
    assert [result.digests for result in first] == [result.digests for result in again]

    demand = put.read("demand_forecast")
    assert set(demand["horizon_days"]) == {7, 28}
    assert demand["first_day"].unique().to_list() == [CUT]
    report = put.platform.store.read_document(put.platform.store.need("demand_report", DAY), DemandReport)
    assert [choice.horizon_days for choice in report.choices] == [7, 28]

    warnings = put.read("churn_warnings")
    assert warnings.height == 9
    assert warnings["reason"].str.contains("visit").all()

    reasons, decisions = put.read("reasons"), put.read("decisions")
    about_items = reasons.filter(pl.col("about") == "item")
    pairs = decisions.select("decision_id", pl.col("item_ids").alias("item_id")).explode("item_id", empty_as_null=True)
    assert pairs.join(about_items.filter(position=0), on=["decision_id", "item_id"], how="anti").is_empty(), (
        "every item that a decision names leads to its reasons"
    )
    about_churn = reasons.filter(pl.col("about") == "churn")
    assert set(about_churn["customer_id"]) == set(warnings["customer_id"])
    named = reasons.filter(pl.col("position") > 0)
    assert (named["score"] - named["score_without"] - named["effect"]).abs().max() < 1e-12  # type: ignore[operator]
    assert (named["last_day"] <= DAY).all()
    check = put.platform.store.read_document(put.platform.store.need("reasons_check", DAY), ReasonsCheck)
    assert [each.about for each in check.checks] == ["item", "churn"]
    assert check.checks[0].passed


def test_order_lines_that_changed_since_the_scores_are_noticed(day_of: Callable[..., Put]) -> None:
    put = day_of()
    pipeline.run_step("warn_churn", DAY, platform=put.platform)
    changed = put.read("item_scores").with_columns((pl.col("score") + 0.5).alias("score"))
    put.table("item_scores", changed, by=Provenance("test", "r2", "", "", 0, ()))
    with pytest.raises(PermanentError, match="run extract_features and score of 2017-03-25 again"):
        pipeline.run_step("explain", DAY, platform=put.platform)


def test_a_day_without_contacts_and_warnings_is_explained_by_nothing(day_of: Callable[..., Put]) -> None:
    put = day_of(stake_from_minor=10**9)
    put.table("decisions", put.read("decisions").clear(), by=Provenance("test", "r2", "", "", 0, ()))
    pipeline.run_step("warn_churn", DAY, platform=put.platform)
    result = pipeline.run_step("explain", DAY, platform=put.platform)
    assert result.rows["reasons"] == 0


def test_forecasts_are_judged_when_their_days_are_over(platform_of: PlatformOf) -> None:
    put, shop = Put(platform_of(foresight=SETTINGS)), make_shop(customers=30, items=20, days=DAYS)
    made_on = DAY - timedelta(days=7)
    put_lines(put, shop)
    for day in (made_on, DAY):
        pipeline.run_step("extract_features", day, platform=put.platform)
    pipeline.run_step("forecast_demand", made_on, platform=put.platform)
    pipeline.run_step("judge_forecasts", DAY, platform=put.platform)
    judged = put.read("demand_outcomes")
    assert judged["horizon_days"].unique().to_list() == [7]
    week = order_lines(shop.events).filter(pl.col("business_date").is_between(made_on + timedelta(days=1), DAY))
    assert judged.filter(level="all")["actual_units"].to_list() == [week.height]
    assert put.read("churn_outcomes").is_empty()
