"""The product's own model on a made-up shop with a catalogue of millions: `fit`, then `rank`; see big_catalogue.py.

Few customers and many items: what grows from size to size is the catalogue alone. Every item has a token, as if others, who
aren't given, had bought it often enough. Values are drawn, not meant to be learned from: only time and memory are read.
"""

from __future__ import annotations

import resource
import statistics
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks.next_item.checkpoints import DirectoryCheckpoints
from mktgen import contracts
from mktgen.models._network import BehaviourLearner
from mktgen.models.base import History, Session, TrainingSet
from mktgen.models.transformer import Transformer
from mktgen.settings import ModelSettings, TransformerSettings

CUT: Final = date(2017, 12, 4)
CUSTOMERS, RANKED, BEST, NEGATIVES = 600, 200, 50, 4096
DAYS, BASKETS, BASKET, CUTS, CATEGORIES = 180, 25, 4, 6, 300
PER_STEP: Final = 16  # windows of customers
_WARM: Final = 3  # steps before the clock counts


def settings(threads: int) -> ModelSettings:
    recipe = TransformerSettings(negatives=NEGATIVES, batch_customers=PER_STEP, epochs=1)
    return ModelSettings(threads=threads, checkpoint_every=10**9, transformer=recipe)


def shop(items: int) -> TrainingSet:
    """The same number of items gives the same shop."""
    rng = np.random.default_rng(items)
    drawn = (items * rng.random(CUSTOMERS * BASKETS * BASKET) ** 3).astype(np.int64)
    order = np.repeat(np.arange(CUSTOMERS * BASKETS), BASKET)
    day = np.repeat(rng.integers(1, DAYS + 1, CUSTOMERS * BASKETS), BASKET)
    goods = _goods(items)
    events = pl.DataFrame({"_item": drawn, "_order": order, "_age": day}).with_columns(
        customer_id=pl.format("c{}", (pl.col("_order") // BASKETS).cast(pl.String).str.zfill(5)),
        business_date=pl.lit(CUT) - pl.duration(days=pl.col("_age")),
        order_id=pl.format("o{}", pl.col("_order").cast(pl.String).str.zfill(8)),
        item_id=goods["item_id"].gather(drawn), category=goods["category"].gather(drawn),
        net_minor=100 + pl.col("_item") % 900, on_promotion=pl.col("_item") % 5 == 0,
    ).unique(["order_id", "item_id"])  # fmt: skip
    noon = pl.col("business_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(hours=12)
    events = events.with_columns(noon.alias("event_time")).select(_as(contracts.SEQUENCES))
    events = events.sort("customer_id", "event_time", "order_id", "item_id")
    people = events["customer_id"].unique().sort()
    cuts = [CUT - timedelta(days=28 + 7 * week) for week in range(CUTS)]
    examples = pl.concat([_people(people, rng).with_columns(_labels(rng, cut, people.len())) for cut in cuts])
    return TrainingSet(CUT, events, examples, _counted(goods, events), item_attributes=_attributes(goods))


def history(data: TrainingSet) -> History:
    people = data.events["customer_id"].unique().sort()
    features = _people(people, np.random.default_rng(1))
    return History(CUT, data.events, features, data.items, item_attributes=data.item_attributes)


def _as(contract: Any) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in contract.columns.items()]


def _goods(items: int) -> pl.DataFrame:
    place = pl.int_range(items, eager=False)
    named = pl.format("i{}", place.cast(pl.String).str.zfill(8))
    return pl.select(item_id=named, category=pl.format("CATEGORY {}", place % CATEGORIES))


def _counted(goods: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """contracts.ITEM_FEATURES."""
    least = float(TransformerSettings().min_item_lines)
    lately = pl.col("business_date") >= CUT - timedelta(days=28)
    counts = events.group_by("item_id").agg(lines_28d=lately.sum(), lines_all=pl.len())
    table = goods.join(counts, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("lines_28d").fill_null(0), pl.col("lines_all").fill_null(0) + least,
        recency_days=pl.lit(30.0), age_days=pl.lit(200.0), price_minor=pl.lit(300.0), promo_share=pl.lit(0.1),
        customers_28d=pl.col("lines_28d").fill_null(0),
    )  # fmt: skip
    return contracts.ITEM_FEATURES.check(table.select(_as(contracts.ITEM_FEATURES)))


def _attributes(goods: pl.DataFrame) -> pl.DataFrame:
    """contracts.ITEMS."""
    place = pl.int_range(pl.len())
    table = goods.with_columns(
        department=pl.format("D {}", place % 20), item_type=pl.format("TYPE {}", place % 3_000),
        brand=pl.format("brand {}", place % 5_000), manufacturer_id=pl.format("m{}", place % 900),
        package_size=pl.lit(None, pl.String), merchandise=pl.lit(True),
    )  # fmt: skip
    return contracts.ITEMS.check(table.select(_as(contracts.ITEMS)))


def _people(people: pl.Series, rng: np.random.Generator) -> pl.DataFrame:
    """contracts.CUSTOMER_FEATURES."""
    columns: dict[str, Any] = {"customer_id": people}
    for name, dtype in contracts.CUSTOMER_FEATURES.columns.items():
        if name != "customer_id":
            columns[name] = rng.random(people.len()) if dtype == pl.Float64 else ["CATEGORY 0"] * people.len()
    return pl.DataFrame(columns).select(_as(contracts.CUSTOMER_FEATURES))


def _labels(rng: np.random.Generator, cut: date, people: int) -> list[Any]:
    week, month = rng.random(people) < 0.5, rng.random(people) < 0.9
    spend = pl.Series("spend_28d_minor", rng.integers(0, 9_000, people))
    return [
        pl.lit(cut).alias("cut"), pl.Series("purchased_7d", week & month), pl.Series("purchased_28d", month), spend,
    ]  # fmt: skip


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(items: int, threads: int, place: Path) -> dict[str, float]:
    """Median step, between two forward calls, so with backward and optimiser; the model goes to `place`."""
    marks: list[tuple[float, float]] = []

    def mark(module: nn.Module, _: Any) -> None:
        if isinstance(module, BehaviourLearner):
            marks.append((time.perf_counter(), time.process_time()))

    data, model = shop(items), Transformer()
    given, began = peak_mb(), time.process_time()
    with register_module_forward_pre_hook(mark):
        model.fit(data, settings(threads), Session(7, DirectoryCheckpoints(None), lambda line: None))
    spent, peak = time.process_time() - began, peak_mb()
    model.save(place)
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks[_WARM:], marks[_WARM + 1 :], strict=False)]
    wall, cpu = (statistics.median(step[of] for step in steps) for of in (0, 1))
    facts = {"steps": len(marks), "step_wall": wall, "step_cpu": cpu, "cpu": spent}
    return {**facts, "peak_mb": peak, "given_mb": given}


def rank(items: int, threads: int, place: Path) -> dict[str, float]:
    """The best BEST seen and unseen items of RANKED customers, with the model at `place`."""
    data = shop(items)
    known, model, given = history(data), Transformer.load(place), peak_mb()
    people = data.events["customer_id"].unique().sort()[:RANKED].to_list()
    began, started = time.process_time(), time.perf_counter()
    found = model.rank(known, people, BEST)
    spent, wall = time.process_time() - began, time.perf_counter() - started
    unseen = found.filter(~pl.col("seen")).height
    if unseen != RANKED * BEST:
        raise RuntimeError(f"{unseen} unseen items were ranked, not {BEST} for each of {RANKED} customers")
    return {"wall": wall, "cpu": spent, "peak_mb": peak_mb(), "given_mb": given}
