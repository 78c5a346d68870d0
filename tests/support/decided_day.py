"""A day decided by the real steps on the small campaign world: all that `allocate` and the steps after it read, stored."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen import contracts, pipeline
from mktgen.documents import ModelEntry, ModelSet, Promotion, TaskPromotion, TrainingPlan
from mktgen.steps.runner import Platform
from mktgen.store import Provenance, parallel
from mktgen.strategy.mailings import AFFINITY_DAYS, redemption_examples
from mktgen.strategy.redemption import fit_redemption
from tests.support.campaign_world import PARTITION, World, make_world
from tests.support.sent_day import store_sends

BY = Provenance("test", "r", "", "", 0, ())
# From what was learned of words to the messages.
WRITE = ("learn_wording", "train_copywriter", "promote_copywriter", "write_copy", "write_briefs")
SPAN = {"training_partition": PARTITION, "evaluation_from": PARTITION, "evaluation_to": PARTITION}


def prepare(platform: Platform) -> World:
    """Everything up to `recommend`, as its steps would leave it."""
    world, store = make_world(), platform.store
    _trained(platform, world)
    first = platform.source.first_day
    tables = {
        "customer_features": world.features, "customer_scores": world.scores, "item_scores": world.item_scores,
        "recommendations": recommended(world), "exposures": world.exposures, "responses": world.responses,
        "campaigns": world.campaigns, "offers": world.offers, "offer_items": world.offer_items,
        "customer_categories": contracts.CUSTOMER_CATEGORIES.empty(),
    }  # fmt: skip
    for name, frame in tables.items():
        store.write_table(name, PARTITION, frame, BY)
    store.write_table("items", first, world.items, BY)
    write_lines(platform, world)
    return world


def run(platform: Platform, *steps: str) -> None:
    for step in steps:
        pipeline.run_step(step, PARTITION, platform=platform)


def _trained(platform: Platform, world: World) -> None:
    store, found = platform.store, redemption_examples(
        world.exposures, world.campaigns, world.responses, world.offers, world.offer_items, world.lines,
        world.features_at_start, PARTITION,
    )  # fmt: skip
    model, held_out = fit_redemption(found, PARTITION, 1, bootstrap=20)
    store.write_files("models", PARTITION, {"redemption/model.json": model.to_bytes()}, BY)
    metrics = {"ranking.ndcg_at_10": 0.1, "auc_28d": 0.8}
    entry = ModelEntry(kind="popularity", directory="popularity", metrics=metrics, parameters={})
    store.write_document("model_set", PARTITION, ModelSet(**SPAN, models=[entry]), BY)
    store.write_document("training_plan", PARTITION, TrainingPlan(partition=PARTITION, reason="test", **SPAN), BY)
    task = {"metric": "m", "incumbent": "popularity", "challenger": "popularity", "difference": None}
    task |= {"champion": "popularity", "reason": "first training"}
    tasks = {name: TaskPromotion.model_validate({"task": name} | task) for name in ("ranking", "customer")}
    store.write_document("promotion", PARTITION, Promotion(training_partition=PARTITION, **tasks), BY)
    store.write_table("redemption_holdout", PARTITION, held_out, BY)


def recommended(world: World) -> pl.DataFrame:
    known = world.item_scores.join(world.items.select("item_id", "category"), on="item_id")
    return known.with_columns(reason=pl.lit("test")).select(list(contracts.RECOMMENDATIONS.columns))


def write_lines(platform: Platform, world: World) -> None:
    """Merchandise lines of the days that affinity looks at."""
    typical = {
        "store_id": "1", "event_time": None, "category": "CHEESE", "merchandise": True, "units": 1, "net_minor": 500,
        "on_display": False, "on_mailer": False, "ingested_at": None,
    }  # fmt: skip
    columns = contracts.ORDER_LINES.columns

    def write(day: date) -> None:
        own = world.lines.filter(pl.col("business_date") == day).unique(["customer_id", "item_id"], maintain_order=True)
        full = own.with_columns(
            order_id=pl.format("{}:{}", "customer_id", pl.lit(str(day))),
            **{name: pl.lit(value) for name, value in typical.items() if value is not None},
            **{name: pl.lit(day).cast(columns[name]) for name in ("event_time", "ingested_at")},
        )
        money = {name: pl.lit(0) for name in columns if name.endswith("_minor") and name not in full.columns}
        frame = full.with_columns(**money).select(pl.col(name).cast(kind) for name, kind in columns.items())
        platform.store.write_table("order_lines", day, frame, BY)

    parallel(write, [PARTITION - timedelta(days=back) for back in range(AFFINITY_DAYS)])


def sent_before(platform: Platform, customer: str, day: date, campaign: str = "14") -> None:
    """A contact of an earlier day."""
    row = ("s0", "d0", customer, campaign, f"{campaign}:0", "outbox", day, "sent", None)
    platform.store.write_table("decisions", day, contracts.DECISIONS.empty(), BY)
    store_sends(platform.store, day, [row], BY)
